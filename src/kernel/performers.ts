// Who performs which call: the kernel itself for what is its own, the models and the tools for the rest.
//
// A performer gives the outcome; it does not write it. What must become durable together with the outcome (a child,
// a delivered message) it hands over as `extra`, which is prepared in the very turn in which the outcome is recorded.
import { hash } from "node:crypto";
import { OsError } from "../abi/errors.ts";
import { messageIdOf, processIdOf } from "../abi/ids.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Json, JsonObject } from "../abi/json.ts";
import type { GenerateInput, Usage } from "../abi/messages.ts";
import type { Exit } from "../abi/process.ts";
import type { Args, ProcessCall } from "../abi/syscalls.ts";
import type { Resource } from "../ports/scheduler.ts";
import type { StoredPayload } from "../ports/store.ts";
import { noContext } from "./contexts.ts";
import { encodeAnswer } from "./encoding.ts";
import { conceive } from "./lifecycle.ts";
import { deliver, signal } from "./operations.ts";
import type { Prepared } from "./process.ts";
import { askHuman, refusal } from "./requests.ts";
import { type CallContext, untilMsOf, waitUntil } from "./waiting.ts";

export type Performed =
  | {
      readonly kind: "value";
      readonly value: Json;
      readonly usage?: Usage;
      /** How the value stands in the journal, if not as it is. */
      readonly stored?: { readonly text: string; readonly parts: readonly StoredPayload[] } | undefined;
      readonly extra?: () => readonly Prepared[];
      /** After the commit. */
      readonly after?: () => void;
      /** In any case, at the end. */
      readonly release?: () => void;
    }
  | { readonly kind: "unknown"; readonly reason: string };

export type Performer = {
  /** What the call occupies while it is performed; null if nothing. */
  readonly resource: (context: CallContext) => Resource | null;
  readonly perform: (context: CallContext) => Promise<Performed>;
};

const own = (perform: Performer["perform"]): Performer => ({ resource: () => null, perform });

const argsOf = <Name extends ProcessCall>({ call }: CallContext, _name: Name): Args<Name> => call.args as Args<Name>;

const value = (json: Json): Performed => ({ kind: "value", value: json });

function modelOf({ services, run }: CallContext, wanted: string | undefined): string {
  const model = wanted ?? run.process.manifest.model ?? services.ports.models.defaultModel;
  if (model !== undefined) return model;
  throw new OsError(
    "not_found",
    "The agent names no model and the configuration has no `defaultModel`. Set one of them, as `provider/model`.",
    { data: { what: "model", id: "" } },
  );
}

async function generate(context: CallContext): Promise<Performed> {
  const { services, run, call } = context;
  const { process } = run;
  const { model: wanted, after, messages, tools: offered, ...settings } = call.args as unknown as GenerateInput;
  const model = modelOf(context, wanted);
  // Another process's conversation is not this one's to read, whoever told it the address.
  if (after !== undefined && !run.recall.contexts.has(after)) throw noContext(after);
  const all = await services.contexts.messages(process, after, messages);
  const tools =
    offered === undefined ? [...process.tools.values()] : offered.flatMap((name) => process.tools.get(name) ?? []);
  const onDelta = (text: string): void =>
    services.bus.delta({ kind: "delta", pid: process.pid, call: call.number, text });
  const answer = await services.ports.models.generate(
    { model, messages: all, tools, settings },
    { signal: run.signal, onDelta },
  );
  const stored = encodeAnswer(process.key, { ...answer, model }, { after: after ?? null, parts: call.parts });
  run.recall.contexts.add(stored.context);
  services.contexts.extend(process, {
    after: after,
    messages,
    answer: answer.content,
    context: stored.context,
  });
  return {
    kind: "value",
    value: { ...answer, model, context: stored.context } as unknown as Json,
    usage: answer.usage,
    stored,
  };
}

async function callTool({ services, run, call }: CallContext): Promise<Performed> {
  const { tool } = call;
  const { args } = call.args as { args: JsonObject };
  if (tool === undefined)
    throw new OsError("not_found", "The process has no such tool.", { data: { what: "tool", id: "" } });
  const outcome = await services.ports.tools.call(
    { tool, args, key: idempotencyKey(run.process.pid, call.number) },
    { signal: run.signal },
  );
  switch (outcome.kind) {
    case "done":
      return value(outcome.content as JsonObject);
    case "failed":
      throw new OsError("tool_failed", `${tool.name} answered with an error: ${outcome.content.text}`, {
        data: { tool: tool.name, content: outcome.content as JsonObject },
      });
    case "not_performed":
      throw OsError.from(outcome.error);
    case "unknown":
      return { kind: "unknown", reason: outcome.reason };
  }
}

/** The same for every dispatch of a call, and for no other call. */
export const idempotencyKey = (pid: ProcessId, number: number): string => `${pid}.${number}`;

async function spawn(context: CallContext): Promise<Performed> {
  const { services, run, call } = context;
  const { agent, task, budget } = argsOf(context, "process.spawn");
  const pid = processIdOf(hash("sha256", `spawn:${run.process.pid}:${call.number}`, "buffer"));
  const { create, born } = await conceive(services, {
    pid,
    agent,
    task,
    budget,
    parent: run.process,
    by: run.process.pid,
  });
  return { kind: "value", value: { pid }, extra: () => [create()], after: born };
}

async function wait(context: CallContext): Promise<Performed> {
  const { services, call } = context;
  const { pid, timeoutMs } = argsOf(context, "process.wait");
  const untilMs = timeoutMs === undefined ? undefined : untilMsOf(context, timeoutMs);
  const exit = await waitUntil<{ exit: Exit | null }>(
    context,
    { on: "process", call: call.number, pid, ...(untilMs === undefined ? {} : { untilMs }) },
    async () => {
      const record = await services.ports.store.process(pid);
      if (record?.exit) return { exit: record.exit };
      return untilMs !== undefined && services.ports.clock.nowMs() >= untilMs ? { exit: null } : undefined;
    },
  );
  return value(exit);
}

async function sleep(context: CallContext): Promise<Performed> {
  const { services, call } = context;
  const untilMs = untilMsOf(context, argsOf(context, "clock.sleep").ms);
  const ms = await waitUntil(context, { on: "time", call: call.number, untilMs }, () => {
    const nowMs = services.ports.clock.nowMs();
    return nowMs >= untilMs ? nowMs : undefined;
  });
  return value({ ms });
}

async function receiveMessage(context: CallContext): Promise<Performed> {
  const { services, run, call } = context;
  const { topic, timeoutMs } = argsOf(context, "message.receive");
  const untilMs = timeoutMs === undefined ? undefined : untilMsOf(context, timeoutMs);
  const held = {
    on: "message",
    call: call.number,
    ...(topic === undefined ? {} : { topic }),
    ...(untilMs === undefined ? {} : { untilMs }),
  } as const;
  const message = await waitUntil<{ message: Json }>(context, held, () => {
    const mail = run.takeMail(topic);
    if (mail !== undefined) return { message: mail };
    return untilMs !== undefined && services.ports.clock.nowMs() >= untilMs ? { message: null } : undefined;
  });
  return value(message);
}

async function ask(context: CallContext): Promise<Performed> {
  const { question, options } = argsOf(context, "human.ask");
  const { decided } = await askHuman(context, {
    kind: "question",
    question,
    options,
    rule: "human.ask",
    reason: "The agent asks.",
  });
  if (decided.verdict === "answered") return value({ answer: decided.answer, by: decided.by });
  throw refusal(decided);
}

async function send(context: CallContext): Promise<Performed> {
  const { services, run, call } = context;
  const { pid, topic, body } = argsOf(context, "message.send");
  const message = messageIdOf(hash("sha256", `message:${run.process.pid}:${call.number}`, "buffer"));
  const delivery = await deliver(services, { pid, message, topic, body, from: run.process.pid });
  return {
    kind: "value",
    value: { message },
    extra: () => [delivery.prepare()],
    after: delivery.after,
    release: delivery.release,
  };
}

async function signalProcess(context: CallContext): Promise<Performed> {
  const { pid, signal: sent, reason } = argsOf(context, "process.signal");
  return value({ pids: await signal(context.services, { pid, signal: sent, reason, by: context.run.process.pid }) });
}

export const PERFORMERS: { readonly [Name in ProcessCall]: Performer } = {
  "model.generate": {
    resource: (context) =>
      context.services.ports.models.resource(modelOf(context, (context.call.args as unknown as GenerateInput).model)),
    perform: generate,
  },
  "tool.call": {
    resource: ({ services, call }) => (call.tool === undefined ? null : services.ports.tools.resource(call.tool)),
    perform: callTool,
  },
  "process.spawn": own(spawn),
  "process.wait": own(wait),
  "process.signal": own(signalProcess),
  "message.send": own(send),
  "message.receive": own(receiveMessage),
  "human.ask": own(ask),
  "clock.now": own(async ({ services }) => value({ ms: services.ports.clock.nowMs() })),
  "clock.sleep": own(sleep),
  "random.bytes": own(async (context) => {
    const bytes = context.services.ports.random.bytes(argsOf(context, "random.bytes").size);
    return value({ base64: Buffer.from(bytes).toString("base64") });
  }),
};

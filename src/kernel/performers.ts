// Who performs which call: the kernel itself for what is its own, the models and the tools for the rest.
//
// This file is the list, and holds the calls that the kernel performs itself; see performer.ts for what a performer is.
import { hash } from "node:crypto";
import { messageIdOf, type ProcessId, processIdOf } from "../abi/ids.ts";
import type { Json } from "../abi/json.ts";
import { CALLS_IN_FLIGHT_MAX, LEASE_MS_DEFAULT } from "../abi/limits.ts";
import type { Exit } from "../abi/process.ts";
import { PACE_PREFIX } from "../abi/scheduling.ts";
import type { Args, ProcessCall } from "../abi/syscalls.ts";
import type { HeldLock, Locks } from "../ports/scheduler.ts";
import { NOTHING_SPENT } from "./amounts.ts";
import { conceive } from "./lifecycle.ts";
import { generate, modelDemand } from "./model-call.ts";
import { deliver, signal } from "./operations.ts";
import { type Demand, type Performed, type Performer, value } from "./performance.ts";
import { askHuman, refusal } from "./requests.ts";
import { callTool, toolDemand } from "./tool-call.ts";
import { type CallContext, untilMsOf, waitUntil } from "./waiting.ts";

const own = (perform: Performer["perform"]): Performer => ({ demand: () => null, perform });

const argsOf = <Name extends ProcessCall>({ call }: CallContext, _name: Name): Args<Name> => call.args as Args<Name>;

/**
 * A tree grows at a bounded pace: each process that comes to be costs everybody some of the machine, and a tree that
 * multiplies as fast as it can would leave nothing to the others, however little its processes then may do.
 */
const spawnDemand = ({ services, run }: CallContext): Demand => ({
  resource: {
    name: `${PACE_PREFIX}${run.process.root}`,
    concurrency: CALLS_IN_FLIGHT_MAX,
    requestsPerMinute: services.options.limits.spawnsPerMinute,
  },
  amounts: NOTHING_SPENT,
  within: () => NOTHING_SPENT,
  timeoutMs: 0,
  counted: false,
});

async function spawn(context: CallContext): Promise<Performed> {
  const { services, run, call } = context;
  const { agent, task, budget, class: name, deadlineMs, startMs } = argsOf(context, "process.spawn");
  const pid = processIdOf(hash("sha256", `spawn:${run.process.pid}:${call.number}`, "buffer"));
  const { create, born } = await conceive(services, {
    pid,
    agent,
    task,
    parent: run.process,
    by: run.process.pid,
    wishes: { budget, class: name, deadlineMs, startMs },
  });
  return { kind: "value", value: { pid }, extra: () => [create()], after: born };
}

async function wait(context: CallContext): Promise<Performed> {
  const { services, run, call } = context;
  const { locks } = services.ports.scheduler;
  const { pid, timeoutMs } = argsOf(context, "process.wait");
  const untilMs = timeoutMs === undefined ? undefined : untilMsOf(context, timeoutMs);
  // Whoever waits here and holds what the other wants has closed a circle. A parked process still waits.
  locks.waitsForExit(run.process.pid, call.number, pid);
  const exit = await waitUntil<{ exit: Exit | null }>(
    context,
    { on: "process", call: call.number, pid, ...(untilMs === undefined ? {} : { untilMs }) },
    async () => {
      const record = await services.ports.store.process(pid);
      if (record?.exit) return { exit: record.exit };
      return untilMs !== undefined && services.ports.clock.nowMs() >= untilMs ? { exit: null } : undefined;
    },
  );
  locks.waitsForExit(run.process.pid, call.number, null);
  return value(exit);
}

/** What the program holds, without what its calls hold for as long as they last. */
const ownLocks = (locks: Locks, pid: ProcessId): HeldLock[] =>
  locks.held(pid).filter(({ forCall }) => forCall !== true);

async function acquireLock(context: CallContext): Promise<Performed> {
  const { services, run, call } = context;
  const { key, leaseMs = LEASE_MS_DEFAULT } = argsOf(context, "lock.acquire");
  await services.locks.restored();
  const { locks } = services.ports.scheduler;
  const asked = locks.acquire(run.process.standing, { call: call.number, key, leaseMs }, run.signal);
  const { untilMs } = asked instanceof Promise ? await run.queue(call.number, asked) : asked;
  // Should the outcome not come to be recorded, the next run of the program takes it again.
  return { ...value({ untilMs }), locks: () => ownLocks(locks, run.process.pid) };
}

async function releaseLock(context: CallContext): Promise<Performed> {
  const { services, run } = context;
  const { key } = argsOf(context, "lock.release");
  await services.locks.restored();
  const { locks } = services.ports.scheduler;
  const released = ownLocks(locks, run.process.pid).some((held) => held.key === key);
  return {
    ...value({ released }),
    locks: () => ownLocks(locks, run.process.pid).filter((held) => held.key !== key),
    // Nobody else gets it before that is durable.
    after: () => void (released && locks.release(run.process.pid, key)),
  };
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

async function askQuestion(context: CallContext): Promise<Performed> {
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
  return value(await signal(context.services, { pid, signal: sent, reason, by: context.run.process.pid }));
}

export const PERFORMERS: { readonly [Name in ProcessCall]: Performer } = {
  "model.generate": { demand: modelDemand, perform: generate },
  "tool.call": { demand: toolDemand, perform: callTool },
  "lock.acquire": own(acquireLock),
  "lock.release": own(releaseLock),
  "process.spawn": { demand: spawnDemand, perform: spawn },
  "process.wait": own(wait),
  "process.signal": own(signalProcess),
  "message.send": own(send),
  "message.receive": own(receiveMessage),
  "human.ask": own(askQuestion),
  "clock.now": own(async ({ services }) => value({ ms: services.ports.clock.nowMs() })),
  "clock.sleep": own(sleep),
  "random.bytes": own(async (context) => {
    const bytes = context.services.ports.random.bytes(argsOf(context, "random.bytes").size);
    return value({ base64: Buffer.from(bytes).toString("base64") });
  }),
};

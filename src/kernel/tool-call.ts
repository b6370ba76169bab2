// Calls of tools: what one needs, and what its outcome means.
import { OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { JsonObject } from "../abi/json.ts";
import type { Spent } from "../abi/process.ts";
import type { Invocation, Notes, Preview } from "../ports/tools.ts";
import { type Demand, type Performed, value } from "./performance.ts";
import { filled } from "./requests.ts";
import { entryOf } from "./process.ts";
import { type CallContext, write } from "./waiting.ts";

export function toolDemand({ services, call }: CallContext): Demand | null {
  const { tool } = call;
  if (tool === undefined) return null;
  const { exclusive, costUsd, timeoutMs } = tool.manifest;
  const amounts = { ...ONE_CALL, costUsd: costUsd ?? 0 };
  const key = exclusive === undefined ? undefined : filled(exclusive, (call.args as { args: JsonObject }).args);
  return {
    resource: services.ports.tools.resource(tool),
    amounts,
    within: () => amounts,
    timeoutMs,
    counted: true,
    exclusive: key,
  };
}

const ONE_CALL: Spent = { calls: 1, inputTokens: 0, outputTokens: 0, costUsd: 0 };

export async function callTool(context: CallContext): Promise<Performed> {
  const { services, run } = context;
  const invocation = invocationOf(context);
  const { tool } = invocation;
  const previewed = tool.manifest.preview === true ? await previewedDigest(context) : undefined;
  const outcome = await services.ports.tools.call(previewed === undefined ? invocation : { ...invocation, previewed }, {
    signal: run.signal,
  });
  switch (outcome.kind) {
    case "done":
      return undone(context, value(outcome.content as JsonObject));
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

/** What a call took back stands in the journal of the process that had done it, written together with the outcome. */
async function undone(
  { services, run, call }: CallContext,
  done: Extract<Performed, { kind: "value" }>,
): Promise<Performed> {
  const { undoes } = call.args as { undoes?: { pid: ProcessId; call: number } };
  if (undoes === undefined) return done;
  const process = await services.table.pin(undoes.pid);
  const header = { kind: "call.undone", call: undoes.call, by: run.process.pid } as const;
  return {
    ...done,
    extra: () => [process.prepare([entryOf(header)])],
    release: () => services.table.unpin(process),
  };
}

/** What the call would do, for a human to see before he decides; undefined where its tool cannot say. */
export async function previewOf(context: CallContext): Promise<Preview | undefined> {
  const { services, run, call } = context;
  if (call.tool?.manifest.preview !== true) return undefined;
  return services.ports.tools.preview(invocationOf(context), { signal: run.signal });
}

/** What a human saw and approved stands in his request, also after a crash. */
async function previewedDigest({ services, call }: CallContext): Promise<string | undefined> {
  if (call.approval === undefined) return undefined;
  return (await services.ports.store.request(call.approval))?.preview?.digest;
}

export function invocationOf(context: CallContext): Invocation {
  const { run, call } = context;
  const { tool, number } = call;
  if (tool === undefined)
    throw new OsError("not_found", "The process has no such tool.", { data: { what: "tool", id: "" } });
  return {
    tool,
    args: (call.args as { args: JsonObject }).args,
    key: idempotencyKey(run.process.pid, number),
    process: run.process,
    call: number,
    notes: notesOf(context),
    output: (text) => context.services.bus.delta({ kind: "delta", pid: run.process.pid, call: number, text }),
  };
}

/** Writes into the journal what happens beside the call. */
const notesOf =
  (context: CallContext): Notes =>
  (header, payloads = {}) =>
    write(context, [entryOf(header, payloads)], { payloads: [] });

/** The same for every dispatch of a call, and for no other call. */
export const idempotencyKey = (pid: ProcessId, number: number): string => `${pid}.${number}`;

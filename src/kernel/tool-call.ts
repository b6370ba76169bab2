// Calls of tools: what one needs, and what its outcome means.
import { OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { JsonObject } from "../abi/json.ts";
import type { Spent } from "../abi/process.ts";
import { type Demand, type Performed, value } from "./performance.ts";
import { filled } from "./requests.ts";
import type { CallContext } from "./waiting.ts";

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

export async function callTool({ services, run, call }: CallContext): Promise<Performed> {
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

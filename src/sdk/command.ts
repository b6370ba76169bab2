// The program of a command agent: has its command run, and ends with what came of it.
import { EXEC_TOOL } from "../abi/agents.ts";
import type { Json, JsonObject } from "../abi/json.ts";
import type { Sys } from "./sys.ts";

/**
 * One call: what the command does is kept by the journal as the call's outcome, so it is not run again after a crash. The standard input
 * is the task's, since it belongs to the run and not to the agent.
 */
export async function command(sys: Sys, words: readonly string[], task: Json): Promise<Json> {
  const { input } = task as JsonObject;
  const args = { command: [...words], ...(input === undefined ? {} : { input }) };
  const { text, data } = await sys.tool.call({ tool: EXEC_TOOL, args });
  return { text, ...data };
}

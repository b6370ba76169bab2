// The program of a command agent: has its command run, and ends with what came of it.
import { EXEC_TOOL } from "../abi/agents.ts";
import type { Json } from "../abi/json.ts";
import type { Sys } from "./sys.ts";

/** One call: what the command does is kept by the journal as the call's outcome, so it is not run again after a crash. */
export async function command(sys: Sys, words: readonly string[]): Promise<Json> {
  const { text, data } = await sys.tool.call({ tool: EXEC_TOOL, args: { command: [...words] } });
  return { text, ...data };
}

// The program of `reeve undo`: issues one call for each thing that is to be taken back, and stops at the first that fails.
import { errorRecord } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Json, JsonObject } from "../abi/json.ts";
import type { Sys } from "./sys.ts";

/** What the kernel gives it as its task, the last effect first. */
export type UndoTask = {
  readonly of: ProcessId;
  readonly steps: readonly {
    readonly tool: string;
    readonly args: JsonObject;
    readonly undoes: { readonly pid: ProcessId; readonly call: number };
  }[];
};

/** What was done later may rest on what was done before, so nothing before a step that failed is taken back. */
export async function undo(sys: Sys, { of, steps }: UndoTask): Promise<Json> {
  const undone: number[] = [];
  for (const { tool, args, undoes } of steps) {
    try {
      await sys.tool.call({ tool, args, undoes });
    } catch (error) {
      const why = errorRecord(error);
      const left = steps.slice(undone.length).map((step) => `#${step.undoes.call}`);
      return {
        text: `Stopped at call #${undoes.call} of ${of}: ${why.message} Taken back: ${listed(undone)}. Left as they are: ${left.join(", ")}.`,
        undone,
        failed: { call: undoes.call, error: why.code },
      };
    }
    undone.push(undoes.call);
  }
  return { text: `Took back what ${of} did: ${listed(undone)}.`, undone, failed: null };
}

const listed = (calls: readonly number[]): string =>
  calls.length === 0 ? "nothing" : calls.map((call) => `#${call}`).join(", ");

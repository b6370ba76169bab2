// The program of `reeve undo`: issues one call for each thing that is to be taken back, and stops at the first that fails.
import { errorRecord } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Json, JsonObject } from "../abi/json.ts";
import type { Sys } from "./sys.ts";

type Undone = { readonly pid: ProcessId; readonly call: number };

/** What the kernel gives it as its task, the last effect first. */
export type UndoTask = {
  readonly of: ProcessId;
  readonly steps: readonly {
    readonly tool: string;
    readonly args: JsonObject;
    readonly undoes: Undone;
  }[];
};

/** What was done later may rest on what was done before, so nothing before a step that failed is taken back. */
export async function undo(sys: Sys, { of, steps }: UndoTask): Promise<Json> {
  const undone: Undone[] = [];
  const named = ({ pid, call }: Undone): string => (pid === of ? `#${call}` : `#${call} of ${pid}`);
  const listed = (calls: readonly Undone[]): string => calls.map(named).join(", ") || "nothing";
  for (const { tool, args, undoes } of steps) {
    try {
      await sys.tool.call({ tool, args, undoes });
    } catch (error) {
      const why = errorRecord(error);
      const left = steps.slice(undone.length).map((step) => step.undoes);
      return {
        text: `Stopped at call ${named(undoes)}: ${why.message} Taken back: ${listed(undone)}. Left as they are: ${listed(left)}.`,
        undone,
        failed: { ...undoes, error: why.code },
      };
    }
    undone.push(undoes);
  }
  return { text: `Took back what ${of} did: ${listed(undone)}.`, undone, failed: null };
}

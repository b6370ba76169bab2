// A process, as the stations see it.
import type { AgentManifest, Budget } from "../abi/agents.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Json } from "../abi/json.ts";
import type { Spent } from "../abi/process.ts";
import type { Effect } from "../abi/effects.ts";
import type { ProcessCall } from "../abi/syscalls.ts";
import type { ToolDefinition } from "../abi/tools.ts";
import type { Standing } from "./scheduler.ts";

/** Whether a process is alive and what bounds it, with its line of ancestors. Shared by all of a tree, so that an exit is seen at once. */
export type Life = { readonly pid: ProcessId; readonly parent: Life | null; exited: boolean; budget: Budget };

export interface ProcessView {
  readonly pid: ProcessId;
  readonly root: ProcessId;
  readonly life: Life;
  readonly manifest: AgentManifest;
  /** The tools that it was given, as they were pinned when it started; by name. */
  readonly tools: ReadonlyMap<string, ToolDefinition>;
  readonly budget: Budget;
  readonly spent: Spent;
  /** Where it stands among the others. */
  readonly standing: Standing;
  /** By when it must be over; milliseconds since 1970. */
  readonly deadlineMs: number | null;
}

/** A call on its way through the stations. */
export type CallView = {
  /** Counts from 0 in the order in which the program issues its calls. */
  readonly number: number;
  readonly syscall: ProcessCall;
  readonly args: Json;
  readonly effect: Effect;
  /** For `tool.call`: the tool. */
  readonly tool?: ToolDefinition | undefined;
  /** For calls that concern another process of a tree: that process. */
  readonly target?: Life | undefined;
};

// Programs: what runs an agent, and the one way out that it has.
import type { Agent } from "../abi/agents.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Json } from "../abi/json.ts";
import type { ProcessCall } from "../abi/syscalls.ts";

/**
 * The program's channel to the kernel. `number` counts the program's calls from 0 in the order in which it issues them.
 * Resolves with the outcome, rejects with an OsError. Never settles once the run is disposed of.
 * Outcomes of one process are delivered one at a time, each in a turn of the event loop of its own,
 * so that what the program does between two of them is always the same.
 */
export type Issue = (number: number, syscall: ProcessCall, args: Json) => Promise<Json>;

export type ProgramStart = {
  readonly pid: ProcessId;
  readonly agent: Agent;
  readonly task: Json;
  /** When the process was created: the time that its program starts from, in every run. Milliseconds since 1970. */
  readonly createdMs: number;
  readonly issue: Issue;
};

export interface ProgramRun {
  /** The program's result. Rejects with what it threw, or with `program_failed` if it died. Never settles once disposed of. */
  readonly result: Promise<Json>;
  /**
   * Resolves once the program, having handled every outcome that it was given before, has nothing left to do but to wait for
   * the next one. A program that computes answers late, and one that never returns never does; never settles once
   * disposed of. Absent where the program runs in the kernel's own event loop, in whose next turn that is so anyway.
   */
  idle?(): Promise<void>;
  /** Ends the program at once, without a word to it. Idempotent. */
  dispose(): void;
}

/** Runs programs of the kinds it knows. */
export interface ProgramHost {
  start(start: ProgramStart): ProgramRun;
  close(): Promise<void>;
}

export interface AgentSource {
  /** Rejects with `not_found` (naming what there is) or `agent_invalid` (naming the file and the fault). */
  find(name: string): Promise<Agent>;
  list(): Promise<{
    readonly agents: readonly Agent[];
    readonly invalid: readonly { readonly file: string; readonly message: string }[];
  }>;
}

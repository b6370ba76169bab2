// The running system, as the doors see it: what an operator can ask of it.
import type { Actor, Event } from "../abi/events.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Input, OperatorCall, Output } from "../abi/syscalls.ts";

/** What a follower of a process sees: its events, and between them the model's words as they come, which are not recorded. */
export type StreamItem =
  | { readonly kind: "event"; readonly event: Event }
  | { readonly kind: "delta"; readonly pid: ProcessId; readonly call: number; readonly text: string };

export interface System {
  /**
   * Performs an operator's call. The arguments are checked here, so a door may pass on what it got.
   * Rejects with an OsError. `journal.follow` is not among them: see `follow`.
   */
  operate<Name extends Exclude<OperatorCall, "journal.follow">>(
    name: Name,
    args: Input<Name>,
    by: Actor,
  ): Promise<Output<Name>>;
  /** Events from `from` on, those that exist and those to come; ends when the process has exited or the signal fires. Rejects with `not_found`. */
  follow(pid: ProcessId, from: number, signal: AbortSignal): AsyncIterable<StreamItem>;
}

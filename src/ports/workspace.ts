// Workspaces: the folder that a process works in, a copy that nobody sees changed until it is committed.
import type { ProcessId } from "../abi/ids.ts";
import type { Differences } from "../abi/reports.ts";

export type WorkspaceSpec = {
  /** The folder that it begins as a copy of, relative to the configuration; empty if absent. */
  readonly from?: string | undefined;
  readonly diskBytes: number;
};

export type FileEntry = {
  /** From the root of the workspace. */
  readonly path: string;
  readonly kind: "file" | "folder" | "link" | "other";
  readonly sizeBytes: number;
};

/** The workspace of one process. Paths are relative to it (or begin with /ws, as inside); none leads out of it, through links or otherwise. */
export interface Workspace {
  /** On the machine: what a sandbox has at /ws. */
  readonly folder: string;
  /** The user of the machine that all of it belongs to and that sandboxes must run under; null where Reeve may not choose one. */
  readonly uid: number | null;
  /** Whether the system bounds its size (`diskBytes`), or nobody does but whoever writes there. */
  readonly quota: "kernel" | "none";
  /**
   * Keeps it as it stands, under the call that comes. Once for each call; answers whether anything had to be kept. Rejects with
   * `limit_exceeded` if it holds more than can be kept; the call must then not be made.
   */
  snapshot(call: number): Promise<boolean>;
  /**
   * Puts it back to how it stood before the call, for whoever has it open and begins that call again. Answers false, and does nothing,
   * where it was kept for another call since: what that did would be lost.
   */
  putBack(call: number): Promise<boolean>;
  /**
   * All of these reject with `not_found`, `invalid_argument` (a path that leads out, or is no file), `limit_exceeded`, or `conflict` where
   * a program changes the same place at the same time.
   */
  read(path: string, options?: { readonly bytesMax?: number }): Promise<Uint8Array>;
  /** Whole or not at all. Makes the folders that are missing; a file that is there keeps its permissions. */
  write(path: string, bytes: Uint8Array): Promise<void>;
  remove(path: string): Promise<void>;
  /** What stands in a folder, by name. A name that is no UTF-8 is shown, and cannot be used. */
  list(path: string): Promise<readonly FileEntry[]>;
  /** Lets go of it: only a workspace that nobody holds open may be put away. Idempotent. */
  close(): Promise<void>;
}

/** A workspace as it stands, used or not. */
export type WorkspaceState = {
  /** The folder that it began as a copy of, on the machine; null if it began empty. */
  readonly from: string | null;
  /** What it takes on the disk, with all that was kept of it. */
  readonly sizeBytes: number;
  /** How much stands in it and nowhere else: what differs from how it began or was last written back, and what cannot be kept. */
  readonly changed: number;
};

/** A workspace that is being removed. `lost`: what stood in it and nowhere else, without lines. */
export type Removal = { readonly pid: ProcessId; readonly by: string; readonly lost: Differences };

/** `leftOut`: what is not in it, and why. */
export type Patch = { readonly patch: string; readonly leftOut: Differences["leftOut"] };

export type CommitOptions = { readonly except?: readonly string[]; readonly to?: string | undefined };

export interface Workspaces {
  /** Made at first use, found again afterwards, over restarts. Every one that is opened must be closed. */
  open(pid: ProcessId, spec: WorkspaceSpec): Promise<Workspace>;
  /** What differs from how it began or was last written back (`null`), or from how it stood before a call. Rejects with `not_found` where there is none, or that is not kept. */
  diff(pid: ProcessId, from: number | null): Promise<Differences>;
  /** The same as one patch that `git apply` takes, with binary contents. Rejects with `limit_exceeded` for more than a patch may hold. */
  patch(pid: ProcessId, from: number | null): Promise<Patch>;
  /** The calls before which it was kept, oldest first. The oldest give way when all together would take too much room. */
  snapshots(pid: ProcessId): Promise<readonly number[]>;
  /**
   * Writes the differences back to the folder that it began as a copy of. Rejects with `conflict` for what changed there
   * meanwhile; nothing is then written. After a crash in the middle it is simply asked for again. What differs at or below the paths
   * `except` is not written, and goes on to differ. `to`: a folder within the project's for one that began empty, which has it from then
   * on; rejects with `invalid_argument` for one that has another.
   */
  commit(pid: ProcessId, options?: CommitOptions): Promise<Differences>;
  /**
   * Puts it back to how it began or was last written back (`null`), how it stood before a call, or how it stood before it was last put
   * back (`replaced`). Answers with what that changed. Rejects with `not_found` for what is not kept, and with `conflict` while somebody has
   * it open. What a crash cuts off is ended at the next use.
   */
  rollback(pid: ProcessId, to: number | "replaced" | null): Promise<Differences>;
  /** All that there are, by their processes, in the order of pids. */
  list(): Promise<readonly ProcessId[]>;
  /** How many there are, and what they take, without looking into them. */
  room(): Promise<{ readonly count: number; readonly sizeBytes: number }>;
  /** Looks into one. Rejects with `not_found`. Costs little where nobody has used it since the last look. */
  look(pid: ProcessId): Promise<WorkspaceState>;
  /**
   * The first half of a removal: from here on there is no such workspace. Answers with what stood in it and nowhere else, without lines.
   * Rejects with `not_found`; with `conflict` where it is in use or, without `discard`, holds such (data.paths). `by`: for whoever finishes it.
   */
  setAside(pid: ProcessId, how: { readonly discard: boolean; readonly by: string }): Promise<Differences>;
  /** What was set aside and is not erased: removals that are under way, or that a crash has cut off. */
  removals(): Promise<readonly Removal[]>;
  /** The other half: what was set aside is gone. Idempotent. */
  erase(pid: ProcessId): Promise<void>;
  close(): Promise<void>;
}

// Workspaces in the data folder: the face of the driver. What is done to files is done on a thread of its own (worker.ts).
//
// Invariants:
//   W1. A workspace is there for use from `open` to the `close` of the last who holds it; after that it is put away when it has been idle.
//   W2. Nothing is left mounted after `close`, nor after Reeve's death (disk.ts).
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { Worker } from "node:worker_threads";
import { OsError } from "../../abi/errors.ts";
import type { ProcessId } from "../../abi/ids.ts";
import type { Differences } from "../../abi/reports.ts";
import type { CommitOptions, Removal, Workspace, Workspaces, WorkspaceSpec } from "../../ports/workspace.ts";
import { hasLeftOvers } from "./disk.ts";
import type { KeeperOptions, Place } from "./keeper.ts";
import { removalsIn } from "./removal.ts";
import type { Answer, Order, Orders } from "./worker.ts";

export type WorkspaceOptions = {
  /** Where they lie: a folder in the data folder, which is never part of a copy. Absolute. */
  readonly folder: string;
  /** Where `from` of a workspace begins; absolute. */
  readonly projectFolder: string;
  /** Of which the upper quarter is for workspaces. */
  readonly uids: { readonly from: number; readonly to: number };
  /** How long one stays ready for use that nobody uses. Milliseconds. */
  readonly idleMs?: number;
};

const IDLE_MS = 60_000;

export function createWorkspaces(options: WorkspaceOptions): Workspaces {
  const { folder, projectFolder, uids, idleMs = IDLE_MS } = options;
  const quarter = Math.max(1, Math.floor((uids.to - uids.from + 1) / 4));
  return new FileWorkspaces(
    {
      folder,
      projectFolder,
      dataFolder: dirname(folder),
      uids: { from: uids.to + 1 - quarter, to: uids.to },
    },
    idleMs,
  );
}

type Holding = { holders: number; readonly place: Promise<Place> };

class FileWorkspaces implements Workspaces {
  readonly #options: KeeperOptions;
  readonly #idleMs: number;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #held = new Map<ProcessId, Holding>();
  readonly #idle = new Map<ProcessId, NodeJS.Timeout>();
  #worker: Worker | undefined;
  #orders = 0;
  #closed = false;

  constructor(options: KeeperOptions, idleMs: number) {
    this.#options = options;
    this.#idleMs = idleMs;
    // Trouble with it is met again, and told, by the first who uses one.
    if (hasLeftOvers(options.folder)) this.#send("ready", []).catch(() => {});
  }

  async open(pid: ProcessId, { from, diskBytes }: WorkspaceSpec): Promise<Workspace> {
    this.#rouse(pid);
    const known = this.#held.get(pid);
    const held = known ?? { holders: 0, place: this.#order("open", pid, { from: from ?? null, diskBytes }) };
    this.#held.set(pid, held);
    held.holders += 1;
    try {
      return this.#handle(pid, await held.place);
    } catch (error) {
      this.#letGo(pid, held);
      throw error;
    }
  }

  #handle(pid: ProcessId, place: Place): Workspace {
    const held = this.#held.get(pid);
    let open = true;
    return {
      ...place,
      snapshot: (call) => this.#order("snapshot", pid, call),
      putBack: (call) => this.#order("putBack", pid, call),
      read: (path, { bytesMax } = {}) => this.#order("read", pid, path, bytesMax),
      write: (path, bytes) => this.#order("write", pid, path, bytes),
      remove: (path) => this.#order("removeFile", pid, path),
      list: (path) => this.#order("list", pid, path),
      close: async () => {
        if (open && held !== undefined) this.#letGo(pid, held);
        open = false;
      },
    };
  }

  #letGo(pid: ProcessId, held: Holding): void {
    held.holders -= 1;
    if (held.holders > 0) return;
    if (this.#held.get(pid) === held) this.#held.delete(pid);
    this.#rest(pid);
  }

  diff = (pid: ProcessId, from: number | null) => this.#briefly(pid, () => this.#order("diff", pid, from));
  patch = (pid: ProcessId, from: number | null) => this.#briefly(pid, () => this.#order("patch", pid, from));
  snapshots = (pid: ProcessId) => this.#briefly(pid, () => this.#order("snapshots", pid));
  commit = (pid: ProcessId, options: CommitOptions = {}) =>
    this.#briefly(pid, () => this.#order("commit", pid, options));

  async rollback(pid: ProcessId, to: number | "replaced" | null): Promise<Differences> {
    this.#assertFree(pid);
    return this.#briefly(pid, () => this.#order("rollback", pid, to));
  }

  async list(): Promise<readonly ProcessId[]> {
    return this.#isThere ? ((await this.#order("all")) as readonly ProcessId[]) : [];
  }

  async room(): Promise<{ readonly count: number; readonly sizeBytes: number }> {
    const all = await this.list();
    let sizeBytes = 0;
    // One order each, so that nobody waits for all of them.
    for (const pid of all) sizeBytes += await this.#order("room", pid);
    return { count: all.length, sizeBytes };
  }

  look = (pid: ProcessId) => this.#briefly(pid, () => this.#order("look", pid, !this.#held.has(pid)));

  async setAside(pid: ProcessId, how: { readonly discard: boolean; readonly by: string }): Promise<Differences> {
    this.#assertFree(pid);
    return this.#briefly(pid, () => this.#order("setAside", pid, how));
  }

  #assertFree(pid: ProcessId): void {
    if (!this.#held.has(pid)) return;
    throw new OsError(
      "conflict",
      `The workspace of ${pid} is in use: a program of it is just ending. Try again when it has.`,
      { data: { what: "workspace", id: pid } },
    );
  }

  async removals(): Promise<readonly Removal[]> {
    return removalsIn(this.#options.folder);
  }

  erase = (pid: ProcessId) => this.#order("erase", pid);

  /** Where nothing was ever made, nobody has to be started to find nothing. */
  get #isThere(): boolean {
    return existsSync(this.#options.folder);
  }

  async #briefly<T>(pid: ProcessId, use: () => Promise<T>): Promise<T> {
    this.#rouse(pid);
    try {
      return await use();
    } finally {
      this.#rest(pid);
    }
  }

  #rouse(pid: ProcessId): void {
    clearTimeout(this.#idle.get(pid));
    this.#idle.delete(pid);
  }

  #rest(pid: ProcessId): void {
    if (this.#held.has(pid) || this.#closed) return;
    this.#rouse(pid);
    const timer = setTimeout(() => void this.#putAway(pid), this.#idleMs);
    timer.unref();
    this.#idle.set(pid, timer);
  }

  async #putAway(pid: ProcessId): Promise<void> {
    this.#idle.delete(pid);
    // It is tried again when somebody looks into it now, or it could not be done; at the latest, closing does it.
    const done = await this.#order("putAway", pid).catch(() => false);
    if (!done) this.#rest(pid);
  }

  #order<Name extends keyof Orders>(name: Name, ...args: Parameters<Orders[Name]>): Promise<ReturnType<Orders[Name]>> {
    if (this.#closed)
      return Promise.reject(new OsError("cancelled", "Reeve is closing: nothing more is done in workspaces."));
    if (process.platform !== "linux")
      return Promise.reject(
        new OsError(
          "unsupported",
          "Workspaces need Linux. Run Reeve there, or give the agent no tools that work on files.",
        ),
      );
    return this.#send(name, args) as Promise<ReturnType<Orders[Name]>>;
  }

  #send(name: Order["name"], args: readonly unknown[]): Promise<unknown> {
    const id = (this.#orders += 1);
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    const worker = (this.#worker ??= this.#start());
    worker.ref();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- to a thread, not to a window
    worker.postMessage({ id, name, args } satisfies Order);
    return waiting.promise;
  }

  /** The thread's file has the ending of this one: .ts from source, .js as built. */
  #start(): Worker {
    const ending = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const worker = new Worker(new URL(`worker.${ending}`, import.meta.url), {
      workerData: this.#options,
      name: "reeve-workspaces",
      execArgv: [],
    });
    worker.on("message", (said: Answer) => this.#heard(said));
    worker.on("error", (error) => this.#lost(worker, error as Error));
    worker.on("exit", () => this.#lost(worker, new Error("its thread has ended")));
    return worker;
  }

  #heard(said: Answer): void {
    const waiting = this.#waiting.get(said.id);
    this.#waiting.delete(said.id);
    // A thread with nothing to do keeps no program running.
    if (this.#waiting.size === 0) this.#worker?.unref();
    if ("error" in said) waiting?.reject(OsError.from(said.error));
    else waiting?.resolve(said.value);
  }

  /** The next order starts another thread. */
  #lost(worker: Worker, cause: Error): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const each of waiting)
      each.reject(new OsError("internal", `Workspaces cannot be kept: ${cause.message}.`, { cause }));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const timer of this.#idle.values()) clearTimeout(timer);
    if (this.#worker === undefined) return;
    await this.#send("close", []);
    const worker = this.#worker;
    this.#worker = undefined;
    await worker.terminate();
  }
}

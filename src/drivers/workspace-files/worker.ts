// The thread on which workspaces are kept: does one thing after the other, so that a large copy holds up nothing but other workspaces.
import { parentPort, workerData } from "node:worker_threads";
import { type ErrorRecord, errorRecord, OsError } from "../../abi/errors.ts";
import type { Differences } from "../../abi/reports.ts";
import type { CommitOptions, FileEntry, Patch, WorkspaceState } from "../../ports/workspace.ts";
import { asOsError } from "./beneath.ts";
import { listFolder, readFile, removeFile, writeFile } from "./files.ts";
import { Keeper, type KeeperOptions, type Making, type Place } from "./keeper.ts";

export type Orders = {
  readonly open: (pid: string, making: Making) => Place;
  readonly snapshot: (pid: string, call: number) => boolean;
  readonly putBack: (pid: string, call: number) => boolean;
  readonly snapshots: (pid: string) => readonly number[];
  readonly diff: (pid: string, from: number | null) => Differences;
  readonly patch: (pid: string, from: number | null) => Patch;
  readonly commit: (pid: string, options: CommitOptions) => Differences;
  readonly rollback: (pid: string, to: number | "replaced" | null) => Differences;
  readonly read: (pid: string, path: string, bytesMax?: number) => Uint8Array;
  readonly write: (pid: string, path: string, bytes: Uint8Array) => void;
  readonly removeFile: (pid: string, path: string) => void;
  readonly list: (pid: string, path: string) => readonly FileEntry[];
  readonly putAway: (pid: string) => boolean;
  readonly all: () => readonly string[];
  readonly room: (pid: string) => number;
  readonly look: (pid: string, resting: boolean) => WorkspaceState;
  readonly setAside: (pid: string, how: { readonly discard: boolean; readonly by: string }) => Differences;
  readonly erase: (pid: string) => void;
};
export type Order = {
  readonly id: number;
  readonly name: keyof Orders | "ready" | "close";
  readonly args: readonly unknown[];
};
export type Answer = { readonly id: number } & ({ readonly value: unknown } | { readonly error: ErrorRecord });

let keeper: Keeper | undefined;
const kept = (): Keeper => (keeper ??= new Keeper(workerData as KeeperOptions));

/** On a path that a tool has named. */
function onPath<T>(pid: string, path: string, use: (root: number) => T): T {
  const shelf = kept().shelf(pid);
  try {
    return shelf.within(use);
  } catch (error) {
    throw asOsError(error, path);
  }
}

const ORDERS: Orders = {
  open: (pid, making) => kept().open(pid, making),
  snapshot: (pid, call) => kept().shelf(pid).snapshot(call),
  putBack: (pid, call) => kept().shelf(pid).putBackFor(call),
  snapshots: (pid) => kept().shelf(pid).snapshots,
  diff: (pid, from) => kept().shelf(pid).diff(from),
  patch: (pid, from) => kept().shelf(pid).patch(from),
  commit: (pid, options) => kept().commit(pid, options),
  rollback: (pid, to) => kept().shelf(pid).rollback(to),
  read: (pid, path, bytesMax) =>
    onPath(pid, path, (root) =>
      readFile(root, path, { bytesMax, sealed: kept().shelf(pid).record.quota === "kernel" }),
    ),
  write: (pid, path, bytes) => {
    const shelf = kept().shelf(pid);
    const { quota, diskBytes } = shelf.record;
    if (quota === "none" && shelf.usedBytes + bytes.length > diskBytes)
      throw new OsError("limit_exceeded", `The workspace holds at most ${diskBytes} bytes. Remove something first.`, {
        data: { limit: "diskBytes", max: diskBytes },
      });
    onPath(pid, path, (root) => writeFile(root, path, bytes));
    shelf.usedBytes += bytes.length;
  },
  removeFile: (pid, path) => onPath(pid, path, (root) => removeFile(root, path)),
  list: (pid, path) => onPath(pid, path, (root) => listFolder(root, path)),
  putAway: (pid) => kept().putAway(pid),
  all: () => kept().all(),
  room: (pid) => kept().room(pid),
  look: (pid, resting) => kept().look(pid, resting),
  setAside: (pid, how) => kept().setAside(pid, how),
  erase: (pid) => kept().erase(pid),
};

async function answer({ id, name, args }: Order): Promise<Answer> {
  try {
    if (name === "close") return { id, value: await keeper?.close() };
    if (name === "ready") return { id, value: void kept() };
    const perform = ORDERS[name] as (...given: readonly unknown[]) => unknown;
    return { id, value: perform(...args) };
  } catch (error) {
    return { id, error: errorRecord(asOsError(error, "the workspace")) };
  }
}

parentPort?.on("message", (order: Order) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- to a thread, not to a window
  void answer(order).then((said) => parentPort?.postMessage(said));
});

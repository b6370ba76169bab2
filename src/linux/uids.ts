// User ids of the machine for sandboxes: one for each that runs, and a lasting one for each workspace.
//
// A uid goes round: the next sandbox gets the one behind the last, so that one which is given back rests until the whole range
// has been used. The upper quarter of the range is for workspaces, whose files keep their owner from one sandbox to the next.
//
// Invariants:
//   U1. Two sandboxes that run at once have different ids, unless they share a workspace.
//   U2. No id outside of the range is given.
import { OsError } from "../abi/errors.ts";

export type UidRange = { readonly from: number; readonly to: number };

export type Shares = { readonly containers: UidRange; readonly servers: UidRange; readonly others: UidRange };

/** Containers, and servers in whatever sandbox they run, have ids that nothing else has; workspaces share theirs with the sandboxes that work in them. */
export function sharesOf({ from, to }: UidRange): Shares {
  const count = Math.floor((to - from + 1) / 8);
  const [first, second] = [from + count, from + 2 * count];
  return {
    containers: { from, to: first - 1 },
    servers: { from: first, to: second - 1 },
    others: { from: second, to },
  };
}

export class Uids {
  readonly #range: UidRange;
  readonly #firstOfWorkspaces: number;
  readonly #inUse = new Set<number>();
  readonly #workspaces = new Map<number, { readonly folder: string; users: number }>();
  #next: number;

  /** `start` is where the round begins; another one in each run of Reeve. */
  constructor(range: UidRange, start: number) {
    this.#range = range;
    const size = range.to - range.from + 1;
    this.#firstOfWorkspaces = range.to + 1 - Math.floor(size / 4);
    this.#next = range.from + (start % (this.#firstOfWorkspaces - range.from));
  }

  /** Rejects with `limit_exceeded` if all are in use. */
  take(): number {
    const size = this.#firstOfWorkspaces - this.#range.from;
    for (let tried = 0; tried < size; tried += 1) {
      const uid = this.#next;
      this.#next = uid + 1 < this.#firstOfWorkspaces ? uid + 1 : this.#range.from;
      if (this.#inUse.has(uid)) continue;
      this.#inUse.add(uid);
      return uid;
    }
    throw exhausted(this.#range, size);
  }

  /** `owner`: whose the folder is now. An id of the range stays, so that what was written before is still the sandbox's own. */
  takeFor(folder: string, owner: number): number {
    const size = this.#range.to + 1 - this.#firstOfWorkspaces;
    const first =
      owner >= this.#firstOfWorkspaces && owner <= this.#range.to
        ? owner
        : this.#firstOfWorkspaces + (hashOf(folder) % Math.max(1, size));
    for (let tried = 0; tried < size; tried += 1) {
      const uid = this.#firstOfWorkspaces + ((first - this.#firstOfWorkspaces + tried) % size);
      const held = this.#workspaces.get(uid);
      if (held !== undefined && held.folder !== folder) continue;
      this.#workspaces.set(uid, { folder, users: (held?.users ?? 0) + 1 });
      return uid;
    }
    throw exhausted(this.#range, size);
  }

  /** Also for an id that was not taken here: it then stays whose it is. */
  giveBack(uid: number): void {
    this.#inUse.delete(uid);
    const held = this.#workspaces.get(uid);
    if (held === undefined) return;
    held.users -= 1;
    if (held.users === 0) this.#workspaces.delete(uid);
  }
}

const exhausted = (range: UidRange, size: number): OsError =>
  new OsError(
    "limit_exceeded",
    `All ${size} user ids for sandboxes (${range.from} to ${range.to}) are in use: widen sandbox.uids, or lower sandbox.concurrency.`,
    { data: { limit: "sandbox.uids", max: size } },
  );

/** FNV-1a: the same folder begins its search at the same id in every run. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193) >>> 0;
  return hash;
}

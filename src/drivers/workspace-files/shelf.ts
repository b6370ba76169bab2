// One workspace on disk: its live folder, what was kept of it, and what is written of it.
//
//   <pid>/workspace.json   what it is (record.ts)        <pid>/ws         the live folder: what is inside at /ws
//   <pid>/snapshots/<n>    its tree before call n        <pid>/objects    contents and trees (objects.ts)
//   <pid>/disk.img         the file system of ws, where the system bounds it (disk.ts)
//
// Boundary: everything here is done at once, on the thread of worker.ts. Errors are OsErrors where a caller can do something about them.
import * as fs from "node:fs";
import { join, relative } from "node:path";
import { OsError } from "../../abi/errors.ts";
import {
  WORKSPACE_CHANGES_MAX,
  WORKSPACE_DEPTH_MAX,
  WORKSPACE_ENTRIES_MAX,
  WORKSPACE_KEPT_SIZES_MAX,
} from "../../abi/limits.ts";
import type { Differences, LeftOut } from "../../abi/reports.ts";
import type { Patch } from "../../ports/workspace.ts";
import { type Name, namesOf, openRoot, ownerOf, shownPath, using } from "./beneath.ts";
import { changesOf } from "./changes.ts";
import { check, toWrite, write } from "./commit.ts";
import { syncFileSystem } from "./disk.ts";
import { isOfGit } from "./git-paths.ts";
import { Objects } from "./objects.ts";
import { isLatest, readSnapshots, type Record, removeSnapshot, writeRecord, writeSnapshot } from "./record.ts";
import { patchOf } from "./patch.ts";
import { restore } from "./restore.ts";
import { type FileCache, type Kept, scan } from "./scan.ts";
import { type Difference, differences, isAtOrBelow } from "./tree.ts";
import { putBack } from "./partial.ts";

export type CommitPlaces = {
  /** For one that began empty: the folder that it is written to. */
  readonly to?: string | undefined;
  /** Reeve's own; nothing is written there. As the system resolves it. */
  readonly dataFolder?: string | undefined;
};

export const boundsOf = (diskBytes: number) => ({
  entriesMax: WORKSPACE_ENTRIES_MAX,
  depthMax: WORKSPACE_DEPTH_MAX,
  bytesMax: diskBytes,
});

export class Shelf {
  readonly live: string;
  readonly #folder: string;
  readonly #objects: Objects;
  readonly #cache: FileCache = new Map();
  #record: Record;
  #snapshots: Map<number, string>;
  /** What it held when it was last looked at, with what Reeve has written since. */
  usedBytes = 0;

  constructor(folder: string, record: Record) {
    this.#folder = folder;
    this.live = join(folder, "ws");
    this.#record = record;
    this.#objects = new Objects(join(folder, "objects"));
    this.#snapshots = readSnapshots(folder);
  }

  get record(): Record {
    return this.#record;
  }

  /** Runs `use` with the open live folder. Half of one state and half of another is none: a putting back that was cut off is ended first. */
  within<T>(use: (root: number) => T): T {
    return this.#inside((root) => {
      const { puttingBack } = this.#record;
      if (puttingBack !== undefined) this.#make(root, puttingBack);
      return use(root);
    });
  }

  #inside<T>(use: (root: number) => T): T {
    // What runs inside may have closed it to its owner.
    if ((fs.statSync(this.live).mode & 0o700) !== 0o700) fs.chmodSync(this.live, 0o700);
    return using(openRoot(this.live), use);
  }

  /** `lenient`: for looking and going back, which must be possible also where there is too much to be kept. */
  #keep(root: number, lenient = false): Kept {
    const kept = scan(root, {
      objects: this.#objects,
      cache: this.#cache,
      sync: () => syncFileSystem(this.live),
      bounds: boundsOf(this.#record.diskBytes),
      sealed: this.#record.quota === "kernel",
      lenient,
    });
    this.usedBytes = kept.bytes;
    return kept;
  }

  get snapshots(): readonly number[] {
    return [...this.#snapshots.keys()];
  }

  snapshot(call: number): boolean {
    if (this.#snapshots.has(call)) return false;
    const { tree } = this.within((root) => this.#keep(root));
    this.#objects.sync(syncFileSystem);
    writeSnapshot(this.#folder, call, tree);
    this.#snapshots = new Map([...this.#snapshots, [call, tree] as const].sort(([a], [b]) => a - b));
    this.#bound(call);
    return true;
  }

  /** What was replaced, and then the oldest states, give way until all of them together fit; the one that was just kept stays. */
  #bound(newest: number): void {
    const max = this.#record.diskBytes * WORKSPACE_KEPT_SIZES_MAX;
    if (this.#objects.bytes <= max) return;
    this.#sweep();
    if (this.#objects.bytes > max && this.#record.replaced !== undefined) {
      const { replaced: _, ...record } = this.#record;
      this.#put(record);
      this.#sweep();
    }
    for (const call of this.snapshots) {
      if (this.#objects.bytes <= max || call === newest) return;
      const { putBackAfter = [], ...record } = this.#record;
      this.#put({ ...record, forgotten: call, putBackAfter: putBackAfter.filter((after) => after > call) });
      this.#snapshots.delete(call);
      removeSnapshot(this.#folder, call);
      this.#sweep();
    }
  }

  #sweep(): void {
    const { base, committing, puttingBack, replaced } = this.#record;
    const trees = [base, committing, puttingBack, replaced, ...this.#snapshots.values()];
    this.#objects.sweep(trees.filter((tree) => tree !== undefined));
  }

  #stateAt(call: number | "replaced" | null): string {
    if (call === null) return this.#record.base;
    if (call === "replaced") return this.#record.replaced ?? notReplaced();
    const tree = this.#snapshots.get(call) ?? this.#treeBetween(call);
    if (tree !== undefined) return tree;
    const kept =
      this.snapshots.length === 0 ? "It was kept before no call." : `It was kept before ${listed(this.snapshots)}.`;
    throw new OsError(
      "not_found",
      `How the workspace stood before call ${call} is not kept, or not any more. ${kept}`,
      {
        data: { what: "snapshot", id: `${call}` },
      },
    );
  }

  /** Before a call that changed nothing it stood as before the next one that did, unless it was put back between. */
  #treeBetween(call: number): string | undefined {
    const { forgotten = -1, putBackAfter = [] } = this.#record;
    const before = this.snapshots.findLast((kept) => kept < call) ?? -1;
    const next = this.snapshots.find((kept) => kept > call);
    if (next === undefined || call <= forgotten || putBackAfter.includes(before)) return undefined;
    return this.#snapshots.get(next);
  }

  #between(before: string, after: string): Difference[] {
    return differences(before, after, (hash) => this.#objects.tree(hash));
  }

  #told(all: readonly Difference[], leftOut: readonly LeftOut[], texts = false): Differences {
    return { ...changesOf(all, this.#objects, { texts }), leftOut: leftOut.slice(0, WORKSPACE_CHANGES_MAX) };
  }

  diff(from: number | null): Differences {
    const before = this.#stateAt(from);
    const { tree, leftOut } = this.within((root) => this.#keep(root, true));
    return this.#told(this.#between(before, tree), [...this.#record.leftOut, ...leftOut], true);
  }

  patch(from: number | null): Patch {
    const before = this.#stateAt(from);
    const { tree, leftOut } = this.within((root) => this.#keep(root, true));
    const all = this.#between(before, tree);
    const ofGit = all
      .filter(({ path }) => isOfGit(path))
      .map(({ path }) => ({ path: shownPath(path), why: "it is git's own, and git takes no patch of that" }));
    const { leftOut: told } = this.#told([], [...ofGit, ...this.#record.leftOut, ...leftOut]);
    return {
      patch: patchOf(
        all.filter(({ path }) => !isOfGit(path)),
        this.#objects,
      ),
      leftOut: told,
    };
  }

  /** What stands here and nowhere else, without lines. What was kept for looking at it is let go of again. */
  unsaved(): Differences {
    const { tree, leftOut } = this.within((root) => this.#keep(root, true));
    const unsaved = this.#told(this.#between(this.#record.base, tree), leftOut);
    this.#sweep();
    return unsaved;
  }

  rollback(to: number | "replaced" | null): Differences {
    const target = this.#stateAt(to);
    const replaced = this.#replaced();
    return this.#putBack(target, replaced === undefined ? {} : { replaced });
  }

  /** How it stands, kept for good. Half of a state that is being put back is none: then it is what that one replaces. */
  #replaced(): string | undefined {
    if (this.#record.puttingBack !== undefined) return this.#record.replaced;
    const { tree } = this.within((root) => this.#keep(root, true));
    this.#objects.sync(syncFileSystem);
    return tree;
  }

  #putBack(target: string, record: Pick<Record, "replaced">): Differences {
    const last = this.snapshots.at(-1) ?? -1;
    const { putBackAfter = [] } = this.#record;
    const all = putBackAfter.includes(last) ? putBackAfter : [...putBackAfter, last];
    this.#put({ ...this.#record, ...record, putBackAfter: all, puttingBack: target });
    // Whatever else may be cut off: this is where it goes now.
    return this.#inside((root) => this.#told(this.#between(this.#make(root, target), target), [], true));
  }

  /** For a call that is begun again; false where others were begun since, whose work would be lost. */
  putBackFor(call: number): boolean {
    if (!this.#snapshots.has(call) || !isLatest(this.#folder, call)) return false;
    this.#putBack(this.#stateAt(call), {});
    return true;
  }

  /** Makes the live folder what the tree says; answers with the tree that it was. */
  #make(root: number, target: string): string {
    const { tree: now } = this.#keep(root, true);
    restore(root, { now, to: target }, { objects: this.#objects, owner: ownerOf(root) });
    const { puttingBack: _, ...record } = this.#record;
    this.#put(record);
    return now;
  }

  /**
   * `except`: paths that stay as they are, here and there; what differs at or below them goes on to differ. `to`: for one that began
   * empty, and has this folder from then on.
   */
  commit(except: readonly string[] = [], { to, dataFolder }: CommitPlaces = {}): Differences {
    const { from } = this.#record;
    if (from !== null && to !== undefined && to !== from) throw hasFolder(from);
    if (from !== null) return this.#commitTo(from, except, dataFolder);
    if (to === undefined) throw hasNoFolder();
    this.#put({ ...this.#record, from: to });
    try {
      return this.#commitTo(to, except, dataFolder);
    } catch (error) {
      // Nothing was written, so another may be named.
      if (this.#record.committing === undefined) this.#put({ ...this.#record, from: null });
      throw error;
    }
  }

  #commitTo(from: string, except: readonly string[], dataFolder: string | undefined): Differences {
    const { tree, leftOut } = this.within((root) => this.#keep(root));
    this.#objects.sync(syncFileSystem);
    const { base } = this.#record;
    const written = using(openTarget(from), (root) => {
      // What a crash has cut off is finished first: some of it may be there already.
      const { committing } = this.#record;
      if (committing !== undefined) this.#write(root, this.#without(committing, except, { finishing: true }), []);
      const chosen = this.#without(tree, except);
      this.#keepOut(chosen, from, dataFolder);
      this.#write(root, chosen, leftOut);
      return chosen;
    });
    return this.#told(toWrite(this.#writable(base, written, leftOut)), leftOut, true);
  }

  /** No copy had it, so what stands at its place was made inside; written there, Reeve would take it for its own. */
  #keepOut(tree: string, from: string, dataFolder: string | undefined): void {
    const way = dataFolder === undefined ? ".." : relative(from, dataFolder);
    if (way === ".." || way.startsWith("../")) return;
    const place = namesOf(way).join("/");
    const found = toWrite(this.#between(this.#record.base, tree)).find(({ path }) => isAtOrBelow(path, place));
    if (found !== undefined) throw ofReeve(shownPath(found.path), way);
  }

  /** The tree, with these paths as they stand in the base. */
  #without(tree: string, except: readonly string[], { finishing = false } = {}): string {
    const { base } = this.#record;
    const all = this.#between(base, tree);
    let chosen = tree;
    for (const path of except) {
      const names = namesShown(path, all);
      if (names === undefined && finishing) continue;
      if (names === undefined) throw nothingAt(path);
      chosen = putBack(chosen, { to: base, names, objects: this.#objects });
    }
    if (chosen !== tree) this.#objects.sync(syncFileSystem);
    return chosen;
  }

  /** What could not be looked at in the workspace is not taken for removed. */
  #writable(before: string, after: string, leftOut: readonly LeftOut[]): Difference[] {
    const left = leftOut.map(({ path }) => path);
    return this.#between(before, after).filter(({ path }) => {
      const shown = shownPath(path);
      return !left.some((each) => shown === each || shown.startsWith(`${each}/`));
    });
  }

  #write(root: number, tree: string, leftOut: readonly LeftOut[]): void {
    const { committing, ...before } = this.#record;
    const work = check(root, this.#writable(before.base, tree, leftOut));
    this.#put({ ...before, committing: tree });
    try {
      write(root, work, this.#objects);
    } catch (error) {
      // What was cut off earlier stays to be finished.
      if (OsError.is(error) && error.data["written"] === 0 && committing === undefined) this.#put(before);
      throw error;
    }
    this.#put({ ...before, base: tree });
  }

  #put(record: Record): void {
    writeRecord(this.#folder, record);
    this.#record = record;
  }
}

function notReplaced(): never {
  throw new OsError(
    "not_found",
    "How the workspace stood before it was last put back is not kept, or not any more; or it was never put back.",
    { data: { what: "snapshot", id: "replaced" } },
  );
}

const hasFolder = (from: string): OsError =>
  new OsError("invalid_argument", `The workspace belongs to ${from} and is written there. Leave out \`--to\`.`, {
    data: { issues: ["to: the workspace has another folder"] },
  });

const hasNoFolder = (): OsError =>
  new OsError(
    "invalid_argument",
    "The workspace began empty, so there is no folder to write it back to. Name one of the project's: `--to FOLDER`.",
    { data: { issues: ["to: is not set"] } },
  );

const ofReeve = (path: string, dataFolder: string): OsError =>
  new OsError(
    "invalid_argument",
    `${path} would be written into Reeve's own data folder. Leave that out with \`--except ${dataFolder}\`. Nothing was written.`,
    { data: { issues: [`${path}: lies in ${dataFolder}, which is Reeve's own`] } },
  );

const nothingAt = (path: string): OsError =>
  new OsError("invalid_argument", `Nothing differs at ${path}, so it cannot be left out. Nothing was written.`, {
    data: { issues: [`except: ${path} is no path of a difference`] },
  });

/** The names of a path as it is shown; undefined where nothing differs at or below it. */
function namesShown(path: string, all: readonly Difference[]): Name[] | undefined {
  const names = namesOf(path);
  const [at, shown] = [names.join("/"), path.replace(/^(?:\.?\/)+|\/+$/g, "")];
  if (names.length === 0) return undefined;
  if (all.some((one) => isAtOrBelow(one.path, at))) return names;
  // Bytes that are no UTF-8 can only be named as they are shown.
  for (const one of all) {
    const parts = one.path.split("/");
    const length = parts.findIndex((_, last) => shownPath(parts.slice(0, last + 1).join("/")) === shown) + 1;
    if (length > 0) return parts.slice(0, length);
  }
  return undefined;
}

function openTarget(from: string): number {
  try {
    return openRoot(from);
  } catch (error) {
    throw new OsError(
      "not_found",
      `The folder ${from}, which the workspace began as a copy of, is not there any more.`,
      {
        data: { what: "folder", id: from },
        cause: error,
      },
    );
  }
}

const LISTED_MAX = 20;

function listed(calls: readonly number[]): string {
  const last = calls.slice(-LISTED_MAX);
  const earlier = calls.length > last.length ? `${calls.length - last.length} earlier calls and ` : "";
  return `${earlier}${last.map((call) => `#${call}`).join(", ")}`;
}

// Writing a workspace back to the folder that it began as a copy of.
//
// Three states are compared: the folder as it was copied, the workspace, and the folder as it is. Where the workspace changed something, the
// folder must still be as it was copied, or be already as the workspace has it.
//
// Invariants:
//   C1. Everything is checked before anything is written; one conflict, and nothing is. What changes after that is seen when its turn
//       comes, and ends the writing: nothing that somebody else has written is written over or removed.
//   C2. No link is followed, nothing is written outside of the folder, and no link that leads out of it is written.
//      Nor is what makes git run programs for whoever works in the folder.
//   C3. Each file appears whole, under its name, or not at all. Deletions come last.
//   C4. Doing it again after a crash in the middle does what is left: what is there already is no conflict.
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { OsError } from "../../abi/errors.ts";
import {
  at,
  codeOf,
  createAt,
  give,
  linkAt,
  type Name,
  namesIn,
  openFileAt,
  openFolderAt,
  type Owner,
  ownerOf,
  shownPath,
  type Stats,
  statsAt,
  statsOf,
  syncOf,
  unlinkAt,
  using,
  walk,
} from "./beneath.ts";
import { runByGit } from "./git-paths.ts";
import { staysInside } from "./links.ts";
import type { Objects } from "./objects.ts";
import { type Difference, type Entry } from "./tree.ts";

/** Stands for a moment where a file is being written; one that a crash has left is removed by the next attempt. */
const TEMPORARY = ".reeve-commit";
const CHUNK_BYTES = 1024 * 1024;

type File = Extract<Entry, { readonly kind: "file" }>;

export const isExecutable = (mode: number): boolean => (mode & 0o100) !== 0;

/** Whether both are the same to the folder: of a file's permissions only whether it can be run belongs to its content. */
function isAlike(a: Entry | undefined, b: Entry | undefined): boolean {
  if (a === undefined || b === undefined || a.kind !== b.kind) return a === b;
  if (a.kind === "file" && b.kind === "file") return a.hash === b.hash && isExecutable(a.mode) === isExecutable(b.mode);
  if (a.kind === "link" && b.kind === "link") return a.target === b.target;
  return true;
}

/** What has to be written of these differences; permissions of folders and the like have not. */
export const toWrite = (all: readonly Difference[]): Difference[] =>
  all.filter(({ before, after }) => !isAlike(before, after));

/** Differences that were checked and may be written, and what stood at each path then. */
export type Checked = { readonly left: readonly Difference[]; readonly seen: ReadonlyMap<Name, Mark> };

/** Writes nothing. Throws `conflict` (data.paths), or `invalid_argument` for links that lead out. */
export function check(root: number, all: readonly Difference[]): Checked {
  const work = toWrite(all);
  refuseLinks(work);
  refuseGit(root, work);
  const found = new Map(work.map(({ path }) => [path, entryAt(root, path)]));
  const replaced = new Set(work.filter(givesWayToFolder).map(({ path }) => path));
  const foundAt = (path: Name): Found => (isBelowOne(path, replaced) ? undefined : found.get(path)?.entry);
  const conflicts = work.filter((one) => !isFree(foundAt(one.path), one));
  const strangers = work.flatMap((one) => strangersBelow(root, one, work));
  if (conflicts.length > 0 || strangers.length > 0)
    throw conflict([...new Set([...conflicts.map(({ path }) => path), ...strangers])].sort());
  return {
    left: work.filter(({ path, after }) => !isThere(foundAt(path), after)),
    seen: new Map([...found].map(([path, { mark }]) => [path, mark])),
  };
}

/**
 * Writes what was checked. Where that cannot go on, or somebody else has written meanwhile, it throws with how much was written
 * before (data.written); asked for again, the commit does what is left.
 */
export function write(root: number, { left, seen }: Checked, objects: Objects): void {
  // What changes its kind gives way first, what is in it before itself.
  const turned = left.filter((one) => turns(one)).map(({ path }) => `${path}/`);
  const givesWay = (one: Difference): boolean =>
    turns(one) || (one.after === undefined && turned.some((above) => one.path.startsWith(above)));
  let written = 0;
  const step = (path: Name, work: () => void): void => {
    try {
      work();
    } catch (error) {
      throw interrupted(path, error, { written, all: left.length });
    }
    written += 1;
  };
  const gone = new Set<Name>();
  const expected = (path: Name): Mark => (gone.has(path) ? NOTHING_THERE : (seen.get(path) ?? NOTHING_THERE));
  for (const one of left.toReversed()) {
    if (!givesWay(one)) continue;
    step(one.path, () => removeOne(root, one.path, expected(one.path)));
    gone.add(one.path);
  }
  for (const { path, after } of left)
    if (after !== undefined) step(path, () => writeOne(root, path, { entry: after, objects, mark: expected(path) }));
  for (const { path, after } of left.toReversed())
    if (after === undefined && !gone.has(path)) step(path, () => removeOne(root, path, expected(path)));
}

/** Whether a link, or a file, of the folder makes room for a folder: what its path leads to below it is nothing. */
const givesWayToFolder = ({ before, after }: Difference): boolean =>
  before !== undefined && before.kind !== "folder" && after?.kind === "folder";

function isBelowOne(path: Name, above: ReadonlySet<Name>): boolean {
  if (above.size === 0) return false;
  const names = path.split("/");
  return names.some((_, length) => length > 0 && above.has(names.slice(0, length).join("/")));
}

const isThere = (found: Found, after: Entry | undefined): boolean => found !== "other" && isAlike(found, after);

/** What turns from a folder into something else, or into one, is gone for a moment: a crash may have come just then. */
const isFree = (found: Found, one: Difference): boolean =>
  isThere(found, one.before) || isThere(found, one.after) || (found === undefined && turns(one));

/** Whether a folder takes the place of something else, or gives it to that: everything else is replaced in one step. */
const turns = ({ before, after }: Difference): boolean =>
  before !== undefined && after !== undefined && (before.kind === "folder") !== (after.kind === "folder");

/** Names that the folder has got meanwhile, below a folder that becomes something else. */
function strangersBelow(root: number, { path, before, after }: Difference, work: readonly Difference[]): Name[] {
  if (before?.kind !== "folder" || after === undefined || after.kind === "folder") return [];
  const known = new Set(work.map((one) => one.path));
  const found: Name[] = [];
  const visit = (folder: number, above: Name): void => {
    for (const name of namesIn(folder)) {
      if (!known.has(above + name)) found.push(above + name);
      else if (statsAt(folder, name)?.isDirectory() === true)
        using(openFolderAt(folder, name), (inner) => visit(inner, `${above}${name}/`));
    }
  };
  const names = path.split("/");
  try {
    using(walk(root, names), (folder) => visit(folder, `${path}/`));
  } catch (error) {
    // No folder there, or not any more: it has been compared as such.
    if (!["ENOENT", "ENOTDIR", "ELOOP"].includes(codeOf(error) ?? "")) throw error;
  }
  return found;
}

type Found = Entry | "other" | undefined;
/** Tells one state of what stands at a path from every other; empty for nothing. */
type Mark = string;
type Seen = { readonly entry: Found; readonly mark: Mark };

const NOTHING_THERE: Mark = "";

function markOf(stats: Stats | undefined): Mark {
  if (stats === undefined) return NOTHING_THERE;
  // A folder changes with all that is done in it; and what is written for one name of a file changes the ctime that all of them have.
  if (stats.isDirectory()) return "folder";
  return [stats.mode, stats.ino, stats.size, stats.mtimeNs].join(".");
}

/** What the folder has at a path; `other` for what is neither file, folder nor link, or stands behind a link. */
function entryAt(root: number, path: Name): Seen {
  const names = path.split("/");
  const name = names.pop() ?? "";
  try {
    return using(walk(root, names), (folder) => foundIn(folder, name));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return { entry: undefined, mark: NOTHING_THERE };
    if (codeOf(error) === "ENOTDIR") return { entry: undefinedIfNothing(root, names), mark: NOTHING_THERE };
    if (codeOf(error) === "ELOOP") return { entry: "other", mark: NOTHING_THERE };
    throw error;
  }
}

/** Whether the folder has anything at a path. */
function stands(root: number, path: Name): boolean {
  const { above, name } = parted(path);
  try {
    return using(walk(root, above), (folder) => statsAt(folder, name) !== undefined);
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(codeOf(error) ?? "")) return false;
    throw error;
  }
}

/** A path that goes on below a file leads to nothing; below a link, somewhere else (both are `ENOTDIR` to the system). */
function undefinedIfNothing(root: number, names: readonly Name[]): Found {
  for (let length = 1; length <= names.length; length += 1) {
    const found = entryAt(root, names.slice(0, length).join("/")).entry;
    if (found === "other" || (found !== undefined && found.kind === "link")) return "other";
    if (found === undefined || found.kind === "file") return undefined;
  }
  return undefined;
}

function foundIn(folder: number, name: Name): Seen {
  const stats = statsAt(folder, name);
  const mark = markOf(stats);
  if (stats === undefined) return { entry: undefined, mark };
  const mode = Number(stats.mode & 0o777n);
  if (stats.isSymbolicLink()) return { entry: { kind: "link", target: linkAt(folder, name) }, mark };
  if (stats.isDirectory()) return { entry: { kind: "folder", mode, hash: "" }, mark };
  if (!stats.isFile()) return { entry: "other", mark };
  return using(openFileAt(folder, name), (file) => {
    // Marked before it is read: what is written meanwhile is another state.
    const opened = statsOf(file);
    const entry = { kind: "file", mode, size: Number(opened.size), hash: sumOf(file) } as const;
    return { entry, mark: markOf(opened) };
  });
}

function sumOf(file: number): string {
  const sum = createHash("sha256");
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  for (;;) {
    const length = fs.readSync(file, chunk);
    if (length === 0) return sum.digest("hex");
    sum.update(chunk.subarray(0, length));
  }
}

function refuseLinks(work: readonly Difference[]): void {
  const bad = work.filter(({ path, after }) => after?.kind === "link" && !staysInside(path, after.target));
  if (bad.length === 0) return;
  const paths = bad.map(({ path }) => shownPath(path));
  throw new OsError(
    "invalid_argument",
    `Links in the workspace lead out of it, and are not written back: ${listed(paths)}. Nothing was written. Leave them out (\`reeve commit PID --except PATH\`).`,
    { data: { issues: paths.slice(0, SHOWN_MAX).map((path) => `${path}: leads out`) } },
  );
}

/** Written by a program in its sandbox, run by a person outside of it: that is a way out. */
function refuseGit(root: number, work: readonly Difference[]): void {
  const paths = runByGit(work, (path) => stands(root, path)).map(shownPath);
  if (paths.length === 0) return;
  throw new OsError(
    "invalid_argument",
    `Git runs what these say, outside of the sandbox, and they are not written back: ${listed(paths)}. Nothing was written. Leave them out (\`reeve commit PID --except PATH\`); what you want of them, look at and copy yourself.`,
    { data: { issues: paths.slice(0, SHOWN_MAX).map((path) => `${path}: makes git run programs`) } },
  );
}

const SHOWN_MAX = 100;
const listed = (paths: readonly string[]): string =>
  paths.slice(0, 5).join(", ") + (paths.length > 5 ? ` and ${paths.length - 5} more` : "");

function conflict(paths: readonly Name[]): OsError {
  const shown = paths.map(shownPath);
  return new OsError(
    "conflict",
    `The folder was changed meanwhile where the workspace was changed too: ${listed(shown)}. Nothing was written. Bring the folder back to what it was there, or to what the workspace has, and say it again; or leave these out (\`reeve commit PID --except PATH\`).`,
    { data: { what: "paths", id: shown[0] ?? "", paths: shown.slice(0, SHOWN_MAX) } },
  );
}

/** What ended the writing, with how far it had come. */
function interrupted(path: Name, error: unknown, { written, all }: { written: number; all: number }): unknown {
  const code = codeOf(error);
  const state =
    written === 0
      ? "Nothing was written."
      : `${written} of ${all} changes were written before. Say \`reeve commit\` again when that is mended: it does what is left.`;
  if (OsError.is(error))
    return new OsError(error.code, `${error.message} ${state}`, { data: { ...error.data, written }, cause: error });
  const reason = code === "ENOSPC" || code === "EDQUOT" ? "full" : code === "EROFS" ? "read_only" : "io";
  const why = WHY[code ?? ""] ?? (error as Error).message;
  return new OsError("store_failed", `${shownPath(path)} could not be written back: ${why}. ${state}`, {
    data: { reason, written },
    cause: error,
  });
}

const WHY: { readonly [code: string]: string } = {
  ENOSPC: "the disk of the folder is full",
  EDQUOT: "the disk of the folder is full for its owner",
  EROFS: "the disk of the folder can only be read",
  EACCES: "the permissions of the folder do not let Reeve write there",
  EPERM: "the folder does not let Reeve write there",
  ENAMETOOLONG: "the name is too long for the disk of the folder",
};

/** Throws unless there still stands what was seen there. */
function assertAsSeen(folder: number, { name, path, mark }: { name: Name; path: Name; mark: Mark }): Stats | undefined {
  const stats = statsAt(folder, name);
  if (markOf(stats) === mark) return stats;
  throw new OsError(
    "conflict",
    `Somebody else has just changed ${shownPath(path)} in the folder; that stays as it is. Bring it back to what it was, or to what the workspace has, or leave it out (\`--except\`).`,
    { data: { what: "paths", id: shownPath(path), paths: [shownPath(path)] } },
  );
}

function parted(path: Name): { readonly above: Name[]; readonly name: Name } {
  const above = path.split("/");
  return { name: above.pop() ?? "", above };
}

function removeOne(root: number, path: Name, mark: Mark): void {
  const { above, name } = parted(path);
  try {
    using(walk(root, above), (folder) => {
      const stats = assertAsSeen(folder, { name, path, mark });
      if (stats === undefined) return;
      if (stats.isDirectory()) fs.rmdirSync(at(folder, name));
      else fs.unlinkSync(at(folder, name));
      syncOf(folder);
    });
  } catch (error) {
    // The folder holds what the workspace never knew of, or is gone with what was above it: it stays as it is.
    if (!["ENOTEMPTY", "EEXIST", "ENOENT", "ENOTDIR"].includes(codeOf(error) ?? "")) throw error;
  }
}

function writeOne(
  root: number,
  path: Name,
  { entry, objects, mark }: { readonly entry: Entry; readonly objects: Objects; readonly mark: Mark },
): void {
  const { above, name } = parted(path);
  using(walk(root, above), (folder) => {
    const owner = ownerOf(folder);
    if (entry.kind === "folder") return makeFolder(folder, { name, path, mark }, { mode: entry.mode, owner });
    unlinkAt(folder, TEMPORARY);
    try {
      if (entry.kind === "link") makeLink(folder, entry.target, owner);
      else makeFile(folder, { entry, owner, old: statsAt(folder, name) }, objects);
      assertAsSeen(folder, { name, path, mark });
      fs.renameSync(at(folder, TEMPORARY), at(folder, name));
    } catch (error) {
      unlinkAt(folder, TEMPORARY);
      throw error;
    }
    syncOf(folder);
  });
}

type Place = { readonly name: Name; readonly path: Name; readonly mark: Mark };

/** What the workspace kept from others is kept from them here as well. */
function makeFolder(folder: number, place: Place, { mode, owner }: { mode: number; owner: Owner }): void {
  const { name } = place;
  if (assertAsSeen(folder, place) !== undefined) return;
  fs.mkdirSync(at(folder, name), 0o700);
  using(openFolderAt(folder, name), (inner) => {
    give(inner, owner);
    fs.fchmodSync(inner, (mode & 0o755) | 0o700);
  });
  syncOf(folder);
}

function makeLink(folder: number, target: Name, owner: Owner): void {
  fs.symlinkSync(Buffer.from(target, "latin1"), at(folder, TEMPORARY));
  if (owner !== null) fs.lchownSync(at(folder, TEMPORARY), owner.uid, owner.gid);
}

/** A file that is there keeps its owner and its permissions, but for whether it can be run. */
function makeFile(
  folder: number,
  { entry, owner, old }: { readonly entry: File; readonly owner: Owner; readonly old: Stats | undefined },
  objects: Objects,
): void {
  const kept = old?.isFile() === true ? Number(old.mode & 0o777n) : (entry.mode & 0o644) | 0o600;
  const runs = (kept & 0o444) >> 2;
  const mode = isExecutable(entry.mode) ? kept | runs : kept & ~0o111;
  using(createAt(folder, TEMPORARY), (file) => {
    objects.copyTo(entry.hash, file);
    give(file, owner === null || old?.isFile() !== true ? owner : { uid: Number(old.uid), gid: Number(old.gid) });
    fs.fchmodSync(file, mode);
    fs.fsyncSync(file);
    if (statsOf(file).size !== BigInt(entry.size)) throw new Error("it was not written whole");
  });
}

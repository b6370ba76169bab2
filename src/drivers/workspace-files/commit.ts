// Writing a workspace back to the folder that it began as a copy of.
//
// Three states are compared: the folder as it was copied, the workspace, and the folder as it is. Where the workspace changed something, the
// folder must still be as it was copied, or be already as the workspace has it.
//
// Invariants:
//   C1. Everything is checked before anything is written; one conflict, and nothing is.
//   C2. No link is followed, nothing is written outside of the folder, and no link that leads out of it is written.
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
  statsAt,
  statsOf,
  syncOf,
  unlinkAt,
  using,
  walk,
} from "./beneath.ts";
import { staysInside } from "./links.ts";
import type { Objects } from "./objects.ts";
import { type Difference, type Entry } from "./tree.ts";

/** Stands for a moment where a file is being written; one that a crash has left is removed by the next attempt. */
const TEMPORARY = ".reeve-commit";
const CHUNK_BYTES = 1024 * 1024;

type File = Extract<Entry, { readonly kind: "file" }>;

const isExecutable = (mode: number): boolean => (mode & 0o100) !== 0;

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

/** Writes the differences, all or none. Rejects with `conflict` (data.paths), or `invalid_argument` for links that lead out. */
export function commit(root: number, all: readonly Difference[], objects: Objects): void {
  const work = toWrite(all);
  refuseLinks(work);
  const found = new Map(work.map(({ path }) => [path, entryAt(root, path)]));
  const conflicts = work.filter((one) => !isFree(found.get(one.path), one));
  const strangers = work.flatMap((one) => strangersBelow(root, one, work));
  if (conflicts.length > 0 || strangers.length > 0)
    throw conflict([...new Set([...conflicts.map(({ path }) => path), ...strangers])].sort());
  const left = work.filter(({ path, after }) => !isThere(found.get(path), after));
  // What changes its kind gives way first, what is in it before itself.
  const turned = left.filter((one) => turns(one)).map(({ path }) => `${path}/`);
  const givesWay = (one: Difference): boolean =>
    turns(one) || (one.after === undefined && turned.some((above) => one.path.startsWith(above)));
  for (const one of left.toReversed()) if (givesWay(one)) removeOne(root, one.path);
  for (const one of left) if (one.after !== undefined) writeOne(root, one.path, { entry: one.after, objects });
  for (const one of left.toReversed()) if (one.after === undefined) removeOne(root, one.path);
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

/** What the folder has at a path; `other` for what is neither file, folder nor link, or stands behind a link. */
function entryAt(root: number, path: Name): Found {
  const names = path.split("/");
  const name = names.pop() ?? "";
  try {
    return using(walk(root, names), (folder) => foundIn(folder, name));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    if (codeOf(error) === "ENOTDIR") return undefinedIfNothing(root, names);
    if (codeOf(error) === "ELOOP") return "other";
    throw error;
  }
}

/** A path that goes on below a file leads to nothing; below a link, somewhere else (both are `ENOTDIR` to the system). */
function undefinedIfNothing(root: number, names: readonly Name[]): Found {
  for (let length = 1; length <= names.length; length += 1) {
    const found = entryAt(root, names.slice(0, length).join("/"));
    if (found === "other" || (found !== undefined && found.kind === "link")) return "other";
    if (found === undefined || found.kind === "file") return undefined;
  }
  return undefined;
}

function foundIn(folder: number, name: Name): Found {
  const stats = statsAt(folder, name);
  if (stats === undefined) return undefined;
  const mode = Number(stats.mode & 0o777n);
  if (stats.isSymbolicLink()) return { kind: "link", target: linkAt(folder, name) };
  if (stats.isDirectory()) return { kind: "folder", mode, hash: "" };
  if (!stats.isFile()) return "other";
  return using(openFileAt(folder, name), (file) => ({
    kind: "file",
    mode,
    size: Number(stats.size),
    hash: sumOf(file),
  }));
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
    `Links in the workspace lead out of it, and are not written back: ${listed(paths)}. Nothing was written. Leave them out (\`reeve commit --except PATH\`).`,
    { data: { issues: paths.slice(0, SHOWN_MAX).map((path) => `${path}: leads out`) } },
  );
}

const SHOWN_MAX = 100;
const listed = (paths: readonly string[]): string =>
  paths.slice(0, 5).join(", ") + (paths.length > 5 ? ` and ${paths.length - 5} more` : "");

function conflict(paths: readonly Name[]): OsError {
  const shown = paths.map(shownPath);
  return new OsError(
    "conflict",
    `The folder was changed meanwhile where the workspace was changed too: ${listed(shown)}. Nothing was written. Bring the folder back to what it was there, or to what the workspace has, and say it again; or leave these out (\`reeve commit --except PATH\`).`,
    { data: { what: "paths", id: shown[0] ?? "", paths: shown.slice(0, SHOWN_MAX) } },
  );
}

function parted(path: Name): { readonly above: Name[]; readonly name: Name } {
  const above = path.split("/");
  return { name: above.pop() ?? "", above };
}

function removeOne(root: number, path: Name): void {
  const { above, name } = parted(path);
  try {
    using(walk(root, above), (folder) => {
      const stats = statsAt(folder, name);
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
  { entry, objects }: { readonly entry: Entry; readonly objects: Objects },
): void {
  const { above, name } = parted(path);
  using(walk(root, above), (folder) => {
    const owner = ownerOf(folder);
    unlinkAt(folder, TEMPORARY);
    if (entry.kind === "folder") {
      if (statsAt(folder, name) !== undefined) return;
      fs.mkdirSync(at(folder, name), 0o755);
      using(openFolderAt(folder, name), (inner) => give(inner, owner));
    } else if (entry.kind === "link") {
      fs.symlinkSync(Buffer.from(entry.target, "latin1"), at(folder, TEMPORARY));
      if (owner !== null) fs.lchownSync(at(folder, TEMPORARY), owner.uid, owner.gid);
      fs.renameSync(at(folder, TEMPORARY), at(folder, name));
    } else writeFile(folder, { name, entry, owner }, objects);
    syncOf(folder);
  });
}

/** A file that is there keeps its owner and its permissions, but for whether it can be run. */
function writeFile(
  folder: number,
  { name, entry, owner }: { readonly name: Name; readonly entry: File; readonly owner: Owner },
  objects: Objects,
): void {
  const old = statsAt(folder, name);
  const kept = old === undefined ? 0o644 : Number(old.mode & 0o777n);
  const runs = (kept & 0o444) >> 2;
  const mode = isExecutable(entry.mode) ? kept | runs : kept & ~0o111;
  using(createAt(folder, TEMPORARY), (file) => {
    objects.copyTo(entry.hash, file);
    give(file, owner === null || old === undefined ? owner : { uid: Number(old.uid), gid: Number(old.gid) });
    fs.fchmodSync(file, mode);
    fs.fsyncSync(file);
    if (statsOf(file).size !== BigInt(entry.size)) throw new Error(`${shownPath(name)} was not written whole.`);
  });
  fs.renameSync(at(folder, TEMPORARY), at(folder, name));
}

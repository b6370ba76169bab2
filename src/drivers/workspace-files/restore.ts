// Making a folder what a tree says: contents, permissions and deletions, exactly. It is hostile, and may change meanwhile (beneath.ts).
//
// Invariants:
//   R1. Afterwards it holds what the tree names and nothing else, unless somebody wrote into it meanwhile.
//   R2. Room is made before it is taken: what goes, goes first.
//   R3. What is the same already is not touched. Doing it again after a crash in the middle ends at the same.
import * as fs from "node:fs";
import {
  at,
  createAt,
  give,
  linkAt,
  type Name,
  namesIn,
  openFolderAt,
  type Owner,
  removeAt,
  statsAt,
  using,
} from "./beneath.ts";
import type { Objects } from "./objects.ts";
import type { Entry, Tree } from "./tree.ts";

type Restoring = { readonly objects: Objects; readonly owner: Owner };

/** `now`: the tree that it is at this moment, as it was just kept. */
export function restore(root: number, trees: { readonly now: string; readonly to: string }, options: Restoring): void {
  const now = options.objects.tree(trees.now);
  const to = options.objects.tree(trees.to);
  clear(root, { now, to }, options.objects);
  fill(root, to, options);
}

const isKept = (now: Entry | undefined, to: Entry | undefined): boolean => {
  if (now === undefined || to === undefined || now.kind !== to.kind) return false;
  if (now.kind === "folder") return true;
  if (now.kind === "link") return to.kind === "link" && now.target === to.target;
  return to.kind === "file" && now.hash === to.hash;
};

/** Removes what the tree does not name, and what differs. What was never kept (a named pipe, say) is in no tree, and goes too. */
function clear(folder: number, { now, to }: { readonly now: Tree; readonly to: Tree }, objects: Objects): void {
  for (const name of namesIn(folder)) {
    const [one, other] = [now.get(name), to.get(name)];
    const stats = statsAt(folder, name);
    if (stats === undefined) continue;
    const found = stats.isDirectory() ? "folder" : stats.isSymbolicLink() ? "link" : stats.isFile() ? "file" : "other";
    if (!isKept(one, other) || found !== one?.kind) removeAt(folder, name);
    else if (one.kind === "folder" && other?.kind === "folder")
      // Also where both trees are the same: what was never kept may stand there.
      using(openFolderAt(folder, name), (inner) => {
        openUp(inner);
        clear(inner, { now: objects.tree(one.hash), to: objects.tree(other.hash) }, objects);
      });
  }
}

function fill(folder: number, to: Tree, options: Restoring): void {
  for (const [name, entry] of to) {
    switch (entry.kind) {
      case "folder":
        fillFolder(folder, { name, entry }, options);
        break;
      case "link":
        makeLink(folder, { name, target: entry.target }, options);
        break;
      case "file":
        makeFile(folder, { name, entry }, options);
    }
  }
}

function fillFolder(
  folder: number,
  { name, entry }: { readonly name: Name; readonly entry: Extract<Entry, { kind: "folder" }> },
  options: Restoring,
): void {
  if (statsAt(folder, name) === undefined) fs.mkdirSync(at(folder, name), 0o700);
  using(openFolderAt(folder, name), (inner) => {
    openUp(inner);
    fill(inner, options.objects.tree(entry.hash), options);
    give(inner, options.owner);
    setMode(inner, entry.mode);
  });
}

function makeFile(
  folder: number,
  { name, entry }: { readonly name: Name; readonly entry: Extract<Entry, { kind: "file" }> },
  options: Restoring,
): void {
  const stats = statsAt(folder, name);
  if (stats !== undefined) {
    if (Number(stats.mode & 0o7777n) === entry.mode) return;
    // Same content, other permissions: made anew as well, so that nothing is changed by a name that may lead elsewhere by now.
    removeAt(folder, name);
  }
  using(createAt(folder, name), (file) => {
    options.objects.copyTo(entry.hash, file);
    give(file, options.owner);
    setMode(file, entry.mode);
  });
}

function makeLink(
  folder: number,
  { name, target }: { readonly name: Name; readonly target: Name },
  { owner }: Restoring,
): void {
  if (statsAt(folder, name) !== undefined && linkAt(folder, name) === target) return;
  removeAt(folder, name);
  fs.symlinkSync(Buffer.from(target, "latin1"), at(folder, name));
  if (owner !== null) fs.lchownSync(at(folder, name), owner.uid, owner.gid);
}

function setMode(descriptor: number, mode: number): void {
  if ((fs.fstatSync(descriptor).mode & 0o7777) !== mode) fs.fchmodSync(descriptor, mode);
}

/** So that something can be made and removed in a folder that its owner has closed; its own permissions come last. */
function openUp(folder: number): void {
  const mode = fs.fstatSync(folder).mode & 0o7777;
  if ((mode & 0o700) !== 0o700) fs.fchmodSync(folder, mode | 0o700);
}

// Single files of a workspace, for tools: read, written, removed and listed by paths that are hostile (beneath.ts).
import * as fs from "node:fs";
import { OsError } from "../../abi/errors.ts";
import type { FileEntry } from "../../ports/workspace.ts";
import {
  at,
  createAt,
  give,
  type Name,
  namesIn,
  namesOf,
  openFileAt,
  ownerOf,
  readAll,
  removeAt,
  shownPath,
  type Stats,
  statsAt,
  statsOf,
  unlinkAt,
  using,
  walk,
  writeAll,
} from "./beneath.ts";

/** What is read at once where nobody says less. Bytes. */
const READ_BYTES_MAX = 16 * 1024 * 1024;
/** Stands for a moment where a file is being written. */
const TEMPORARY = ".reeve-new";

const refused = (path: string, why: string): OsError =>
  new OsError("invalid_argument", `${path} cannot be used: it is ${why}.`, { data: { issues: [`path: is ${why}`] } });

function parted(path: string): { readonly above: Name[]; readonly name: Name } {
  const above = namesOf(path);
  const name = above.pop();
  if (name === undefined) throw refused(path, "the workspace itself");
  return { above, name };
}

const kindOf = (stats: Stats): FileEntry["kind"] =>
  stats.isFile() ? "file" : stats.isDirectory() ? "folder" : stats.isSymbolicLink() ? "link" : "other";

/** Of a thing that is there, or may be: only a regular file will do. */
function assertFile(stats: Stats | undefined, path: string): void {
  if (stats === undefined || stats.isFile()) return;
  if (stats.isDirectory()) throw refused(path, "a folder");
  throw refused(path, stats.isSymbolicLink() ? "a link, and links are not followed" : "no regular file");
}

/** `sealed`: whether no file can have a name outside of the workspace. */
export function readFile(
  root: number,
  path: string,
  { bytesMax = READ_BYTES_MAX, sealed }: { readonly bytesMax?: number | undefined; readonly sealed: boolean },
): Uint8Array {
  const { above, name } = parted(path);
  return using(walk(root, above), (folder) => {
    assertFile(statsAt(folder, name), path);
    return using(openFileAt(folder, name), (file) => {
      const stats = statsOf(file);
      assertFile(stats, path);
      if (stats.dev !== statsOf(root).dev) throw refused(path, "on another file system");
      if (stats.nlink > 1n && !sealed) throw refused(path, "a file of more than one name, which may lie outside");
      return readAll(file, bytesMax);
    });
  });
}

export function writeFile(root: number, path: string, bytes: Uint8Array): void {
  const { above, name } = parted(path);
  const owner = ownerOf(root);
  using(walk(root, above, { owner }), (folder) => {
    const old = statsAt(folder, name);
    assertFile(old, path);
    unlinkAt(folder, TEMPORARY);
    try {
      using(createAt(folder, TEMPORARY), (file) => {
        writeAll(file, bytes);
        give(file, owner);
        fs.fchmodSync(file, old === undefined ? 0o644 : Number(old.mode & 0o777n));
      });
      fs.renameSync(at(folder, TEMPORARY), at(folder, name));
    } catch (error) {
      unlinkAt(folder, TEMPORARY);
      throw error;
    }
  });
}

/** A folder with everything in it. */
export function removeFile(root: number, path: string): void {
  const { above, name } = parted(path);
  using(walk(root, above), (folder) => {
    if (statsAt(folder, name) === undefined)
      throw new OsError("not_found", `There is no ${path} in the workspace.`, { data: { what: "file", id: path } });
    removeAt(folder, name);
  });
}

export const listFolder = (root: number, path: string): FileEntry[] =>
  using(walk(root, namesOf(path)), (folder) => {
    const above = namesOf(path)
      .map((name) => `${name}/`)
      .join("");
    return namesIn(folder).flatMap((name) => {
      const stats = statsAt(folder, name);
      if (stats === undefined) return [];
      return [
        { path: shownPath(above + name), kind: kindOf(stats), sizeBytes: stats.isFile() ? Number(stats.size) : 0 },
      ];
    });
  });

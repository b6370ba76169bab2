// Walking a folder whose contents are hostile, and may change while one walks: by open descriptors, one name at a time.
//
// Names are the bytes of the file system, held as strings of one character for each byte (latin1), so that none is lost.
//
// Invariants:
//   B1. No link is followed, at any place of a path: each component is opened below the descriptor of the one before it.
//   B2. What is read is a regular file of the same file system as the root, by the descriptor that was looked at.
//   B3. Nothing waits: a named pipe is not opened for reading.
import * as fs from "node:fs";
import { OsError } from "../../abi/errors.ts";

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants;
/** Linux: a descriptor that stands for a place and opens nothing. */
const O_PATH = 0o10000000;

export type Name = string;
export type Stats = fs.BigIntStats;

const nameOf = (text: string): Name => Buffer.from(text, "utf8").toString("latin1");

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** A path for people: bytes that are no UTF-8 stand as `\xNN`. */
export function shownPath(path: Name): string {
  const bytes = Buffer.from(path, "latin1");
  try {
    return utf8.decode(bytes);
  } catch {
    // Not UTF-8: each byte is shown for itself.
    return path.replaceAll(/[\u0080-\u00ff]/g, (char) => `\\x${char.charCodeAt(0).toString(16)}`);
  }
}

/** The place of a name below an open folder. */
export const at = (folder: number, name: Name): Buffer => Buffer.from(`/proc/self/fd/${folder}/${name}`, "latin1");

export const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/** Runs `use` with the descriptor and closes it in any case. */
export function using<T>(descriptor: number, use: (descriptor: number) => T): T {
  try {
    return use(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** A folder by its path, which is trusted. */
export const openRoot = (path: string): number => fs.openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
export const openFolderAt = (folder: number, name: Name): number =>
  fs.openSync(at(folder, name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
export const openFileAt = (folder: number, name: Name): number =>
  fs.openSync(at(folder, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
/** A new file; fails if something has the name, whatever it is. */
export const createAt = (folder: number, name: Name): number =>
  fs.openSync(at(folder, name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);

export const statsOf = (descriptor: number): Stats => fs.fstatSync(descriptor, { bigint: true });
/** Of the thing itself, were it a link; undefined if there is none. */
export function statsAt(folder: number, name: Name): Stats | undefined {
  try {
    return fs.lstatSync(at(folder, name), { bigint: true });
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

export const linkAt = (folder: number, name: Name): string =>
  fs.readlinkSync(at(folder, name), { encoding: "buffer" }).toString("latin1");

/** In the order of their bytes. */
export const namesIn = (folder: number): Name[] =>
  fs
    .readdirSync(`/proc/self/fd/${folder}`, { encoding: "buffer" })
    .map((name) => name.toString("latin1"))
    .sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));

/** The folder that a path ends in, walked from an open root; `make` makes those that are missing and gives them to `owner`. */
export function walk(root: number, names: readonly Name[], make?: { readonly owner: Owner }): number {
  let folder = fs.openSync(`/proc/self/fd/${root}/.`, O_RDONLY | O_DIRECTORY);
  for (const name of names) {
    const above = folder;
    folder = using(above, () => {
      if (make === undefined || statsAt(above, name) !== undefined) return openFolderAt(above, name);
      fs.mkdirSync(at(above, name), 0o755);
      const made = openFolderAt(above, name);
      give(made, make.owner);
      return made;
    });
  }
  return folder;
}

export type Owner = { readonly uid: number; readonly gid: number } | null;

export function give(descriptor: number, owner: Owner): void {
  if (owner !== null) fs.fchownSync(descriptor, owner.uid, owner.gid);
}

/** Whose the open folder is; null where Reeve may give nothing away. */
export function ownerOf(folder: number): Owner {
  if (process.getuid?.() !== 0) return null;
  const { uid, gid } = fs.fstatSync(folder);
  return { uid, gid };
}

/** Everything of a regular file, at most `bytesMax`: more is refused, also if it grows meanwhile. */
export function readAll(descriptor: number, bytesMax: number): Buffer {
  const size = Number(statsOf(descriptor).size);
  const refuse = (): OsError =>
    new OsError("limit_exceeded", `The file is larger than the ${bytesMax} bytes that are read at once.`, {
      data: { limit: "bytes", max: bytesMax },
    });
  if (size > bytesMax) throw refuse();
  const buffer = Buffer.allocUnsafe(size + 1);
  let length = 0;
  while (length < buffer.length) {
    const read = fs.readSync(descriptor, buffer, length, buffer.length - length, length);
    if (read === 0) break;
    length += read;
  }
  if (length > size && length > bytesMax) throw refuse();
  return buffer.subarray(0, length);
}

export function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += fs.writeSync(descriptor, bytes, done, bytes.length - done);
}

/** Removes a name that is no folder; one that is not there is no fault. */
export function unlinkAt(folder: number, name: Name): void {
  try {
    fs.unlinkSync(at(folder, name));
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}

/** Removes a name with everything below it, however deep; a name that is not there is no fault. */
export function removeAt(folder: number, name: Name): void {
  // What is very deep is brought up, so that no more than a few descriptors are open at once.
  const deep: Name[] = [name];
  for (let next = deep.pop(); next !== undefined; next = deep.pop()) removeTree({ top: folder, deep }, folder, next, 0);
}

const DEPTH_AT_ONCE = 64;

function removeTree(
  up: { readonly top: number; readonly deep: Name[] },
  folder: number,
  name: Name,
  depth: number,
): void {
  const stats = statsAt(folder, name);
  if (stats === undefined) return;
  if (!stats.isDirectory()) {
    unlinkAt(folder, name);
    return;
  }
  if (depth >= DEPTH_AT_ONCE) {
    const aside = `.reeve-removed-${up.deep.length}-${stats.ino}`;
    fs.renameSync(at(folder, name), at(up.top, aside));
    up.deep.push(aside);
    return;
  }
  using(openOwn(folder, name), (inner) => {
    for (const each of namesIn(inner)) removeTree(up, inner, each, depth + 1);
  });
  fs.rmdirSync(at(folder, name));
}

/** A folder of one's own that its permissions close is opened up first. */
function openOwn(folder: number, name: Name): number {
  const place = fs.openSync(at(folder, name), O_PATH | O_DIRECTORY | O_NOFOLLOW);
  return using(place, () => {
    if ((statsOf(place).mode & 0o700n) !== 0o700n) fs.chmodSync(`/proc/self/fd/${place}`, 0o700);
    return fs.openSync(`/proc/self/fd/${place}/.`, O_RDONLY | O_DIRECTORY);
  });
}

/** The names of a path that a tool or a person gave. Rejects with `invalid_argument` what leads out. */
export function namesOf(path: string): Name[] {
  const inside = path.replace(/^\/ws(?=\/|$)/, "").replace(/^(?:\.?\/)+/, "");
  if (path.startsWith("/") && !/^\/ws(\/|$)/.test(path)) throw outside(path, "it is not below /ws, the workspace");
  const names = inside.split("/").filter((name) => name !== "" && name !== ".");
  if (names.includes("..")) throw outside(path, "it has .. in it");
  if (path.includes("\0")) throw outside(path, "it has a zero byte in it");
  return names.map(nameOf);
}

const outside = (path: string, why: string): OsError =>
  new OsError("invalid_argument", `The path ${path} cannot be used: ${why}. Name it relative to the workspace.`, {
    data: { issues: [`path: ${why}`] },
  });

/** An error of the system on a path of the workspace, as its caller is told. */
export function asOsError(error: unknown, path: string): unknown {
  if (OsError.is(error)) return error;
  switch (codeOf(error)) {
    case "ENOENT":
      return new OsError("not_found", `There is no ${path} in the workspace.`, { data: { what: "file", id: path } });
    case "ELOOP":
    case "ENOTDIR":
    case "EISDIR":
    case "ENXIO":
    case "ENAMETOOLONG":
    case "EACCES":
    case "EPERM":
      return new OsError(
        "invalid_argument",
        `${path} cannot be used: ${REASONS[codeOf(error) ?? ""] ?? "it is no file that may be read here"}.`,
        { data: { issues: [`path: ${codeOf(error) ?? ""}`] }, cause: error },
      );
    // Something came, went or changed its kind between two steps: only a program that is at work there does that.
    case "EEXIST":
    case "ENOTEMPTY":
    case "EINVAL":
    case "EBUSY":
    case "ESTALE":
      return new OsError(
        "conflict",
        `${path} changed while it was worked on: a program is at work there. Try again when it is over.`,
        { data: { what: "file", id: path }, cause: error },
      );
    case "ENOSPC":
    case "EDQUOT":
      return new OsError(
        "limit_exceeded",
        `The workspace is full: ${path} could not be written. Remove something first.`,
        {
          data: { limit: "diskBytes" },
          cause: error,
        },
      );
    default:
      return error;
  }
}

const REASONS: { readonly [code: string]: string } = {
  ELOOP: "a link stands in the path, and links are not followed",
  ENOTDIR: "a part of the path is a file or a link, and no folder",
  EISDIR: "it is a folder",
  ENAMETOOLONG: "a name in it is too long",
};

/** Names made and removed in an open folder are on disk after this. */
export const syncOf = (folder: number): void => fs.fsyncSync(folder);

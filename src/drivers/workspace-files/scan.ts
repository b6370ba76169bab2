// Keeping a folder as it stands: its contents as objects, its form as trees.
//
// Invariants:
//   S1. What the answer names is kept, each file as it was in one moment; a program may be writing meanwhile.
//   S2. What is not kept is named, with the reason.
//   S3. Neither the number of entries, nor their depth, nor their sizes make it take more than its bounds.
//   S4. A file is not read again while its inode, size and times say that nobody has written to it. Before it is read it is put to disk:
//       a program that has it mapped into memory cannot then write without changing its times. They are believed only if they lie clearly
//       before that.
import * as fs from "node:fs";
import { OsError } from "../../abi/errors.ts";
import type { LeftOut } from "../../abi/reports.ts";
import {
  codeOf,
  linkAt,
  type Name,
  namesIn,
  openFileAt,
  openFolderAt,
  shownPath,
  type Stats,
  statsAt,
  statsOf,
  using,
} from "./beneath.ts";
import type { Objects } from "./objects.ts";
import { encodeTree, type Entry, type Tree } from "./tree.ts";

export type Bounds = { readonly entriesMax: number; readonly depthMax: number; readonly bytesMax: number };

export type ScanOptions = {
  readonly objects: Objects;
  /** What is known of its files. Absent: nothing is, and nothing will be. */
  readonly cache?: FileCache;
  /** Puts its whole file system to disk. */
  readonly sync?: () => void;
  readonly bounds: Bounds;
  /** Whether no file in it can have a name elsewhere: it is a file system of its own, or its links were made by people who are trusted. */
  readonly sealed: boolean;
  /** Whether what is too large is left out, where it would otherwise be refused. */
  readonly lenient?: boolean;
  /** Why a folder is not gone into. */
  readonly exclude?: (stats: Stats) => string | undefined;
};

export type Kept = { readonly tree: string; readonly leftOut: readonly LeftOut[]; readonly bytes: number };

/** What is known of files by their inode. */
export type FileCache = Map<string, { readonly key: string; readonly hash: string }>;

/** Times of a file are believed if they lie so far before it was put to disk. Milliseconds. */
const SETTLED_MS = 1_000;
/** Files that are put to disk one by one; more of them by the whole file system. */
const ONE_BY_ONE_MAX = 32;
/** How often a file is read again that changes while it is read. */
const READINGS = 3;

const keyOf = ({ size, mtimeNs, ctimeNs }: Stats): string => `${size}.${mtimeNs}.${ctimeNs}`;
const idOf = ({ dev, ino }: Stats): string => `${dev}.${ino}`;
const modeOf = ({ mode }: Stats): number => Number(mode & 0o777n);

/** Keeps an open folder. Rejects with `limit_exceeded` for more than its bounds. */
export function scan(root: number, options: ScanOptions): Kept {
  return new Scan(root, options).run();
}

class Scan {
  readonly #root: number;
  readonly #options: ScanOptions;
  readonly #device: bigint;
  readonly #leftOut: LeftOut[] = [];
  #entries = 0;
  #bytes = 0;
  /** Of files with holes, which take less than they seem to. */
  #hollowBytes = 0;
  #settledFiles = 0;
  /** When the whole file system was put to disk. */
  #settledMs: number | undefined;
  #inside: ReadonlyMap<string, number> | undefined;

  constructor(root: number, options: ScanOptions) {
    this.#root = root;
    this.#options = options;
    this.#device = statsOf(root).dev;
  }

  run(): Kept {
    const tree = this.#folder(this.#root, { path: "", depth: 0 });
    return { tree, leftOut: this.#leftOut, bytes: this.#bytes };
  }

  #folder(folder: number, { path, depth }: { readonly path: Name; readonly depth: number }): string {
    const tree = new Map<Name, Entry>();
    for (const name of namesIn(folder)) {
      const entry = this.#entry(folder, { name, path: path + name, depth });
      if (entry !== undefined) tree.set(name, entry);
    }
    return this.#keepTree(tree);
  }

  #keepTree(tree: Tree): string {
    return this.#options.objects.put(encodeTree(tree));
  }

  #entry(folder: number, at: { name: Name; path: Name; depth: number }): Entry | undefined {
    const stats = statsAt(folder, at.name);
    // Gone since the names were read.
    if (stats === undefined) return undefined;
    this.#count();
    try {
      if (stats.isSymbolicLink()) return { kind: "link", target: linkAt(folder, at.name) };
      if (stats.isDirectory()) return this.#inner(folder, at, stats);
      if (stats.isFile()) return this.#file(folder, at, stats);
      return this.#leave(at.path, `it is ${kindOf(stats)}`);
    } catch (error) {
      // It became something else, or went, after it was looked at; or it is closed to Reeve.
      const code = codeOf(error);
      if (code === "ENOENT") return undefined;
      if (code === "ELOOP" || code === "ENOTDIR" || code === "EINVAL")
        return this.#leave(at.path, "it changed meanwhile");
      if (code === "EACCES" || code === "EPERM") return this.#leave(at.path, "its permissions do not let it be read");
      throw error;
    }
  }

  #count(): void {
    const { entriesMax } = this.#options.bounds;
    this.#entries += 1;
    if (this.#entries > entriesMax)
      throw new OsError("limit_exceeded", `More than ${entriesMax} files and folders cannot be kept. Remove some.`, {
        data: { limit: "entries", max: entriesMax },
      });
  }

  #leave(path: Name, why: string): undefined {
    this.#leftOut.push({ path: shownPath(path), why });
  }

  #inner(
    folder: number,
    { name, path, depth }: { name: Name; path: Name; depth: number },
    stats: Stats,
  ): Entry | undefined {
    if (depth >= this.#options.bounds.depthMax)
      return this.#leave(path, `it is more than ${this.#options.bounds.depthMax} folders deep`);
    if (stats.dev !== this.#device) return this.#leave(path, "another file system is mounted there");
    const excluded = this.#options.exclude?.(stats);
    if (excluded !== undefined) return this.#leave(path, excluded);
    return using(openFolderAt(folder, name), (inner) => {
      const mode = modeOf(statsOf(inner));
      return { kind: "folder", mode, hash: this.#folder(inner, { path: `${path}/`, depth: depth + 1 }) };
    });
  }

  #file(folder: number, { name, path }: { name: Name; path: Name }, seen: Stats): Entry | undefined {
    // Most have not changed, and need not even be opened.
    const known = this.#knownOf(seen);
    if (known !== undefined) return this.#room(seen, path) === undefined ? undefined : known;
    return using(openFileAt(folder, name), (file) => {
      const stats = statsOf(file);
      if (!stats.isFile()) return this.#leave(path, "it changed meanwhile");
      const left = this.#room(stats, path);
      return left === undefined ? undefined : this.#read(file, path, left);
    });
  }

  #knownOf(stats: Stats): Entry | undefined {
    const known = this.#options.cache?.get(idOf(stats));
    if (known?.key !== keyOf(stats) || !this.#options.objects.has(known.hash)) return undefined;
    return { kind: "file", mode: modeOf(stats), size: Number(stats.size), hash: known.hash };
  }

  /** How many bytes may still be kept, from which those of this file are then taken; undefined where it is left out. */
  #room(stats: Stats, path: Name): number | undefined {
    if (stats.dev !== this.#device) return this.#leave(path, "it changed meanwhile");
    if (stats.nlink > 1n && !this.#linkedInside(stats)) return this.#leave(path, "it has another name outside");
    const size = Number(stats.size);
    const hollow = Number(stats.blocks) * 512 < size;
    const left = this.#options.bounds.bytesMax - (hollow ? this.#hollowBytes : this.#bytes);
    if (size > left && hollow) return this.#leave(path, `it is a file with holes, of ${size} bytes`);
    if (size > left && this.#options.lenient === true)
      return this.#leave(path, `it is too large to be kept (${size} bytes)`);
    if (size > left) throw tooLarge(path, size, this.#options.bounds.bytesMax);
    if (hollow) this.#hollowBytes += size;
    else this.#bytes += size;
    return left;
  }

  #read(file: number, path: Name, bytesMax: number): Entry | undefined {
    const { objects, cache } = this.#options;
    for (let reading = 1; ; reading += 1) {
      const settledMs = cache === undefined ? 0 : this.#settle(file);
      const before = statsOf(file);
      const kept = objects.putFile(file, bytesMax);
      if (kept === undefined) return this.#leave(path, "it grew while it was read");
      const after = statsOf(file);
      const still = keyOf(before) === keyOf(after);
      if (!still && reading < READINGS) continue;
      if (still && Number(after.ctimeNs / 1_000_000n) < settledMs - SETTLED_MS)
        cache?.set(idOf(after), { key: keyOf(after), hash: kept.hash });
      else cache?.delete(idOf(after));
      return { kind: "file", mode: modeOf(after), size: kept.size, hash: kept.hash };
    }
  }

  /** Puts the file to disk; answers when that was. */
  #settle(file: number): number {
    if (this.#settledMs !== undefined) return this.#settledMs;
    const nowMs = Date.now();
    this.#settledFiles += 1;
    if (this.#settledFiles > ONE_BY_ONE_MAX && this.#options.sync !== undefined) {
      this.#options.sync();
      this.#settledMs = nowMs;
    } else fs.fsyncSync(file);
    return nowMs;
  }

  #linkedInside(stats: Stats): boolean {
    if (this.#options.sealed) return true;
    this.#inside ??= this.#countLinks();
    return this.#inside.get(idOf(stats)) === Number(stats.nlink);
  }

  /** How many names each file of several names has in here. */
  #countLinks(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    const visit = (folder: number, depth: number): void => {
      for (const name of namesIn(folder)) {
        const stats = statsAt(folder, name);
        if (stats?.isFile() === true && stats.nlink > 1n) counts.set(idOf(stats), (counts.get(idOf(stats)) ?? 0) + 1);
        if (stats?.isDirectory() !== true || depth >= this.#options.bounds.depthMax) continue;
        using(openFolderAt(folder, name), (inner) => visit(inner, depth + 1));
      }
    };
    visit(this.#root, 0);
    return counts;
  }
}

const tooLarge = (path: Name, size: number, bytesMax: number): OsError =>
  new OsError(
    "limit_exceeded",
    `${shownPath(path)} with its ${size} bytes makes it more than the ${bytesMax} bytes that are kept. Allow more (limits.diskBytes of the agent, within sandbox.limits), or keep less there.`,
    { data: { limit: "diskBytes", max: bytesMax } },
  );

const kindOf = (stats: Stats): string =>
  stats.isFIFO()
    ? "a named pipe"
    : stats.isSocket()
      ? "a socket"
      : stats.isCharacterDevice() || stats.isBlockDevice()
        ? "a device"
        : "no file, folder or link";

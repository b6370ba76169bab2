// Contents, each kept once under its SHA-256, in a folder that nobody but Reeve reaches.
//
// Invariants:
//   O1. What is kept is a copy: no name outside leads to it, so nothing that runs in a workspace can change it.
//   O2. An object has its name only when all of its content is there. What is read is checked against its name.
import { createHash, randomUUID } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { OsError } from "../../abi/errors.ts";
import { writeAll } from "./beneath.ts";
import { decodeTree, hashOf, type Tree } from "./tree.ts";

/** Files up to this size are read at once. Bytes. */
const AT_ONCE_BYTES = 1024 * 1024;
/** What disks give room in: the smallest content takes as much. */
const BLOCK_BYTES = 4096;
/** Objects that are put to disk one by one; more of them by the whole file system. */
const ONE_BY_ONE_MAX = 32;

export class Objects {
  readonly #folder: string;
  readonly #known = new Set<string>();
  readonly #fresh = new Set<string>();
  readonly #chunk = Buffer.allocUnsafe(AT_ONCE_BYTES);
  #bytes: number | undefined;

  constructor(folder: string) {
    this.#folder = folder;
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  #place(hash: string): string {
    return join(this.#folder, hash.slice(0, 2), hash.slice(2));
  }

  has(hash: string): boolean {
    if (this.#known.has(hash)) return true;
    if (!fs.existsSync(this.#place(hash))) return false;
    this.#known.add(hash);
    return true;
  }

  /** Text or bytes; answers with their hash. */
  put(content: string | Uint8Array): string {
    const hash = hashOf(content);
    if (this.has(hash)) return hash;
    const temporary = join(this.#folder, `new-${randomUUID()}`);
    fs.writeFileSync(temporary, content, { mode: 0o600, flag: "wx" });
    const length = typeof content === "string" ? Buffer.byteLength(content) : content.length;
    this.#settle(temporary, hash, Math.ceil(length / BLOCK_BYTES) * BLOCK_BYTES);
    return hash;
  }

  /** The content of an open file, at most `bytesMax` of it; undefined if there is more. */
  putFile(descriptor: number, bytesMax: number): { readonly hash: string; readonly size: number } | undefined {
    const { size } = fs.fstatSync(descriptor);
    if (size > bytesMax) return undefined;
    if (size <= AT_ONCE_BYTES) {
      const length = fs.readSync(descriptor, this.#chunk, 0, AT_ONCE_BYTES, 0);
      const whole = length < AT_ONCE_BYTES || fs.readSync(descriptor, Buffer.alloc(1), 0, 1, length) === 0;
      if (whole && length >= size) return { hash: this.put(this.#chunk.subarray(0, length)), size: length };
    }
    return this.#putLarge(descriptor, bytesMax);
  }

  #putLarge(descriptor: number, bytesMax: number): { readonly hash: string; readonly size: number } | undefined {
    const temporary = join(this.#folder, `new-${randomUUID()}`);
    const sum = createHash("sha256");
    let size = 0;
    const copy = fs.openSync(temporary, "wx", 0o600);
    try {
      for (;;) {
        const length = fs.readSync(descriptor, this.#chunk, 0, AT_ONCE_BYTES, size);
        if (length === 0) break;
        const part = this.#chunk.subarray(0, length);
        sum.update(part);
        // What is empty stays empty on disk: a file of nothing but zeros costs nothing.
        if (!isZero(part))
          for (let done = 0; done < length;) done += fs.writeSync(copy, part, done, length - done, size + done);
        size += length;
        if (size > bytesMax) return undefined;
      }
      fs.ftruncateSync(copy, size);
    } finally {
      fs.closeSync(copy);
      if (size > bytesMax) fs.rmSync(temporary);
    }
    const hash = sum.digest("hex");
    if (this.has(hash)) fs.rmSync(temporary);
    else this.#settle(temporary, hash, fs.statSync(temporary).blocks * 512);
    return { hash, size };
  }

  #settle(temporary: string, hash: string, bytes: number): void {
    const place = this.#place(hash);
    try {
      fs.renameSync(temporary, place);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      fs.mkdirSync(join(this.#folder, hash.slice(0, 2)), { mode: 0o700 });
      fs.renameSync(temporary, place);
    }
    this.#known.add(hash);
    this.#fresh.add(hash);
    if (this.#bytes !== undefined) this.#bytes += bytes;
  }

  /** Puts to disk what was kept since the last time. `all` does it for the whole file system. */
  sync(all: (folder: string) => void): void {
    if (this.#fresh.size > ONE_BY_ONE_MAX) all(this.#folder);
    else {
      const folders = new Set<string>();
      for (const hash of this.#fresh) {
        syncPath(this.#place(hash));
        folders.add(join(this.#folder, hash.slice(0, 2)));
      }
      for (const folder of folders) syncPath(folder);
      if (this.#fresh.size > 0) syncPath(this.#folder);
    }
    this.#fresh.clear();
  }

  tree(hash: string): Tree {
    return decodeTree(this.read(hash).toString("utf8"));
  }

  /** Rejects with `store_failed` if it is gone or not what it was. */
  read(hash: string): Buffer {
    const content = this.#content(hash);
    if (hashOf(content) !== hash) throw damaged(hash, this.#folder);
    return content;
  }

  #content(hash: string): Buffer {
    try {
      return fs.readFileSync(this.#place(hash));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") throw damaged(hash, this.#folder);
      throw error;
    }
  }

  /** Writes the content to an open, empty file. */
  copyTo(hash: string, descriptor: number): void {
    const size = fs.statSync(this.#place(hash), { throwIfNoEntry: false })?.size;
    if (size === undefined) throw damaged(hash, this.#folder);
    if (size <= AT_ONCE_BYTES) {
      writeAll(descriptor, this.read(hash));
      return;
    }
    const sum = createHash("sha256");
    const source = fs.openSync(this.#place(hash), "r");
    try {
      let position = 0;
      for (;;) {
        const length = fs.readSync(source, this.#chunk, 0, AT_ONCE_BYTES, position);
        if (length === 0) break;
        const part = this.#chunk.subarray(0, length);
        sum.update(part);
        if (!isZero(part))
          for (let done = 0; done < length;)
            done += fs.writeSync(descriptor, part, done, length - done, position + done);
        position += length;
      }
      fs.ftruncateSync(descriptor, position);
    } finally {
      fs.closeSync(source);
    }
    if (sum.digest("hex") !== hash) throw damaged(hash, this.#folder);
  }

  /** What all of it takes on disk. */
  get bytes(): number {
    this.#bytes ??= this.#files().reduce((sum, { path }) => sum + fs.statSync(path).blocks * 512, 0);
    return this.#bytes;
  }

  #files(): { readonly hash: string; readonly path: string }[] {
    return fs.readdirSync(this.#folder).flatMap((beginning) => {
      const folder = join(this.#folder, beginning);
      if (beginning.length !== 2) return [{ hash: beginning, path: folder }];
      return fs.readdirSync(folder).map((rest) => ({ hash: beginning + rest, path: join(folder, rest) }));
    });
  }

  /** Removes what none of the trees needs. */
  sweep(roots: readonly string[]): void {
    const needed = new Set<string>();
    const mark = (hash: string): void => {
      if (needed.has(hash)) return;
      needed.add(hash);
      for (const entry of this.tree(hash).values()) {
        if (entry.kind === "folder") mark(entry.hash);
        if (entry.kind === "file") needed.add(entry.hash);
      }
    };
    roots.forEach(mark);
    for (const { hash, path } of this.#files()) {
      if (needed.has(hash)) continue;
      if (this.#bytes !== undefined) this.#bytes -= fs.statSync(path).blocks * 512;
      fs.rmSync(path);
      this.#fresh.delete(hash);
      this.#known.delete(hash);
    }
  }
}

const ZEROS = Buffer.alloc(AT_ONCE_BYTES);
const isZero = (part: Uint8Array): boolean => ZEROS.compare(part, 0, part.length, 0, part.length) === 0;

export function syncPath(path: string): void {
  const descriptor = fs.openSync(path, "r");
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

const damaged = (hash: string, folder: string): OsError =>
  new OsError(
    "store_failed",
    `What was kept of the workspace is damaged: ${hash.slice(0, 12)} in ${folder} is gone or not what it was. Nothing rests on it but going back; earlier or later states may be whole.`,
    { data: { reason: "corrupt", folder } },
  );

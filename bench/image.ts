// A file system in a file, by which a cut of the power can be staged: what the writer's file system had not written to
// its device when the writer was killed is not in a copy of the file taken then.
//
// Only root on Linux can mount one. It does not model torn sectors, nor a disk that acknowledges too early.
import { execFileSync } from "node:child_process";
import { mkdirSync, openSync, ftruncateSync, closeSync } from "node:fs";
import { join } from "node:path";
import { Missing } from "./benchmark.ts";
import type { Scratch } from "./scratch.ts";

const SIZE_BYTES = 256 * 2 ** 20;
/** ext4 commits its journal by itself so seldom that nothing is saved by it within a round. */
const MOUNT_OPTIONS = "loop,commit=300";

const run = (command: string, ...args: string[]): string =>
  execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

export type Mounted = { readonly folder: string; unmount(): Promise<void> };

export class Image {
  readonly #scratch: Scratch;
  readonly #file: string;
  #mounts = 0;

  private constructor(scratch: Scratch, file: string) {
    this.#scratch = scratch;
    this.#file = file;
  }

  /** An empty ext4 file system. */
  static async create(scratch: Scratch): Promise<Image> {
    const file = join(await scratch.folder("image"), "disk.img");
    const handle = openSync(file, "w");
    ftruncateSync(handle, SIZE_BYTES);
    closeSync(handle);
    run("mkfs.ext4", "-q", "-F", file);
    return new Image(scratch, file);
  }

  mount(): Mounted {
    this.#mounts += 1;
    const folder = `${this.#file}.${this.#mounts}`;
    mkdirSync(folder);
    run("mount", "-o", MOUNT_OPTIONS, this.#file, folder);
    return { folder, unmount: this.#scratch.defer(() => void run("umount", folder)) };
  }

  /** What has reached the device by now. */
  copy(): Image {
    const file = `${this.#file}.copy`;
    run("cp", "--sparse=always", this.#file, file);
    return new Image(this.#scratch, file);
  }
}

/** Throws `Missing` with the reason if file systems cannot be mounted here. */
export async function assertMountable(scratch: Scratch): Promise<void> {
  try {
    await (await Image.create(scratch)).mount().unmount();
  } catch (error) {
    const reason = error instanceof Error ? error.message.trim().split("\n").at(-1) : String(error);
    throw new Missing(
      `This benchmark mounts file systems in files, which needs Linux, root, mkfs.ext4 and loop devices: ${reason}`,
    );
  }
}

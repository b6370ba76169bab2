// The files of front programs (program.ts): one for each set of limits, kept while it is likely to be used again.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Architecture } from "../../../lib/system-calls.ts";
import { frontProgram, type Front } from "./program.ts";

/** Limits are set by configuration, so there are few. */
const FILES_MAX = 64;
const O_CLOEXEC = 0o2000000;
const TRIAL: Front = { bwrap: "/bin/true", doors: [], strays: [], fileBytesMax: 1, cpuSecondsMax: 1 };

export class Fronts {
  readonly #folder: string;
  readonly #architecture: Architecture;
  /** By what it was made for; the one used last stands last. */
  readonly #files = new Map<string, string>();
  #made = 0;

  /** `folder`: whoever runs a sandbox must be able to find it. */
  constructor(folder: string, architecture: Architecture) {
    this.#folder = folder;
    this.#architecture = architecture;
  }

  /**
   * Has `start` start the program for this front. It has become bubblewrap, or failed to start, when `start` returns: its file may be gone
   * then.
   */
  with<T>(front: Front, start: (program: string) => T): T {
    // Its user id is most likely that of this one start.
    if (front.hidden !== undefined) return this.#once(front, start);
    const { bwrap, doors, strays, fileBytesMax, cpuSecondsMax } = front;
    const key = JSON.stringify([bwrap, doors, strays, fileBytesMax, cpuSecondsMax]);
    const file = this.#files.get(key) ?? this.#make(front);
    this.#files.delete(key);
    this.#files.set(key, file);
    const [oldest] = this.#files;
    if (this.#files.size > FILES_MAX && oldest !== undefined) {
      this.#files.delete(oldest[0]);
      rmSync(oldest[1], { force: true });
    }
    return start(file);
  }

  #once<T>(front: Front, start: (program: string) => T): T {
    const file = this.#make(front);
    try {
      return start(file);
    } finally {
      rmSync(file, { force: true });
    }
  }

  #make(front: Front): string {
    const file = join(this.#folder, String(this.#made));
    this.#made += 1;
    return write(file, frontProgram(front, this.#architecture));
  }
}

/** Every user may execute it, whatever Reeve's own mask is. */
function write(file: string, program: Uint8Array): string {
  writeFileSync(file, program);
  chmodSync(file, 0o755);
  return file;
}

/** Whether files in this folder may be executed: a mount may forbid it. */
export function mayExecuteIn(folder: string, architecture: Architecture): boolean {
  const file = join(folder, "trial");
  try {
    write(file, frontProgram(TRIAL, architecture));
    const { error, status } = spawnSync(file, [], { stdio: "ignore" });
    // Out of processes or of descriptors is another matter, and passes.
    if (error !== undefined && !["EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    return status === 0;
  } finally {
    rmSync(file, { force: true });
  }
}

/**
 * Descriptors that Reeve was started with beside the standard ones, and that every program it starts is handed on by the system. Its
 * own are not among them.
 */
export const inherited = (): readonly number[] =>
  readdirSync("/proc/self/fd")
    .map(Number)
    .filter((number) => number > 2 && isHandedOn(number));

function isHandedOn(number: number): boolean {
  const file = `/proc/self/fdinfo/${number}`;
  // The one that the list itself was read by is closed again.
  if (!existsSync(file)) return false;
  return (Number.parseInt(/^flags:\s*(\d+)$/m.exec(readFileSync(file, "utf8"))?.[1] ?? "0", 8) & O_CLOEXEC) === 0;
}

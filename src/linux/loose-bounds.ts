// What holds a sandbox together where there are no control groups: the process namespace, whose first process takes all others
// with it. It counts nothing.
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as after } from "node:timers/promises";
import { OsError } from "../abi/errors.ts";
import type { Usage } from "./cgroup.ts";
import type { Bounds } from "./running.ts";

const DEATH_TIMEOUT_MS = 30_000;
const PAUSE_MS = 2;

export class LooseBounds implements Bounds {
  readonly #child: ChildProcess;
  /** The first process inside, once it is known. */
  #first: string | undefined;

  constructor(child: ChildProcess) {
    this.#child = child;
  }

  usage(): Usage {
    this.#findFirst();
    return { cpuMs: null, memoryPeakBytes: null, killedForMemory: 0, forksRefused: 0 };
  }

  /** Bubblewrap's end is the end of the first process inside, and that the end of all. */
  kill(): void {
    this.#findFirst();
    this.#child.kill("SIGKILL");
  }

  async remove(): Promise<void> {
    if (this.#child.pid === undefined) return;
    this.kill();
    for (let waitedMs = 0; this.#first !== undefined && lives(this.#first); waitedMs += PAUSE_MS) {
      if (waitedMs > DEATH_TIMEOUT_MS)
        throw new OsError("internal", `The process ${this.#first} of a sandbox was killed and does not die.`);
      await after(PAUSE_MS);
    }
  }

  #findFirst(): void {
    const { pid, exitCode, signalCode } = this.#child;
    if (this.#first !== undefined || pid === undefined || exitCode !== null || signalCode !== null) return;
    try {
      this.#first = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0] || undefined;
    } catch {
      // It ended by itself meanwhile.
    }
  }
}

/**
 * The first process of a process namespace is dead only once all others in it are. Who then takes its status is the machine's first
 * process, which on some machines is slow and in some containers never does it: that is not waited for.
 */
function lives(pid: string): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // Its name, which may hold anything, ends with the last bracket.
    return !/^\) [ZX]/.test(text.slice(text.lastIndexOf(")")));
  } catch {
    // It is gone, status and all.
    return false;
  }
}

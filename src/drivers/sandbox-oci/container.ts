// What holds a container together: its control group, the runtime that stands beside it, and the folders of both.
import { rmSync } from "node:fs";
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import type { Group, Usage } from "../../linux/cgroup.ts";
import type { Bounds } from "../../linux/running.ts";
import { readLog } from "./host.ts";

export type ContainerOptions = {
  readonly child: ChildProcess;
  readonly group: Group;
  readonly bundle: string;
  readonly state: string;
  readonly id: string;
  /** What the runtime said of itself; a file. */
  readonly log: string;
};

export class Container implements Bounds {
  readonly #options: ContainerOptions;
  #said = "";

  constructor(options: ContainerOptions) {
    this.#options = options;
  }

  /** What the runtime said, once it is over. */
  get log(): string {
    return this.#said;
  }

  usage(): Usage {
    return this.#options.group.usage();
  }

  /** The runtime first, with what it has started and not yet put into the group: it must not start anything after the group is empty. */
  kill(): void {
    const { child, group } = this.#options;
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) killSession(child.pid);
    group.kill();
  }

  async remove(): Promise<void> {
    const { group, bundle, state, id, log } = this.#options;
    this.kill();
    await group.remove();
    this.#said = readLog(log);
    rmSync(bundle, { recursive: true, force: true });
    rmSync(join(state, id), { recursive: true, force: true });
  }
}

/** It was started at the head of a group of processes. */
function killSession(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // It went by itself meanwhile.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

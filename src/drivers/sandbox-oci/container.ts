// What holds a container together: its control group, the runtime that stands beside it, and its folder.
import type { ChildProcess } from "node:child_process";
import { rmSync } from "node:fs";
import { OsError } from "../../abi/errors.ts";
import type { Usage } from "../../linux/cgroup.ts";
import { endOf, type Bounds, type Ending } from "../../linux/running.ts";
import { firstInside } from "./inspection.ts";
import { logOf, type Gate } from "./launch.ts";
import { isOwnFailure } from "./runtimes/engine.ts";
import { readLog } from "./runtimes/refusals.ts";
import type { Order, Runtime } from "./runtimes/runtime.ts";

export type ContainerOptions = {
  readonly child: ChildProcess;
  readonly gate: Gate;
  readonly runtime: Runtime;
  readonly order: Order;
};

/** How long an engine has for striking out a container that is over, before its program is killed. */
const PATIENCE_MS = 20_000;
/** What is told of a container whose first process was killed. */
const KILLED = 137;

export class Container implements Bounds {
  readonly #options: ContainerOptions;
  #impatient: NodeJS.Timeout | undefined;
  #first: number | undefined;
  #status: number | undefined;
  #said = "";

  constructor(options: ContainerOptions) {
    this.#options = options;
  }

  /** What the runtime said, once it is over. */
  get log(): string {
    return this.#said;
  }

  /** The first process inside, once it is known: its end is the end of all, also where nothing can be put into a group. */
  standsBy(first: number): void {
    this.#first = first;
  }

  /**
   * How the job ended, by the word of the first process inside. Where that could not say it, it was ended from outside, whatever its runtime
   * says of itself: an engine may end in the middle.
   */
  async ended(): Promise<Ending> {
    const { child, gate } = this.#options;
    const left = endOf(child).then(async () => {
      // What was said before is read by then.
      for (let turn = 0; turn < 2; turn += 1) await new Promise(setImmediate);
      return undefined;
    });
    this.#status = await Promise.race([gate.status, left]);
    return this.#status === undefined ? { code: null, signal: "SIGKILL" } : { code: this.#status, signal: null };
  }

  usage(): Usage {
    return this.#options.order.group.usage();
  }

  /**
   * A runtime first, with what it has started and not yet put into the group: it must not start anything after the group is empty. An
   * engine's container either stands at its gate, which no longer opens, or is in the group.
   */
  kill(): void {
    const { child, gate, runtime, order } = this.#options;
    const isOver = child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
    if (!isOver && runtime.isKilled) killSession(child);
    if (!isOver && !runtime.isKilled) this.#impatient ??= setTimeout(() => killSession(child), PATIENCE_MS);
    gate.close();
    order.group.kill();
    if (!runtime.isKilled && this.#first !== undefined) killFirst(this.#first);
  }

  async remove(): Promise<void> {
    const { child, runtime, order } = this.#options;
    this.kill();
    await order.group.remove();
    if (child.pid !== undefined) await endOf(child);
    clearTimeout(this.#impatient);
    this.#said = readLog(logOf(order.folder));
    if (child.pid !== undefined)
      await runtime.forget(order, this.#isInOrder(child.exitCode)).catch((error: unknown) => {
        // Nothing of it lives. What an engine that does not answer has in its books is struck out at the next start.
        if (!OsError.is(error)) throw error;
      });
    rmSync(order.folder, { recursive: true, force: true });
  }

  /** Whether a runtime's program ended as its container did. */
  #isInOrder(code: number | null): boolean {
    return code === KILLED || (code === this.#status && !isOwnFailure(code));
  }
}

/** Nothing, where it is over: the number may be another's by now, but hardly that of another container's first. */
function killFirst(pid: number): void {
  if (firstInside([pid]) !== undefined) signal(pid);
}

/** It was started at the head of a group of processes. */
function killSession({ pid }: ChildProcess): void {
  if (pid !== undefined) signal(-pid);
}

function signal(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    // It went by itself meanwhile.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

// A shell that outlives Reeve by a moment, and does then what Reeve itself can no longer do.
//
// It holds one end of a pipe whose other end is Reeve's alone; the system closes that however Reeve ends.
import { spawn, type ChildProcess } from "node:child_process";

/** Written before an orderly end, after which nothing is left to do. */
const DONE = "done\n";

const WAIT = `
trap '' INT TERM HUP QUIT
read -r word
[ "$word" = done ] && exit 0
`;

export type SurvivorOptions = {
  /** It is listed under this among the machine's processes. */
  readonly name: string;
  /** Run when Reeve is gone without a word. */
  readonly script: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
};

export class Survivor {
  readonly #process: ChildProcess;
  readonly #gone: Promise<void>;

  constructor({ name, script, args, env }: SurvivorOptions) {
    this.#process = spawn("/bin/sh", ["-c", WAIT + script, name, ...args], {
      // A session of its own: signals of the terminal are not meant for it.
      ...{ detached: true, cwd: "/", env },
      stdio: ["pipe", "ignore", "ignore"],
    });
    this.#gone = new Promise((resolve) => this.#process.once("close", () => resolve()));
    // One that cannot be started leaves its work to the next start; it must not end Reeve.
    this.#process.on("error", () => {});
    this.#process.stdin?.on("error", () => {});
    this.#process.unref();
    const stdin = this.#process.stdin as (NodeJS.WritableStream & { unref?: () => void }) | null;
    stdin?.unref?.();
  }

  /** Absent where it could not be started. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** After the last thing that it would have had to see to. */
  async close(): Promise<void> {
    // Never started, or ended by somebody else: there is nothing to wait for.
    if (this.#process.pid === undefined || this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.ref();
    this.#process.stdin?.end(DONE);
    await this.#gone;
  }
}

// A server's program: started, watched, and ended with everything that it started.
//
// Invariants:
//   C1. However it ends, nothing of it is left, and its end is told once.
//   C2. Of what it writes to standard error only the end is kept.
//   C3. One that is ended before it has started does not start.
import type { Readable } from "node:stream";
import { plain } from "./faults.ts";
import type { Launch, Launched } from "./launch.ts";

const STDERR_BYTES_MAX = 4096;
const STDERR_LINES_SHOWN = 5;
/** Time to end after end of input; then after it was asked to; then after it was killed, when only an unkillable process is left. */
const END_GRACE_MS = 1000;

export class Child {
  readonly #launch: Launch;
  readonly #wanted = new AbortController();
  #process: Launched | undefined;
  #stderr = Buffer.alloc(0);
  #ended: string | undefined;
  #told: Promise<void> | undefined;
  readonly #onEnd: (how: string) => void;

  /** `onEnd` is told once, in words, how it ended. */
  constructor(launch: Launch, onEnd: (how: string) => void) {
    this.#launch = launch;
    this.#onEnd = onEnd;
  }

  /** Resolves when it runs; rejects if it cannot be started. */
  async start(onOutput: (chunk: Buffer) => void): Promise<void> {
    let started: Launched;
    try {
      started = await this.#launch(this.#wanted.signal);
    } catch (error) {
      this.#ended ??= "could not be started";
      throw error;
    }
    this.#process = started;
    const { stdin, stdout, stderr } = started;
    // A broken pipe is told to whoever writes; the end of the process tells the rest.
    for (const stream of [stdin, stdout, stderr]) stream.on("error", () => {});
    const read = Promise.all([wholeOf(stdout), wholeOf(stderr)]);
    stdout.on("data", onOutput);
    stderr.on("data", (chunk: Buffer) => this.#keepStderr(chunk));
    this.#told = started.ended.then(async (how) => this.#over(how, read));
    if (this.#wanted.signal.aborted) this.kill();
  }

  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  get running(): boolean {
    return this.#process !== undefined && this.#ended === undefined;
  }

  /** Resolves when the operating system has all of the text; rejects if it did not take the end of it. */
  async write(text: string): Promise<void> {
    const child = this.#process;
    if (child === undefined || !this.running) throw new Error("the process does not run");
    await new Promise<void>((resolve, reject) => {
      child.stdin.write(text, (error) => (error === null || error === undefined ? resolve() : reject(error)));
    });
  }

  /** Whether it is not there any more, or goes within a second; its end was told then. */
  async over(): Promise<boolean> {
    if (this.#process !== undefined && !(await gone(this.#process))) return false;
    await this.#told;
    return true;
  }

  /** The last lines of standard error; empty if there are none. */
  stderrTail(): string {
    const lines = this.#stderr
      .toString("utf8")
      .split("\n")
      // Where in the program it happened would push out what happened.
      .filter((line) => !/^\s+at /.test(line))
      .map((line) => plain(line, 300))
      .filter((line) => line !== "");
    return lines.slice(-STDERR_LINES_SHOWN).join(" | ");
  }

  /** Ends it: end of input, then a request, then by force, each with a second to comply. */
  async stop(): Promise<void> {
    this.#wanted.abort();
    const child = this.#process;
    if (child === undefined) return;
    child.stdin.end();
    if (await gone(child)) return;
    child.ask();
    if (await gone(child)) return;
    this.kill();
    await gone(child);
  }

  /** Ends it at once. */
  kill(): void {
    this.#wanted.abort();
    this.#process?.kill();
    this.#process?.stdout.destroy();
  }

  async #over(how: string, read: Promise<unknown>): Promise<void> {
    this.#ended ??= how;
    // What it wrote before its end is still in the pipes, and may hold answers, or why it ended. Whoever else holds one is not waited for.
    const timer = setTimeout(() => {
      this.#process?.stdout.destroy();
      this.#process?.stderr.destroy();
    }, END_GRACE_MS);
    await read;
    clearTimeout(timer);
    this.#onEnd(this.#ended);
  }

  #keepStderr(chunk: Buffer): void {
    const kept = Buffer.concat([this.#stderr, chunk.subarray(-STDERR_BYTES_MAX)]);
    this.#stderr = kept.subarray(-STDERR_BYTES_MAX);
  }
}

/** Resolves when nothing more comes of a stream. */
async function wholeOf(stream: Readable): Promise<void> {
  await new Promise<void>((resolve) => {
    for (const event of ["end", "close", "error"]) stream.once(event, () => resolve());
  });
}

/** Whether it ends within its second. */
async function gone({ ended }: Launched): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), END_GRACE_MS)));
  return Promise.race([ended.then(() => true), late]).finally(() => clearTimeout(timer));
}

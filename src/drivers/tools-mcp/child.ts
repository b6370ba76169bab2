// A server's process: started with little, watched, and ended with everything that it started.
//
// Invariants:
//   C1. It gets PATH, HOME, LANG, TMPDIR and what its configuration names; nothing else of our environment.
//   C2. It leads a process group of its own. When it ends, by itself or by us, the rest of the group is killed.
//   C3. It cannot miss our end: its standard input is closed by the operating system even if we are killed.
//   C4. Of what it writes to standard error only the end is kept.
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { existsSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { plain } from "./faults.ts";

export type ChildOptions = {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
};

const INHERITED = ["PATH", "HOME", "LANG", "TMPDIR"];
const STDERR_BYTES_MAX = 4096;
const STDERR_LINES_SHOWN = 5;
/** Time to end after end of input; then after SIGTERM; then after SIGKILL, when only an unkillable process is left. */
const END_GRACE_MS = 1000;

export function environmentOf(
  ours: Readonly<Record<string, string | undefined>>,
  configured: Readonly<Record<string, string>>,
): Record<string, string> {
  const inherited = INHERITED.flatMap((name) => (ours[name] === undefined ? [] : [[name, ours[name]] as const]));
  return { ...Object.fromEntries(inherited), ...configured };
}

/** Why a process could not be started, in words; the system names the command alike whatever was not found. */
function startFault(error: Error, { command, cwd }: ChildOptions): string {
  const code = "code" in error ? error.code : undefined;
  if (code === "EACCES") return `"${command}" may not be run: it is no program, or its mode forbids it`;
  if (code !== "ENOENT") return error.message;
  if (!existsSync(cwd)) return `its folder ${cwd} does not exist`;
  return /[/\\]/.test(command)
    ? `there is no program "${command}", or what it is to be run by is missing`
    : `the command "${command}" was not found on PATH`;
}

export class Child {
  readonly #options: ChildOptions;
  #process: ChildProcessByStdio<Writable, Readable, Readable> | undefined;
  #stderr = Buffer.alloc(0);
  #ended: string | undefined;
  readonly #onEnd: (how: string) => void;

  /** `onEnd` is told once, in words, how the process ended. */
  constructor(options: ChildOptions, onEnd: (how: string) => void) {
    this.#options = options;
    this.#onEnd = onEnd;
  }

  /** Resolves when the process runs; rejects if it cannot be started. */
  async start(onOutput: (chunk: Buffer) => void): Promise<void> {
    const { command, args, cwd, env } = this.#options;
    const started = spawn(command, args, {
      cwd,
      env,
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
      windowsHide: true,
    });
    this.#process = started;
    started.stdout.on("data", onOutput);
    started.stderr.on("data", (chunk: Buffer) => this.#keepStderr(chunk));
    // A broken pipe is told to whoever writes; the end of the process tells the rest.
    for (const stream of [started.stdin, started.stdout, started.stderr]) stream.on("error", () => {});
    started.once("exit", (code, signal) => this.#exited(code, signal));
    await new Promise<void>((resolve, reject) => {
      started.once("spawn", resolve);
      started.once("error", (error) => {
        this.#ended ??= "could not be started";
        reject(new Error(startFault(error, this.#options)));
      });
    });
  }

  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  get running(): boolean {
    return this.#process !== undefined && this.#ended === undefined;
  }

  /** Resolves when the operating system has all of the text; rejects if it did not take the end of it. */
  async write(text: string): Promise<void> {
    const stdin = this.#process?.stdin;
    if (stdin === undefined || !this.running) throw new Error("the process does not run");
    await new Promise<void>((resolve, reject) => {
      stdin.write(text, (error) => (error === null || error === undefined ? resolve() : reject(error)));
    });
  }

  /** The last lines of standard error; empty if there are none. */
  stderrTail(): string {
    const lines = this.#stderr
      .toString("utf8")
      .split("\n")
      .map((line) => plain(line, 300))
      .filter((line) => line !== "");
    return lines.slice(-STDERR_LINES_SHOWN).join(" | ");
  }

  /** Ends it: end of input, then SIGTERM, then SIGKILL, each with a second to comply. */
  async stop(): Promise<void> {
    this.#process?.stdin.end();
    if (await this.#gone()) return;
    this.#signal("SIGTERM");
    if (await this.#gone()) return;
    this.kill();
    await this.#gone();
  }

  /** Ends it at once. */
  kill(): void {
    this.#signal("SIGKILL");
    this.#process?.stdout.destroy();
  }

  #signal(signal: NodeJS.Signals): void {
    const pid = this.pid;
    if (pid === null) return;
    try {
      process.kill(-pid, signal);
    } catch (error) {
      // ESRCH: nobody of the group is left, which is what was wanted. EPERM: what is left runs as somebody else.
      if (!(error instanceof Error && "code" in error && (error.code === "ESRCH" || error.code === "EPERM")))
        throw error;
    }
  }

  async #gone(): Promise<boolean> {
    const child = this.#process;
    if (child === undefined || child.pid === undefined || child.exitCode !== null || child.signalCode !== null)
      return true;
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), END_GRACE_MS);
      child.once("exit", () => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }

  #exited(code: number | null, signal: NodeJS.Signals | null): void {
    this.#ended ??= signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
    this.#signal("SIGKILL");
    const told = this.#ended;
    // What it wrote before its end is still in the pipe, and may hold answers. Whoever else holds the pipe is not waited for.
    const timer = setTimeout(() => this.#process?.stdout.destroy(), END_GRACE_MS);
    this.#process?.once("close", () => {
      clearTimeout(timer);
      this.#onEnd(told);
    });
  }

  #keepStderr(chunk: Buffer): void {
    const kept = Buffer.concat([this.#stderr, chunk.subarray(-STDERR_BYTES_MAX)]);
    this.#stderr = kept.subarray(-STDERR_BYTES_MAX);
  }
}

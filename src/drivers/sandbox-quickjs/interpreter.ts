// One child that interprets snippets, as its host sees it: started, given one order at a time, ended.
//
// Invariants:
//   I1. It gets nothing of our environment, may read no file but the code that it runs, and write none.
//   I2. What it prints during a run is that run's, up to a bound; more ends it.
//   I3. After a limit that its own timer did not keep, it is killed, never asked again.
import { type ChildProcess, spawn } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, extname, join, resolve } from "node:path";
import { type Order, replySchema, type Reply } from "./frames.ts";

/** How long it may take beyond the snippet's own time before it is ended. */
const SLACK_MS = 2_000;
const START_MS = 15_000;

export type Answer = { readonly reply: Reply | "flood" | "late" | "died"; readonly console: string };

const packageFolder = (name: string): string => dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));

const ENTRY = join(import.meta.dirname, `child${extname(import.meta.filename)}`);

/** What the child must be able to read in order to run at all. */
const readable = (): string[] => [
  import.meta.dirname,
  resolve(import.meta.dirname, "../../../package.json"),
  packageFolder("run"),
];

export class Interpreter {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #ready: Promise<void>;
  #answered: ((reply: Answer["reply"]) => void) | undefined;
  #console = "";
  #consoleBytesMax = 0;
  #alive = true;

  constructor() {
    const flags = ["--permission", "--allow-worker", "--allow-wasi", "--no-warnings"];
    const reads = readable().map((path) => `--allow-fs-read=${path}`);
    this.#child = spawn(process.execPath, [...flags, ...reads, ENTRY], {
      env: {},
      cwd: "/",
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      serialization: "json",
      windowsHide: true,
    });
    const ended = Promise.withResolvers<void>();
    const ready = Promise.withResolvers<void>();
    this.#ended = ended.promise;
    this.#ready = ready.promise;
    const over = (): void => {
      this.#alive = false;
      ready.reject(new Error("the interpreter could not be started"));
      this.#answered?.("died");
      ended.resolve();
    };
    this.#child.once("exit", over);
    this.#child.once("error", over);
    this.#child.on("message", (message) => {
      const parsed = replySchema.safeParse(message);
      if (!parsed.success) return this.kill();
      if (parsed.data.kind === "ready") ready.resolve();
      else this.#answered?.(parsed.data);
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding("utf8");
      stream?.on("data", (text: string) => this.#print(text));
    }
    const late = setTimeout(() => this.kill(), START_MS);
    ready.promise.finally(() => clearTimeout(late)).catch(() => {});
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** Rejects if it does not come up. */
  get ready(): Promise<void> {
    return this.#ready;
  }

  async run(order: Order, signal: AbortSignal): Promise<Answer> {
    await this.#ready;
    this.#console = "";
    this.#consoleBytesMax = order.consoleBytesMax;
    const { promise, resolve: answered } = Promise.withResolvers<Answer["reply"]>();
    this.#answered = answered;
    const late = setTimeout(() => answered("late"), order.timeoutMs + SLACK_MS);
    const giveUp = (): void => this.kill();
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      if (signal.aborted) giveUp();
      else this.#child.send(order);
      const reply = await promise;
      if (typeof reply === "string") await this.end();
      return { reply, console: this.#console };
    } finally {
      clearTimeout(late);
      signal.removeEventListener("abort", giveUp);
      this.#answered = undefined;
    }
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async end(): Promise<void> {
    this.kill();
    await this.#ended;
  }

  #print(text: string): void {
    this.#console += text;
    if (this.#console.length <= this.#consoleBytesMax) return;
    this.#console = this.#console.slice(0, this.#consoleBytesMax);
    this.#answered?.("flood");
  }
}

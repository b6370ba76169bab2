// Snippets of JavaScript in QuickJS, in child processes of ours: the level `snippet`, which needs nothing installed.
//
// Boundary: WebAssembly and QuickJS keep the code in; a child process under Node's permission model, with an empty
// environment, is there for the day on which they do not.
//
// Invariants:
//   Q1. A child interprets one snippet at a time, each in a context and on a thread of its own; there are at most as many
//       children as snippets may run at once, and the rest wait in order.
//   Q2. Nothing runs before the self-test has passed (selftest.ts). If it fails, nothing runs at all; if it came to no verdict, it is made
//       anew after a while.
//   Q3. What a snippet prints cannot be taken for its result.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { OsError } from "../../abi/errors.ts";
import type { SandboxLimits } from "../../abi/isolation.ts";
import { isUndecided, RETEST_MS } from "../../lib/verdicts.ts";
import type { SelfTestReport, SnippetResult, Snippets } from "../../ports/sandbox.ts";
import type { Order } from "./frames.ts";
import { type Answer, Interpreter } from "./interpreter.ts";
import { runPayloads } from "./selftest.ts";

/** QuickJS in this build asks after the time at most so often: about a third of a second of a tight loop. */
const POLLS_MAX = 10_000;
const SOURCE_BYTES_MAX = 256 * 1024;

const LIMIT_OF_CODE: { readonly [code: string]: "result" | undefined } = { RUN_SERIALIZATION_ERROR: "result" };

export type SnippetsOptions = {
  /** Snippets at once. */
  readonly concurrency: number;
};

export function createSnippets(options: SnippetsOptions): Snippets {
  return new QuickJs(options);
}

class QuickJs implements Snippets {
  readonly #concurrency: number;
  readonly #idle: Interpreter[] = [];
  readonly #all = new Set<Interpreter>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #tested: Promise<SelfTestReport> | undefined;
  #closed = false;

  constructor({ concurrency }: SnippetsOptions) {
    this.#concurrency = concurrency;
  }

  async run(code: string, options: Parameters<Snippets["run"]>[1]): Promise<SnippetResult> {
    const report = await this.#latest();
    if (!report.passed) throw untrusted(report);
    return this.#interpret(code, options);
  }

  report(set?: "full"): Promise<SelfTestReport> {
    if (set === "full" || this.#tested === undefined) {
      this.#tested = runPayloads((code, options) => this.#interpret(code, options), versionOf("run"));
    }
    return this.#tested;
  }

  async #latest(): Promise<SelfTestReport> {
    const known = this.#tested;
    const report = await this.report();
    const isFinal = !isUndecided(report.verdicts) || Date.now() < report.atMs + RETEST_MS;
    // Of those that come here at once, the first has it made anew.
    return isFinal ? report : this.report(this.#tested === known ? "full" : undefined);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#all].map((interpreter) => interpreter.end()));
  }

  async #interpret(
    code: string,
    { inputJson, limits, signal }: Parameters<Snippets["run"]>[1],
  ): Promise<SnippetResult> {
    // On one line with the code, so that the lines of an error are those of the snippet.
    const source = `const input = ${inputJson}; ${code}`;
    const order: Order = {
      source,
      timeoutMs: Math.min(limits.wallMs, limits.cpuMs),
      memoryBytes: limits.memoryBytes,
      resultBytesMax: limits.outputBytes,
      consoleBytesMax: limits.outputBytes,
      sourceBytesMax: SOURCE_BYTES_MAX + Buffer.byteLength(inputJson),
    };
    await this.#turn();
    try {
      return resultOf(await this.#answerOf(order, signal), order, limits, signal);
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #turn(): Promise<void> {
    if (this.#running >= this.#concurrency) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running += 1;
  }

  async #answerOf(order: Order, signal: AbortSignal): Promise<Answer> {
    const interpreter = this.#take();
    try {
      await interpreter.ready;
    } catch (error) {
      this.#all.delete(interpreter);
      throw new OsError(
        "isolation_unavailable",
        `The interpreter of snippets could not be started: ${(error as Error).message}. Look at the limits of processes and memory.`,
        { data: { level: "snippet", drivers: ["quickjs"] }, cause: error },
      );
    }
    const answer = await interpreter.run(order, signal);
    if (interpreter.alive && !this.#closed) this.#idle.push(interpreter);
    else this.#all.delete(interpreter);
    return answer;
  }

  #take(): Interpreter {
    if (this.#closed) throw new OsError("cancelled", "No snippet is run any more: the system is shutting down.");
    for (let known = this.#idle.pop(); known !== undefined; known = this.#idle.pop()) {
      if (known.alive) return known;
      this.#all.delete(known);
    }
    const fresh = new Interpreter();
    // Whoever waits for it hears of a failure.
    fresh.ready.catch(() => {});
    this.#all.add(fresh);
    return fresh;
  }
}

function resultOf({ reply, console }: Answer, order: Order, limits: SandboxLimits, signal: AbortSignal): SnippetResult {
  if (reply === "flood") return { kind: "limit", limit: "output", max: order.consoleBytesMax, console };
  if (reply === "late") return { kind: "limit", limit: "wall", max: order.timeoutMs, console };
  if (reply === "died")
    return signal.aborted
      ? { kind: "killed", console }
      : { kind: "thrown", message: "the interpreter died of this snippet", console };
  if (reply.kind === "value") return { kind: "value", json: reply.json, console };
  if (reply.kind === "ready") return { kind: "thrown", message: "the interpreter gave no answer", console };
  return failureOf(reply, order, limits, console);
}

function failureOf(
  { code, message }: { readonly code: string; readonly message: string },
  order: Order,
  limits: SandboxLimits,
  console: string,
): SnippetResult {
  if (code === "RUN_TIMEOUT") {
    // Its own bound on steps comes long before the time is up.
    const byTime = message.includes("RunTimeoutError");
    return byTime
      ? { kind: "limit", limit: "wall", max: order.timeoutMs, console }
      : { kind: "limit", limit: "steps", max: POLLS_MAX, console };
  }
  if (message.includes("InternalError: out of memory") || message === "out of memory")
    return { kind: "limit", limit: "memory", max: limits.memoryBytes, console };
  if (LIMIT_OF_CODE[code] === "result" && message.includes("size limit"))
    return { kind: "limit", limit: "result", max: order.resultBytesMax, console };
  return { kind: "thrown", message, console };
}

function versionOf(name: string): string {
  const file = createRequire(import.meta.url).resolve(`${name}/package.json`);
  return `${name} ${(JSON.parse(readFileSync(file, "utf8")) as { version: string }).version}`;
}

const untrusted = ({ verdicts }: SelfTestReport): OsError => {
  const failed = verdicts.filter(({ expected }) => !expected).map(({ payload, verdict }) => `${payload}: ${verdict}`);
  return new OsError(
    "isolation_unavailable",
    `No snippet was run: the interpreter did not pass its self-test (${failed.join(", ")}). \`reeve doctor --full\` tests it anew and shows each attempt.`,
    { data: { level: "snippet", drivers: ["quickjs"] } },
  );
};

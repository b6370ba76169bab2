// One run of a module agent over a child: carries its calls to the kernel and their outcomes back.
//
// Invariants:
//   R1. The result settles at most once, and never after disposal.
//   R2. Calls reach the kernel in the order of their numbers, without gaps; nothing reaches it once the run is over.
//   R3. The child's word that it is idle answers one question, which was asked behind all that it had been sent by then.
import { relative } from "node:path";
import { errorRecord, OsError } from "../../abi/errors.ts";
import type { Json } from "../../abi/json.ts";
import { errorRecordSchema } from "../../abi/process.ts";
import { PROCESS_CALLS } from "../../abi/syscalls.ts";
import type { ProcessCall } from "../../abi/syscalls.ts";
import type { ProgramRun, ProgramStart } from "../../ports/program.ts";
import { PROTOCOL } from "./frames.ts";
import type { Order, Thrown } from "./frames.ts";
import type { Death, ModuleChild } from "./module-child.ts";

export type RunOptions = {
  readonly projectFolder: string;
  readonly memoryMb: number;
  readonly loadTimeoutMs: number;
  readonly onOutput: (text: string) => void;
  readonly onLoaded: () => void;
  /** It waits for no child any more, and needs the one it has no longer. */
  readonly onOver: () => void;
};

type Frame = {
  readonly type?: unknown;
  readonly protocol?: unknown;
  readonly n?: unknown;
  readonly asked?: unknown;
  readonly syscall?: unknown;
  readonly args?: Json;
  readonly value?: Json;
  readonly error?: unknown;
  readonly thrown?: Thrown;
};

const CALLS: ReadonlySet<unknown> = new Set(PROCESS_CALLS);

export class ModuleRun implements ProgramRun {
  readonly result: Promise<Json>;
  readonly #start: ProgramStart;
  readonly #options: RunOptions;
  readonly #settle: PromiseWithResolvers<Json>;
  #child: ModuleChild | undefined;
  #loading: NodeJS.Timeout | undefined;
  #next = 0;
  /** Questions whether the child is idle, by number, with what its answer resolves. */
  readonly #questions = new Map<unknown, () => void>();
  #asked = 0;
  #over = false;

  constructor(start: ProgramStart, options: RunOptions) {
    this.#start = start;
    this.#options = options;
    this.#settle = Promise.withResolvers<Json>();
    this.result = this.#settle.promise;
  }

  /** Its turn has come: runs in this child. `file` is the agent's module. */
  begin(child: ModuleChild, file: string): void {
    this.#child = child;
    const { pid, task, createdMs } = this.#start;
    const order: Order = { type: "start", pid, file, task, createdMs };
    child.send(JSON.stringify(order));
    const { loadTimeoutMs } = this.#options;
    this.#loading = setTimeout(
      () => this.#fail(`did not finish loading within ${loadTimeoutMs} ms`, "Let the module do its work in `run`"),
      loadTimeoutMs,
    );
    child.attach({
      onLine: (line) => this.#onLine(line),
      onOutput: this.#options.onOutput,
      onBreach: (message) => this.#breach(message),
      onDeath: (death) => this.#died(death),
    });
  }

  idle(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#over) return;
      this.#asked += 1;
      this.#questions.set(this.#asked, resolve);
      this.#child?.send(`{"type":"idle","asked":${this.#asked}}`);
    });
  }

  dispose(): void {
    if (!this.#over) this.#end();
  }

  reject(error: Error): void {
    if (this.#over) return;
    this.#end();
    this.#settle.reject(error);
  }

  #end(): void {
    this.#over = true;
    clearTimeout(this.#loading);
    this.#questions.clear();
    this.#child?.kill();
    this.#options.onOver();
  }

  #onLine(line: string): void {
    if (this.#over) return;
    let frame: Frame;
    try {
      frame = JSON.parse(line) as Frame;
    } catch {
      // What it was is said well enough by its beginning.
      return this.#breach(`a frame is not JSON: ${line.slice(0, 100)}`);
    }
    if (typeof frame === "object" && frame !== null && "n" in frame) this.#onCall(frame);
    else this.#onNews(frame ?? {});
  }

  #onCall({ n, syscall, args }: Frame): void {
    if (n !== this.#next) return this.#breach(`call ${String(n)} came where ${this.#next} was due`);
    if (!CALLS.has(syscall) || args === undefined)
      return this.#breach(
        `it issued ${JSON.stringify(syscall)}, which is no system call here; the agent may import another version of reeve`,
      );
    this.#next += 1;
    this.#start.issue(n, syscall as ProcessCall, args).then(
      (value: Json | undefined) => this.#child?.send(`{"n":${n},"value":${JSON.stringify(value ?? null)}}`),
      (error: unknown) => this.#child?.send(`{"n":${n},"error":${JSON.stringify(errorRecord(error))}}`),
    );
  }

  #onIdle({ asked }: Frame): void {
    const answered = this.#questions.get(asked);
    if (answered === undefined) return this.#breach("it called itself idle without being asked");
    this.#questions.delete(asked);
    answered();
  }

  #onNews(frame: Frame): void {
    switch (frame.type) {
      case "hello":
        return frame.protocol === PROTOCOL
          ? undefined
          : this.#breach(`it speaks version ${String(frame.protocol)} of the socket's protocol, not ${PROTOCOL}`);
      case "loaded":
        clearTimeout(this.#loading);
        return this.#options.onLoaded();
      case "idle":
        return this.#onIdle(frame);
      case "result":
        if (this.#over) return;
        this.#end();
        return this.#settle.resolve(frame.value ?? null);
      case "failure":
        return this.#failed(frame);
      default:
        return this.#breach(`a frame of type ${JSON.stringify(frame.type)} is not known`);
    }
  }

  #failed({ error, thrown }: Frame): void {
    const record = errorRecordSchema.safeParse(error);
    if (record.success) return this.reject(OsError.from(record.data));
    if (thrown === undefined) return this.#breach("a failure says nothing");
    this.#fail(
      `threw ${thrownText(thrown, this.#options.projectFolder)}`,
      thrown.denied ? DENIED_REMEDY : "Correct the program",
    );
  }

  #died({ status, signal, notStarted, lastWords, outOfMemory }: Death): void {
    if (notStarted !== undefined) return this.reject(cannotStart(notStarted));
    const how = outOfMemory
      ? `needed more than the ${this.#options.memoryMb} MB of memory that it may use`
      : `died ${signal === null ? `with exit status ${String(status)}` : `of ${signal}`} before it had a result`;
    const said = lastWords === "" || outOfMemory ? "" : `; its last words were:\n${lastWords}\n`;
    this.#fail(`${how}${said}`, outOfMemory ? "Let it hold less at a time" : "Correct the program");
  }

  #breach(message: string): void {
    this.#fail(`broke the rules of its socket: ${message}`, "Let it use `sys` alone");
  }

  #fail(what: string, remedy: string): void {
    const { name } = this.#start.agent.manifest;
    this.reject(
      new OsError(
        "program_failed",
        `The program of agent ${name} ${what.trimEnd()}. ${remedy}, and start a new process.`,
        { data: { agent: name } },
      ),
    );
  }
}

const cannotStart = (error: unknown): Error =>
  OsError.is(error)
    ? error
    : new OsError(
        "program_failed",
        `A child process for the agent could not be started: ${(error as Error).message}. Look at the limits of open files and processes.`,
        { retryable: true, cause: error },
      );

const DENIED_REMEDY =
  "A module agent has no files, network or programs of its own, and imports everything before it runs: let a tool do this (`sys.tool.call`)";

/** What was thrown, and where, with paths relative to the project. */
export function thrownText({ text, at }: Thrown, projectFolder: string): string {
  const inside = relative(projectFolder, at);
  return at === "" ? text : `${text} (${inside.startsWith("..") ? at : inside})`;
}

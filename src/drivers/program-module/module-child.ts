// One child process that runs a module agent, from outside: its command line, its streams, its end.
//
// Node's permission model refuses it files (but for those granted), the network (from Node 25 on; guard.ts does so on
// older ones), child processes, workers and native code. That is a guard rail against mistakes and not a wall: Node
// itself promises nothing against hostile code, for which the sandbox is another part. The heap of
// JavaScript is limited; memory outside of it (large buffers) is not.
//
// Its environment is empty but for the time zone, so that dates are written alike on every machine.
import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { Socket } from "node:net";
import { extname, join } from "node:path";
import { FRAME_CHARACTERS_MAX, lineReader } from "./frames.ts";

export type ChildOptions = {
  readonly folder: string;
  /** What it may read; see grants.ts. */
  readonly granted: readonly string[];
  readonly memoryMb: number;
};

/** How it ended. `lastWords`: the end of its stderr. */
export type Death = {
  readonly status: number | null;
  readonly signal: string | null;
  readonly lastWords: string;
  readonly outOfMemory: boolean;
};

export type ChildEvents = {
  onLine(line: string): void;
  onOutput(text: string): void;
  /** It broke the rules of the socket. */
  onBreach(message: string): void;
  /** Once, when the process is gone and its streams are read to the end. */
  onDeath(death: Death): void;
};

const ENTRY = join(import.meta.dirname, `child${extname(import.meta.filename)}`);
const STDERR_CHARACTERS_MAX = 32 * 1024;
const LAST_LINES_MAX = 12;
const LAST_CHARACTERS_MAX = 2_000;
/** Output beyond this is read and dropped. */
const OUTPUT_CHARACTERS_MAX = 1024 * 1024;

export class ModuleChild {
  /** What it was granted, to tell whether a child that waits is still the right one. */
  readonly grantKey: string;
  /** Resolves when the process is gone. */
  readonly gone: Promise<void>;
  readonly #process: ChildProcess;
  readonly #socket: Socket;
  #events: ChildEvents | undefined;
  #death: Death | undefined;
  #unheard: string[] = [];
  #stderr = "";
  #outputCharacters = 0;

  /** Throws what `spawn` throws when not even the attempt can be made, for want of file descriptors. */
  constructor(options: ChildOptions) {
    this.grantKey = options.granted.join("\n");
    const gone = Promise.withResolvers<void>();
    this.gone = gone.promise;
    const [command, ...args] = commandLine(options);
    // In a session of its own, so that Ctrl-C at a terminal reaches the server alone.
    this.#process = spawn(command, args, {
      cwd: options.folder,
      env: environment(),
      stdio: ["ignore", "pipe", "pipe", "pipe"],
      detached: true,
    });
    // A failed start is told later, by this event; without a process there will be no other.
    this.#process.on("error", (error) => {
      if (this.#process.pid !== undefined) return;
      this.#stderr += error.message;
      this.#die({ status: null, signal: null }, gone.resolve);
    });
    const socket = (this.#process.stdio as ChildProcess["stdio"] | undefined)?.[3];
    if (!(socket instanceof Socket)) throw new Error("no more files can be opened");
    this.#socket = socket;
    this.#listen();
    this.#process.on("close", (status, signal) => this.#die({ status, signal }, gone.resolve));
  }

  /** Whoever runs something in this child; hears what came before as well. */
  attach(events: ChildEvents): void {
    this.#events = events;
    const unheard = this.#unheard;
    this.#unheard = [];
    for (const line of unheard) events.onLine(line);
    if (this.#death !== undefined) events.onDeath(this.#death);
  }

  get alive(): boolean {
    return (
      this.#death === undefined &&
      this.#process.exitCode === null &&
      this.#process.signalCode === null &&
      !this.#process.killed
    );
  }

  send(frame: string): void {
    if (this.#socket.destroyed) return;
    // A child that floods the socket is not read while it does not read either.
    if (!this.#socket.write(`${frame}\n`) && !this.#socket.isPaused()) this.#socket.pause();
  }

  /** At once. */
  kill(): void {
    this.#process.kill("SIGKILL");
    // Its end is told when all its streams have come to theirs.
    this.#socket.resume();
  }

  #listen(): void {
    const read = lineReader(FRAME_CHARACTERS_MAX, (line) =>
      this.#events === undefined ? this.#unheard.push(line) : this.#events.onLine(line),
    );
    this.#socket.setEncoding("utf8");
    this.#socket.on("data", (chunk: string) => {
      try {
        read(chunk);
      } catch (error) {
        this.#events?.onBreach((error as Error).message);
        this.kill();
      }
    });
    this.#socket.on("drain", () => this.#socket.resume());
    // The socket breaks when the child dies; its death is told below.
    this.#socket.on("error", () => {});
    for (const stream of [this.#process.stdout, this.#process.stderr]) stream?.setEncoding("utf8");
    this.#process.stdout?.on("data", (text: string) => this.#output(text));
    this.#process.stderr?.on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_CHARACTERS_MAX);
      this.#output(text);
    });
  }

  #die(end: Pick<Death, "status" | "signal">, gone: () => void): void {
    if (this.#death !== undefined) return;
    const outOfMemory = this.#stderr.includes("heap out of memory");
    this.#death = { ...end, lastWords: lastLines(this.#stderr), outOfMemory };
    this.#events?.onDeath(this.#death);
    gone();
  }

  #output(text: string): void {
    if (this.#outputCharacters > OUTPUT_CHARACTERS_MAX) return;
    this.#outputCharacters += text.length;
    this.#events?.onOutput(text);
    if (this.#outputCharacters > OUTPUT_CHARACTERS_MAX) this.#events?.onOutput("\n(further output is dropped)\n");
  }
}

function commandLine({ granted, memoryMb }: ChildOptions): [string, ...string[]] {
  const node = [
    process.execPath,
    "--permission",
    `--max-old-space-size=${memoryMb}`,
    ...granted.map((path) => `--allow-fs-read=${path}`),
    ENTRY,
  ] as const;
  const setpriv = findSetpriv();
  // A child that never returns to its event loop does not see its socket close; on Linux the kernel ends it with the server.
  return setpriv === null ? [...node] : [setpriv, "--pdeathsig", "KILL", "--", ...node];
}

let setprivFound: string | null | undefined;

/** The setpriv of util-linux; there is another that does not know the option. */
function findSetpriv(): string | null {
  if (setprivFound !== undefined) return setprivFound;
  const path =
    process.platform === "linux" ? ["/usr/bin/setpriv", "/bin/setpriv"].find((at) => existsSync(at)) : undefined;
  const works =
    path !== undefined &&
    spawnSync(path, ["--pdeathsig", "KILL", "--", process.execPath, "--version"], { stdio: "ignore" }).status === 0;
  setprivFound = works ? path : null;
  return setprivFound;
}

/** On Windows no program starts without SystemRoot. */
const environment = (): NodeJS.ProcessEnv => ({
  TZ: "UTC",
  ...(process.platform === "win32" ? { SystemRoot: process.env["SystemRoot"] } : {}),
});

/** The stack's frames and Node's signature would leave no room for what was said. */
const isWords = (line: string): boolean => line.trim() !== "" && !/^\s+at |^Node\.js v/.test(line);

const lastLines = (text: string): string =>
  text.split("\n").filter(isWords).slice(-LAST_LINES_MAX).join("\n").trim().slice(-LAST_CHARACTERS_MAX);

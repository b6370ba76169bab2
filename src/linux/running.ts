// One sandbox that runs: its streams, its limits, its end.
//
// The system holds memory, processes, processor share and disk; the supervisor here counts output and time, and looks from time to
// time at what the system has counted, since most of its limits do not end a program by themselves.
//
// Invariants:
//   R1. Whatever ends it, `exit` resolves only when nothing of it lives and its groups are removed.
//   R2. The first reason to end it is the one that is told.
//   R3. No byte of output above the limit is passed on.
import type { ChildProcess } from "node:child_process";
import { closeSync, statfsSync } from "node:fs";
import { constants as osConstants } from "node:os";
import { Readable, type Duplex, type Writable } from "node:stream";
import type { LimitMet, SandboxLimits } from "../abi/isolation.ts";
import type { SandboxExit, SandboxProcess } from "../ports/sandbox.ts";
import type { Usage } from "./cgroup.ts";
import { watchSize } from "./folder-size.ts";

/** What keeps the processes of a sandbox together: its control groups, or less where there are none. */
export interface Bounds {
  usage(): Usage;
  kill(): void;
  remove(): Promise<void>;
}

/** What a process ended with: a status of its own, or the signal that ended it. */
export type Ending = { readonly code: number | null; readonly signal: string | null };

export type RunningOptions = {
  readonly child: ChildProcess;
  /** How the job ended, where that is told otherwise than by the end of `child`. */
  readonly ended?: Promise<Ending> | undefined;
  readonly channel: Duplex | undefined;
  readonly bounds: Bounds;
  readonly limits: SandboxLimits;
  /** Its time begins with `begin`, and not yet. */
  readonly waits?: boolean | undefined;
  /** After its end: gives back what it held. */
  readonly release: () => void;
};

type Cause = { readonly kind: "killed" } | { readonly kind: "limit"; readonly limit: LimitMet };

const FIRST_LOOK_MS = 25;
const LOOK_MS_MAX = 200;
/** How a shell, and bubblewrap, say that a program was ended by a signal. */
const SIGNALLED = 128;

const SIGNALS = new Map(Object.entries(osConstants.signals).map(([name, number]) => [number, name]));
/** Signals by which the system ends a process for passing a limit of its own. */
const LIMIT_SIGNALS: Readonly<Record<string, LimitMet>> = { SIGXFSZ: "disk", SIGXCPU: "cpu" };

const MAXIMA: Readonly<Record<LimitMet, keyof SandboxLimits>> = {
  cpu: "cpuMs",
  memory: "memoryBytes",
  processes: "processes",
  disk: "diskBytes",
  wall: "wallMs",
  output: "outputBytes",
};

export class Running implements SandboxProcess {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly channel: Duplex | undefined;
  readonly exit: Promise<SandboxExit>;
  readonly #options: RunningOptions;
  #wall: NodeJS.Timeout | undefined;
  #look: NodeJS.Timeout | undefined;
  #again: NodeJS.Timeout | undefined;
  #cause: Cause | undefined;
  #over = false;
  #outputBytes = 0;
  /** Stands for the workspace's file system; closed at the end. */
  #disk: number | undefined;
  readonly #sources: readonly Readable[];

  constructor(options: RunningOptions, streams: { stdin: Writable; stdout: Readable; stderr: Readable }) {
    this.#options = options;
    this.pid = options.child.pid ?? 0;
    this.channel = options.channel;
    this.stdin = streams.stdin;
    // What the job no longer reads is lost with it; its exit tells of that.
    this.stdin.on("error", () => {});
    this.channel?.on("error", () => {});
    this.#sources = [streams.stdout, streams.stderr];
    this.stdout = this.#metered(streams.stdout);
    this.stderr = this.#metered(streams.stderr);
    const { promise, resolve, reject } = Promise.withResolvers<SandboxExit>();
    this.exit = promise;
    if (options.waits !== true) this.begin();
    void (options.ended ?? endOf(options.child)).then((ending) => this.#finish(ending)).then(resolve, reject);
  }

  get isAlive(): boolean {
    return !this.#over && this.#cause === undefined && this.#options.child.exitCode === null;
  }

  /** From now on its wall time counts, and its limits are looked at. */
  begin(): void {
    this.#wall = setTimeout(() => this.#end({ kind: "limit", limit: "wall" }), this.#options.limits.wallMs);
    this.#look = setTimeout(() => this.#lookAt(FIRST_LOOK_MS), FIRST_LOOK_MS);
  }

  /** Calls back at its end, also where that could not be brought about in order. */
  whenOver(tell: () => void): void {
    this.exit.then(tell, tell);
  }

  async kill(): Promise<void> {
    this.#end({ kind: "killed" });
    await this.exit;
  }

  /** From now on it is looked at whether there is room on the file system that `descriptor` stands for. `isNew`: it was empty at the start. */
  watchDisk(descriptor: number, isNew: boolean): void {
    // What was full before may be what this one was started to mend.
    if (this.#over || (!isNew && isFull(descriptor))) closeSync(descriptor);
    else this.#disk = descriptor;
  }

  /** From now on it is looked at whether `folder`, which no file system bounds, holds more than the limit. */
  watchFolder(folder: string): void {
    if (this.#over) return;
    const end = (): void => this.#end({ kind: "limit", limit: "disk" });
    this.whenOver(watchSize(folder, this.#options.limits.diskBytes, end));
  }

  #end(cause: Cause): void {
    if (this.#over || this.#cause !== undefined) return;
    this.#cause = cause;
    this.#kill();
  }

  /** Until it is over: without a descriptor left, for one, nobody can be told to end. */
  #kill(): void {
    if (this.#over) return;
    try {
      this.#options.bounds.kill();
    } catch {
      // Whatever it was, the only thing to do is to do it again.
      this.#again = setTimeout(() => this.#kill(), LOOK_MS_MAX);
    }
  }

  /** Reads from `source` only as fast as it is read itself. */
  #metered(source: Readable): Readable {
    const meter = new Readable({ read: () => void source.resume() });
    source.pause();
    source.on("data", (chunk: Buffer) => {
      const left = Math.max(0, this.#options.limits.outputBytes - this.#outputBytes);
      this.#outputBytes += chunk.length;
      if (chunk.length > left) this.#end({ kind: "limit", limit: "output" });
      const passed = chunk.length <= left ? chunk : chunk.subarray(0, left);
      if (passed.length > 0 && !meter.push(passed)) source.pause();
    });
    for (const event of ["end", "error", "close"]) source.once(event, () => void meter.push(null));
    return meter;
  }

  #lookAt(pauseMs: number): void {
    const limit = this.#limitMet(this.#options.bounds.usage());
    if (limit !== undefined) return this.#end({ kind: "limit", limit });
    const nextMs = Math.min(LOOK_MS_MAX, pauseMs * 2);
    this.#look = setTimeout(() => this.#lookAt(nextMs), nextMs);
  }

  #limitMet({ cpuMs, killedForMemory, forksRefused }: Usage): LimitMet | undefined {
    const { limits } = this.#options;
    if (killedForMemory > 0) return "memory";
    if (forksRefused > 0) return "processes";
    if (cpuMs !== null && cpuMs >= limits.cpuMs) return "cpu";
    if (this.#disk !== undefined && isFull(this.#disk)) return "disk";
    return undefined;
  }

  async #finish(ending: Ending): Promise<SandboxExit> {
    this.#over = true;
    clearTimeout(this.#wall);
    clearTimeout(this.#look);
    clearTimeout(this.#again);
    const { bounds, release } = this.#options;
    const usage = bounds.usage();
    const limit = this.#limitMet(usage);
    await bounds.remove();
    if (this.#disk !== undefined) closeSync(this.#disk);
    release();
    // What was said at the last moment still counts.
    await Promise.all(this.#sources.map(drained));
    const { cpuMs, memoryPeakBytes } = usage;
    return { ...this.#exitOf(ending, limit), cpuMs: cpuMs === null ? null : Math.round(cpuMs), memoryPeakBytes };
  }

  #exitOf({ code, signal }: Ending, limit: LimitMet | undefined): Outcome {
    const met = (name: LimitMet): Outcome => ({
      kind: "limit",
      limit: name,
      max: this.#options.limits[MAXIMA[name]],
    });
    if (this.#cause !== undefined) return this.#cause.kind === "killed" ? this.#cause : met(this.#cause.limit);
    if (limit !== undefined) return met(limit);
    const by = signal ?? SIGNALS.get((code ?? 0) - SIGNALLED);
    const passed = by === undefined ? undefined : LIMIT_SIGNALS[by];
    if (passed !== undefined) return met(passed);
    return by === undefined ? { kind: "exited", code: code ?? 0 } : { kind: "crashed", signal: by };
  }
}

type Outcome =
  | { readonly kind: "exited"; readonly code: number }
  | { readonly kind: "crashed"; readonly signal: string }
  | { readonly kind: "limit"; readonly limit: LimitMet; readonly max: number }
  | { readonly kind: "killed" };

/** Of a process that was started. */
export function endOf(child: ChildProcess): Promise<Ending> {
  const { exitCode, signalCode } = child;
  if (exitCode !== null || signalCode !== null) return Promise.resolve({ code: exitCode, signal: signalCode });
  return new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
}

/** Resolves when a stream whose writers are dead is read to its end, or when whoever reads it takes no more for now. */
function drained(source: Readable): Promise<void> {
  if (source.readableEnded || source.destroyed || source.isPaused()) return Promise.resolve();
  return new Promise((resolve) => {
    for (const event of ["end", "close", "error", "pause"]) source.once(event, () => resolve());
  });
}

/** By its descriptor, which keeps a file system in sight when its mount is gone. */
function isFull(descriptor: number): boolean {
  const { bavail, blocks } = statfsSync(`/proc/self/fd/${descriptor}`);
  return blocks > 0 && bavail === 0;
}

// Sandboxes: where programs run that may do harm. A driver gives one kind; the facade picks the one that will do.
//
// Inside every sandbox of native code: the system's programs read-only, a fresh /proc and /dev, a workspace at /ws (the working
// folder unless another is named), sized scratch folders, no network but what a door (ports/egress.ts) gives, an environment
// of nothing but what is named. It ends with Reeve, whole, however Reeve ends.
import type { IsolationLevel, LimitMet, Posture, SandboxLimits } from "../abi/isolation.ts";
import type { Door } from "./egress.ts";

/** A file or folder of the machine that appears inside, under `to` (an absolute path). No link may stand in `from`, and no socket of the machine below it. */
export type Mount = { readonly from: string; readonly to: string; readonly access: "read" | "write" };

export type SandboxSpec = {
  /** For whom it runs, as operators know it: a pid, or `tools.NAME`. */
  readonly owner: string;
  /** Level at least; the facade picks the driver. */
  readonly level: Exclude<IsolationLevel, "none" | "snippet">;
  /** Program and arguments; found on the PATH inside unless it is a path there. */
  readonly command: readonly [string, ...string[]];
  /** Inside; /ws if absent. */
  readonly cwd?: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
  /**
   * The folder at /ws, with its own quota (ports/workspace.ts). Absent: an empty one of `diskBytes` that ends with the sandbox.
   * Where sandboxes have user ids of their own, the folder is given to one at its first use and stays with it: whoever writes into it
   * from outside gives what it writes to the folder's owner.
   */
  readonly workspace?:
    | {
        readonly folder: string;
        /** The user of the machine to run under: all of the folder is its. The driver's choice if absent or null. */
        readonly uid?: number | null;
        /** `kernel`: the folder is a file system of `diskBytes`. Otherwise the driver sees to that size as well as it can. */
        readonly quota?: "kernel" | "none";
      }
    | undefined;
  readonly limits: SandboxLimits;
  /**
   * Under this name its user id is kept, from one start to the next and from one run of Reeve to the next: what it writes under a mount is
   * its own again, and nobody else's. It counts before what the workspace says. Absent: an id for this start.
   */
  readonly lastingUser?: string | undefined;
  /** Lives as long as Reeve may, and is bounded by whoever starts it: it does not count among the sandboxes at once. */
  readonly lasting?: boolean | undefined;
  /** Its way out. Absent: none. */
  readonly door?: Door | undefined;
  /** A duplex channel at file descriptor 3 inside. */
  readonly channel?: boolean | undefined;
  /**
   * The command is this interpreter, its flag for a program's text, and the text: `sh -c`, `python3 -c`, `node -e`. A waiting one may
   * then be taken in its place.
   */
  readonly warm?: "shell" | "python" | "node" | undefined;
};

/** How it ended. Whatever it was, nothing of it is left when this is known. */
export type SandboxExit = (
  | { readonly kind: "exited"; readonly code: number }
  /** By a signal of its own making. */
  | { readonly kind: "crashed"; readonly signal: string }
  | { readonly kind: "limit"; readonly limit: LimitMet; readonly max: number }
  /** By `kill`. */
  | { readonly kind: "killed" }
) & { readonly cpuMs: number | null; readonly memoryPeakBytes: number | null };

/** Standard streams of a program that runs. */
export interface SandboxProcess {
  /** On the machine: the process that stands for the whole of it. */
  readonly pid: number;
  readonly stdin: NodeJS.WritableStream;
  readonly stdout: NodeJS.ReadableStream;
  readonly stderr: NodeJS.ReadableStream;
  readonly channel: (NodeJS.ReadableStream & NodeJS.WritableStream) | undefined;
  readonly exit: Promise<SandboxExit>;
  /** Ends all of it at once; resolves when nothing is left. Idempotent. */
  kill(): Promise<void>;
}

/** A layer of isolation, and whether it is in force. */
export type Layer = { readonly name: string; readonly inForce: boolean; readonly detail: string };

/** What a driver found of itself, before any test: whether it can run here, and with which layers. */
export type DriverState = {
  readonly posture: Posture;
  readonly layers: readonly Layer[];
  /** Why it does not run, or what is missing, with the remedy; empty if it is strong. */
  readonly reason: string;
  /** Versions and settings under which a verdict of the self-test holds. */
  readonly fingerprint: string;
  /** A sandbox is started in the same way wherever lies what it is shown. Absent: it may be another one where only Reeve finds that. */
  readonly oneWay?: true;
};

/** One kind of sandbox. */
export interface Sandbox {
  readonly name: string;
  readonly level: Exclude<IsolationLevel, "none" | "snippet">;
  /** Where the posture is `none`, another call looks again. */
  state(): Promise<DriverState>;
  /** Rejects with `isolation_unavailable` if it cannot be started, `invalid_argument` for a mount that is not there; nothing then runs. */
  start(spec: SandboxSpec, options?: { readonly signal?: AbortSignal }): Promise<SandboxProcess>;
  /** Ends all that runs. */
  close(): Promise<void>;
}

/** One payload of the self-test against one driver. `surface`: it reached the kernel and nothing beyond. */
export type Verdict = {
  readonly payload: string;
  readonly tries: string;
  readonly verdict: "contained" | "surface" | "escaped" | "no_verdict";
  readonly expected: boolean;
  readonly detail: string;
};

export type SelfTestReport = {
  readonly driver: string;
  readonly level: IsolationLevel;
  readonly state: DriverState;
  readonly passed: boolean;
  /** `quick` at each start; `full` once for each fingerprint. */
  readonly set: "quick" | "full";
  readonly verdicts: readonly Verdict[];
  readonly tookMs: number;
  /** When the verdicts were found; milliseconds since 1970. */
  readonly atMs: number;
};

/** Tries to escape from a driver. Implemented by the driver `selftest`. */
export interface SelfTest {
  run(sandbox: Sandbox, set: "quick" | "full"): Promise<SelfTestReport>;
}

export type Finished = { readonly exit: SandboxExit; readonly stdout: string; readonly stderr: string };

/** All sandboxes of native code, behind one face. A driver is used only after its self-test has passed, in this run of Reeve or under the same fingerprint. */
export interface Sandboxes {
  /** Resolves when a sandbox of the level can be had at once: the first self-test takes seconds, which are not the first job's. Rejects as `start` does. */
  ready(level: SandboxSpec["level"]): Promise<void>;
  /** Starts in the weakest driver that gives the level. Rejects with `isolation_unavailable`, naming what each driver lacks. */
  start(spec: SandboxSpec, options?: { readonly signal?: AbortSignal }): Promise<SandboxProcess>;
  /** Starts, writes `input` to it, and gathers what it says until it has ended. An aborted signal kills it. */
  run(
    spec: SandboxSpec,
    options: {
      readonly input?: string | Uint8Array | undefined;
      readonly signal: AbortSignal;
      /** Hears standard output and standard error as they come. */
      readonly onOutput?: ((text: string) => void) | undefined;
    },
  ): Promise<Finished>;
  /** What each driver is worth here; tests those that have not been tested. `full` tests all of them whole, anew. */
  report(set?: "full"): Promise<readonly SelfTestReport[]>;
  /** Ends all that runs; what waits for its turn is refused. */
  close(): Promise<void>;
}

/** How a snippet ended. `console`: what it printed, as text of unknown worth. `steps`: the interpreter's own bound on how long code runs without waiting. */
export type SnippetResult = { readonly console: string } & (
  | { readonly kind: "value"; readonly json: string }
  | { readonly kind: "thrown"; readonly message: string }
  | { readonly kind: "limit"; readonly limit: LimitMet | "steps" | "result"; readonly max: number }
  | { readonly kind: "killed" }
);

/** JavaScript snippets, with no way out. */
export interface Snippets {
  /**
   * `code` is the body of an async function; `inputJson` is what it finds as `input`. Rejects with `isolation_unavailable` if no
   * interpreter can be had, or it did not pass its self-test.
   */
  run(
    code: string,
    options: { readonly inputJson: string; readonly limits: SandboxLimits; readonly signal: AbortSignal },
  ): Promise<SnippetResult>;
  report(set?: "full"): Promise<SelfTestReport>;
  close(): Promise<void>;
}

// What a payload is, and how its verdict is found.
//
// Invariants:
//   V1. A payload without a verdict has failed: `no_verdict` is expected of none.
import type { LimitMet, SandboxLimits } from "../../abi/isolation.ts";
import type { SandboxExit, Verdict } from "../../ports/sandbox.ts";
import type { Bait } from "./bait.ts";
import type { Call } from "./prober.ts";

export type Found = Pick<Verdict, "verdict" | "detail">;
export const contained = (detail: string): Found => ({ verdict: "contained", detail });
export const escaped = (detail: string): Found => ({ verdict: "escaped", detail });
export const surface = (detail: string): Found => ({ verdict: "surface", detail });
export const silent = (detail: string): Found => ({ verdict: "no_verdict", detail });

/** `surface` for what native code is there for. */
export type Expected = "contained" | "surface";

type Described = {
  readonly name: string;
  /** What it tries, to go on after "tries to". */
  readonly tries: string;
  /** Absent: `contained`. */
  readonly expected?: Expected;
  /** Without a sandbox it must get out, on every machine. Such payloads do no harm there. */
  readonly control?: boolean;
};

/** Calls of the kernel, made by the prober. */
export type ProbePayload = Described & {
  readonly kind: "probe";
  readonly calls: (bait: Bait) => readonly Call[];
  readonly judge: (results: readonly (number | undefined)[], calls: readonly Call[]) => Found;
  /** What is seen from outside, after all payloads of the start are done; what it finds goes before what was found inside. */
  readonly outside?: (bait: Bait) => Promise<Found | undefined>;
};

/** A function of inside.ts, by its name. */
export type ScriptPayload = Described & {
  readonly kind: "script";
  /** It is run behind a door whose rules allow addresses that no rule may open by itself: the machine's loopback, a cloud's metadata. */
  readonly door?: boolean;
  readonly outside?: (bait: Bait) => Promise<Found | undefined>;
};

/** A program that has a start of its own. */
export type ProgramPayload = Described & {
  readonly kind: "program";
  readonly set: "quick" | "full";
  readonly program: readonly [string, ...string[]] | ((bait: Bait) => readonly [string, ...string[]]);
  readonly limits?: Partial<SandboxLimits>;
  /** Whether the bait's folder is its workspace. */
  readonly workspace?: boolean;
  /** Ended by `kill` when it has said the first word. */
  readonly kill?: boolean;
  /** The layer that it tries, by its name in the driver's state. Where the driver says that it is missing, it is not tried. */
  readonly layer?: string;
  readonly judge: (run: Run) => Found | Promise<Found>;
};
export type Payload = ProbePayload | ScriptPayload | ProgramPayload;

/** How a start went. */
export type Run = {
  readonly exit: SandboxExit;
  readonly stdout: string;
  readonly tookMs: number;
  readonly bait: Bait;
  /** The folder that a workspace was made of. */
  readonly workspace: string;
  /** Processes of the machine that carry the mark of this start, when its end was told. */
  readonly left: readonly number[];
};

/**
 * The limit that must have ended it, and be named. One that was too slow to meet any within its time has shown nothing: neither that the
 * limit holds nor that it does not.
 */
export const endedBy =
  (...limits: readonly LimitMet[]) =>
  ({ exit, stdout, left }: Run): Found => {
    const told = exit.kind === "limit" ? `ended by its limit of ${exit.limit}` : endOf(exit);
    if (left.length > 0) return escaped(`${told}, and processes are left: ${left.join(", ")}`);
    if (exit.kind === "limit" && limits.includes(exit.limit)) return contained(told);
    if (exit.kind === "limit" && exit.limit === "wall")
      return silent(`its time was over before it met a limit of ${limits.join(" or ")}`);
    if (exit.kind === "limit") return escaped(`${told}, and not of ${limits.join(" or ")}`);
    return escaped(`no limit of ${limits.join(" or ")} ended it: ${told} ${stdout.slice(-80)}`.trim());
  };

export const endOf = (exit: SandboxExit): string =>
  exit.kind === "exited"
    ? `it exited with ${exit.code}`
    : exit.kind === "crashed"
      ? `it ended by ${exit.signal}`
      : exit.kind;

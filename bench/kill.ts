// When the server under test is killed.
import type { ChildProcess } from "node:child_process";
import type { RunningServer } from "./server.ts";

/** Writes of the journal, or milliseconds since it was ready, within which it is killed. */
const WRITES_MAX = 40;
const READY_MS_MAX = 500;

export type KillPlan =
  /** It kills itself at this append, before it reaches the store or when it is durable and nobody has heard of it. */
  | { readonly kind: "write"; readonly write: number; readonly when: "before" | "after" }
  /** So long after its start, or after it was ready. */
  | { readonly kind: "start" | "time"; readonly afterMs: number }
  | { readonly kind: "none" };

export const NO_KILL: KillPlan = { kind: "none" };

/** Half at a write, two fifths at a time when it works, a tenth in its start, which lately took `startMs`. */
export function planKill(random: () => number, startMs: number): KillPlan {
  const kind = random();
  if (kind < 0.5)
    return { kind: "write", write: 1 + Math.floor(random() * WRITES_MAX), when: random() < 0.5 ? "before" : "after" };
  if (kind < 0.9) return { kind: "time", afterMs: random() * READY_MS_MAX };
  return { kind: "start", afterMs: random() * startMs };
}

/** What the server is told of it. */
export const environmentOf = (plan: KillPlan): Record<string, string> =>
  plan.kind === "write" ? { REEVE_CRASH_AT_WRITE: `${plan.write}:${plan.when}` } : {};

export function killInStart(plan: KillPlan): (child: ChildProcess) => void {
  return (child) => {
    if (plan.kind !== "start") return;
    const timer = setTimeout(() => child.kill("SIGKILL"), plan.afterMs);
    child.once("exit", () => clearTimeout(timer));
  };
}

export function killWhenReady(plan: KillPlan, server: RunningServer): void {
  if (plan.kind !== "time") return;
  const timer = setTimeout(() => server.kill(), plan.afterMs);
  void server.ended.then(() => clearTimeout(timer));
}

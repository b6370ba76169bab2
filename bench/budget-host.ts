// The child process of `bench budget`: one life of the system with its trees, until they are over or it is killed.
// Usage (by suites/budget.ts): node budget-host.ts FOLDER TREES SEED LIFE
//
// It starts the trees under keys, so those that an earlier life started are not started again. When every root that is
// alive waits for its end, nothing is under way, and the accounts are looked at; then the roots are let go and looked at once more.
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ProcessId } from "../src/abi/ids.ts";
import { PAGE_ROWS_MAX } from "../src/abi/limits.ts";
import type { Output } from "../src/abi/syscalls.ts";
import { createBudgetModels, createBudgetTools, drawBudget, END_TOPIC, worker, WORKER } from "./budget-trees.ts";
import { bootNative, BY, type NativeSystem } from "./native-system.ts";
import { chance } from "./statistics.ts";
import { UsageLog } from "./usage-log.ts";

export type HostWord =
  | { readonly kind: "ready" }
  /** An account that holds, or keeps from its owner, what nobody uses any more. */
  | { readonly kind: "leak"; readonly pid: ProcessId; readonly what: string }
  /** A place in a queue that no call of its process waits at any more. */
  | { readonly kind: "stale"; readonly pid: ProcessId; readonly what: string }
  | { readonly kind: "trouble"; readonly what: string }
  | { readonly kind: "done" };

const LOOK_EVERY_MS = 200;
const EXIT_WAIT_MS = 30_000;
const CENT_OF_A_CENT = 1e-7;

const say = (word: HostWord): void => void process.send?.(word);

/** Starts those that have not been started; all roots. */
async function startTrees({ kernel }: NativeSystem, trees: number, seed: number): Promise<ProcessId[]> {
  const random = chance(seed);
  const plans = Array.from({ length: trees }, (_, at) => ({
    key: `tree-${at}`,
    task: { seed: Math.floor(random() * 2 ** 31), depth: 0 },
    budget: drawBudget(random, 1),
  }));
  return Promise.all(
    plans.map(async ({ key, task, budget }) => {
      const asked = { agent: WORKER, task, key, ...(budget === undefined ? {} : { budget }) };
      return (await kernel.operate("process.spawn", asked, BY)).pid;
    }),
  );
}

/** The human who is asked what became of effects whose outcome is not known. */
async function settleAll({ kernel }: NativeSystem, random: () => number): Promise<void> {
  const { requests } = await kernel.operate("human.list", { limit: PAGE_ROWS_MAX }, BY);
  for (const { request } of requests) {
    const outcome = random() < 0.5 ? "done" : random() < 0.5 ? "not_done" : "failed";
    // Its process may have been killed since.
    await kernel
      .operate("human.decide", { request, decision: { verdict: "settled", outcome } }, BY)
      .catch((error: unknown) => say({ kind: "trouble", what: String(error) }));
  }
}

type Row = Output<"process.list">["processes"][number];

const isDone = ({ parent, state, waits }: Row): boolean =>
  parent === null && state === "waiting" && waits.some(({ on }) => on === "message");

/** Waits until nothing is alive but roots that wait for their end. */
async function untilQuiet(system: NativeSystem, random: () => number): Promise<ProcessId[]> {
  for (;;) {
    await settleAll(system, random);
    const { processes } = await system.kernel.operate("process.list", { state: "alive", limit: PAGE_ROWS_MAX }, BY);
    if (processes.every(isDone)) return processes.map(({ pid }) => pid);
    await delay(LOOK_EVERY_MS);
  }
}

type Shown = Output<"process.show">;

/** With nothing under way, nothing is reserved, and what is left is the budget without what the tree has spent. */
function leaksOf({ process: row, tree, left }: Shown): string[] {
  const held = Object.entries(tree.reserved).filter(([, amount]) => amount !== 0);
  const leaks = held.map(([name, amount]) => `${amount} ${name} are reserved`);
  if (row.state === "exited") return leaks;
  const { spent } = tree;
  const spentOf = { ...spent, tokens: spent.inputTokens + spent.outputTokens };
  for (const name of ["calls", "tokens", "inputTokens", "outputTokens", "costUsd"] as const) {
    const max = row.budget[name];
    if (max === undefined) continue;
    const missing = max - spentOf[name] - (left[name] ?? 0);
    if (missing > CENT_OF_A_CENT) leaks.push(`${missing} of ${max} ${name} are neither spent nor left`);
  }
  return leaks;
}

async function lookAt({ kernel }: NativeSystem, pids: readonly ProcessId[]): Promise<void> {
  for (const pid of pids) {
    const shown = await kernel.operate("process.show", { pid }, BY);
    for (const what of leaksOf(shown)) say({ kind: "leak", pid, what });
    for (const { on, what, call } of shown.waiting)
      if (on === "turn" || on === "lock") say({ kind: "stale", pid, what: `call ${call} at ${what}` });
  }
}

const [folder = "", trees = "", seed = "", life = ""] = process.argv.slice(2);
const log = new UsageLog(join(folder, "usage.jsonl"));
const random = chance(Number(seed) * 1_000 + Number(life));
const system = await bootNative({
  folder,
  agents: [worker],
  tools: createBudgetTools(log, random),
  models: createBudgetModels(log, random),
  environment: process.env,
  onNotice: (what) => say({ kind: "trouble", what }),
});
// A benchmark that was interrupted takes its child with it.
process.on("disconnect", () => process.exit(0));
say({ kind: "ready" });
const roots = await startTrees(system, Number(trees), Number(seed));
const quiet = await untilQuiet(system, random);
await lookAt(system, quiet);
for (const pid of quiet) await system.kernel.operate("message.send", { pid, topic: END_TOPIC, body: "end" }, BY);
for (const pid of roots) await system.kernel.operate("process.wait", { pid, timeoutMs: EXIT_WAIT_MS }, BY);
await lookAt(system, roots);
await system.close();
log.close();
process.send?.({ kind: "done" } satisfies HostWord, () => process.disconnect?.());

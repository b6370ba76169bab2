// Whether budgets hold: 200 concurrent random trees of processes with random budgets, with model and tool calls of which
// some fail and some have no known outcome, while the system is killed again and again.
//
// trees: those that came to their end. overruns: budgets (of a process, in a dimension) that its subtree crossed, by what the journals
// say that it was charged, or by what the model and the tools wrote down that was used. leaked: reservations that are still
// there when nothing is under way: in rows of processes that are over, and in the accounts of the living system.
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { auditBudgets, type Audit } from "../budget-audit.ts";
import type { HostWord } from "../budget-host.ts";
import { countOption, type Benchmark, type Context, type Result } from "../benchmark.ts";
import { environmentOf, killInStart, type KillPlan, NO_KILL, planKill } from "../kill.ts";
import { chance } from "../statistics.ts";
import { figure, type Table } from "../table.ts";
import { readUsage } from "../usage-log.ts";

const HOST = fileURLToPath(new URL("../budget-host.ts", import.meta.url));
const START_MS = 1_000;
const SHOWN_MAX = 5;

type Tally = {
  lives: number;
  kills: number;
  readonly leaks: Set<string>;
  readonly stale: Set<string>;
  readonly trouble: string[];
  readonly ends: Map<string, number>;
};

type Stage = {
  readonly context: Context;
  readonly folder: string;
  readonly trees: number;
  readonly seed: number;
  readonly lifeMsMax: number;
  readonly tally: Tally;
};

type Life = { readonly over: boolean; readonly startMs: number };

/** One life of the system, to the end of all trees or to its death. */
async function live(stage: Stage, plan: KillPlan): Promise<Life> {
  const { context, folder, trees, seed, lifeMsMax, tally } = stage;
  tally.lives += 1;
  const fromMs = performance.now();
  const child = fork(HOST, [folder, String(trees), String(seed), String(tally.lives)], {
    env: { ...process.env, ...environmentOf(plan) },
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  const undo = context.scratch.defer(() => void child.kill("SIGKILL"));
  const timers = [setTimeout(() => child.kill("SIGKILL"), lifeMsMax)];
  let complaints = "";
  child.stderr?.on("data", (text: Buffer) => (complaints = `${complaints}${text.toString()}`.slice(-2_000)));
  killInStart(plan)(child);
  const said = { over: false, startMs: START_MS };
  child.on("message", (word: HostWord) => {
    if (word.kind === "ready") {
      said.startMs = performance.now() - fromMs;
      if (plan.kind === "time") timers.push(setTimeout(() => child.kill("SIGKILL"), plan.afterMs));
    } else if (word.kind === "leak") tally.leaks.add(`${word.pid}: ${word.what}`);
    else if (word.kind === "stale") tally.stale.add(`${word.pid}: ${word.what}`);
    else if (word.kind === "trouble") tally.trouble.push(word.what);
    else said.over = true;
  });
  const [code, signal] = (await once(child, "close")) as [number | null, string | null];
  for (const timer of timers) clearTimeout(timer);
  await undo();
  if (signal === "SIGKILL") tally.kills += 1;
  else if (!said.over) throw new Error(`The system ended by itself (${signal ?? `exit ${code}`}): ${complaints}`);
  const end = said.over ? "all trees over" : plan.kind === "none" ? "out of time" : plan.kind;
  tally.ends.set(end, (tally.ends.get(end) ?? 0) + 1);
  return said;
}

const shown = (what: string, lines: readonly string[]): string[] =>
  lines.length === 0
    ? []
    : [
        `${lines.length} ${what}:\n  ${lines.slice(0, SHOWN_MAX).join("\n  ")}${lines.length > SHOWN_MAX ? "\n  …" : ""}`,
      ];

function tables(tally: Tally, audit: Audit, uses: number): Table[] {
  return [
    {
      title: "Lives of the system, by how they ended",
      columns: ["end", "lives"],
      rows: [...tally.ends].map(([end, count]) => [end, String(count)]),
    },
    {
      title: "What was run",
      columns: ["of", "count"],
      rows: Object.entries({
        processes: audit.processes,
        "of them over": audit.exited,
        "model and tool calls with an outcome": audit.calls,
        "calls and children refused for lack of budget": audit.refused,
        "uses logged by the model and the tools": uses,
        "budgets of a process in a dimension": audit.budgets,
        "of them used up to nine tenths or more": audit.tight,
      }).map(([what, count]) => [what, figure(count)]),
    },
  ];
}

async function run(context: Context): Promise<Result> {
  const trees = countOption(context, "trees");
  const kills = countOption(context, "kills", 0);
  const seed = countOption(context, "seed", 0);
  const random = chance(seed);
  const tally: Tally = { lives: 0, kills: 0, leaks: new Set(), stale: new Set(), trouble: [], ends: new Map() };
  const folder = await context.scratch.folder("budget");
  const lifeMsMax = countOption(context, "patience-s") * 1000;
  const stage: Stage = { context, folder, trees, seed, lifeMsMax, tally };
  let life: Life = { over: false, startMs: START_MS };
  while (!life.over && tally.kills < kills) {
    life = await live(stage, planKill(random, life.startMs));
    context.progress(`life ${tally.lives}: ${life.over ? "all trees are over" : "killed"}`);
  }
  if (!life.over) life = await live(stage, NO_KILL);
  const uses = readUsage(join(folder, "usage.jsonl"));
  const audit = await auditBudgets(join(folder, "data"), uses);
  const over = new Set([...audit.chargedBeyond, ...audit.usedBeyond]);
  return {
    measures: {
      trees: life.over ? trees : null,
      overruns: over.size,
      leaked: audit.reserved.length + tally.leaks.size,
      kills: tally.kills,
      undercharged: audit.undercharged.length,
      stale_places: tally.stale.size,
      rows_untrue: audit.untrue.length,
    },
    tables: tables(tally, audit, uses.length),
    notes: [
      ...(life.over
        ? []
        : [`${audit.processes - audit.exited} processes were not over after ${lifeMsMax / 1000} s without a kill.`]),
      ...(tally.kills < kills ? [`All trees were over after ${tally.kills} kills.`] : []),
      ...shown("budgets were crossed by what was charged", audit.chargedBeyond),
      ...shown("budgets were crossed by what was used", audit.usedBeyond),
      ...shown("processes under a budget were charged less than they used", audit.undercharged),
      ...shown("processes that are over have something reserved", audit.reserved),
      ...shown("accounts keep what nobody uses", [...tally.leaks]),
      ...shown("places in queues are kept for calls that are over", [...tally.stale]),
      ...shown("rows do not say what their journal says", audit.untrue),
      ...shown("troubles were told by the system", tally.trouble),
    ],
  };
}

export const budget: Benchmark = {
  name: "budget",
  doc: "200 random trees with random budgets while the system is killed: overruns and leaked reservations, by two independent reckonings",
  options: {
    trees: { default: "200", doc: "root processes, all started at once" },
    kills: { default: "20", doc: "how often the system is killed, at journal writes and at random times" },
    seed: { default: "1", doc: "for trees, budgets and kills" },
    "patience-s": { default: "90", doc: "how long one life of the system may last" },
  },
  run,
};

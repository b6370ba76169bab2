// A durable no-op step, ours and the peers', in one run.
//
// Ours are a tool call of effect `read` (one durable event) and of effect `write` (two: the intent goes first) by a
// program in the kernel's own process, and the `read` call again by a module agent over its socket. Each contender runs
// in a child process of its own; in every round each is started, warmed up, measured and stopped, ours first,
// so that a change in the machine's load falls on all of them alike. Ratios are taken within a round; the median counts.
import { join } from "node:path";
import { countOption, type Benchmark, type Context, type Result } from "../benchmark.ts";
import { hosted, type Contender, type ContenderSource, type Started } from "../contender.ts";
import { ensurePeers } from "../installation.ts";
import { median, medianOrNull, quantile } from "../statistics.ts";
import { figure, type Table } from "../table.ts";

const CALL_TIMEOUT_MS = 120_000;
const WARM_UP_STEPS = 300;
/** Fast and slow contenders alike are given time: to warm up, and to be measured. A run that was begun is ended. */
const WARM_UP_MS = 2_000;
const MANY_MS = 3_000;
/** A contender that needs long to get ready for each run is not run for ever. */
const MANY_WALL_MS_MAX = 10_000;

type Key = "read" | "write" | "module" | "restate" | "dbos" | "langgraph_sqlite" | "langgraph_postgres" | "bare";
type Entry = { readonly key: Key; readonly title: string; readonly source: ContenderSource };

const ENTRIES: readonly Entry[] = [
  { key: "read", title: "Reeve, effect read", source: { module: "reeve.ts", name: "read" } },
  { key: "write", title: "Reeve, effect write", source: { module: "reeve.ts", name: "write" } },
  { key: "module", title: "Reeve, module agent, effect read", source: { module: "reeve.ts", name: "module" } },
  { key: "restate", title: "Restate", source: { module: "peers/restate.ts", name: "restate" } },
  { key: "dbos", title: "DBOS on PostgreSQL", source: { module: "peers/dbos.ts", name: "dbos" } },
  {
    key: "langgraph_sqlite",
    title: "LangGraph.js, SQLite saver",
    source: { module: "peers/langgraph.ts", name: "langgraph-sqlite" },
  },
  {
    key: "langgraph_postgres",
    title: "LangGraph.js, PostgreSQL saver",
    source: { module: "peers/langgraph.ts", name: "langgraph-postgres" },
  },
  { key: "bare", title: "bare node:sqlite append", source: { module: "peers/bare-sqlite.ts", name: "bare-sqlite" } },
];

type Load = { readonly steps: number; readonly workflows: number; readonly workflowSteps: number };
type Measured = {
  readonly round: number;
  readonly samplesMs: readonly number[];
  readonly perSecond: number;
  readonly started: Started;
};
type Results = ReadonlyMap<Key, readonly Measured[]>;

/** Runs of all workflows until so much time was spent in them: steps a second over all runs. */
async function manyFor(contender: Contender, { workflows, workflowSteps }: Load, ms: number): Promise<number> {
  const fromMs = performance.now();
  let steps = 0;
  let spentMs = 0;
  while (spentMs < ms && performance.now() - fromMs < MANY_WALL_MS_MAX) {
    const perSecond = await contender.many(workflows, workflowSteps);
    steps += workflows * workflowSteps;
    spentMs += ((workflows * workflowSteps) / perSecond) * 1000;
  }
  return (steps / spentMs) * 1000;
}

async function measure(context: Context, entry: Entry, load: Load): Promise<Omit<Measured, "round">> {
  const contender = hosted(entry.source, { callTimeoutMs: CALL_TIMEOUT_MS });
  const stop = context.scratch.defer(() => contender.stop());
  try {
    const started = await contender.start(join(await context.scratch.folder(entry.source.name), "data"));
    await contender.one(WARM_UP_STEPS);
    await manyFor(contender, load, WARM_UP_MS);
    const samplesMs = await contender.one(load.steps);
    const perSecond = await manyFor(contender, load, MANY_MS);
    return { samplesMs, perSecond, started };
  } finally {
    await stop();
  }
}

const p50 = (measured: Measured): number => quantile(measured.samplesMs, 0.5);

/** Our figure over theirs in each round that has both; the median of it. */
function ratio(results: Results, ours: Key, theirs: Key, value: (measured: Measured) => number): number | null {
  const others = new Map((results.get(theirs) ?? []).map((measured) => [measured.round, measured]));
  const ratios = (results.get(ours) ?? []).flatMap((measured) => {
    const other = others.get(measured.round);
    return other === undefined ? [] : [value(measured) / value(other)];
  });
  return medianOrNull(ratios);
}

function measuresOf(results: Results, ours: Key, prefix: string): Record<string, number | null> {
  const mine = results.get(ours) ?? [];
  const one = (theirs: Key): number | null => ratio(results, ours, theirs, p50);
  const many = (theirs: Key): number | null => ratio(results, ours, theirs, ({ perSecond }) => perSecond);
  const measures = {
    one_p50_ms: medianOrNull(mine.map(p50)),
    one_restate_ratio: one("restate"),
    one_dbos_ratio: one("dbos"),
    one_langgraph_sqlite_ratio: one("langgraph_sqlite"),
    one_langgraph_postgres_ratio: one("langgraph_postgres"),
    one_bare_ratio: one("bare"),
    many_per_s: medianOrNull(mine.map(({ perSecond }) => perSecond)),
    many_restate_ratio: many("restate"),
    many_dbos_ratio: many("dbos"),
    many_langgraph_sqlite_ratio: many("langgraph_sqlite"),
    many_langgraph_postgres_ratio: many("langgraph_postgres"),
    many_bare_ratio: many("bare"),
  };
  return Object.fromEntries(Object.entries(measures).map(([name, value]) => [`${prefix}${name}`, value]));
}

const spread = (values: readonly number[]): string =>
  values.length === 0
    ? "not measured"
    : `${figure(median(values))} (${figure(Math.min(...values))}–${figure(Math.max(...values))})`;

function tables(entries: readonly Entry[], results: Results, load: Load): Table[] {
  const of = (entry: Entry): readonly Measured[] => results.get(entry.key) ?? [];
  return [
    {
      title: `Durable no-op steps: median of the rounds (least–most)`,
      columns: ["contender", "1 process: p50 ms", "p95 ms", "p99 ms", `${load.workflows} processes: steps/s`],
      rows: entries.map((entry) => [
        entry.title,
        ...[0.5, 0.95, 0.99].map((q) => spread(of(entry).map(({ samplesMs }) => quantile(samplesMs, q)))),
        spread(of(entry).map(({ perSecond }) => perSecond)),
      ]),
    },
    {
      title: "What makes a step durable, as read from each",
      columns: ["contender", "survives a power cut", "durability", "version"],
      rows: entries.map((entry) => {
        const started = of(entry)[0]?.started;
        return [
          entry.title,
          started === undefined ? "not measured" : started.survivesPowerCut ? "yes" : "no",
          started?.durability ?? "",
          started?.version ?? "",
        ];
      }),
    },
  ];
}

function chosenEntries(context: Context): readonly Entry[] {
  const only = context.options["only"]?.split(",");
  return only === undefined ? ENTRIES : ENTRIES.filter(({ key }) => only.includes(key));
}

async function run(context: Context): Promise<Result> {
  const load: Load = {
    steps: countOption(context, "steps"),
    workflows: countOption(context, "workflows"),
    workflowSteps: countOption(context, "workflow-steps"),
  };
  const rounds = countOption(context, "rounds");
  const entries = chosenEntries(context);
  ensurePeers();
  const results = new Map<Key, Measured[]>(entries.map(({ key }) => [key, []]));
  const notes: string[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    for (const entry of entries) {
      try {
        const measured = { round, ...(await measure(context, entry, load)) };
        results.get(entry.key)?.push(measured);
        context.progress(
          `round ${round}: ${entry.title}: p50 ${figure(p50(measured))} ms, ${figure(measured.perSecond)} steps/s`,
        );
      } catch (error) {
        notes.push(`Round ${round}, ${entry.title}: ${error instanceof Error ? error.message : String(error)}`);
        context.progress(notes.at(-1) ?? "");
      }
    }
  }
  const versions = entries.map(({ key }) => [
    `${key}_version`,
    results.get(key)?.[0]?.started.version ?? "not measured",
  ]);
  return {
    measures: {
      ...measuresOf(results, "read", ""),
      ...measuresOf(results, "write", "write_"),
      ...measuresOf(results, "module", "module_"),
    },
    tables: tables(entries, results, load),
    notes,
    environment: Object.fromEntries(versions) as Record<string, string>,
  };
}

export const syscall: Benchmark = {
  name: "syscall",
  doc: "a durable no-op step beside Restate, DBOS, LangGraph.js and the bare append; ratios are ours divided by theirs",
  options: {
    rounds: { default: "3", doc: "rounds, each with every contender" },
    steps: { default: "1000", doc: "steps of the single process" },
    workflows: { default: "100", doc: "processes at once" },
    "workflow-steps": { default: "50", doc: "steps of each of them" },
    only: { doc: `contenders to run, separated by commas: ${ENTRIES.map(({ key }) => key).join(",")}` },
  },
  run,
};

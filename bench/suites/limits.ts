// How well a provider's limit is kept to, and used: a real server, many processes of the Markdown loop, and an upstream
// that allows so many requests a minute and says so in its headers, and nowhere else.
//
// Three kinds of upstream, one after the other: a bucket that fills, a window that ends each minute (50 s of the first one are over
// when the first request comes), and a window that slides. The measures are the worse of the first two; all three are in the tables.
//
// Part one: after a warm-up, over a bounded time, which begins with a window where there are windows. allowance_used: requests answered 200, of those that the upstream would
// have let through in that time (of a bucket: what was in it at the start, and what flowed in). Part two: the upstream answers
// everything with 503 for a while. after_pause_burst_ratio: requests in the second that begins with the first one after
// the pause, by the rate; after_pause_peak_ratio: those in the busiest second of the time that is watched.
// answered_429: of all requests of both parts, the start included.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { ConfigInput } from "../../src/abi/config.ts";
import type { Client } from "../../src/sdk/client.ts";
import { countOption, Missing, type Benchmark, type Context, type Result } from "../benchmark.ts";
import {
  ALLOWANCES,
  type AllowanceKind,
  startLimitedUpstream,
  type Answered,
  type LimitedUpstream,
} from "../limited-upstream.ts";
import { startServer } from "../server.ts";
import { figure, type Table } from "../table.ts";

const CONCURRENCY = 64;
const LATENCY_MS = 200;
/** Of each process: far more than it comes to. */
const TURNS = 5_000;
const WARM_UP_MS = 5_000;
const PAUSE_MS = 5_000;
const AFTER_PAUSE_S = 10;
/** Before a process that ended takes up its work again, as a new one. */
const AGAIN_MS = 500;
const WAIT_MS = 60_000;
/** The time that is measured ends so much before a window does. */
const WINDOW_MARGIN_MS = 100;
const ENDINGS_SHOWN = 3;
const SECOND_MS = 1_000;
const MINUTE_S = 60;
const TOOL_FILE = fileURLToPath(new URL("../noop-tool.ts", import.meta.url));

const AGENT = `---
name: asker
description: Asks its model again and again.
model: limited/any
tools: [bench.read]
turns: ${TURNS}
---
Go on until the model says that it is done.
`;

async function layOut(folder: string, baseUrl: string): Promise<string> {
  const config: ConfigInput = {
    dataFolder: "data",
    models: { limited: { type: "openai-compatible", baseUrl, concurrency: CONCURRENCY } },
    tools: { bench: { type: "module", file: TOOL_FILE } },
    server: { port: 0 },
  };
  await mkdir(join(folder, "agents"), { recursive: true });
  await writeFile(join(folder, "agents", "asker.md"), AGENT);
  const file = join(folder, "reeve.config.ts");
  await writeFile(file, `export default ${JSON.stringify(config)};\n`);
  return file;
}

/** How processes ended that should not have, with how often. */
type Endings = Map<string, number>;

/** Keeps one process at work until the signal fires: when one ends, the next begins. */
async function keepBusy(client: Client, endings: Endings, signal: AbortSignal): Promise<void> {
  try {
    while (!signal.aborted) {
      const { pid } = await client.process.spawn({ agent: "asker", task: "Begin." }, { signal });
      let exit;
      do ({ exit } = await client.process.wait({ pid, timeoutMs: WAIT_MS }, { signal }));
      while (exit === null);
      const words = exit.how === "failed" ? exit.error.message : exit.how;
      endings.set(words, (endings.get(words) ?? 0) + 1);
      await delay(AGAIN_MS, undefined, { signal });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

type Part = { readonly fromMs: number; readonly untilMs: number };
type Observed = {
  readonly measured: Part & { readonly allowed: number };
  /** When the pause was over, and what came after it. */
  readonly after: Part;
};

async function observe(context: Context, upstream: LimitedUpstream): Promise<Observed> {
  const seconds = countOption(context, "seconds");
  await delay(WARM_UP_MS);
  context.progress(`${upstream.answered.length} requests at the start; ${seconds} s are measured from now on`);
  await delay(upstream.untilMeasurableMs());
  const fromMs = performance.now();
  const allowed = upstream.through(seconds * SECOND_MS - WINDOW_MARGIN_MS);
  await delay(seconds * SECOND_MS - WINDOW_MARGIN_MS);
  const untilMs = performance.now();
  context.progress(`The upstream pauses for ${PAUSE_MS / SECOND_MS} s`);
  const overMs = upstream.pause(PAUSE_MS);
  await delay(PAUSE_MS + AFTER_PAUSE_S * SECOND_MS);
  return {
    measured: { fromMs, untilMs, allowed },
    after: { fromMs: overMs, untilMs: overMs + AFTER_PAUSE_S * SECOND_MS },
  };
}

const within = (answered: readonly Answered[], { fromMs, untilMs }: Part): Answered[] =>
  answered.filter(({ atMs }) => atMs >= fromMs && atMs < untilMs);

const withStatus = (answered: readonly Answered[], status: number): number =>
  answered.filter((one) => one.status === status).length;

/** Requests in the second that begins with each of them. `answered` is in order. */
function secondsFrom(answered: readonly Answered[]): number[] {
  let end = 0;
  return answered.map(({ atMs }, start) => {
    while (end < answered.length && (answered[end]?.atMs ?? 0) < atMs + SECOND_MS) end += 1;
    return end - start;
  });
}

function afterPause(after: Part, answered: readonly Answered[], perSecond: number): Table {
  const rows = Array.from({ length: AFTER_PAUSE_S }, (_, second) => {
    const fromMs = after.fromMs + second * SECOND_MS;
    const came = within(answered, { fromMs, untilMs: fromMs + SECOND_MS });
    return [String(second + 1), figure(came.length), figure(withStatus(came, 429)), figure(came.length / perSecond)];
  });
  return { title: "After the pause, by second", columns: ["second", "requests", "429", "by the rate"], rows };
}

type Case = { readonly kind: AllowanceKind; readonly observed: Observed; readonly answered: readonly Answered[] };
type Figures = {
  readonly used: number;
  readonly refused: number | null;
  readonly burst: number | null;
  readonly peak: number | null;
};

function figuresOf({ observed, answered }: Case, perSecond: number): Figures {
  const { measured, after } = observed;
  const bursts = secondsFrom(within(answered, after));
  return {
    used: withStatus(within(answered, measured), 200) / measured.allowed,
    refused: answered.length === 0 ? null : withStatus(answered, 429) / answered.length,
    burst: (bursts[0] ?? Number.NaN) / perSecond || null,
    peak: bursts.length === 0 ? null : Math.max(...bursts) / perSecond,
  };
}

const KINDS: { readonly [kind in AllowanceKind]: string } = {
  bucket: "a bucket that fills",
  fixed: "a window that ends each minute",
  sliding: "a window that slides",
};

function tablesOf({ kind, observed, answered }: Case, perSecond: number): Table[] {
  const { measured, after } = observed;
  const paused = within(answered, { fromMs: after.fromMs - PAUSE_MS, untilMs: after.fromMs });
  const row = (what: string, part: readonly Answered[]): string[] => [
    what,
    ...[200, 429, 503].map((status) => figure(withStatus(part, status))),
  ];
  return [
    {
      title: `Requests to ${KINDS[kind]}, with ${figure(measured.allowed)} allowed in the time measured`,
      columns: ["when", "200", "429", "503"],
      rows: [
        row("start", within(answered, { fromMs: 0, untilMs: measured.fromMs })),
        row("measured", within(answered, measured)),
        row("pause", paused),
        row("all", answered),
      ],
    },
    afterPause(after, answered, perSecond),
  ];
}

/** The worse of several; null if one could not be measured. */
const worst = (values: readonly (number | null)[], pick: (...numbers: number[]) => number): number | null =>
  values.length === 0 || values.some((value) => value === null) ? null : pick(...values.map(Number));

const figureOrNone = (value: number | null): string => (value === null ? "none" : figure(value));

function report(cases: readonly Case[], perMinute: number): Result {
  const perSecond = perMinute / MINUTE_S;
  const figures = cases.map((one) => ({ kind: one.kind, ...figuresOf(one, perSecond) }));
  const judged = figures.filter(({ kind }) => kind !== "sliding");
  const columns = ["upstream", "allowance used", "answered 429", "burst after the pause", "peak after the pause"];
  return {
    measures: {
      allowance_used: worst(
        judged.map(({ used }) => used),
        Math.min,
      ),
      answered_429: worst(
        judged.map(({ refused }) => refused),
        Math.max,
      ),
      after_pause_burst_ratio: worst(
        judged.map(({ burst }) => burst),
        Math.max,
      ),
      after_pause_peak_ratio: worst(
        judged.map(({ peak }) => peak),
        Math.max,
      ),
    },
    tables: [
      {
        title: "Of the allowance, of all requests, and by the rate",
        columns,
        rows: figures.map(({ kind, used, refused, burst, peak }) => [
          KINDS[kind],
          figure(used),
          ...[refused, burst, peak].map(figureOrNone),
        ]),
      },
      ...cases.flatMap((one) => tablesOf(one, perSecond)),
    ],
    notes: [],
  };
}

const told = (endings: Endings): string[] =>
  [...endings]
    .toSorted(([, one], [, other]) => other - one)
    .slice(0, ENDINGS_SHOWN)
    .map(([words, count]) => `${count} processes ended before their time: ${words}`);

async function runCase(context: Context, kind: AllowanceKind, endings: Endings): Promise<Case> {
  const perMinute = countOption(context, "requests");
  const processes = countOption(context, "processes");
  const burst = countOption(context, "burst");
  context.progress(`The upstream has ${KINDS[kind]}`);
  const limit = { kind, perMinute, burst };
  const upstream = await startLimitedUpstream({ ...limit, latencyMs: LATENCY_MS, turns: TURNS, tool: "read" });
  const closeUpstream = context.scratch.defer(() => upstream.close());
  const configFile = await layOut(await context.scratch.folder(`limits-${kind}`), upstream.baseUrl);
  const server = await startServer({ scratch: context.scratch, configFile });
  const over = new AbortController();
  const busy = Promise.all(Array.from({ length: processes }, () => keepBusy(server.client, endings, over.signal))).then(
    (): never => {
      throw new Error("Nobody was at work any more.");
    },
  );
  const observed = await Promise.race([observe(context, upstream), busy]);
  // What comes while the server stops is nobody's wish any more.
  const answered = [...upstream.answered];
  over.abort();
  await busy.catch(() => undefined);
  await server.stop();
  await closeUpstream();
  return { kind, observed, answered };
}

async function run(context: Context): Promise<Result> {
  const endings: Endings = new Map();
  const cases: Case[] = [];
  for (const kind of kindsOf(context)) cases.push(await runCase(context, kind, endings));
  const result = report(cases, countOption(context, "requests"));
  return { ...result, notes: [...result.notes, ...told(endings)] };
}

function kindsOf({ options }: Context): readonly AllowanceKind[] {
  const { limit = "all" } = options;
  if (limit === "all") return ALLOWANCES;
  const kind = ALLOWANCES.find((known) => known === limit);
  if (kind === undefined) throw new Missing(`--limit must be all, ${ALLOWANCES.join(", ")}, not "${limit}".`);
  return [kind];
}

export const limits: Benchmark = {
  name: "limits",
  doc: "how well a provider's limit on requests, told in its headers, is used and kept to; also after a pause",
  options: {
    limit: { default: "all", doc: `the kind of limit: all, ${ALLOWANCES.join(", ")}` },
    requests: { default: "600", doc: "requests a minute that the upstream allows" },
    burst: { default: "60", doc: "requests that it allows at once when it was not asked for a while" },
    processes: { default: "40", doc: "processes that ask without a break" },
    seconds: { default: "60", doc: "how long is measured" },
  },
  run,
};

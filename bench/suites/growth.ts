// Whether a step costs the same late in a long process as early in it: one process of durable no-op tool calls in the
// kernel's own process, beside a conversation with a scripted model.
//
// cost_ratio: the median of the hundred steps around step 10,000 over that of the hundred around step 100 of a young
// process that is run right after them: seconds lie between the two places of one process, and the machine changes.
// bytes_ratio: what a hundred steps around the two places of the one process wrote to the journal, events and payloads.
// model_…: the same of turns with a model, at turn 1,000 against turn 100. A turn hands the model its whole history, so
// its time cannot be flat; what it writes can.
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { readdir } from "node:fs/promises";
import { countOption, type Benchmark, type Context, type Result } from "../benchmark.ts";
import { hosted } from "../contender.ts";
import { median } from "../statistics.ts";
import { figure } from "../table.ts";

const WINDOW = 100;
const EARLY = 100;
/** Steps of a process before, so that the early steps are not those of a program that is still being compiled. */
const WARM_UP = 1_000;
const CALL_TIMEOUT_MS = 600_000;

type Point = { readonly step: number; readonly costMs: number; readonly bytes: number };

/** Bytes a step in the window around it. Rows stand in the order of the steps of all processes, `total`, so a share of the steps is the same share of the rows. */
function bytesAround(database: DatabaseSync, step: number, total: number): number {
  const window = (table: string, size: string): number => {
    const { last = 0 } = (database.prepare(`SELECT max(n) AS last FROM ${table}`).get() ?? {}) as { last?: number };
    const at = (place: number): number => Math.floor(((last ?? 0) * (WARM_UP + place)) / total);
    const row = database
      .prepare(`SELECT coalesce(sum(${size}), 0) AS bytes FROM ${table} WHERE n > ? AND n <= ?`)
      .get(at(step - WINDOW / 2), at(step + WINDOW / 2));
    return Number(row?.["bytes"]);
  };
  const events = window(
    "events",
    "length(CAST(header AS BLOB)) + length(hash) + coalesce(length(CAST(inline AS BLOB)), 0)",
  );
  return (events + window("payloads", "length(CAST(text AS BLOB)) + length(address)")) / WINDOW;
}

async function databaseIn(folder: string): Promise<DatabaseSync> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".db") || name.endsWith(".sqlite"));
  const [name] = names;
  if (name === undefined || names.length > 1)
    throw new Error(`Expected one database in ${folder}, found ${names.join(", ") || "none"}.`);
  return new DatabaseSync(join(folder, name), { readOnly: true });
}

const around = (samplesMs: readonly number[], step: number): number =>
  median(samplesMs.slice(step - WINDOW / 2, step + WINDOW / 2));

type Grown = { readonly points: readonly Point[]; readonly youngMs: number };

/** One process of so many steps, looked at around each of the places, and a young one right after it. */
async function grow(context: Context, kind: "read" | "model", places: readonly number[]): Promise<Grown> {
  const steps = Math.max(...places) + WINDOW / 2;
  const youngSteps = EARLY + WINDOW / 2;
  const folder = join(await context.scratch.folder(`growth-${kind}`), "project");
  const contender = hosted({ module: "reeve.ts", name: kind }, { callTimeoutMs: CALL_TIMEOUT_MS });
  const stop = context.scratch.defer(() => contender.stop());
  await contender.start(folder);
  await contender.one(WARM_UP);
  const samplesMs = await contender.one(steps);
  const youngMs = around(await contender.one(youngSteps), EARLY);
  await stop();
  const database = await databaseIn(join(folder, "data"));
  const points = places.map((step) => ({
    step,
    costMs: around(samplesMs, step),
    bytes: bytesAround(database, step, WARM_UP + steps + youngSteps),
  }));
  database.close();
  return { points, youngMs };
}

const costRatio = (rounds: readonly Grown[]): number =>
  median(rounds.map(({ points, youngMs }) => (points.at(-1)?.costMs ?? Number.NaN) / youngMs));

const bytesRatio = (rounds: readonly Grown[]): number =>
  median(rounds.map(({ points }) => (points.at(-1)?.bytes ?? Number.NaN) / (points[0]?.bytes ?? Number.NaN)));

function rowsOf(what: string, rounds: readonly Grown[]): string[][] {
  const row = (step: string, costsMs: readonly number[], bytes: string): string[] => [
    what,
    step,
    figure(median(costsMs)),
    bytes,
    costsMs.map(figure).join(", "),
  ];
  const old = (rounds[0]?.points ?? []).map(({ step }, at) => {
    const points = rounds.flatMap((grown) => grown.points[at] ?? []);
    return row(
      String(step),
      points.map(({ costMs }) => costMs),
      figure(median(points.map(({ bytes }) => bytes))),
    );
  });
  return [
    ...old,
    row(
      `${EARLY}, young`,
      rounds.map(({ youngMs }) => youngMs),
      "",
    ),
  ];
}

async function run(context: Context): Promise<Result> {
  const last = countOption(context, "steps", 2 * WINDOW);
  const turns = countOption(context, "turns", 2 * WINDOW);
  const steps: Grown[] = [];
  const conversations: Grown[] = [];
  for (let round = 1; round <= countOption(context, "rounds"); round += 1) {
    context.progress(`round ${round}: one process of ${last} steps, one conversation of ${turns} turns`);
    steps.push(await grow(context, "read", [EARLY, last / 10, last / 2, last].map(Math.floor)));
    conversations.push(await grow(context, "model", [EARLY, turns / 2, turns].map(Math.floor)));
  }
  return {
    measures: {
      cost_ratio: costRatio(steps),
      bytes_ratio: bytesRatio(steps),
      model_cost_ratio: costRatio(conversations),
      model_bytes_ratio: bytesRatio(conversations),
    },
    tables: [
      {
        title: `A step, early and late: medians of ${WINDOW} steps, and of the rounds`,
        columns: ["kind", "step", "ms", "bytes written", "ms in each round"],
        rows: [...rowsOf("tool call", steps), ...rowsOf("turn with a model", conversations)],
      },
    ],
    notes: [],
  };
}

export const growth: Benchmark = {
  name: "growth",
  doc: "the cost of a step late in a long process against early in it",
  options: {
    rounds: { default: "5", doc: "processes of each kind, one after another" },
    steps: { default: "10000", doc: "the late step" },
    turns: { default: "1000", doc: "the late turn of the conversation with a model" },
  },
  run,
};

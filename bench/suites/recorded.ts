// Recorded conversations, end to end: each is one process of a Markdown agent on a real server, the model played over
// the OpenAI wire format, the tools over MCP on stdio, the user's turns sent as messages.
//
// identical: conversations whose journal says, turn by turn, what the recording says: texts byte for byte, arguments of
// tool calls in canonical form, results byte for byte as the tool gave them and as the model was shown them.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { countOption, type Benchmark, type Context, type Result } from "../benchmark.ts";
import { Conversation, pool } from "../conversation.ts";
import {
  dataFile,
  loadHarness,
  readRecordings,
  writesOf,
  type Harness,
  type Recording,
  type Upstream,
  type WriteEffect,
} from "../recordings.ts";
import { END_TEXT, layOut, manifestsOf } from "../rig.ts";
import { startServer } from "../server.ts";
import { figure } from "../table.ts";
import { countWrites, type WriteCount } from "../tool-server.ts";
import { compare, type Difference } from "../transcript.ts";

type Played = { readonly recording: Recording; readonly ending: string; readonly difference: Difference | null };
type Batch = {
  readonly played: readonly Played[];
  readonly effects: readonly WriteEffect[];
  readonly upstream: Upstream["stats"];
  readonly elapsedMs: number;
};
type Stage = {
  readonly context: Context;
  readonly data: string;
  readonly harness: Harness;
  readonly concurrency: number;
  readonly patienceMs: number;
};

const readEffects = (file: string): WriteEffect[] =>
  existsSync(file)
    ? readFileSync(file, "utf8")
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line) as WriteEffect)
    : [];

async function play(
  conversation: Conversation,
  server: Awaited<ReturnType<typeof startServer>>,
  patienceMs: number,
): Promise<Played> {
  const { recording } = conversation;
  try {
    await conversation.drive(server.client, AbortSignal.any([server.gone, AbortSignal.timeout(patienceMs)]));
  } catch (error) {
    return {
      recording,
      ending: `failed: ${error instanceof Error ? error.message : String(error)}`,
      difference: compare(recording, conversation.events),
    };
  }
  return {
    recording,
    ending: conversation.ending ?? `still ${conversation.state} after ${patienceMs} ms`,
    difference: compare(recording, conversation.events),
  };
}

/** Every batch has a server, a folder, a model and tools of its own. */
async function playBatch(stage: Stage, recordings: readonly Recording[]): Promise<Batch> {
  const { context, data, harness } = stage;
  const folder = await context.scratch.folder("recorded");
  const effectsFile = (recording: Recording): string =>
    join(folder, `effects-${encodeURIComponent(recording.id)}.jsonl`);
  const upstream = await harness.startUpstream({ data, endText: END_TEXT, compareResults: true });
  const closeUpstream = context.scratch.defer(() => upstream.close());
  const { configFile, agentOf } = await layOut({
    folder,
    recordings,
    upstreamUrl: upstream.url,
    sourceOf: (recording) => ({
      type: "mcp-stdio",
      // It stands for the world, and the world is not kept in a box; what sandboxes cost is measured by `sandbox`.
      isolation: "none",
      command: process.execPath,
      args: [
        harness.worldFile,
        "--data",
        data,
        "--recording",
        recording.id,
        "--effects-log",
        effectsFile(recording),
        "--state",
        join(folder, `state-${encodeURIComponent(recording.id)}.jsonl`),
      ],
      tools: manifestsOf(harness.tools),
    }),
  });
  const server = await startServer({ scratch: context.scratch, configFile });
  const fromMs = performance.now();
  const played: Played[] = [];
  await pool(recordings, stage.concurrency, async (recording) => {
    played.push(await play(new Conversation({ recording, agent: agentOf(recording) }), server, stage.patienceMs));
  });
  const elapsedMs = performance.now() - fromMs;
  await server.stop();
  await closeUpstream();
  return {
    played,
    effects: recordings.flatMap((recording) => readEffects(effectsFile(recording))),
    upstream: upstream.stats,
    elapsedMs,
  };
}

/** How often turns of the recordings were asked for; asking once more after the last turn is the loop's way of ending and not counted. */
function turnsAsked(batches: readonly Batch[]): number {
  const turnsOf = new Map(
    batches.flatMap(({ played }) => played.map(({ recording }) => [recording.id, recording.turns] as const)),
  );
  const counts = batches
    .flatMap(({ upstream }) => Object.entries(upstream.asked))
    .flatMap(([id, turns]) =>
      Object.entries(turns).flatMap(([turn, count]) => (Number(turn) < (turnsOf.get(id) ?? 0) ? [count] : [])),
    );
  return counts.reduce((sum, count) => sum + count, 0);
}

function resultOf(recordings: readonly Recording[], batches: readonly Batch[], writes: WriteCount): Result {
  const played = batches.flatMap((batch) => batch.played);
  const completed = played.filter(({ ending }) => ending === "completed");
  const identical = completed.filter(({ difference }) => difference === null);
  const turns = recordings.reduce((sum, recording) => sum + recording.turns, 0);
  const elapsedMs = batches.reduce((sum, batch) => sum + batch.elapsedMs, 0);
  const statuses: Record<string, number> = {};
  for (const { upstream } of batches)
    for (const [status, count] of Object.entries(upstream.statuses)) statuses[status] = (statuses[status] ?? 0) + count;
  const faults = played.flatMap(({ recording, ending, difference }) => [
    ...(ending === "completed" ? [] : [`${recording.id} ended ${ending}`]),
    ...(difference === null
      ? []
      : [
          `${recording.id} differs at line ${difference.at}: recorded ${difference.expected.slice(0, 300)} | played ${difference.got.slice(0, 300)}`,
        ]),
  ]);
  return {
    measures: {
      conversations: recordings.length,
      identical: identical.length,
      turns,
      model_asked: turnsAsked(batches),
      writes_expected: writes.expected,
      writes_done: writes.done,
      writes_twice: writes.twice,
      writes_missing: writes.missing,
      completed: completed.length,
    },
    tables: [
      {
        title: "Recorded conversations",
        columns: ["what", "value"],
        rows: [
          ["time", `${figure(elapsedMs / 1000)} s`],
          ["turns a second", figure((turns / elapsedMs) * 1000)],
          [
            "answers of the upstream by status",
            Object.entries(statuses)
              .map(([status, count]) => `${status}: ${count}`)
              .join(", "),
          ],
        ],
      },
    ],
    notes: faults,
  };
}

async function run(context: Context): Promise<Result> {
  const data = dataFile(context);
  const harness = await loadHarness(context, data);
  const limit = context.options["limit"] === undefined ? undefined : countOption(context, "limit");
  const recordings = readRecordings(data).slice(0, limit);
  const stage: Stage = {
    context,
    data,
    harness,
    concurrency: countOption(context, "concurrency"),
    patienceMs: countOption(context, "patience-s") * 1000,
  };
  const size = countOption(context, "batch");
  const batches: Batch[] = [];
  for (let at = 0; at < recordings.length; at += size) {
    batches.push(await playBatch(stage, recordings.slice(at, at + size)));
    context.progress(`${Math.min(at + size, recordings.length)} of ${recordings.length} conversations played`);
  }
  const expected = recordings.flatMap((recording) => writesOf(recording, harness.tools));
  return resultOf(
    recordings,
    batches,
    countWrites(
      expected,
      batches.flatMap(({ effects }) => effects),
    ),
  );
}

export const recorded: Benchmark = {
  name: "recorded",
  doc: "recorded conversations through a real server, compared turn by turn",
  options: {
    data: { doc: "the recordings, one a line (required)" },
    harness: { doc: "the folder of upstream.mjs and world.mjs, by default that of the data" },
    concurrency: { default: "8", doc: "conversations at once" },
    batch: { default: "25", doc: "conversations to one server; each has a tool process of its own" },
    limit: { doc: "play only the first so many" },
    "patience-s": { default: "120", doc: "how long one conversation may take" },
  },
  run,
};

// Recorded conversations while the server is killed (SIGKILL) again and again and restarted on the same folder.
//
// Half of the kills come at a journal write (the server kills itself just before or just after the commit that
// REEVE_CRASH_AT_WRITE names), half at a time drawn from the seed, a fifth of those while it starts and recovers. The model
// and the tools live in the benchmark's process and count through every kill.
//
// acked_lost: events and messages that a client had seen or been promised, and that are not there byte for byte after a
// restart. writes_twice: calls of a writing tool done more often than recorded, or twice under one key.
// turns_asked_twice: model turns asked for again after a client had seen their answer. stuck: processes that neither
// completed nor wait for a human to settle an effect of unknown outcome.
import { setTimeout as delay } from "node:timers/promises";
import type { ProcessId } from "../../src/abi/ids.ts";
import { PAGE_ROWS_MAX } from "../../src/abi/limits.ts";
import { countOption, type Benchmark, type Context, type Result } from "../benchmark.ts";
import { Conversation } from "../conversation.ts";
import { environmentOf, killInStart, killWhenReady, NO_KILL, planKill } from "../kill.ts";
import { dataFile, loadHarness, readRecordings, writesOf, type Harness, type Recording } from "../recordings.ts";
import { END_TEXT, layOut, manifestsOf } from "../rig.ts";
import { startServer, StartFailed, type RunningServer } from "../server.ts";
import { chance, draw } from "../statistics.ts";
import { countWrites, startToolServer } from "../tool-server.ts";
import { compare } from "../transcript.ts";
import { TurnsAcked } from "../turns-acked.ts";

const FAILED_STARTS_MAX = 3;
/** Within so long of its requests' failing a killed server's end is known. */
const DEATH_KNOWN_MS_MAX = 3_000;

type Tally = {
  kills: number;
  killsAtWrite: number;
  killsInStart: number;
  /** How long the last start took. */
  startMs: number;
  ackedEvents: number;
  ackedLost: number;
  writesTwice: number;
  writesDone: number;
  turnsAskedTwice: number;
  turnsAcked: number;
  stuck: number;
  conversations: number;
  completed: number;
  unknown: number;
  identical: number;
  readonly notes: string[];
};

type Stage = {
  readonly context: Context;
  readonly data: string;
  readonly harness: Harness;
  readonly rounds: number;
  readonly patienceMs: number;
  readonly random: () => number;
  readonly tally: Tally;
};

async function checkAcked(conversations: readonly Conversation[], server: RunningServer, tally: Tally): Promise<void> {
  for (const conversation of conversations) {
    for (const { what, count } of await conversation.lost(server.client, server.gone)) {
      tally.ackedLost += count;
      tally.notes.push(`Lost after kill ${tally.kills}: ${count} ${what}`);
    }
  }
}

/** Whether the server is dead: a request that was under way then may fail a moment before that is known. */
async function diesSoon({ ended }: RunningServer): Promise<boolean> {
  const over = new AbortController();
  // Aborted when the server has ended, which is what is waited for.
  const late = delay(DEATH_KNOWN_MS_MAX, false, { signal: over.signal }).catch(() => true);
  const died = await Promise.race([ended.then(() => true), late]);
  over.abort();
  return died;
}

/** Waits until all have ended, the server is gone, or nothing has been seen of any for too long. Answers with what the living server refused. */
async function driveAll(
  conversations: readonly Conversation[],
  server: RunningServer,
  patienceMs: number,
): Promise<string[]> {
  const seen = (): number => conversations.reduce((sum, { events }) => sum + events.length, 0);
  const impatience = new AbortController();
  const signal = AbortSignal.any([server.gone, impatience.signal]);
  const driven = Promise.allSettled(
    conversations
      .filter(({ state }) => state === "open")
      .map((conversation) => conversation.drive(server.client, signal)),
  );
  const over = new AbortController();
  const watch = async (): Promise<void> => {
    for (let before = -1; before !== seen();) {
      before = seen();
      await delay(patienceMs, undefined, { signal: over.signal });
    }
    impatience.abort();
  };
  // Aborted when all have ended, which is what the watch is for.
  const watching = watch().catch(() => undefined);
  const outcomes = await driven;
  over.abort();
  await watching;
  const refusals = outcomes.flatMap((outcome) =>
    outcome.status === "rejected" && !impatience.signal.aborted ? [String(outcome.reason)] : [],
  );
  return refusals.length === 0 || (await diesSoon(server)) ? [] : refusals;
}

/** One life of the server. Answers whether it was killed. */
async function live(stage: Stage, configFile: string, conversations: readonly Conversation[]): Promise<boolean> {
  const { context, tally } = stage;
  const plan = tally.kills < stage.rounds ? planKill(stage.random, tally.startMs) : NO_KILL;
  let server: RunningServer;
  try {
    server = await startServer({
      scratch: context.scratch,
      configFile,
      env: environmentOf(plan),
      onSpawn: killInStart(plan),
    });
    tally.startMs = server.startMs;
    killWhenReady(plan, server);
  } catch (error) {
    if (!(error instanceof StartFailed) || error.ended.signal !== "SIGKILL" || plan.kind === "none") throw error;
    tally.killsInStart += 1;
    return true;
  }
  try {
    await checkAcked(conversations, server, tally);
    tally.notes.push(...(await driveAll(conversations, server, stage.patienceMs)));
  } catch (error) {
    if (!(await diesSoon(server))) throw error;
  }
  const killed = server.gone.aborted;
  if (!killed) await server.stop();
  const { code, signal } = await server.ended;
  if (killed && signal !== "SIGKILL")
    throw new StartFailed({ code, signal }, `it was not killed by the benchmark. ${server.complaints()}`);
  if (killed && plan.kind === "write") tally.killsAtWrite += 1;
  return killed;
}

async function playBatch(stage: Stage, recordings: readonly Recording[]): Promise<void> {
  const { context, data, harness, tally } = stage;
  const upstream = await harness.startUpstream({ data, endText: END_TEXT, compareResults: true });
  const closeUpstream = context.scratch.defer(() => upstream.close());
  const tools = await startToolServer(harness, data);
  const closeTools = context.scratch.defer(() => tools.close());
  const turns = new TurnsAcked(upstream);
  const { configFile, agentOf } = await layOut({
    folder: await context.scratch.folder("crash"),
    recordings,
    upstreamUrl: upstream.url,
    sourceOf: ({ id }) => ({ type: "mcp-http", url: tools.urlOf(id), tools: manifestsOf(harness.tools) }),
  });
  const conversations = recordings.map(
    (recording) => new Conversation({ recording, agent: agentOf(recording), onEvent: turns.onEvent }),
  );
  let failures = 0;
  for (let killed = true; killed;) {
    try {
      killed = await live(stage, configFile, conversations);
    } catch (error) {
      if (!(error instanceof StartFailed) || (failures += 1) >= FAILED_STARTS_MAX) throw error;
      tally.notes.push(`After kill ${tally.kills}: ${error.message}`);
      continue;
    }
    if (killed) tally.kills += 1;
  }
  // Once more on the folder as it was left, without a kill: what was seen last must be there too.
  const last = await startServer({ scratch: context.scratch, configFile });
  await checkAcked(conversations, last, tally);
  const asking = new Set(
    (await last.client.human.list({ limit: PAGE_ROWS_MAX })).requests
      .filter(({ kind }) => kind === "settlement")
      .map(({ pid }) => pid),
  );
  await last.stop();
  await closeUpstream();
  await closeTools();
  const writes = countWrites(
    recordings.flatMap((recording) => writesOf(recording, harness.tools)),
    tools.effects,
  );
  tally.writesTwice += writes.twice;
  tally.writesDone += writes.done;
  tally.turnsAskedTwice += turns.askedAgain;
  tally.turnsAcked += turns.count;
  for (const conversation of conversations) settle(conversation, asking, tally);
}

/** Enters how a conversation ended; `asking` are the processes for which a settlement stands in the inbox. */
function settle(conversation: Conversation, asking: ReadonlySet<ProcessId>, tally: Tally): void {
  const { recording, state, ending, events, pid } = conversation;
  tally.conversations += 1;
  tally.ackedEvents += events.length;
  if (state === "unknown" && pid !== undefined && asking.has(pid)) {
    tally.unknown += 1;
  } else if (ending === "completed") {
    tally.completed += 1;
    const difference = compare(recording, events);
    if (difference === null) tally.identical += 1;
    else
      tally.notes.push(
        `${recording.id} completed and differs at line ${difference.at}: recorded ${difference.expected.slice(0, 200)} | played ${difference.got.slice(0, 200)}`,
      );
  } else {
    tally.stuck += 1;
    tally.notes.push(
      `Stuck: ${recording.id} (${pid ?? "never started"}): ${ending ?? `${state}, last seen ${events.at(-1)?.header.kind ?? "nothing"}`}`,
    );
  }
}

function resultOf(tally: Tally, seed: number): Result {
  return {
    measures: {
      rounds: tally.kills,
      acked_lost: tally.ackedLost,
      writes_twice: tally.writesTwice,
      turns_asked_twice: tally.turnsAskedTwice,
      stuck: tally.stuck,
      acked: tally.ackedEvents,
      turns_acked: tally.turnsAcked,
      writes_done: tally.writesDone,
      conversations: tally.conversations,
      completed: tally.completed,
      outcome_unknown: tally.unknown,
      identical: tally.identical,
    },
    tables: [
      {
        title: `Kills (seed ${seed})`,
        columns: ["at", "kills"],
        rows: [
          ["a journal write", String(tally.killsAtWrite)],
          ["a random time", String(tally.kills - tally.killsAtWrite - tally.killsInStart)],
          ["before it was ready", String(tally.killsInStart)],
        ],
      },
    ],
    notes: tally.notes,
  };
}

async function run(context: Context): Promise<Result> {
  const data = dataFile(context);
  const harness = await loadHarness(context, data);
  const recordings = readRecordings(data);
  const seed = countOption(context, "seed", 0);
  const tally: Tally = {
    kills: 0,
    killsAtWrite: 0,
    killsInStart: 0,
    startMs: 500,
    ackedEvents: 0,
    ackedLost: 0,
    writesTwice: 0,
    writesDone: 0,
    turnsAskedTwice: 0,
    turnsAcked: 0,
    stuck: 0,
    conversations: 0,
    completed: 0,
    unknown: 0,
    identical: 0,
    notes: [],
  };
  const stage: Stage = {
    context,
    data,
    harness,
    rounds: countOption(context, "rounds"),
    patienceMs: countOption(context, "patience-s") * 1000,
    random: chance(seed),
    tally,
  };
  const size = countOption(context, "batch");
  while (tally.kills < stage.rounds) {
    await playBatch(stage, draw(recordings, size, stage.random));
    context.progress(
      `${tally.kills} of ${stage.rounds} kills; ${tally.conversations} conversations: ${tally.completed} completed, ${tally.unknown} of unknown outcome, ${tally.stuck} stuck; ${tally.ackedLost} acknowledged lost`,
    );
  }
  return resultOf(tally, seed);
}

export const crash: Benchmark = {
  name: "crash",
  doc: "the same while the server is killed at journal writes and at random times",
  options: {
    rounds: { default: "300", doc: "kills" },
    seed: { default: "1", doc: "for when to kill and what to play" },
    data: { doc: "the recordings, one a line (required)" },
    harness: { doc: "the folder of upstream.mjs and world.mjs, by default that of the data" },
    batch: { default: "12", doc: "conversations on one folder, played at once" },
    "patience-s": { default: "30", doc: "how long nothing may happen before what is left counts as stuck" },
  },
  run,
};

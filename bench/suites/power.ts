// A cut of the power: the data folder lies on a file system in a file; the server is killed under paced load, the file
// is copied at that moment, and the copy is mounted and read by a new server. Everything that a client had seen or been
// promised before the kill must be in it.
//
// As a control the same is done with a bare SQLite writer at synchronous=NORMAL, which is known to lose, and FULL, which
// is not: a run whose NORMAL control lost nothing has not shown anything.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { countOption, type Benchmark, type Context, type Result } from "../benchmark.ts";
import { Conversation } from "../conversation.ts";
import { assertMountable, Image } from "../image.ts";
import type { Recording } from "../recordings.ts";
import { startServer, StartFailed, type RunningServer } from "../server.ts";
import { chance } from "../statistics.ts";

const WRITER = fileURLToPath(new URL("../paced-writer.ts", import.meta.url));
const LOAD_MS_MIN = 2_000;
const LOAD_MS_MAX = 4_000;
const PACE_MS = 15;
const CONTROL_PACE_MS = 2;
const SAYS = 10_000;

type Counted = { readonly acked: number; readonly lost: number };
type Control = "NORMAL" | "FULL";

const AGENT = `---
name: listener
description: Hears messages and answers each.
model: script/any
conversation: messages
turns: 10000
---
Answer every message.
`;

/** Somebody who has much to say. */
const talker = (at: number): Recording => ({
  id: `talker-${at}`,
  system: "",
  says: Array.from({ length: SAYS }, (_, number) => `message ${number} of talker ${at}`),
  lines: [],
  turns: SAYS,
});

/** A project whose model is a script of one turn; after it the script goes on answering. */
async function layOut(folder: string, dataFolder: string): Promise<string> {
  await mkdir(join(folder, "agents"), { recursive: true });
  await writeFile(join(folder, "agents", "listener.md"), AGENT);
  await writeFile(join(folder, "script.yaml"), "turns:\n  - say: Noted.\n");
  const config = { dataFolder, models: { script: { type: "rehearsal", script: "script.yaml" } }, server: { port: 0 } };
  const file = join(folder, "reeve.config.ts");
  await writeFile(file, `export default ${JSON.stringify(config)};\n`);
  return file;
}

async function cutServer(
  context: Context,
  processes: number,
  loadMs: number,
): Promise<Counted & { readonly notes: readonly string[] }> {
  const { scratch } = context;
  const image = await Image.create(scratch);
  const disk = image.mount();
  const project = await scratch.folder("power");
  const server = await startServer({ scratch, configFile: await layOut(project, join(disk.folder, "data")) });
  const conversations = Array.from(
    { length: processes },
    (_, at) => new Conversation({ recording: talker(at), agent: "listener", paceMs: PACE_MS }),
  );
  // Each ends by the kill, in one error or another.
  const driven = Promise.allSettled(
    conversations.map((conversation) => conversation.drive(server.client, server.gone)),
  );
  await delay(loadMs);
  server.kill();
  await server.ended;
  const after = image.copy();
  const outcomes = await driven;
  await disk.unmount();
  const acked = conversations.reduce((sum, { events, sent }) => sum + events.length + sent, 0);
  const copy = after.mount();
  const notes = await lostIn({ context, configFile: await layOut(project, join(copy.folder, "data")), conversations });
  await copy.unmount();
  const lost = notes.reduce((sum, { count }) => sum + (count ?? acked), 0);
  const said = notes.map(({ what, count }) => (count === null ? what : `Lost: ${count} ${what}`));
  if (acked === 0)
    said.push(
      `Nothing was acknowledged in this round: ${outcomes.map((outcome) => (outcome.status === "rejected" ? String(outcome.reason) : "no error")).join("; ")}`,
    );
  return { acked, lost, notes: said };
}

type Loss = { readonly what: string; /** Null: everything. */ readonly count: number | null };
type Restored = {
  readonly context: Context;
  readonly configFile: string;
  readonly conversations: readonly Conversation[];
};

/** What a new server does not have of what was acknowledged. One that cannot be started has lost it all. */
async function lostIn({ context, configFile, conversations }: Restored): Promise<Loss[]> {
  let server: RunningServer;
  try {
    server = await startServer({ scratch: context.scratch, configFile });
  } catch (error) {
    if (!(error instanceof StartFailed)) throw error;
    return [{ what: `The server could not be started again: ${error.message}`, count: null }];
  }
  const losses: Loss[] = [];
  for (const conversation of conversations) losses.push(...(await conversation.lost(server.client, server.gone)));
  await server.stop();
  return losses;
}

async function cutControl(context: Context, synchronous: Control, loadMs: number): Promise<Counted> {
  const image = await Image.create(context.scratch);
  const disk = image.mount();
  const child = spawn(
    process.execPath,
    [WRITER, join(disk.folder, "events.db"), synchronous, String(CONTROL_PACE_MS)],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const end = context.scratch.defer(() => void child.kill("SIGKILL"));
  let acked = 0;
  createInterface({ input: child.stdout }).on("line", (line) => {
    acked = Number(line);
  });
  await delay(loadMs);
  child.kill("SIGKILL");
  await once(child, "close");
  await end();
  const copy = image.copy().mount();
  await disk.unmount();
  const lost = acked - rowsIn(join(copy.folder, "events.db"), acked);
  await copy.unmount();
  return { acked, lost };
}

/** How many of the rows up to `acked` are there; none if not even the table is. */
function rowsIn(file: string, acked: number): number {
  const database = new DatabaseSync(file);
  try {
    return Number(database.prepare("SELECT count(*) AS count FROM event WHERE number <= ?").get(acked)?.["count"]);
  } catch {
    // The table itself was lost with the rows.
    return 0;
  } finally {
    database.close();
  }
}

const sum = (counts: readonly Counted[], field: keyof Counted): number =>
  counts.reduce((total, count) => total + count[field], 0);

async function run(context: Context): Promise<Result> {
  const rounds = countOption(context, "rounds");
  const processes = countOption(context, "processes");
  const random = chance(countOption(context, "seed", 0));
  await assertMountable(context.scratch);
  const ours: Counted[] = [];
  const controls: Record<Control, Counted[]> = { NORMAL: [], FULL: [] };
  const notes: string[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    const loadMs = LOAD_MS_MIN + random() * (LOAD_MS_MAX - LOAD_MS_MIN);
    const cut = await cutServer(context, processes, loadMs);
    ours.push(cut);
    notes.push(...cut.notes.map((note) => `Round ${round}: ${note}`));
    for (const synchronous of ["NORMAL", "FULL"] as const)
      controls[synchronous].push(await cutControl(context, synchronous, loadMs / 2));
    context.progress(
      `round ${round}: ${cut.acked} acknowledged, ${cut.lost} lost; control NORMAL lost ${controls.NORMAL.at(-1)?.lost} of ${controls.NORMAL.at(-1)?.acked}`,
    );
  }
  if (sum(controls.NORMAL, "lost") === 0)
    notes.push(
      "The control at synchronous=NORMAL lost nothing: on this machine the method cannot see a loss, and the result says nothing.",
    );
  const row = (title: string, counts: readonly Counted[]): string[] => [
    title,
    ...counts.map(({ acked, lost }) => `${lost} of ${acked}`),
    `${sum(counts, "lost")} of ${sum(counts, "acked")}`,
  ];
  return {
    measures: {
      rounds,
      acked: sum(ours, "acked"),
      acked_lost: sum(ours, "lost"),
      control_normal_acked: sum(controls.NORMAL, "acked"),
      control_normal_lost: sum(controls.NORMAL, "lost"),
      control_full_acked: sum(controls.FULL, "acked"),
      control_full_lost: sum(controls.FULL, "lost"),
    },
    tables: [
      {
        title: "Lost of what was acknowledged",
        columns: ["", ...ours.map((_, at) => `round ${at + 1}`), "all"],
        rows: [
          row("Reeve", ours),
          row("control: SQLite at NORMAL", controls.NORMAL),
          row("control: SQLite at FULL", controls.FULL),
        ],
      },
    ],
    notes,
  };
}

export const power: Benchmark = {
  name: "power",
  doc: "a cut of the power, staged on a file system in a file (needs root)",
  options: {
    rounds: { default: "5", doc: "cuts" },
    processes: { default: "8", doc: "processes at work when it happens" },
    seed: { default: "1", doc: "for the time of the cut" },
  },
  run,
};

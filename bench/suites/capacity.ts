// What waiting processes cost: many processes of a Markdown agent that has answered once and waits for a message.
//
// The server is started again on their folder: start_s is the time to its word that it is ready, rss_mb the most memory
// that it held in the seconds after. Then one process is sent a message, to see that they can still be woken.
import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ProcessId } from "../../src/abi/ids.ts";
import { PAGE_ROWS_MAX } from "../../src/abi/limits.ts";
import type { Client } from "../../src/sdk/client.ts";
import { countOption, type Benchmark, type Context, type Result } from "../benchmark.ts";
import { pool } from "../conversation.ts";
import { startServer } from "../server.ts";
import { figure } from "../table.ts";

const CONCURRENCY = 64;
const WATCH_MS = 5_000;
const LOOK_EVERY_MS = 250;
const SETTLE_MS_MAX = 120_000;

const AGENT = `---
name: listener
description: Answers, and waits for the next message.
model: script/any
conversation: messages
---
Answer every message.
`;

async function layOut(folder: string): Promise<string> {
  await mkdir(join(folder, "agents"), { recursive: true });
  await writeFile(join(folder, "agents", "listener.md"), AGENT);
  await writeFile(join(folder, "script.yaml"), "turns:\n  - say: Noted.\n");
  const config = {
    dataFolder: "data",
    models: { script: { type: "rehearsal", script: "script.yaml", concurrency: CONCURRENCY } },
    server: { port: 0 },
  };
  const file = join(folder, "reeve.config.ts");
  await writeFile(file, `export default ${JSON.stringify(config)};\n`);
  return file;
}

const rssMb = (pid: number): number =>
  Number(execFileSync("ps", ["-o", "rss=", "-p", String(pid)], { encoding: "utf8" }).trim()) / 1024;

async function mostRssMb(pid: number): Promise<number> {
  let most = 0;
  for (const untilMs = performance.now() + WATCH_MS; performance.now() < untilMs;) {
    most = Math.max(most, rssMb(pid));
    await delay(LOOK_EVERY_MS);
  }
  return most;
}

async function countWaiting(client: Client): Promise<number> {
  let count = 0;
  let before: ProcessId | undefined;
  for (;;) {
    const { processes } = await client.process.list({
      state: "waiting",
      limit: PAGE_ROWS_MAX,
      ...(before === undefined ? {} : { before }),
    });
    count += processes.length;
    before = processes.at(-1)?.pid;
    if (processes.length < PAGE_ROWS_MAX) return count;
  }
}

/** Waits until nothing is ready or running any more, and counts what waits. */
async function untilWaiting(client: Client): Promise<number> {
  const busy = async (): Promise<boolean> => {
    const pages = await Promise.all(
      (["ready", "running"] as const).map((state) => client.process.list({ state, limit: 1 })),
    );
    return pages.some(({ processes }) => processes.length > 0);
  };
  for (const untilMs = performance.now() + SETTLE_MS_MAX; performance.now() < untilMs && (await busy());)
    await delay(LOOK_EVERY_MS);
  return countWaiting(client);
}

/** Milliseconds from a message to the process's waiting for the next. */
async function wakeMs(client: Client, pid: ProcessId): Promise<number> {
  const { process } = await client.process.show({ pid });
  const fromMs = performance.now();
  await client.message.send({ pid, topic: "message", body: "Are you there?" });
  for await (const item of client.follow(pid, { from: process.events, signal: AbortSignal.timeout(SETTLE_MS_MAX) })) {
    if (item.kind === "event" && item.event.header.kind === "call.waiting") return performance.now() - fromMs;
  }
  return Number.NaN;
}

async function run(context: Context): Promise<Result> {
  const processes = countOption(context, "processes");
  const configFile = await layOut(await context.scratch.folder("capacity"));
  const first = await startServer({ scratch: context.scratch, configFile });
  const pids: ProcessId[] = [];
  const fromMs = performance.now();
  await pool(
    Array.from({ length: processes }, (_, at) => at),
    CONCURRENCY,
    async (at) => {
      pids.push((await first.client.process.spawn({ agent: "listener", task: `Task ${at}` })).pid);
      if (pids.length % 10_000 === 0)
        context.progress(
          `${pids.length} of ${processes} processes, ${figure((pids.length / (performance.now() - fromMs)) * 1000)} a second`,
        );
    },
  );
  const waitingBefore = await untilWaiting(first.client);
  const createdS = (performance.now() - fromMs) / 1000;
  const rssBeforeMb = rssMb(first.pid);
  await first.stop();
  const again = await startServer({ scratch: context.scratch, configFile });
  const rss = await mostRssMb(again.pid);
  const waiting = await countWaiting(again.client);
  const wokenMs = await wakeMs(again.client, pids[Math.floor(pids.length / 2)] as ProcessId);
  await again.stop();
  return {
    measures: {
      processes: waiting,
      rss_mb: rss,
      start_s: again.startMs / 1000,
      wake_ms: wokenMs,
      created_per_s: processes / createdS,
      rss_at_creation_mb: rssBeforeMb,
    },
    tables: [],
    notes: [
      ...(waiting === processes
        ? []
        : [`${waiting} of ${processes} processes wait (${waitingBefore} before the restart).`]),
      ...(Number.isNaN(wokenMs) ? ["The process that was sent a message did not come to wait again."] : []),
    ],
  };
}

export const capacity: Benchmark = {
  name: "capacity",
  doc: "memory and start of a server with many waiting processes",
  options: { processes: { default: "100000", doc: "waiting processes" } },
  run,
};

// Verifying journals: processes of the Markdown loop, with a model over the wire and tools that count, are run to their
// end on a real server and then run again on their journals.
//
// events_per_s: events read over the time that the verifications took, one after another. model_asked and effects: how
// often the model was asked and a tool was run while that happened.
import { existsSync, statSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ProcessId } from "../../src/abi/ids.ts";
import type { VerifyReport } from "../../src/abi/reports.ts";
import { countOption, type Benchmark, type Context, type Result } from "../benchmark.ts";
import { pool } from "../conversation.ts";
import { startModelServer, type ModelServer } from "../model-server.ts";
import { startServer, type RunningServer } from "../server.ts";
import { figure } from "../table.ts";

const TOOL_FILE = fileURLToPath(new URL("../counting-tool.ts", import.meta.url));
const CALLS = { read: 8, write: 1 };
const CONCURRENCY = 16;
const WAIT_MS = 60_000;

const AGENT = `---
name: worker
description: Works through many turns.
model: scripted/any
tools: [bench.read, bench.write]
turns: 10000
---
Work.
`;

async function layOut(folder: string, model: ModelServer): Promise<string> {
  await mkdir(join(folder, "agents"), { recursive: true });
  await writeFile(join(folder, "agents", "worker.md"), AGENT);
  const config = {
    dataFolder: "data",
    models: { scripted: { type: "openai-compatible", baseUrl: model.baseUrl, concurrency: CONCURRENCY } },
    tools: { bench: { type: "module", file: TOOL_FILE } },
    server: { port: 0 },
  };
  const file = join(folder, "reeve.config.ts");
  await writeFile(file, `export default ${JSON.stringify(config)};\n`);
  return file;
}

/** Runs processes to their end. */
async function record({ client }: RunningServer, processes: number): Promise<ProcessId[]> {
  const pids: ProcessId[] = [];
  await pool(
    Array.from({ length: processes }, (_, at) => at),
    CONCURRENCY,
    async (at) => {
      const { pid } = await client.process.spawn({ agent: "worker", task: `Task ${at}` });
      for (;;) {
        const { exit } = await client.process.wait({ pid, timeoutMs: WAIT_MS });
        if (exit === null) continue;
        if (exit.how !== "completed") throw new Error(`${pid} did not complete: ${JSON.stringify(exit)}`);
        break;
      }
      pids.push(pid);
    },
  );
  return pids;
}

async function run(context: Context): Promise<Result> {
  const folder = await context.scratch.folder("replay");
  const model = await startModelServer({ turns: countOption(context, "turns"), calls: CALLS });
  context.scratch.defer(() => model.close());
  const runsFile = join(folder, "runs");
  const runs = (): number => (existsSync(runsFile) ? statSync(runsFile).size : 0);
  const server = await startServer({
    scratch: context.scratch,
    configFile: await layOut(folder, model),
    env: { REEVE_BENCH_RUNS: runsFile },
  });
  const pids = await record(server, countOption(context, "processes"));
  const before = { asked: model.asked(), runs: runs() };
  context.progress(
    `${pids.length} processes recorded: ${before.asked} answers of the model, ${before.runs} runs of tools`,
  );
  const reports: VerifyReport[] = [];
  const fromMs = performance.now();
  for (const pid of pids) reports.push(await server.client.journal.verify({ pid }));
  const wallMs = performance.now() - fromMs;
  await server.stop();
  const events = reports.reduce((sum, report) => sum + report.events, 0);
  const calls = reports.reduce((sum, report) => sum + report.calls, 0);
  const elapsedMs = reports.reduce((sum, report) => sum + report.elapsedMs, 0);
  const different = reports.filter(({ identical }) => !identical);
  return {
    measures: {
      events_per_s: (events / elapsedMs) * 1000,
      model_asked: model.asked() - before.asked,
      effects: runs() - before.runs,
      identical: reports.length - different.length,
      processes: reports.length,
      wall_events_per_s: (events / wallMs) * 1000,
    },
    tables: [
      {
        title: "Journals run again",
        columns: ["processes", "events", "calls", "time in the verifier, s", "with HTTP, s"],
        rows: [
          [String(reports.length), figure(events), figure(calls), figure(elapsedMs / 1000), figure(wallMs / 1000)],
        ],
      },
    ],
    notes: different.map(
      ({ pid, difference, chain }) => `${pid} is not identical: ${JSON.stringify({ difference, chain })}`,
    ),
  };
}

export const replay: Benchmark = {
  name: "replay",
  doc: "running processes again on their journals: events a second, and that nothing is asked or done",
  options: {
    processes: { default: "60", doc: "journals" },
    turns: { default: "60", doc: "turns of the model in each; a turn is eleven events" },
  },
  run,
};

// LangGraph.js with a checkpointer: a graph of one node that runs again until its steps are done, with
// `durability: 'sync'`, so that each step's checkpoint is written before the next step begins.
//
// A step is the time from one entry of the node to the next: it holds the checkpoint between them.
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import { SqliteSaver } from "@langchain/langgraph-checkpoint-sqlite";
import { join } from "node:path";
import type { Contender, Started } from "../contender.ts";
import { installedVersion } from "./installed.ts";
import { createDatabase, type OwnDatabase } from "./postgres.ts";

const SYNCHRONOUS_FULL = 2;

type Saver = { readonly saver: BaseCheckpointSaver; readonly started: Started; close(): Promise<void> };

const State = Annotation.Root({ count: Annotation<number>(), steps: Annotation<number>() });

/** Only the graph's own telemetry could reach outside; it is off unless these are set. */
function forbidTracing(): void {
  process.env["LANGSMITH_TRACING"] = "false";
  process.env["LANGCHAIN_TRACING_V2"] = "false";
}

function compile(checkpointer: BaseCheckpointSaver, onStep: () => void) {
  return new StateGraph(State)
    .addNode("step", ({ count }) => {
      onStep();
      return { count: count + 1 };
    })
    .addEdge(START, "step")
    .addConditionalEdges("step", ({ count, steps }) => (count < steps ? "step" : END))
    .compile({ checkpointer });
}

function createLangGraph(name: string, open: (folder: string) => Promise<Saver>): Contender {
  let saver: Saver | undefined;
  let graph: ReturnType<typeof compile> | undefined;
  let threads = 0;
  let entriesMs: number[] = [];

  async function perform(steps: number): Promise<void> {
    if (graph === undefined) throw new Error(`${name} was not started.`);
    const thread = `thread-${(threads += 1)}`;
    const state = await graph.invoke(
      { count: 0, steps },
      { configurable: { thread_id: thread }, recursionLimit: steps + 10, durability: "sync" },
    );
    if (state.count !== steps) throw new Error(`${name} performed ${state.count} of ${steps} steps.`);
  }

  return {
    name,
    async start(folder) {
      forbidTracing();
      saver = await open(folder);
      graph = compile(saver.saver, () => void entriesMs.push(performance.now()));
      await perform(1);
      return saver.started;
    },
    async one(steps) {
      entriesMs = [];
      await perform(steps + 1);
      return entriesMs.slice(1).map((atMs, index) => atMs - (entriesMs[index] ?? atMs));
    },
    async many(workflows, steps) {
      const fromMs = performance.now();
      await Promise.all(Array.from({ length: workflows }, () => perform(steps)));
      return ((workflows * steps) / (performance.now() - fromMs)) * 1000;
    },
    async stop() {
      await saver?.close();
      saver = undefined;
    },
  };
}

async function openSqlite(folder: string): Promise<Saver> {
  const saver = SqliteSaver.fromConnString(join(folder, "checkpoints.db"));
  // Any call sets the saver up, which is when it chooses its journal mode.
  await saver.getTuple({ configurable: { thread_id: "none" } });
  const mode = String(saver.db.pragma("journal_mode", { simple: true }));
  const synchronous = Number(saver.db.pragma("synchronous", { simple: true }));
  return {
    saver,
    started: {
      durability: `durability=sync, journal_mode=${mode}, synchronous=${synchronous} (1 is NORMAL, 2 FULL)`,
      survivesPowerCut: synchronous >= SYNCHRONOUS_FULL,
      version: `${installedVersion("@langchain/langgraph")}, SqliteSaver ${installedVersion("@langchain/langgraph-checkpoint-sqlite")}, better-sqlite3 ${installedVersion("better-sqlite3")}`,
    },
    close: async () => void saver.db.close(),
  };
}

async function openPostgres(): Promise<Saver> {
  const database: OwnDatabase = await createDatabase();
  const saver = PostgresSaver.fromConnString(database.url);
  await saver.setup();
  return {
    saver,
    started: {
      durability: `durability=sync, ${database.durability}`,
      survivesPowerCut: database.survivesPowerCut,
      version: `${installedVersion("@langchain/langgraph")}, PostgresSaver ${installedVersion("@langchain/langgraph-checkpoint-postgres")}, ${database.version}`,
    },
    async close() {
      await saver.end();
      await database.drop();
    },
  };
}

export const contenders = {
  "langgraph-sqlite": () => createLangGraph("LangGraph, SQLite", openSqlite),
  "langgraph-postgres": () => createLangGraph("LangGraph, PostgreSQL", openPostgres),
};

// DBOS on PostgreSQL: a workflow whose steps are `DBOS.runStep`, each one row in the system database.
import { DBOS } from "@dbos-inc/dbos-sdk";
import type { Contender } from "../contender.ts";
import { installedVersion } from "./installed.ts";
import { createDatabase, type OwnDatabase } from "./postgres.ts";

const POOL_SIZE = 20;

let samplesMs: number[] = [];

// Workflows must be registered before launch, once in a process.
const workflow = DBOS.registerWorkflow(
  async (steps: number, sample: boolean): Promise<number> => {
    let sum = 0;
    for (let at = 0; at < steps; at += 1) {
      const fromMs = performance.now();
      sum += await DBOS.runStep(async () => 1, { name: "step" });
      if (sample) samplesMs.push(performance.now() - fromMs);
    }
    return sum;
  },
  { name: "bench" },
);

async function perform(steps: number, sample: boolean): Promise<void> {
  const handle = await DBOS.startWorkflow(workflow)(steps, sample);
  const done = await handle.getResult();
  if (done !== steps) throw new Error(`DBOS performed ${String(done)} of ${steps} steps.`);
}

function createDbos(): Contender {
  let database: OwnDatabase | undefined;
  return {
    name: "DBOS",
    async start() {
      database = await createDatabase();
      DBOS.setConfig({
        name: "reeve-bench",
        systemDatabaseUrl: database.url,
        systemDatabasePoolSize: POOL_SIZE,
        logLevel: "error",
      });
      await DBOS.launch();
      return {
        durability: database.durability,
        survivesPowerCut: database.survivesPowerCut,
        version: `${installedVersion("@dbos-inc/dbos-sdk")}, ${database.version}, pool ${POOL_SIZE}`,
      };
    },
    async one(steps) {
      samplesMs = [];
      await perform(steps, true);
      return samplesMs;
    },
    async many(workflows, steps) {
      const fromMs = performance.now();
      await Promise.all(Array.from({ length: workflows }, () => perform(steps, false)));
      return ((workflows * steps) / (performance.now() - fromMs)) * 1000;
    },
    async stop() {
      await DBOS.shutdown();
      await database?.drop();
      database = undefined;
    },
  };
}

export const contenders = { dbos: createDbos };

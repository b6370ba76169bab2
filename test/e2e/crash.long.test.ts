// Crash rounds: the real server is killed with SIGKILL at a random journal write, again and again, while processes make
// entries in a ledger that knows nothing of Reeve. After each restart everything goes on; a human answers for what is
// uncertain by looking into the ledger. In the end every entry was made once, and every journal replays.
//
// CRASH_ROUNDS sets the number of kills, SEED the random choices; a failure prints both.
import { existsSync, readFileSync } from "node:fs";
import { afterAll, expect, it } from "vitest";
import type { ProcessId } from "../../src/abi/ids.ts";
import { Chance } from "../simulation/chance.ts";
import { exitOf } from "./fixtures/events.ts";
import { EndedEarly, Project, type Server } from "./fixtures/project.ts";

const ROUNDS = Number(process.env["CRASH_ROUNDS"] ?? 25);
const SEED = Number(process.env["SEED"] ?? 1);
/** Processes under way at a time. */
const AT_ONCE = 3;
const TURNS = 5;
const PATIENCE_MS = 60_000;

const CONFIG = `
import { defineConfig } from "reeve";
export default defineConfig({
  defaultModel: "script/ledger",
  models: { script: { type: "rehearsal", script: "ledger.yaml" } },
  tools: { ledger: { type: "module", file: "ledger.ts" } },
});
`;
const TOOLS = `
import { appendFileSync } from "node:fs";
import { tool } from "reeve";
import { z } from "zod";
export const enter = tool({
  name: "enter",
  description: "Makes an entry in the ledger.",
  effect: "write",
  input: z.object({ turn: z.number(), place: z.number() }),
  run: async ({ turn, place }, { key }) => {
    appendFileSync(process.env.LEDGER, key + "\\n");
    return "entered " + turn + "." + place;
  },
});
`;
const SCRIPT = `turns:\n${Array.from({ length: TURNS }, (_, turn) => `  - call:\n      - { tool: ledger.enter, input: { turn: ${turn}, place: 0 } }\n      - { tool: ledger.enter, input: { turn: ${turn}, place: 1 } }\n`).join("")}  - say: All is entered.\n`;
const AGENT = "---\nname: bookkeeper\ndescription: Makes entries.\ntools: ledger.enter\n---\nMake the entries.\n";

const project = new Project();
const ledgerFile = project.path("entries");
project.write("reeve.config.ts", CONFIG);
project.write("ledger.ts", TOOLS);
project.write("ledger.yaml", SCRIPT);
project.write("agents/bookkeeper.md", AGENT);
afterAll(() => project.remove());

const entries = (): string[] =>
  existsSync(ledgerFile) ? readFileSync(ledgerFile, "utf8").split("\n").filter(Boolean) : [];

type Death = { readonly signal: NodeJS.Signals | null; readonly worked: string };

/** Answers whatever is uncertain with what the ledger says. */
async function settle({ client }: Server): Promise<void> {
  const { requests } = await client.human.list({});
  for (const { request, kind, pid, call } of requests) {
    expect(kind).toBe("settlement");
    const done = entries().includes(`${pid}.${call}`);
    const outcome = done
      ? ({ outcome: "done", result: { text: "found in the ledger" } } as const)
      : ({ outcome: "not_done" } as const);
    await client.human.decide({ request, decision: { verdict: "settled", ...outcome } });
  }
}

/** Starts processes until so many are under way, and answers questions, until the server is gone or has nothing left to do. */
async function work(server: Server, pids: Set<ProcessId>, kills: number): Promise<void> {
  for (let step = 0; ; step += 1) {
    await settle(server);
    const { processes } = await server.client.process.list({ state: "alive" });
    if (processes.length < AT_ONCE) {
      const { pid } = await server.client.process.spawn({
        agent: "bookkeeper",
        task: "Make them.",
        key: `${kills}.${step}`,
      });
      pids.add(pid);
    }
  }
}

/** Works until the server dies at `point`. What it recovers is written as well, so that it may die before it was ready. */
async function untilKilled(point: string, pids: Set<ProcessId>, kills: number): Promise<Death> {
  try {
    const server = await project.up({ env: { REEVE_CRASH_AT_WRITE: point, LEDGER: ledgerFile } });
    // Whatever was asked of the server when it died fails; nobody else may fail.
    const worked = work(server, pids, kills).catch(String);
    const { signal } = await server.ended;
    return { signal, worked: String(await worked) };
  } catch (error) {
    if (!(error instanceof EndedEarly)) throw error;
    return { signal: error.end.signal, worked: error.message };
  }
}

it(`survives ${ROUNDS} kills: every entry once, every journal the same run`, async () => {
  const chance = new Chance(SEED);
  const pids = new Set<ProcessId>();
  for (let kills = 0; kills < ROUNDS; kills += 1) {
    const point = `${1 + chance.below(40)}:${chance.below(2) === 0 ? "before" : "after"}`;
    const { signal, worked } = await untilKilled(point, pids, kills);
    expect(signal, `seed ${SEED}, kill ${kills} at ${point}: ${worked}`).toBe("SIGKILL");
  }
  const server = await project.up({ env: { LEDGER: ledgerFile } });
  const until = AbortSignal.timeout(PATIENCE_MS);
  for (;;) {
    await settle(server);
    const { processes } = await server.client.process.list({ state: "alive" });
    if (processes.length === 0) break;
    expect(until.aborted, `seed ${SEED}: still alive: ${JSON.stringify(processes)}`).toBe(false);
  }
  const { processes } = await server.client.process.list({ limit: 1000 });
  expect(processes.length).toBeGreaterThan(AT_ONCE);
  for (const { pid } of processes) {
    expect((await exitOf(server.client, pid)).how).toBe("completed");
    expect(await server.client.journal.verify({ pid })).toMatchObject({ identical: true });
  }
  // A process whose creation was never acknowledged may be there or not; one that was is.
  expect(processes.map(({ pid }) => pid)).toEqual(expect.arrayContaining([...pids]));
  const made = entries();
  expect(new Set(made).size, `seed ${SEED}: an entry was made twice`).toBe(made.length);
  expect(made.length).toBe(processes.length * TURNS * 2);
  await server.end("SIGTERM");
});

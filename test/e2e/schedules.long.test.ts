// Goal: each time of a schedule has its process exactly once, whenever the server is killed, and times that were missed have
// what the schedule says. Method: the real binary is killed with SIGKILL before a time, after it, and once more; years of
// missed times are made by setting the schedules back in the data folder while no server runs.
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { scheduleSchema, type Schedule } from "../../src/abi/schedules.ts";
import { openSqliteStore } from "../../src/drivers/store-sqlite/store.ts";
import { Project, type Server } from "./fixtures/project.ts";

const LOOK_AGAIN_MS = 20;
const MINUTE_MS = 60_000;
const PATIENCE_MS = 30_000;
const made = z.object({ schedule: scheduleSchema });
const listed = z.object({ schedules: z.array(scheduleSchema) });

let project: Project;
let server: Server;
beforeAll(async () => {
  project = new Project();
  server = await project.up();
});
afterAll(() => project.remove());

/** Makes a schedule as a user does. Its processes are known by their tenant, which has its name. */
const add = async (name: string, when: string, ...options: readonly string[]): Promise<Schedule> =>
  (await project.json(made, "schedule", "add", name, when, "waiter", "message", "--tenant", name, ...options)).schedule;

const known = async (name: string): Promise<Schedule> => {
  const { schedules } = await project.json(listed, "schedule");
  const found = schedules.find((schedule) => schedule.name === name);
  if (found === undefined) throw new Error(`There is no schedule ${name}.`);
  return found;
};

/** Processes that a schedule has started. */
const startedBy = async (name: string): Promise<number> =>
  (await server.client.process.list({ limit: 100 })).processes.filter(({ tenant }) => tenant === name).length;

const eventually = async (what: string, holds: () => Promise<boolean>): Promise<void> => {
  const endMs = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (Date.now() > endMs) throw new Error(`Not seen in time: ${what}`);
    await delay(LOOK_AGAIN_MS);
  }
};

const crash = async (): Promise<void> => {
  await server.end("SIGKILL");
};

let sentinels = 0;
/** Every time that is due by now has had its turn: one that was made later has had its own. */
async function allHadTheirTurn(): Promise<void> {
  sentinels += 1;
  const name = `sentinel-${sentinels}`;
  await add(name, "1s");
  await eventually(name, async () => (await startedBy(name)) === 1);
}

/** Changes schedules while nothing runs. */
async function edit(change: (schedule: Schedule) => Schedule | undefined): Promise<void> {
  const store = await openSqliteStore({ folder: project.path(".reeve") });
  const schedules = (await store.schedules()).flatMap((schedule) => change(schedule) ?? []);
  await store.append({ journals: [], schedules });
  await store.close();
}

describe("a time that comes", () => {
  it("while the server is down, or just before it is killed, has one process, and no second one after further restarts", async () => {
    const { atMs } = await add("soon", "2s");
    await crash();
    await delay(Math.max(0, (atMs ?? 0) - Date.now()));
    server = await project.up();
    await eventually("the process of the time that passed", async () => (await startedBy("soon")) === 1);
    await crash();
    server = await project.up();
    await allHadTheirTurn();
    expect(await startedBy("soon")).toBe(1);
    expect(await known("soon")).toMatchObject({ runs: 1, nextMs: null });

    // Killed as soon as the process exists, so the note of it may be missing.
    await add("now", "1s");
    await eventually("the process of the time that came", async () => (await startedBy("now")) === 1);
    await crash();
    server = await project.up();
    await allHadTheirTurn();
    expect(await startedBy("now")).toBe(1);
    expect(await known("now")).toMatchObject({ runs: 1, nextMs: null });
  });
});

describe("times that were missed", () => {
  it("have what the schedule says: none, one, or one each; and once, also if the server is killed again", async () => {
    const policies = ["skip", "once", "all"] as const;
    for (const missed of policies) await add(`yearly-${missed}`, "0 0 1 1 *", "--missed", missed, "--overlap", "allow");
    for (const missed of ["skip", "once"] as const) await add(`moment-${missed}`, "1h", "--missed", missed);
    await crash();
    const year = new Date().getUTCFullYear();
    const longAgoMs = Date.now() - 5 * MINUTE_MS;
    await edit((schedule) => {
      if (schedule.name.startsWith("yearly-")) return { ...schedule, nextMs: Date.UTC(year - 2, 0, 1) };
      return schedule.name.startsWith("moment-") ? { ...schedule, atMs: longAgoMs, nextMs: longAgoMs } : undefined;
    });
    const counts = (): Promise<readonly number[]> =>
      Promise.all([...policies.map((missed) => `yearly-${missed}`), "moment-skip", "moment-once"].map(startedBy));
    const expected = [0, 1, 3, 0, 1];
    for (let start = 0; start < 3; start += 1) {
      server = await project.up();
      if (start > 0) await allHadTheirTurn();
      else await eventually("processes for what was missed", async () => (await counts()).join() === expected.join());
      expect(await counts()).toEqual(expected);
      if (start < 2) await crash();
    }
    const nextMs = Date.UTC(year + 1, 0, 1);
    const [skip, once, all] = await Promise.all(policies.map((missed) => known(`yearly-${missed}`)));
    expect(skip).toMatchObject({ runs: 0, nextMs, lastSkippedWhy: "missed", lastSkippedMs: Date.UTC(year - 2, 0, 1) });
    expect(once).toMatchObject({ runs: 1, nextMs });
    expect(all).toMatchObject({ runs: 3, nextMs });
    expect(await known("moment-skip")).toMatchObject({ runs: 0, nextMs: null, lastSkippedWhy: "missed" });
    expect(await known("moment-once")).toMatchObject({ runs: 1, nextMs: null });
  });
});

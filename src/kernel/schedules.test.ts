// Goal: a schedule starts each of its processes once, at its time, through crashes, pauses, failures and clocks that change.
// Method: a simulated clock, the store in memory on a medium that outlives the system, the real calendar, and a spawn that
// keeps to the contract of the real one: a key stands for one process. A crash is a store that dies at a chosen append.
import { hash } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { processOf, scheduleRecord } from "../../test/conformance/store-samples.ts";
import { SimulatedClock } from "../../test/simulation/clock.ts";
import { MemoryMedium, openMemoryStore } from "../../test/simulation/store-memory.ts";
import type { AppendFate } from "../../test/simulation/store-memory.ts";
import type { Agent } from "../abi/agents.ts";
import { OsError } from "../abi/errors.ts";
import type { ErrorCode } from "../abi/errors.ts";
import { processIdOf } from "../abi/ids.ts";
import type { ProcessId } from "../abi/ids.ts";
import { newScheduleSchema, SCHEDULES_MAX } from "../abi/schedules.ts";
import type { Input } from "../abi/syscalls.ts";
import { cronerCalendar } from "../drivers/calendar-croner/calendar.ts";
import type { Batch, ScheduleRecord, Store } from "../ports/store.ts";
import { Schedules } from "./schedules.ts";
import type { ScheduleParts } from "./schedules.ts";

type Spawned = Parameters<ScheduleParts["spawn"]>[0] & { readonly by: string; readonly pid: ProcessId };

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/** The world that outlives a system, and the system that is up in it. */
class Scene {
  readonly clock = new SimulatedClock();
  readonly medium = new MemoryMedium();
  /** Starts that made a process, and all that were asked for. */
  readonly started: Spawned[] = [];
  asked = 0;
  readonly troubles: string[] = [];
  /** What the next starts are refused with. */
  refusals: ErrorCode[] = [];
  store!: Store;
  schedules!: Schedules;

  async boot({ run = true, onAppend }: { run?: boolean; onAppend?: (batch: Batch) => AppendFate } = {}): Promise<void> {
    this.store = await openMemoryStore(this.medium, onAppend === undefined ? {} : { onAppend });
    this.schedules = new Schedules({
      store: this.store,
      clock: this.clock,
      calendar: cronerCalendar,
      agents: { find: async (name) => this.#agent(name) },
      spawn: (args, by) => this.#spawn(args, by),
      onTrouble: (message) => this.troubles.push(message),
    });
    if (run) await this.schedules.start();
  }

  /** The system is gone; what is on the medium is not. */
  async halt(): Promise<void> {
    this.schedules.close();
    this.clock.forget();
    await this.store.close();
  }

  create(args: Partial<Input<"schedule.create">>, by = "ana"): Promise<{ schedule: ScheduleRecord }> {
    const cron = args.atMs === undefined ? { cron: "0 * * * *" } : {};
    return this.schedules.create(newScheduleSchema.parse({ name: "hourly", agent: "clerk", ...cron, ...args }), by);
  }

  async record(name = "hourly"): Promise<ScheduleRecord> {
    const record = await this.store.schedule(name);
    if (record === undefined) throw new Error(`There is no schedule ${name}.`);
    return record;
  }

  /** Lets time pass, timer by timer, and what they set off come to rest. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.clock.nowMs() + ms;
    const end = { there: false };
    this.clock.after(ms, () => (end.there = true));
    while (!end.there && this.clock.nowMs() <= untilMs) {
      this.clock.advance();
      await this.settle();
    }
  }

  async settle(): Promise<void> {
    for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Starts by the minute of their times, in UTC. */
  get times(): string[] {
    return this.started.map(({ key = "" }) => new Date(Number(key.split(":").at(-1))).toISOString().slice(5, 16));
  }

  async exits(pid: ProcessId | null): Promise<void> {
    const record = pid === null ? undefined : await this.store.process(pid);
    if (record !== undefined) await this.store.append({ journals: [], processes: [{ ...record, state: "exited" }] });
  }

  #agent(name: string): Agent {
    if (name === "nobody") throw new OsError("not_found", "There is no such agent.", { data: { what: "agent" } });
    return {} as Agent;
  }

  async #spawn(args: Parameters<ScheduleParts["spawn"]>[0], by: string): Promise<{ pid: ProcessId }> {
    this.asked += 1;
    const refusal = this.refusals.shift();
    if (refusal !== undefined) throw new OsError(refusal, `Refused with ${refusal}.`);
    const pid = processIdOf(hash("sha256", args.key ?? "", "buffer"));
    if ((await this.store.process(pid)) !== undefined) return { pid };
    await this.store.append({ journals: [], processes: [processOf(1, { pid, createdMs: this.clock.nowMs() })] });
    this.started.push({ ...args, by, pid });
    return { pid };
  }
}

let scene: Scene;
/** On the hour, 2027-01-15 08:00 UTC. */
let startMs: number;

beforeEach(async () => {
  scene = new Scene();
  startMs = scene.clock.nowMs();
  await scene.boot();
});

describe("a schedule", () => {
  it("starts a process at each of its times, by the operator's road and in its maker's name", async () => {
    const { schedule } = await scene.create({
      overlap: "allow",
      task: { do: "it" },
      budget: { calls: 3 },
      class: "batch",
      tenant: "shop",
    });
    expect(schedule).toMatchObject({ createdBy: "ana", createdMs: startMs, runs: 0, lastMs: null, zone: "UTC" });
    expect(schedule.nextMs).toBe(startMs + HOUR_MS);
    await scene.pass(2 * HOUR_MS + MINUTE_MS);
    expect(scene.times).toEqual(["01-15T09:00", "01-15T10:00"]);
    expect(scene.started[0]).toEqual({
      agent: "clerk",
      task: { do: "it" },
      budget: { calls: 3 },
      class: "batch",
      tenant: "shop",
      key: `schedule:hourly:${startMs}:${startMs + HOUR_MS}`,
      by: "ana",
      pid: scene.started[0]?.pid,
    });
    expect(await scene.record()).toMatchObject({
      runs: 2,
      lastMs: startMs + 2 * HOUR_MS,
      lastPid: scene.started[1]?.pid,
      nextMs: startMs + 3 * HOUR_MS,
      lastSkippedMs: null,
      lastError: null,
    });
    expect(scene.troubles).toEqual([]);
  });

  it("of one time starts one process, and is over then", async () => {
    await scene.create({ name: "once", atMs: startMs + 90 * MINUTE_MS });
    await scene.pass(24 * HOUR_MS);
    expect(scene.times).toEqual(["01-15T09:30"]);
    expect(await scene.record("once")).toMatchObject({ nextMs: null, runs: 1, cron: null });
  });

  it("starts nothing in a system that runs nothing, and is made up for when one does", async () => {
    await scene.halt();
    await scene.boot({ run: false });
    await scene.create({});
    await scene.pass(3 * HOUR_MS);
    expect(scene.asked).toBe(0);
    await scene.schedules.start();
    await scene.pass(1);
    expect(scene.times).toEqual(["01-15T09:00"]);
  });

  it("starts nothing after `close`", async () => {
    await scene.create({});
    scene.schedules.close();
    await scene.pass(3 * HOUR_MS);
    expect(scene.asked).toBe(0);
  });

  it("goes by its zone through a change of clocks", async () => {
    await scene.create({ cron: "30 2 * * *", zone: "Europe/Berlin", overlap: "allow" });
    const aroundMs = Date.UTC(2027, 2, 27) - startMs;
    await scene.pass(aroundMs);
    scene.started.length = 0;
    // On 2027-03-28 2:30 does not exist in Berlin; 3:00 is 1:00 UTC.
    await scene.pass(3 * 24 * HOUR_MS);
    expect(scene.times).toEqual(["03-27T01:30", "03-28T01:00", "03-29T00:30"]);
  });

  it("beside a hundred others keeps its own times", async () => {
    for (let n = 0; n < 100; n += 1) await scene.create({ name: `s${n}`, cron: `${n % 60} * * * *` });
    await scene.pass(HOUR_MS + 1);
    expect(scene.started).toHaveLength(100);
    expect(new Set(scene.started.map(({ key }) => key)).size).toBe(100);
    expect(scene.times).toEqual(scene.times.toSorted());
  });
});

describe("a crash", () => {
  it("between the start and the note of it starts nothing twice", async () => {
    await scene.halt();
    // The note of the run is lost with the system; the process it was for is there.
    await scene.boot({ onAppend: ({ schedules }) => (schedules?.[0]?.runs === 1 ? "crash_before" : "commit") });
    await scene.create({});
    await scene.pass(HOUR_MS + MINUTE_MS);
    expect(scene.times).toEqual(["01-15T09:00"]);
    scene.clock.forget();
    await scene.boot();
    expect((await scene.record()).runs).toBe(0);
    await scene.pass(1);
    expect(scene.asked).toBeGreaterThan(1);
    expect(scene.times).toEqual(["01-15T09:00"]);
    expect(await scene.record()).toMatchObject({ runs: 1, nextMs: startMs + 2 * HOUR_MS });
  });

  it("does not let a process from before it stand for times that were missed after it", async () => {
    await scene.halt();
    await scene.boot({ onAppend: ({ schedules }) => (schedules?.[0]?.runs === 1 ? "crash_before" : "commit") });
    await scene.create({ overlap: "allow" });
    await scene.pass(HOUR_MS + MINUTE_MS);
    scene.clock.forget();
    await scene.pass(4 * HOUR_MS);
    await scene.boot();
    await scene.pass(1);
    expect(scene.times).toEqual(["01-15T09:00", "01-15T10:00"]);
    expect(await scene.record()).toMatchObject({ runs: 2, nextMs: startMs + 6 * HOUR_MS });
  });

  it("in the middle of many starts lets each of them be started once", async () => {
    await scene.create({ missed: "all", overlap: "allow" });
    await scene.halt();
    await scene.pass(8.5 * HOUR_MS);
    let spawns = 0;
    await scene.boot({
      onAppend: ({ processes }) => (processes !== undefined && ++spawns === 4 ? "crash_after" : "commit"),
    });
    await scene.pass(1);
    scene.clock.forget();
    await scene.boot();
    await scene.pass(1);
    expect(new Set(scene.started.map(({ key }) => key)).size).toBe(scene.started.length);
    // The fourth came to be, and its starter never heard of it.
    expect(scene.started).toHaveLength(7);
    expect(await scene.record()).toMatchObject({ runs: 8, nextMs: startMs + 9 * HOUR_MS });
  });
});

describe("times that were missed", () => {
  const missed = async (args: Partial<Input<"schedule.create">>, hours: number): Promise<ScheduleRecord> => {
    await scene.create(args);
    await scene.halt();
    await scene.pass(hours * HOUR_MS);
    await scene.boot();
    await scene.pass(1);
    return scene.record();
  };

  it("by default are one process", async () => {
    expect(await missed({}, 5.5)).toMatchObject({ runs: 1, nextMs: startMs + 6 * HOUR_MS, lastSkippedMs: null });
    expect(scene.times).toEqual(["01-15T09:00"]);
  });

  it("with skip are noted, and it goes on with the next", async () => {
    expect(await missed({ missed: "skip" }, 5.5)).toMatchObject({
      runs: 0,
      nextMs: startMs + 6 * HOUR_MS,
      lastSkippedMs: startMs + HOUR_MS,
      lastSkippedWhy: "missed",
    });
    await scene.pass(HOUR_MS);
    expect(scene.times).toEqual(["01-15T14:00"]);
  });

  it("with all are a process each, the earliest first", async () => {
    expect(await missed({ missed: "all", overlap: "allow" }, 3.5)).toMatchObject({ runs: 3 });
    expect(scene.times).toEqual(["01-15T09:00", "01-15T10:00", "01-15T11:00"]);
  });

  it("with all are a thousand at most; what is left out is noted and told", async () => {
    const record = await missed({ missed: "all", overlap: "allow", cron: "* * * * *" }, 20);
    expect(record).toMatchObject({
      runs: 1_000,
      nextMs: startMs + 1_201 * MINUTE_MS,
      lastSkippedMs: startMs + 1_001 * MINUTE_MS,
      lastSkippedWhy: "limit",
    });
    expect(scene.started).toHaveLength(1_000);
    expect(scene.troubles).toEqual([expect.stringContaining("missed more than 1000 times")]);
  });

  it("while it was paused are made up for as its policy says", async () => {
    await scene.create({ overlap: "allow" });
    await scene.create({ name: "skips", missed: "skip", overlap: "allow" });
    for (const name of ["hourly", "skips"]) await scene.schedules.change({ name, paused: true });
    await scene.pass(5.5 * HOUR_MS);
    expect(scene.asked).toBe(0);
    expect((await scene.record()).nextMs).toBe(startMs + HOUR_MS);
    for (const name of ["hourly", "skips"]) await scene.schedules.change({ name, paused: false });
    await scene.pass(HOUR_MS);
    const names = scene.started.map(({ key = "" }) => key.split(":")[1]);
    expect(Object.groupBy(names, (name) => name ?? "")).toEqual({ hourly: ["hourly", "hourly"], skips: ["skips"] });
    expect(await scene.record("skips")).toMatchObject({ runs: 1, lastSkippedWhy: "missed" });
  });

  it("are noticed within a minute on a machine that slept", async () => {
    await scene.create({});
    // A timer of an hour would be far from over when the machine wakes; the one that is set is of a minute.
    const waits: number[] = [];
    const { after } = scene.clock;
    scene.clock.after = (ms, fire) => (waits.push(ms), after.call(scene.clock, ms, fire));
    await scene.pass(10 * MINUTE_MS);
    expect(Math.max(...waits.slice(1))).toBe(MINUTE_MS);
  });
});

describe("a process that is still alive at the next time", () => {
  it("keeps another from being started, and that is noted", async () => {
    await scene.create({});
    await scene.pass(3 * HOUR_MS + 1);
    expect(scene.times).toEqual(["01-15T09:00"]);
    const record = await scene.record();
    expect(record).toMatchObject({ runs: 1, lastSkippedMs: startMs + 3 * HOUR_MS, lastSkippedWhy: "overlap" });
    await scene.exits(record.lastPid);
    await scene.pass(HOUR_MS);
    expect(scene.times).toEqual(["01-15T09:00", "01-15T12:00"]);
  });

  it("does not, where that is allowed", async () => {
    await scene.create({ overlap: "allow" });
    await scene.pass(3 * HOUR_MS + 1);
    expect(scene.started).toHaveLength(3);
  });
});

describe("a start that fails", () => {
  it("for good is noted and told, and the schedule goes on", async () => {
    await scene.create({});
    scene.refusals = ["not_found"];
    await scene.pass(HOUR_MS + 1);
    expect(await scene.record()).toMatchObject({
      runs: 0,
      nextMs: startMs + 2 * HOUR_MS,
      lastSkippedMs: startMs + HOUR_MS,
      lastSkippedWhy: "failed",
      lastError: { code: "not_found" },
    });
    expect(scene.troubles).toEqual([
      "The schedule hourly started nothing for 2027-01-15T09:00:00.000Z: not_found: Refused with not_found.",
    ]);
    await scene.pass(HOUR_MS);
    expect(scene.times).toEqual(["01-15T10:00"]);
    expect(await scene.record()).toMatchObject({ runs: 1, lastError: null, lastSkippedWhy: "failed" });
  });

  it("for now is tried again until it succeeds, and told once", async () => {
    await scene.create({ atMs: startMs + MINUTE_MS, name: "once" });
    scene.refusals = ["tool_unavailable", "tool_unavailable", "tool_unavailable"];
    await scene.pass(MINUTE_MS + 1);
    expect(await scene.record("once")).toMatchObject({
      nextMs: startMs + MINUTE_MS,
      lastError: { code: "tool_unavailable" },
      lastSkippedMs: null,
    });
    await scene.pass(MINUTE_MS);
    expect(scene.asked).toBe(4);
    expect(scene.started).toHaveLength(1);
    expect(scene.troubles).toHaveLength(1);
    expect(await scene.record("once")).toMatchObject({ nextMs: null, runs: 1, lastError: null });
  });

  it("among many goes on with the one that failed, and keeps those that succeeded", async () => {
    await scene.create({ missed: "all", overlap: "allow" });
    await scene.schedules.change({ name: "hourly", paused: true });
    await scene.pass(4.5 * HOUR_MS);
    const spawned = scene.schedules.change({ name: "hourly", paused: false });
    await spawned;
    scene.refusals = [];
    const { push } = scene.started;
    // After the second start the tool goes away for one attempt.
    scene.started.push = (...items) => {
      if (scene.started.length === 1) scene.refusals = ["tool_unavailable"];
      return push.apply(scene.started, items);
    };
    await scene.pass(1);
    expect(await scene.record()).toMatchObject({ runs: 2, nextMs: startMs + 3 * HOUR_MS });
    await scene.pass(MINUTE_MS);
    expect(scene.times).toEqual(["01-15T09:00", "01-15T10:00", "01-15T11:00", "01-15T12:00"]);
    expect(await scene.record()).toMatchObject({ runs: 4, nextMs: startMs + 5 * HOUR_MS, lastError: null });
  });

  it("because the store refuses is tried again, when it works again", async () => {
    await scene.create({});
    const { append } = scene.store;
    let refuse = true;
    scene.store.append = (batch) =>
      refuse ? Promise.reject(new OsError("store_failed", "The disk is full.")) : append.call(scene.store, batch);
    await scene.pass(HOUR_MS + 1);
    expect(scene.started).toEqual([]);
    expect(scene.troubles.at(-1)).toContain("store_failed: The disk is full.");
    refuse = false;
    await scene.pass(MINUTE_MS);
    expect(scene.times).toEqual(["01-15T09:00"]);
    expect(await scene.record()).toMatchObject({ runs: 1, nextMs: startMs + 2 * HOUR_MS });
  });
});

describe("making and changing", () => {
  const refused = async (args: Partial<Input<"schedule.create">>): Promise<unknown> =>
    scene.create(args).then(
      () => "made",
      (error: unknown) => error,
    );

  it("refuses what cannot be, and keeps nothing of it", async () => {
    await scene.create({});
    const cases: readonly [Partial<Input<"schedule.create">>, ErrorCode, string][] = [
      [{}, "conflict", "The name hourly is in use"],
      [{ name: "a", cron: "61 * * * *" }, "invalid_argument", 'The field "minute"'],
      [{ name: "a", cron: "0 0 30 2 *" }, "invalid_argument", "would never be due"],
      [{ name: "a", zone: "Berlin" }, "invalid_argument", "Is Europe/Berlin meant?"],
      [{ name: "a", atMs: startMs - HOUR_MS }, "invalid_argument", "2027-01-15T07:00:00.000Z is in the past"],
      [{ name: "a", agent: "nobody" }, "not_found", "There is no such agent"],
    ];
    for (const [args, code, message] of cases)
      expect(await refused(args)).toMatchObject({ code, message: expect.stringContaining(message) as string });
    expect((await scene.schedules.list()).schedules.map(({ name }) => name)).toEqual(["hourly"]);
  });

  it("takes a time that has just passed to be meant", async () => {
    await scene.create({ name: "now", atMs: startMs - 1_000 });
    await scene.pass(1);
    expect(scene.started).toHaveLength(1);
  });

  it("gives a name to one of two who ask at once", async () => {
    const asked = await Promise.allSettled([scene.create({}, "ana"), scene.create({}, "ben")]);
    expect(asked.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect((await scene.record()).createdBy).toBe("ana");
  });

  it("keeps so many, and no more", async () => {
    const records = Array.from({ length: SCHEDULES_MAX - 1 }, (_, n) => scheduleRecord(`n${n}`, { paused: true }));
    await scene.store.append({ journals: [], schedules: records });
    await scene.create({});
    expect(await refused({ name: "more" })).toMatchObject({ code: "limit_exceeded", data: { max: SCHEDULES_MAX } });
    await scene.schedules.remove({ name: "n0" });
    expect(await refused({ name: "more" })).toBe("made");
  });

  it("removes one with its alarm, and a new one of the name has keys of its own", async () => {
    const { schedule } = await scene.create({});
    expect(await scene.schedules.remove({ name: "hourly" })).toEqual({ schedule });
    await expect(scene.schedules.remove({ name: "hourly" })).rejects.toMatchObject({ code: "not_found" });
    await expect(scene.schedules.change({ name: "hourly", paused: true })).rejects.toMatchObject({
      code: "not_found",
      message: "There is no schedule hourly. `reeve schedule` lists those that there are.",
    });
    await scene.pass(2 * HOUR_MS);
    expect(scene.asked).toBe(0);
    const first = await scene.create({});
    await scene.schedules.remove({ name: "hourly" });
    const second = await scene.create({});
    expect(second.schedule.createdMs).toBeGreaterThan(first.schedule.createdMs);
  });

  it("waits for a start that is under way", async () => {
    await scene.create({});
    let during: Promise<unknown> = Promise.resolve();
    const { push } = scene.started;
    scene.started.push = (...items) => {
      during = scene.schedules.remove({ name: "hourly" });
      return push.apply(scene.started, items);
    };
    await scene.pass(HOUR_MS + 1);
    expect(await during).toMatchObject({ schedule: { runs: 1 } });
    await scene.pass(3 * HOUR_MS);
    expect(scene.asked).toBe(1);
    expect(await scene.store.schedules()).toEqual([]);
  });

  it("changes nothing when there is nothing to change", async () => {
    const { schedule } = await scene.create({});
    expect(await scene.schedules.change({ name: "hourly", paused: false })).toEqual({ schedule });
    expect(await scene.schedules.change({ name: "hourly", paused: true })).toEqual({
      schedule: { ...schedule, paused: true },
    });
  });
});

describe("the form of a new schedule", () => {
  const form = (fields: object): string[] =>
    newScheduleSchema.safeParse({ name: "a", agent: "clerk", ...fields }).error?.issues.map(({ message }) => message) ??
    [];

  it("has its defaults", () => {
    expect(newScheduleSchema.parse({ name: "a", agent: "clerk", cron: "@daily" })).toEqual({
      name: "a",
      agent: "clerk",
      cron: "@daily",
      zone: "UTC",
      task: "",
      missed: "once",
      overlap: "skip",
      paused: false,
    });
  });

  it("needs either an expression or a time, and room for what it asks", () => {
    expect(form({ cron: "* * * * *", atMs: 1 })).toEqual(["needs either cron or atMs"]);
    expect(form({})).toEqual(["needs either cron or atMs"]);
    expect(form({ atMs: 1, missed: "all" })).toEqual([expect.stringContaining('needs overlap "allow"')]);
    expect(form({ atMs: 1, name: "a:b" })).toEqual([expect.stringContaining("not a name of a schedule")]);
    expect(form({ atMs: 1e16 })).not.toEqual([]);
    expect(form({ atMs: 1, task: "x".repeat(70_000) })).toEqual([expect.stringContaining("is longer than 65536")]);
  });
});

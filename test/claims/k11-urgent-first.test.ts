// K11: the urgent does not wait for the idle. A call of a higher class waits for lower-class calls at most as long as those
// already in flight, however many are queued or spawned; and no class starves.
//
// Method: calls of a batch tree are queued by the hundred at a tool with two slots; then an interactive process calls it.
// Whole, at most the two in flight end before it is served. Unplugged (everybody has the same class), it stands behind them all.
// And a process with a deadline, on a clock in the test's hand: whole, it is over by then, and begins nothing that cannot be
// done in time. Unplugged (an alarm that never rings, a resource that knows nothing of its own pace), it is not, and does.
import { afterEach, describe, expect, it } from "vitest";
import type { ProcessId } from "../../src/abi/ids.ts";
import type { Json } from "../../src/abi/json.ts";
import type { Class } from "../../src/abi/scheduling.ts";
import type { KernelLimits } from "../../src/kernel/services.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { Scheduler, Standing } from "../../src/ports/scheduler.ts";
import { SimulatedClock } from "../simulation/clock.ts";
import { bootTest, done, fakeTools, replacing, type TestSystem, testScheduler } from "../system.ts";
import { type Medium, temporaryMedium } from "./temporary.ts";

const mediums: Medium[] = [];
afterEach(() => mediums.splice(0).forEach((medium) => medium.dispose()));

const SLOTS = 2;
const FLOOD = 150;
const SERVICE_MS = 4;
const SATURATING = 4;
const CALLS_EACH = 120;

const schedulerOf = (agingMs: number): Scheduler => testScheduler({}, { agingMs });

/** The same without classes: whoever stands anywhere stands where everybody does, in one tree. */
function unplugged(): Scheduler {
  const whole = schedulerOf(60_000);
  const flat = (who: Standing): Standing => ({ ...who, class: "standard", root: "p-flat" as Standing["root"] });
  return {
    ...whole,
    turns: replacing(whole.turns, { take: (who, ask, signal) => whole.turns.take(flat(who), ask, signal) }),
  };
}

/** `beside`: how many of its kind were in their slots already. */
type Served = { readonly who: string; readonly beside: number }[];

async function boot(
  scheduler: Scheduler,
  served: Served,
  { reserved = {} }: Pick<Partial<KernelLimits>, "reserved"> = {},
): Promise<TestSystem> {
  const medium = temporaryMedium();
  mediums.push(medium);
  const running = new Map<Json, number>();
  const call = { tools: ["t.slow"] };
  return bootTest({
    store: await medium.open(),
    parts: { scheduler },
    limits: { reserved },
    tools: fakeTools({
      "t.slow": {
        manifest: { effect: "read", concurrency: SLOTS },
        run: async ({ who = "" }) => {
          const beside = running.get(who) ?? 0;
          served.push({ who: who as string, beside });
          running.set(who, beside + 1);
          await new Promise((resolve) => setTimeout(resolve, SERVICE_MS));
          running.set(who, (running.get(who) ?? 0) - 1);
          return done("ok");
        },
      },
    }),
    agents: {
      flood: {
        manifest: { ...call, class: "batch" },
        run: async (sys) => {
          const calls = Array.from({ length: FLOOD }, () => sys.tool.call({ tool: "t.slow", args: { who: "flood" } }));
          await Promise.all(calls);
          return "done";
        },
      },
      urgent: {
        manifest: { ...call, class: "interactive" },
        run: async (sys) => (await sys.tool.call({ tool: "t.slow", args: { who: "urgent" } })).text,
      },
      saturating: {
        manifest: { ...call, class: "interactive" },
        run: async (sys) => {
          const calls = Array.from({ length: CALLS_EACH }, () =>
            sys.tool.call({ tool: "t.slow", args: { who: "saturating" } }),
          );
          await Promise.all(calls);
          return "done";
        },
      },
      idle: {
        manifest: { ...call, class: "batch" },
        run: async (sys) => (await sys.tool.call({ tool: "t.slow", args: { who: "idle" } })).text,
      },
    },
  });
}

async function start(system: TestSystem, agent: string, name?: Class): Promise<() => Promise<void>> {
  const { pid } = await system.operate("process.spawn", { agent, task: null, ...(name && { class: name }) }, "test");
  return async () => {
    const { exit } = await system.operate("process.wait", { pid }, "test");
    expect(exit).toMatchObject({ how: "completed" });
  };
}

/** How many of the flood were served from the urgent call's start to its turn. */
async function overtakenBy(scheduler: Scheduler): Promise<number> {
  const served: Served = [];
  const system = await boot(scheduler, served);
  const flood = await start(system, "flood");
  while (served.length < 20) await new Promise((resolve) => setTimeout(resolve, 1));
  const before = served.length;
  await (
    await start(system, "urgent")
  )();
  const at = served.findIndex(({ who }) => who === "urgent");
  await flood();
  system.close();
  await system.store.close();
  return at - before;
}

describe("K11 the urgent does not wait for the idle", () => {
  it("holds: behind a flood of a lower class an urgent call waits for those in flight alone", async () => {
    // Those in flight, and those that were served while the process came to be and issued its call.
    expect(await overtakenBy(schedulerOf(60_000))).toBeLessThanOrEqual(FLOOD / 4);
  });

  it("breaks when classes are unplugged: it stands behind the whole flood", async () => {
    expect(await overtakenBy(unplugged())).toBeGreaterThan(FLOOD / 2);
  });

  it("holds: a slot that is kept for the urgent is left free by the others, and breaks when that is unplugged", async () => {
    const mostOfFlood = async (scheduler: Scheduler): Promise<number> => {
      const served: Served = [];
      const system = await boot(scheduler, served, { reserved: { "tool:t.slow": { interactive: 1 } } });
      const ended = await start(system, "flood");
      await ended();
      system.close();
      await system.store.close();
      return 1 + Math.max(...served.map(({ beside }) => beside));
    };
    const whole = schedulerOf(60_000);
    const open = schedulerOf(60_000);
    const { turns } = open;
    const take: Scheduler["turns"]["take"] = (who, { resource, ...ask }, signal) =>
      turns.take(who, { ...ask, resource: { ...resource, reserved: undefined } }, signal);
    expect(await mostOfFlood(whole)).toBe(SLOTS - 1);
    expect(await mostOfFlood({ ...open, turns: replacing(turns, { take }) })).toBe(SLOTS);
  });

  it("holds: of a circle of locks the least urgent is refused, and breaks when classes are unplugged", async () => {
    const victims = async (scheduler: Scheduler): Promise<readonly string[]> => {
      const medium = temporaryMedium();
      mediums.push(medium);
      const refused: string[] = [];
      const system = await bootTest({
        store: await medium.open(),
        parts: { scheduler },
        agents: {
          taker: {
            run: async (sys, task) => {
              const { name, first, second, told } = task as { [key: string]: string };
              await sys.lock.acquire({ key: first ?? "" });
              if (told === "yes") await sys.message.receive({});
              await sys.lock.acquire({ key: second ?? "" }).catch(() => refused.push(name ?? ""));
              await sys.lock.release({ key: first ?? "" });
              return null;
            },
          },
        },
      });
      const begin = async (task: Json, name: Class): Promise<ProcessId> =>
        (await system.operate("process.spawn", { agent: "taker", task, class: name }, "test")).pid;
      const waitsFor = async (pid: ProcessId, on: string): Promise<void> => {
        for (;;) {
          const { process } = await system.operate("process.show", { pid }, "test");
          if (process.waits.some((wait) => wait.on === on)) return;
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      };
      const urgent = await begin({ name: "urgent", first: "a", second: "b", told: "yes" }, "interactive");
      await waitsFor(urgent, "message");
      const idle = await begin({ name: "idle", first: "b", second: "a", told: "no" }, "batch");
      await waitsFor(idle, "lock");
      // The urgent one closes the circle, and is the latest.
      await system.operate("message.send", { pid: urgent, body: null }, "test");
      for (const pid of [urgent, idle]) await system.operate("process.wait", { pid }, "test");
      system.close();
      await system.store.close();
      return refused;
    };
    expect(await victims(schedulerOf(60_000))).toEqual(["idle"]);
    const whole = schedulerOf(60_000);
    const { locks } = whole;
    const acquire: Scheduler["locks"]["acquire"] = (who, ask, signal) =>
      locks.acquire({ ...who, class: "standard" }, ask, signal);
    expect(await victims({ ...whole, locks: replacing(locks, { acquire }) })).toEqual(["urgent"]);
  });

  it("holds: a class that waits below one that saturates the resource gets its turn by ageing, and without ageing does not", async () => {
    const turnOfIdle = async (agingMs: number): Promise<number> => {
      const served: Served = [];
      const system = await boot(schedulerOf(agingMs), served);
      const many = Array.from({ length: SATURATING }, () => start(system, "saturating"));
      const saturating = await Promise.all(many);
      while (served.length < 8) await new Promise((resolve) => setTimeout(resolve, 1));
      const idle = await start(system, "idle");
      await Promise.all([idle(), ...saturating.map((ended) => ended())]);
      system.close();
      await system.store.close();
      return served.findIndex(({ who }) => who === "idle");
    };
    const calls = SATURATING * CALLS_EACH;
    expect(await turnOfIdle(50)).toBeLessThan(calls / 2);
    expect(await turnOfIdle(60_000)).toBeGreaterThan((calls * 3) / 4);
  });
});

const TOOL_MS = 1_000;

describe("K11 nothing is begun that cannot be done by its deadline, and nothing goes on after it", () => {
  const onClock = (clock: SimulatedClock): Scheduler => testScheduler({}, { clock });

  /** A process that calls a slow tool as often as it is told and then waits for a message, with so much time. */
  async function hurried({ calls, leftMs }: { calls: number; leftMs: number }, time: Time) {
    const { clock, kernelClock = clock, scheduler = onClock(clock) } = time;
    const medium = temporaryMedium();
    mediums.push(medium);
    const called: number[] = [];
    const system = await bootTest({
      store: await medium.open(),
      parts: { clock: kernelClock, scheduler },
      tools: fakeTools({
        "t.slow": {
          manifest: { effect: "read", concurrency: 1 },
          run: async () => {
            called.push(clock.nowMs());
            pass(clock, TOOL_MS);
            return done("ok");
          },
        },
      }),
      agents: {
        hurried: {
          manifest: { tools: ["t.slow"] },
          run: async (sys) => {
            for (let call = 0; call < calls; call += 1) await sys.tool.call({ tool: "t.slow", args: {} });
            return (await sys.message.receive({})).message?.body ?? null;
          },
        },
      },
    });
    const deadlineMs = clock.nowMs() + leftMs;
    const { pid } = await system.operate("process.spawn", { agent: "hurried", task: null, deadlineMs }, "test");
    const waits = async (): Promise<void> => {
      while ((await system.operate("process.show", { pid }, "test")).process.state !== "waiting");
    };
    const ended = async (): Promise<unknown> => {
      for (;;) {
        const { exit } = (await system.operate("process.show", { pid }, "test")).process;
        if (exit === null) continue;
        system.close();
        await system.store.close();
        return exit;
      }
    };
    const send = () => system.operate("message.send", { pid, body: "too late" }, "test").catch(() => "gone");
    return { called, waits, ended, send };
  }
  type Time = { readonly clock: SimulatedClock; readonly kernelClock?: Clock; readonly scheduler?: Scheduler };
  const tooLate = { how: "failed", error: { code: "deadline_exceeded" } };

  it("holds: a call for which there is no time is not begun, and breaks when the estimate is unplugged", async () => {
    const work = { calls: 2, leftMs: TOOL_MS * 1.5 };
    const whole = await hurried(work, { clock: new SimulatedClock() });
    expect(await whole.ended()).toMatchObject(tooLate);
    expect(whole.called).toHaveLength(1);

    const clock = new SimulatedClock();
    const scheduler = onClock(clock);
    const turns = replacing(scheduler.turns, { estimateMs: () => null });
    const broken = await hurried(work, { clock, scheduler: { ...scheduler, turns } });
    await broken.ended();
    expect(broken.called).toHaveLength(2);
  });

  it("holds: what waits is ended at its deadline, and goes on after it when the alarm is unplugged", async () => {
    const work = { calls: 0, leftMs: TOOL_MS };
    const clock = new SimulatedClock();
    const whole = await hurried(work, { clock });
    await whole.waits();
    pass(clock, TOOL_MS);
    expect(await whole.ended()).toMatchObject(tooLate);

    const deaf = new SimulatedClock();
    const kernelClock: Clock = { nowMs: () => deaf.nowMs(), after: () => () => {} };
    const broken = await hurried(work, { clock: deaf, kernelClock });
    await broken.waits();
    pass(deaf, TOOL_MS);
    await broken.send();
    expect(await broken.ended()).toEqual({ how: "completed", result: "too late" });
  });
});

/** Moves the clock on by so much, with all that was to happen until then. */
function pass(clock: SimulatedClock, ms: number): void {
  const untilMs = clock.nowMs() + ms;
  clock.after(ms, () => {});
  while (clock.nowMs() < untilMs) clock.advance();
}

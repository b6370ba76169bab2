// K10: reserve, then spend. Money, tokens, calls and time are reserved from the whole tree's budget before use; a tree
// never overruns.
//
// Method: a tree of processes that all spend at the same time from one root's budget, on models and tools that count what
// is really used. Whole, what was used stays within the budget, over a crash as well. Unplugged (reservations that are
// always granted), it does not. And a tree that multiplies as fast as it can, on a clock that stands still: whole, it grows
// at its pace (`limits.spawnsPerMinute`); unplugged (a resource whose pace nobody counts), it is there at once.
import { afterEach, describe, expect, it } from "vitest";
import type { Budget } from "../../src/abi/agents.ts";
import { OsError } from "../../src/abi/errors.ts";
import { PACE_PREFIX } from "../../src/abi/scheduling.ts";
import type { Scheduler } from "../../src/ports/scheduler.ts";
import { SimulatedClock } from "../simulation/clock.ts";
import { bootTest, done, fakeModel, fakeTools, replacing, say, type TestSystem, testScheduler } from "../system.ts";
import { type Medium, temporaryMedium } from "./temporary.ts";

const mediums: Medium[] = [];
afterEach(() => mediums.splice(0).forEach((medium) => medium.dispose()));

type Used = { calls: number; tokens: number };

/** Grants everything: what the check would be if nobody had wired it. */
function unplugged(): Scheduler {
  const whole = testScheduler();
  return { ...whole, budgets: replacing(whole.budgets, { reserve: () => null, shortage: () => null }) };
}

const CHILDREN = 5;
const TRIES = 8;

/** A root whose children all ask a model and a tool as often as they can; what they are refused they leave. */
async function boot(medium: Medium, used: Used, scheduler: Scheduler): Promise<TestSystem> {
  return bootTest({
    store: await medium.open(),
    parts: { scheduler },
    models: fakeModel(() => {
      used.calls += 1;
      used.tokens += 15;
      return { ...say("yes"), usage: { inputTokens: 10, outputTokens: 5, costUsd: 0.00002 } };
    }),
    tools: fakeTools({
      "t.count": {
        manifest: { effect: "read" },
        run: () => {
          used.calls += 1;
          return done("ok");
        },
      },
    }),
    agents: {
      root: {
        manifest: { agents: ["child"] },
        run: async (sys) => {
          const pids = [];
          for (let at = 0; at < CHILDREN; at += 1)
            pids.push((await sys.process.spawn({ agent: "child", task: at })).pid);
          for (const pid of pids) await sys.process.wait({ pid });
          return "done";
        },
      },
      child: {
        manifest: { tools: ["t.count"] },
        run: async (sys) => {
          const refused = { count: 0 };
          const attempts = Array.from({ length: TRIES }, (_, at) =>
            (at % 2 === 0
              ? sys.tool.call({ tool: "t.count", args: {} })
              : sys.model.generate({ messages: [{ role: "user", content: "?" }], maxOutputTokens: 5 })
            ).catch(() => (refused.count += 1)),
          );
          await Promise.all(attempts);
          return refused.count;
        },
      },
    },
  });
}

async function spend(budget: Budget, scheduler: Scheduler): Promise<{ used: Used; refused: number }> {
  const medium = temporaryMedium();
  mediums.push(medium);
  const used = { calls: 0, tokens: 0 };
  const system = await boot(medium, used, scheduler);
  const { pid } = await system.operate("process.spawn", { agent: "root", task: null, budget }, "test");
  const { exit } = await system.operate("process.wait", { pid }, "test");
  expect(exit).toMatchObject({ how: "completed" });
  const { processes } = await system.operate("process.list", { root: pid }, "test");
  const refused = processes.reduce(
    (sum, { exit: end }) => sum + (end?.how === "completed" && typeof end.result === "number" ? end.result : 0),
    0,
  );
  for (const { reserved } of processes)
    expect(reserved).toEqual({ calls: 0, inputTokens: 0, outputTokens: 0, costUsd: 0 });
  system.close();
  await system.store.close();
  return { used, refused };
}

describe("K10 reserve, then spend", () => {
  it("holds: a tree that spends from all its branches at once stays within its root's budget", async () => {
    const calls = await spend({ calls: 11 }, testScheduler());
    expect(calls.used.calls).toBe(11);
    expect(calls.refused).toBe(CHILDREN * TRIES - 11);
    const tokens = await spend({ tokens: 100 }, testScheduler());
    expect(tokens.used.tokens).toBeLessThanOrEqual(100);
    expect(tokens.used.tokens).toBeGreaterThan(60);
    const money = await spend({ costUsd: 0.0001 }, testScheduler());
    // The fake model costs a dollar a million tokens going in and two coming out: 20 microdollars a call.
    expect(money.used.tokens / 15).toBeLessThanOrEqual(5);
    expect(money.used.tokens).toBeGreaterThan(0);
  });

  it("breaks when the reservation is unplugged", async () => {
    const { used } = await spend({ calls: 11 }, unplugged());
    expect(used.calls).toBeGreaterThan(11);
  });

  it("holds for time: what a process begins after its time is over is refused, and breaks when that is unplugged", async () => {
    const late = async (scheduler: Scheduler): Promise<unknown> => {
      const medium = temporaryMedium();
      mediums.push(medium);
      const system = await bootTest({
        store: await medium.open(),
        parts: { scheduler },
        tools: fakeTools({ "t.count": { manifest: { effect: "read" }, run: () => done("ok") } }),
        agents: {
          late: {
            manifest: { tools: ["t.count"] },
            run: async (sys) => {
              await sys.clock.sleep({ ms: 60 });
              return sys.tool.call({ tool: "t.count", args: {} }).then(
                () => "made",
                (error: unknown) => (OsError.is(error) ? error.code : "another fault"),
              );
            },
          },
        },
      });
      const wishes = { agent: "late", task: null, budget: { wallMs: 20 } };
      const { pid } = await system.operate("process.spawn", wishes, "test");
      const { exit } = await system.operate("process.wait", { pid }, "test");
      system.close();
      await system.store.close();
      return exit?.how === "completed" ? exit.result : exit;
    };
    expect(await late(testScheduler())).toBe("budget_exhausted");
    expect(await late(unplugged())).toBe("made");
  });

  it("holds over a crash: what was under way stays charged", async () => {
    const medium = temporaryMedium();
    mediums.push(medium);
    const used = { calls: 0, tokens: 0 };
    const never = new Promise<never>(() => {});
    const hanging = await bootTest({
      store: await medium.open(),
      tools: fakeTools({ "t.hang": { manifest: { effect: "read" }, run: () => ((used.calls += 1), never) } }),
      agents: {
        one: {
          manifest: { tools: ["t.hang"] },
          run: async (sys) => (await sys.tool.call({ tool: "t.hang", args: {} })).text,
        },
      },
    });
    const { pid } = await hanging.operate("process.spawn", { agent: "one", task: null, budget: { calls: 2 } }, "test");
    await until(() => used.calls === 1);
    hanging.close();
    await hanging.store.close();
    const again = await bootTest({
      store: await medium.open(),
      tools: fakeTools({ "t.hang": { manifest: { effect: "read" }, run: () => ((used.calls += 1), done("ok")) } }),
      agents: {
        one: {
          manifest: { tools: ["t.hang"] },
          run: async (sys) => {
            await sys.tool.call({ tool: "t.hang", args: {} });
            return sys.tool.call({ tool: "t.hang", args: {} }).then(
              () => "more",
              (error: { code: string }) => error.code,
            );
          },
        },
      },
    });
    const { exit } = await again.operate("process.wait", { pid }, "test");
    expect(exit).toEqual({ how: "completed", result: "budget_exhausted" });
    expect(used.calls).toBe(2);
    expect((await again.operate("process.show", { pid }, "test")).process.spent.calls).toBe(2);
    again.close();
    await again.store.close();
  });
});

const PACE = 50;
/** A fiftieth of the pace may come at once. */
const AT_ONCE = 1;
const BROOD = 5;

/** The same, but nobody counts how fast a tree grows. */
function paceless(clock: SimulatedClock): Scheduler {
  const whole = testScheduler({}, { clock });
  const { turns } = whole;
  const take: Scheduler["turns"]["take"] = (who, { resource, ...ask }, signal) => {
    const free = resource.name.startsWith(PACE_PREFIX) ? { ...resource, requestsPerMinute: undefined } : resource;
    return turns.take(who, { ...ask, resource: free }, signal);
  };
  return { ...whole, turns: replacing(turns, { take }) };
}

describe("K10 a tree grows at its pace", () => {
  async function multiply(clock: SimulatedClock, scheduler: Scheduler) {
    const medium = temporaryMedium();
    mediums.push(medium);
    const system = await bootTest({
      store: await medium.open(),
      limits: { spawnsPerMinute: PACE },
      parts: { clock, scheduler },
      agents: {
        root: {
          manifest: { agents: ["child"] },
          run: async (sys) => {
            const spawn = () => sys.process.spawn({ agent: "child", task: null });
            await Promise.all(Array.from({ length: BROOD }, spawn));
            return "done";
          },
        },
        child: { run: async (sys) => (await sys.message.receive({})).message?.body ?? null },
      },
    });
    const { pid } = await system.operate("process.spawn", { agent: "root", task: null }, "test");
    /** Children, and those calls of the root that wait for the pace, once nothing more happens by itself. */
    const grown = async (): Promise<{ children: number; waiting: number }> => {
      for (;;) {
        const { children, waiting } = await system.operate("process.show", { pid }, "test");
        const paced = waiting.filter(({ on, what }) => on === "turn" && what.startsWith(PACE_PREFIX)).length;
        if (children.length + paced === BROOD) return { children: children.length, waiting: paced };
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    return { system, grown };
  }

  it("holds: what comes above the pace waits, and comes with time", async () => {
    const clock = new SimulatedClock();
    const { system, grown } = await multiply(clock, testScheduler({}, { clock }));
    expect(await grown()).toEqual({ children: AT_ONCE, waiting: BROOD - AT_ONCE });
    const beganMs = clock.nowMs();
    while ((await grown()).waiting > 0) clock.advance();
    expect(clock.nowMs() - beganMs).toBeGreaterThanOrEqual(((BROOD - AT_ONCE) * 60_000) / PACE);
    system.close();
    await system.store.close();
  });

  it("breaks when the pace is unplugged: the whole brood is there while the clock stands still", async () => {
    const clock = new SimulatedClock();
    const { system, grown } = await multiply(clock, paceless(clock));
    expect(await grown()).toEqual({ children: BROOD, waiting: 0 });
    system.close();
    await system.store.close();
  });
});

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setImmediate(resolve));
}

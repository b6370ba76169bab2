// The joined scheduler: inheritance reaches turns and memory, and thousands of small simulated workloads, with crashes, kills
// and pauses, keep S1 to S9 of test/simulation/scheduler.ts and its book. A failure prints its seed.
import { describe, expect, it } from "vitest";
import { SimulatedClock } from "../../test/simulation/clock.ts";
import { type Played, simulateScheduler } from "../../test/simulation/scheduler.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Class } from "../abi/scheduling.ts";
import type { Scheduler, Slot, Standing } from "../ports/scheduler.ts";
import { createScheduler, type SchedulerOptions } from "./scheduler.ts";

const SEEDS = 2000;
const never = new AbortController().signal;
const resource = { name: "r", concurrency: 1 };

const schedulerOf = (): Scheduler =>
  createScheduler({ clock: new SimulatedClock(), summon: () => {}, agingMs: 10_000, tenants: {}, random: () => 0 });
const process = (name: string, of: Class): Standing => {
  const pid = `p_${name}` as ProcessId;
  return { pid, root: pid, tenant: "default", class: of, weight: 1 };
};
const told = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("a process that others wait for at a lock", () => {
  const [low, middle, high] = [process("low", "batch"), process("middle", "standard"), process("high", "interactive")];
  const inherit = ({ locks }: Scheduler): void => {
    void locks.acquire(low, { call: 0, key: "k", leaseMs: 1000 }, never);
    void locks.acquire(high, { call: 0, key: "k", leaseMs: 1000 }, never);
  };
  /** The order in which the slot is taken by calls that wait. */
  async function served({ turns }: Scheduler, ask: (take: (who: Standing) => void) => void): Promise<ProcessId[]> {
    const order: ProcessId[] = [];
    const first = turns.take(process("first", "standard"), { call: 0, resource }, never) as Slot;
    ask((who) => {
      const answer = Promise.resolve(turns.take(who, { call: 1, resource }, never));
      void answer.then((slot) => {
        order.push(who.pid);
        slot.release();
      });
    });
    first.release();
    for (let turn = 0; turn < 4; turn += 1) await told();
    return order;
  }

  it("takes turns in their class, whether it asks before they wait or after", async () => {
    for (const before of [true, false]) {
      const scheduler = schedulerOf();
      if (before) inherit(scheduler);
      const order = await served(scheduler, (take) => {
        take(middle);
        take(low);
        if (!before) inherit(scheduler);
      });
      expect(order).toEqual([low.pid, middle.pid]);
    }
  });

  it("stands in its own class again when they wait no longer, and keeps theirs when it is made less urgent", async () => {
    const scheduler = schedulerOf();
    inherit(scheduler);
    const kept = await served(scheduler, (take) => {
      take(middle);
      take(low);
      scheduler.turns.restand(low);
    });
    expect(kept).toEqual([low.pid, middle.pid]);
    const lost = await served(scheduler, (take) => {
      take(low);
      take(middle);
      scheduler.locks.release(low.pid, "k");
    });
    expect(lost).toEqual([middle.pid, low.pid]);
  });

  it("comes into memory in their class", () => {
    for (const before of [true, false]) {
      const scheduler = schedulerOf();
      if (before) inherit(scheduler);
      scheduler.ready.add(middle);
      scheduler.ready.add(low);
      if (!before) inherit(scheduler);
      expect([scheduler.ready.nextClass, scheduler.ready.size]).toEqual(["interactive", 2]);
      expect([scheduler.ready.next(), scheduler.ready.next(), scheduler.ready.next()]).toEqual([
        low.pid,
        middle.pid,
        undefined,
      ]);
    }
  });
});

describe("simulated workloads", () => {
  it(`of ${SEEDS} seeds keep S1 to S9`, async () => {
    const seen: { [what: string]: number } = {};
    const faults: string[] = [];
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const outcome = await simulateScheduler(seed);
      for (const fault of outcome.faults) faults.push(`seed ${seed}, ${fault}`);
      for (const [what, count] of Object.entries(outcome.seen)) seen[what] = (seen[what] ?? 0) + count;
    }
    expect(faults).toEqual([]);
    // What is checked did happen.
    for (const what of ["crash", "kill", "restand", "pause", "park", "summon", "deadlock", "short", "aged", "bounded"])
      expect([what, (seen[what] ?? 0) > 300]).toEqual([what, true]);
  }, 120_000);

  it("of one seed are decided alike each time", async () => {
    for (const seed of [3, 14, 159]) {
      const [one, other] = [await simulateScheduler(seed), await simulateScheduler(seed)];
      expect(one.trace.length).toBeGreaterThan(5);
      expect(other.trace).toEqual(one.trace);
    }
  });

  const spoilt: { readonly [label: string]: (scheduler: Scheduler, options: SchedulerOptions) => Scheduler } = {
    S1: (good) =>
      spoil(good, "turns", { take: (who, ask, signal) => good.turns.take({ ...who, class: "batch" }, ask, signal) }),
    S2: (_, options) => createScheduler({ ...options, agingMs: 1e9 }),
    S3: (good) => spoil(good, "turns", { take: (who, ask, signal) => good.turns.take(who, resized(ask, 1), signal) }),
    S4: (good) => spoil(good, "turns", { take: (who, ask, signal) => good.turns.take(who, resized(ask, -1), signal) }),
    S5: (good) => spoil(good, "budgets", { reserve: () => null }),
    S6: (good) => spoil(good, "locks", { acquire: (_, { call, key }) => ({ key, call, untilMs: Infinity }) }),
    S7: (_, options) => createScheduler({ ...options, summon: () => {} }),
    S8: (good) => spoil(good, "locks", { forget: () => {} }),
    S9: (good) => spoil(good, "ready", { add: (who) => good.ready.add({ ...who, class: "batch" }) }),
  };
  for (const [label, plant] of Object.entries(spoilt))
    it(`show a planted fault: ${label}`, async () => {
      const create: Played["create"] = (options) => plant(createScheduler(options), options);
      const found = new Set<string>();
      for (let seed = 1; seed <= 300 && !found.has(label); seed += 1)
        for (const fault of (await simulateScheduler(seed, { create })).faults) found.add(/S\d/.exec(fault)?.[0] ?? "");
      expect([...found]).toContain(label);
    });
});

type Ask = Parameters<Scheduler["turns"]["take"]>[1];
/** As if the resource had more slots, or fewer. */
const resized = (ask: Ask, by: number): Ask => ({
  ...ask,
  resource: { ...ask.resource, concurrency: Math.max(1, ask.resource.concurrency + by) },
});

/** The scheduler with a part of which some functions are replaced. */
function spoil<Part extends keyof Scheduler>(good: Scheduler, part: Part, bad: Partial<Scheduler[Part]>): Scheduler {
  const whole = good[part];
  const get = (_: object, name: string): unknown => {
    const value: unknown = Reflect.get(bad, name) ?? Reflect.get(whole, name);
    return typeof value === "function" ? value.bind(whole) : value;
  };
  return { ...good, [part]: new Proxy({}, { get }) };
}

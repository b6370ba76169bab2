// Classes: strict, but for ageing, whose bound is held against random crowds (O1 to O3, S5).
//
// Method: higher classes saturate a resource on a simulated clock while lower ones wait, with times of service drawn
// at random; each wait is held against `waitBoundMs`. With ageing out of reach the same crowd starves.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CLASSES, rankOf, type Class } from "../abi/scheduling.ts";
import { Crowd, pidOf, type Served, standing } from "./crowd.fake.ts";
import { waitBoundMs } from "./order.ts";

type Case = {
  readonly slots: number;
  readonly agingMs: number;
  readonly services: readonly number[];
  readonly saturating: number;
  readonly calls: number;
  /** Slots that are kept for the highest class. */
  readonly kept: number;
};

const cases = fc.record({
  slots: fc.integer({ min: 1, max: 8 }),
  agingMs: fc.integer({ min: 1, max: 400 }),
  services: fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 12 }),
  /** How many classes from the top ask without end. */
  saturating: fc.integer({ min: 1, max: 3 }),
  calls: fc.integer({ min: 1, max: 4 }),
  kept: fc.integer({ min: 0, max: 3 }),
});

/** The lowest class asks a few times in one tree; those above it without end. */
async function saturate({ slots, agingMs, services, saturating, calls, kept }: Case, untilMs: number): Promise<Crowd> {
  const crowd = new Crowd({ concurrency: slots, reserved: { critical: kept } }, { agingMs });
  let drawn = 0;
  const service = (): number => services[(drawn += 1) % services.length] ?? 1;
  for (const [rank, name] of CLASSES.slice(0, saturating).entries())
    for (let at = 0; at < 2 * slots; at += 1)
      crowd.ask(standing(`${name}${rank}-${at}`, { class: name }), { serviceMs: service(), again: true });
  crowd.at(services[0] ?? 1, () => {
    for (let at = 0; at < calls; at += 1)
      crowd.ask(standing(`low${at}`, { class: "batch", root: pidOf("low") }), { serviceMs: service() });
  });
  await crowd.run(untilMs);
  return crowd;
}

const lowOnes = ({ served }: Crowd): Served[] => served.filter(({ who }) => who.class === "batch");

describe("a class below one that saturates", () => {
  it("waits no longer than the documented bound, call by call", async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (given) => {
        const serviceMs = Math.max(...given.services);
        const slots = Math.max(1, given.slots - given.kept);
        const bound = (position: number): number =>
          waitBoundMs({ agingMs: given.agingMs, serviceMs, slots, position, classes: given.saturating });
        const crowd = await saturate(given, bound(given.calls - 1) + serviceMs + 2);
        const low = lowOnes(crowd);
        expect(low).toHaveLength(given.calls);
        for (const [position, { askedMs, fromMs }] of low.entries())
          expect(fromMs - askedMs).toBeLessThanOrEqual(bound(position));
      }),
      { numRuns: 150 },
    );
  });

  it("starves without ageing, which shows that the crowd does saturate", async () => {
    const given = { slots: 3, agingMs: 10_000_000, services: [20, 50], saturating: 1, calls: 2, kept: 0 };
    const crowd = await saturate(given, 5_000);
    expect(lowOnes(crowd)).toEqual([]);
  });

  it("gets no more than one turn in that time, and with slow calls no more than every second", async () => {
    for (const [agingMs, serviceMs] of [
      [500, 50],
      [10, 50],
    ] as const) {
      const crowd = new Crowd({}, { agingMs });
      for (const name of ["interactive", "batch"] as const)
        for (let at = 0; at < 3; at += 1)
          crowd.ask(standing(`${name}${at}`, { class: name }), { serviceMs, again: true });
      await crowd.run(10_000);
      const low = lowOnes(crowd).map(({ fromMs }) => fromMs);
      expect(low.length).toBeGreaterThan(10_000 / (agingMs + 2 * serviceMs) - 2);
      const gaps = low.slice(1).map((fromMs, at) => fromMs - (low[at] ?? 0));
      expect(Math.min(...gaps)).toBeGreaterThanOrEqual(Math.max(agingMs, 2 * serviceMs));
    }
  });
});

describe("a class above", () => {
  it("goes first, and waits for those below no longer than for the calls that have their slots", async () => {
    const crowd = new Crowd({ concurrency: 4 });
    for (let at = 0; at < 500; at += 1)
      crowd.ask(standing(`b${at}`, { class: "batch", root: pidOf("flood") }), { serviceMs: 50, again: true });
    for (let at = 0; at < 40; at += 1)
      crowd.at(7 + at * 33, () => crowd.ask(standing(`i${at}`, { class: "interactive" }), { serviceMs: 20 }));
    await crowd.run(2_000);
    const urgent = crowd.served.filter(({ who }) => who.class === "interactive");
    expect(urgent).toHaveLength(40);
    for (const { askedMs, fromMs } of urgent) expect(fromMs - askedMs).toBeLessThanOrEqual(50);
  });

  it("goes first among all that wait, class by class, and arrival decides within a tree", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom<Class>(...CLASSES), { maxLength: 30 }), async (classes) => {
        const crowd = new Crowd({});
        crowd.ask(standing("first"), { serviceMs: 10 });
        for (const [at, name] of classes.entries())
          crowd.ask(standing(at, { class: name, root: pidOf(`tree-${name}`) }), { serviceMs: 10 });
        await crowd.run();
        const sorted = classes.map((name, at) => ({ name, at })).toSorted((a, b) => rankOf(a.name) - rankOf(b.name));
        expect(crowd.order()).toEqual(["first", ...sorted.map(({ at }) => String(at))]);
      }),
    );
  });
});

it("the bound is what its formula says", () => {
  expect(waitBoundMs({ agingMs: 1_000, serviceMs: 50, slots: 4, position: 0, classes: 1 })).toBe(1_050);
  expect(waitBoundMs({ agingMs: 1_000, serviceMs: 50, slots: 1, position: 2 })).toBe(3 * (1_000 + 6 * 50));
  expect(waitBoundMs({ agingMs: 10, serviceMs: 50, slots: 6, position: 0 })).toBe(100);
});

// Shares inside a class: slot time by weight among tenants and trees, no credit for idling, no debt for using what nobody wants (F1 to F4).
//
// Method: crowds that ask without end on a simulated clock; slot time is counted from the times of service.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Standing } from "../ports/scheduler.ts";
import { Crowd, pidOf, standing } from "./crowd.fake.ts";

const WEIGHTS: Record<string, number> = { one: 1, two: 2, four: 4 };
const tenantOf = (who: Standing): string => who.tenant;
const rootOf = (who: Standing): string => who.root.slice(2);

/** So many processes of a tree that ask without end. */
function saturate(crowd: Crowd, count: number, serviceMs: number, how: Partial<Standing>): void {
  const name = `${how.tenant ?? ""}-${how.root ?? ""}`;
  for (let at = 0; at < count; at += 1) crowd.ask(standing(`${name}-${at}`, how), { serviceMs, again: true });
}

/** Each one's share of the sum, in parts of a thousand. */
function perMille(times: Record<string, number>): Record<string, number> {
  const sum = Object.values(times).reduce((a, b) => a + b, 0);
  return Object.fromEntries(Object.entries(times).map(([name, time]) => [name, Math.round((1000 * time) / sum)]));
}

describe("tenants that all want more than there is", () => {
  it("get slot time by their weights, however long their calls are", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(fc.integer({ min: 5, max: 200 }), fc.integer({ min: 5, max: 200 }), fc.integer({ min: 5, max: 200 })),
        fc.integer({ min: 1, max: 6 }),
        async (services, concurrency) => {
          const crowd = new Crowd({ concurrency }, { weightOf: (tenant) => WEIGHTS[tenant] ?? 1 });
          for (const [at, tenant] of Object.keys(WEIGHTS).entries())
            saturate(crowd, 12, services[at] ?? 1, { tenant, root: pidOf(tenant) });
          await crowd.run(60_000);
          const counts = crowd.count(tenantOf, [0, 60_000]);
          const times = Object.keys(WEIGHTS).map((tenant, at) => (counts[tenant] ?? 0) * (services[at] ?? 1));
          const sum = times.reduce((a, b) => a + b, 0);
          for (const [at, weight] of Object.values(WEIGHTS).entries())
            expect(Math.abs((times[at] ?? 0) / sum - weight / 7)).toBeLessThan(0.03);
        },
      ),
      { numRuns: 10 },
    );
  });

  it("are not outweighed by a tree of a thousand children, nor is its neighbour of the same tenant", async () => {
    const crowd = new Crowd({ concurrency: 4 });
    saturate(crowd, 1_000, 10, { tenant: "t", root: pidOf("bomb") });
    saturate(crowd, 8, 10, { tenant: "t", root: pidOf("small") });
    saturate(crowd, 8, 10, { tenant: "t", root: pidOf("heavy"), weight: 2 });
    saturate(crowd, 8, 10, { tenant: "u", root: pidOf("other") });
    await crowd.run(10_000);
    const shares = perMille(crowd.count(rootOf, [0, 10_000]));
    for (const [name, share] of [
      ["bomb", 125],
      ["small", 125],
      ["heavy", 250],
      ["other", 500],
    ] as const)
      expect(Math.abs((shares[name] ?? 0) - share), name).toBeLessThan(10);
  });
});

describe("a tenant that asks for less than its share", () => {
  it("gets all that it asks for, and the rest is shared by the others", async () => {
    const crowd = new Crowd({ concurrency: 2 });
    saturate(crowd, 20, 10, { tenant: "a", root: pidOf("a") });
    saturate(crowd, 20, 10, { tenant: "b", root: pidOf("b") });
    // A tenth of the slot time, at regular times.
    for (let at = 0; at < 200; at += 1)
      crowd.at(at * 50, () => crowd.ask(standing("c", { tenant: "c" }), { serviceMs: 10 }));
    await crowd.run(10_000);
    const counts = crowd.count(tenantOf, [0, 10_000]);
    expect(counts["c"]).toBe(200);
    expect(Math.abs((counts["a"] ?? 0) - (counts["b"] ?? 0))).toBeLessThan(10);
    const modest = crowd.served.filter(({ who }) => who.tenant === "c");
    expect(Math.max(...modest.map(({ askedMs, fromMs }) => fromMs - askedMs))).toBeLessThanOrEqual(20);
  });
});

describe("the past", () => {
  it("of a tenant that was idle gives it no credit", async () => {
    const crowd = new Crowd({ concurrency: 2 });
    saturate(crowd, 8, 10, { tenant: "a" });
    saturate(crowd, 8, 10, { tenant: "b" });
    crowd.ask(standing("c", { tenant: "c" }), { serviceMs: 10 });
    crowd.at(5_000, () => saturate(crowd, 8, 10, { tenant: "c" }));
    await crowd.run(5_620);
    expect(crowd.count(tenantOf, [5_020, 5_620])).toEqual({ a: 40, b: 40, c: 40 });
  });

  it("of a tenant that was served while nobody else waited is no debt, whether it waited itself or not", async () => {
    for (const callers of [1, 8]) {
      const crowd = new Crowd({ concurrency: 2 });
      saturate(crowd, callers, 10, { tenant: "a" });
      crowd.at(4_000, () => crowd.ask(standing("long", { tenant: "a" }), { serviceMs: 2_000 }));
      crowd.at(5_500, () => saturate(crowd, 8, 10, { tenant: "a" }));
      crowd.at(5_500, () => saturate(crowd, 8, 10, { tenant: "b" }));
      await crowd.run(7_000);
      // From 5,500 on the long call takes one slot, and no more of it counts: the other is for the other tenant.
      const { a: alone = 0, b: beside = 0 } = crowd.count(tenantOf, [5_520, 5_980]);
      expect(beside, `${callers} callers`).toBeGreaterThan(3 * alone);
      const { a = 0, b = 0 } = crowd.count(tenantOf, [6_020, 7_000]);
      expect(Math.abs(a - b), `${callers} callers`).toBeLessThan(20);
    }
  });

  it("of a tenant whose own calls alone waited behind its long ones is no debt either", async () => {
    const crowd = new Crowd({ concurrency: 2 });
    saturate(crowd, 8, 10, { tenant: "a" });
    crowd.at(4_000, () => {
      for (const name of ["long", "longer"])
        crowd.ask(standing(name, { tenant: "a", root: pidOf(name) }), { serviceMs: 2_000 });
    });
    crowd.at(5_900, () => saturate(crowd, 8, 10, { tenant: "b" }));
    await crowd.run(7_000);
    // They end at about 6,000, and since 5,900 cost as much as the other tenant then gets in 100 ms.
    const { a = 0, b = 0 } = crowd.count(tenantOf, [6_150, 7_000]);
    expect(Math.abs(a - b)).toBeLessThan(20);
  });

  it("is over when nobody waits any more: what was owed then is owed no longer", async () => {
    const crowd = new Crowd({ concurrency: 2 });
    crowd.ask(standing("long", { tenant: "a" }), { serviceMs: 2_000 });
    for (let at = 0; at < 200; at += 1) crowd.ask(standing(`b${at}`, { tenant: "b" }), { serviceMs: 10 });
    crowd.ask(standing("a1", { tenant: "a" }), { serviceMs: 10 });
    crowd.at(3_000, () => saturate(crowd, 8, 10, { tenant: "a" }));
    crowd.at(3_000, () => saturate(crowd, 8, 10, { tenant: "b" }));
    await crowd.run(3_220);
    const { a = 0, b = 0 } = crowd.count(tenantOf, [3_020, 3_220]);
    expect(Math.abs(a - b)).toBeLessThanOrEqual(4);
  });

  it("of long calls in flight counts when their tenant asks again, whoever came first", async () => {
    for (const first of ["long", "short"]) {
      const crowd = new Crowd({ concurrency: 10 });
      crowd.at(first === "short" ? 0 : 500, () => saturate(crowd, 30, 10, { tenant: "short" }));
      // It has no queue of its own while it has slots for all its callers.
      for (let at = 0; at < 8; at += 1)
        crowd.at(at * 17, () => crowd.ask(standing(`l${at}`, { tenant: "long" }), { serviceMs: 1_000, again: true }));
      await crowd.run(30_000);
      const counts = crowd.count(tenantOf, [0, 30_000]);
      const long = ((counts["long"] ?? 0) * 1_000) / 300_000;
      expect(Math.abs(long - 0.5), `${first} first`).toBeLessThan(0.05);
    }
  });
});

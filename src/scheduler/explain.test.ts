// What is said of a wait, held against what then happens.
//
// Method: a random crowd waits on one slot with calls of one length and nobody comes later; then positions, names ahead and
// estimates must be those of the drain. With more slots and weights positions are computed, and held to a margin.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CLASSES } from "../abi/scheduling.ts";
import { Crowd, pidOf, standing } from "./crowd.fake.ts";

const SERVICE_MS = 10;
const caller = fc.record({ rank: fc.nat(3), tenant: fc.nat(2), root: fc.nat(2) });

describe("a wait", () => {
  it("is told by position, who is ahead and an estimate, as it turns out if nobody comes later", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(caller, { maxLength: 40 }), async (callers) => {
        const crowd = new Crowd({});
        crowd.ask(standing("warm"), { serviceMs: SERVICE_MS });
        await crowd.run();
        crowd.ask(standing("first"), { serviceMs: SERVICE_MS });
        for (const [at, { rank, tenant, root }] of callers.entries()) {
          const how = { class: CLASSES[rank] ?? "batch", tenant: `t${tenant}`, root: pidOf(`${tenant}-${root}`) };
          crowd.ask(standing(at, how), { serviceMs: SERVICE_MS });
        }
        const told = callers.map((_, at) => crowd.turns.waits(pidOf(at))[0]);
        const fromMs = crowd.nowMs;
        await crowd.run();
        const order = crowd.served.slice(2);
        for (const [position, { who, fromMs: servedMs }] of order.entries()) {
          const wait = told[Number(who.pid.slice(2))];
          const ahead = order.slice(0, Math.min(position, 5));
          const foretold = wait?.position ?? Number.NaN;
          // Which of two shares that tie goes first is known for the next few alone: of three tenants with three trees each.
          expect(Math.abs(foretold - position)).toBeLessThanOrEqual(position < 8 ? 0 : 4);
          expect(wait?.ahead).toEqual(ahead.map((other) => ({ pid: other.who.pid, class: other.who.class })));
          expect(wait?.estimateMs).toBe(servedMs - fromMs + (foretold - position) * SERVICE_MS);
          expect(wait).toMatchObject({
            resource: "r",
            inUse: 1,
            slots: 1,
            held: null,
            sinceMs: crowd.startMs + fromMs,
          });
        }
        expect(order).toHaveLength(callers.length);
      }),
      { numRuns: 150 },
    );
  });

  it("is told near enough where many share many slots by weight", async () => {
    const weights: Record<string, number> = { a: 1, b: 3, c: 0.5 };
    const crowd = new Crowd({ concurrency: 3 }, { weightOf: (tenant) => weights[tenant] ?? 1 });
    crowd.ask(standing("warm"), { serviceMs: SERVICE_MS });
    await crowd.run();
    for (let at = 0; at < 300; at += 1)
      crowd.ask(standing(at, { tenant: "abc"[at % 3] ?? "a", root: pidOf(`root${at % 7}`) }), {
        serviceMs: SERVICE_MS,
      });
    const told = new Map(Array.from({ length: 300 }, (_, at) => [pidOf(at), crowd.turns.waits(pidOf(at))[0]] as const));
    await crowd.run();
    for (const [position, { who }] of crowd.served.slice(4).entries())
      expect(Math.abs((told.get(who.pid)?.position ?? 0) - position)).toBeLessThan(30);
  });
});

describe("an estimate", () => {
  it("is null before anything was served, a call's time when nobody waits, and grows with the queue", async () => {
    const crowd = new Crowd({ concurrency: 2 });
    const estimate = (class_: (typeof CLASSES)[number]): number | null =>
      crowd.turns.estimateMs(standing("new", { class: class_ }), crowd.resource);
    expect(estimate("standard")).toBeNull();
    crowd.ask(standing("a"), { serviceMs: 40 });
    expect(estimate("standard")).toBeNull();
    await crowd.run();
    expect(estimate("standard")).toBe(40);
    for (let at = 0; at < 12; at += 1) crowd.ask(standing(at), { serviceMs: 40 });
    // Ten wait; the eleventh has its turn after eleven of two at a time.
    expect(estimate("standard")).toBe((11 * 40) / 2 + 40);
    expect(estimate("interactive")).toBe(40 / 2 + 40);
    expect(crowd.turns.load()).toEqual([
      {
        name: "r",
        slots: 2,
        inUse: 2,
        waiting: { critical: 0, interactive: 0, standard: 10, batch: 0 },
        meanServiceMs: 40,
      },
    ]);
  });

  it("reckons with a limit", async () => {
    const crowd = new Crowd({ concurrency: 100, requestsPerMinute: 60 });
    crowd.ask(standing("a"), { serviceMs: 40 });
    await crowd.run();
    for (let at = 0; at < 10; at += 1) crowd.ask(standing(at), { serviceMs: 40 });
    expect(crowd.turns.estimateMs(standing("new"), crowd.resource)).toBeGreaterThan(9_000);
  });
});

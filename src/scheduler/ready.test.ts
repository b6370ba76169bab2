// The order in which processes come into memory: class with ageing, tenants, trees, arrival; each process once.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SimulatedClock } from "../../test/simulation/clock.ts";
import { CLASSES, rankOf } from "../abi/scheduling.ts";
import type { ReadyOrder } from "../ports/scheduler.ts";
import { pidOf, standing } from "./crowd.fake.ts";
import { createReadyOrder } from "./ready.ts";

const make = (): ReadyOrder => createReadyOrder({ agingMs: 1, weightOf: (tenant) => (tenant === "heavy" ? 2 : 1) });
const drain = (order: ReadyOrder, count = Number.POSITIVE_INFINITY): string[] => {
  const names: string[] = [];
  while (names.length < count) {
    const pid = order.next();
    if (pid === undefined) break;
    names.push(pid.slice(2));
  }
  return names;
};

const step = fc.record({ act: fc.constantFrom("add", "add", "delete", "next"), who: fc.nat(12), rank: fc.nat(3) });

describe("the ready", () => {
  it("stand in it once, whatever is done, and none is lost", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const order = make();
        const ranks = new Map<string, number>();
        /** What was answered, and what it should have been. */
        const answers: [unknown, unknown][] = [];
        for (const { act, who, rank } of steps) {
          const pid = pidOf(who);
          if (act === "add") {
            order.add(standing(who, { class: CLASSES[rank] ?? "batch" }));
            ranks.set(pid, rank);
          } else if (act === "delete") answers.push([order.delete(pid), ranks.delete(pid)]);
          else {
            const least = ranks.size === 0 ? undefined : Math.min(...ranks.values());
            const first = order.nextClass;
            const next = order.next() ?? pidOf("nobody");
            answers.push([first === undefined ? undefined : rankOf(first), least], [ranks.get(next), least]);
            ranks.delete(next);
          }
          expect(order.size).toBe(ranks.size);
          for (let at = 0; at <= 12; at += 1) expect(order.has(pidOf(at))).toBe(ranks.has(pidOf(at)));
        }
        expect(answers.map(([answer]) => answer)).toEqual(answers.map(([, right]) => right));
        order.clear();
        expect([order.size, order.next(), order.nextClass]).toEqual([0, undefined, undefined]);
      }),
    );
  });

  it("come by arrival within a tree, also if they are added again", () => {
    const order = make();
    const tree = { root: pidOf("tree") };
    for (const name of ["a", "b", "c"]) order.add(standing(name, tree));
    order.add(standing("a", tree));
    order.add(standing("c", { ...tree, class: "critical" }));
    order.add(standing("c", tree));
    expect(drain(order)).toEqual(["a", "b", "c"]);
  });

  it("share by tenant and tree: a thousand children count as their root", () => {
    const order = make();
    for (let at = 0; at < 1_000; at += 1) order.add(standing(`bomb${at}`, { root: pidOf("bomb") }));
    for (let at = 0; at < 50; at += 1) order.add(standing(`small${at}`, { root: pidOf("small") }));
    for (let at = 0; at < 50; at += 1) order.add(standing(`heavy${at}`, { tenant: "heavy", root: pidOf("h") }));
    const first = drain(order, 60);
    const count = (name: string): number => first.filter((each) => each.startsWith(name)).length;
    expect([count("bomb"), count("small"), count("heavy")]).toEqual([10, 10, 40]);
  });

  it("of a lower class come by age, at most every second", () => {
    const clock = new SimulatedClock();
    const order = createReadyOrder({ clock, agingMs: 100, weightOf: () => 1 });
    order.add(standing("low0", { class: "batch", root: pidOf("low") }));
    order.add(standing("low1", { class: "batch", root: pidOf("low") }));
    for (let at = 0; at < 9; at += 1) order.add(standing(`high${at}`, { root: pidOf("high") }));
    expect(drain(order, 2)).toEqual(["high0", "high1"]);
    clock.after(100, () => undefined);
    clock.advance();
    expect(order.nextClass).toBe("batch");
    expect(drain(order, 3)).toEqual(["low0", "high2", "high3"]);
    clock.after(500, () => undefined);
    clock.advance();
    expect(drain(order, 2)).toEqual(["low1", "high4"]);
  });
});

// The order by itself: what it keeps, and what it lets go (F4, O4).
import { describe, expect, it } from "vitest";
import { pidOf, standing } from "./crowd.fake.ts";
import type { Standing } from "../ports/scheduler.ts";
import type { Flow } from "./flow.ts";
import { type Entry, Order, type Whereabouts } from "./order.ts";

class Guest implements Entry<Guest> {
  readonly name: string;
  readonly arrival: number;
  hereHandle = -1;
  awayHandle = -1;
  who: Standing;
  where: Whereabouts = "present";
  flow: Flow<Guest> | undefined;

  constructor(name: string, who: Standing, arrival: number) {
    this.name = name;
    this.who = who;
    this.arrival = arrival;
  }
}

const choosing = { agingMs: 1_000_000, fits: () => true, presentOnly: false };
const flowsOf = (order: Order<Guest>): number =>
  order.lanes.reduce(
    (sum, { root }) => [...root.children.values()].reduce((all, { children }) => all + 1 + children.size, sum),
    0,
  );

describe("flows without calls", () => {
  it("are dropped: what is kept does not grow with the number of tenants and trees that ever were", () => {
    const order = new Order<Guest>(() => 1);
    let nowMs = 0;
    let arrivals = 0;
    const add = (tenant: string, root: string): void => {
      arrivals += 1;
      order.add(new Guest(root, standing(root, { tenant, root: pidOf(root) }), arrivals), nowMs);
    };
    // One tenant always has calls waiting, so that no flow is free to go merely because nobody waits.
    for (let at = 0; at < 10; at += 1) add("steady", `steady${at}`);
    for (let at = 0; at < 20_000; at += 1) {
      nowMs += 10;
      add("steady", `steady${at % 10}`);
      add(`tenant${at}`, `root${at}`);
      add("crowded", `tree${at}`);
      for (let turn = 0; turn < 3; turn += 1) {
        const entry = order.choose({ ...choosing, nowMs });
        if (entry === undefined) throw new Error("Somebody waits.");
        const occupation = order.serve(entry, nowMs, 5).occupy(nowMs, 5);
        occupation.flow.vacate(occupation, nowMs + 5);
      }
    }
    expect(order.size).toBe(10);
    expect(flowsOf(order)).toBeLessThan(500);
  });
});

describe("an entry", () => {
  it("that goes away keeps its place, and is next when it is back", () => {
    const order = new Order<Guest>(() => 1);
    const entries = ["a", "b", "c"].map((name, at) => new Guest(name, standing(name, { root: pidOf("tree") }), at));
    for (const entry of entries) order.add(entry, 0);
    const [first, second] = entries as [Guest, Guest];
    const next = (presentOnly: boolean): string | undefined =>
      order.choose({ ...choosing, nowMs: 0, presentOnly })?.name;
    order.move(first, "away", 0);
    expect([next(false), next(true), order.present, order.size]).toEqual(["a", "b", 2, 3]);
    order.move(first, "aside", 0);
    expect([next(false), order.present, order.size]).toEqual(["b", 2, 3]);
    order.move(first, "present", 0);
    expect(next(false)).toBe("a");
    order.remove(first, 0);
    order.remove(first, 0);
    order.remove(second, 0);
    expect([next(false), order.size]).toEqual(["c", 1]);
  });

  it("of a tenant whose weight is no weight counts as one", () => {
    const order = new Order<Guest>(() => Number.NaN);
    for (const [at, tenant] of ["a", "b", "a", "b"].entries())
      order.add(new Guest(tenant, standing(at, { tenant }), at), 0);
    const served: string[] = [];
    for (
      let entry = order.choose({ ...choosing, nowMs: 0 });
      entry !== undefined;
      entry = order.choose({ ...choosing, nowMs: 0 })
    ) {
      order.serve(entry, 0, 10);
      served.push(entry.name);
    }
    expect(served).toEqual(["a", "b", "a", "b"]);
  });
});

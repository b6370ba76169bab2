// Turns at a resource: slots, places, what becomes of a call that is given up, parked or moved, and the fast way.
//
// Method: crowds on a simulated clock; random ones where an invariant is to hold for all.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CLASSES } from "../abi/scheduling.ts";
import type { Slot, Standing } from "../ports/scheduler.ts";
import { Crowd, pidOf, roots, settle, standing } from "./crowd.fake.ts";

const signal = new AbortController().signal;
const cancelled = expect.objectContaining({ code: "cancelled" }) as Error;

/** A slot, taken on the fast way. */
const takeNow = (crowd: Crowd, name: string, call = 0): Slot => {
  const slot = crowd.turns.take(standing(name), { call, resource: crowd.resource }, signal);
  if (slot instanceof Promise) throw new Error("It has to wait.");
  return slot;
};

type Step = {
  readonly act: "come" | "leave" | "release" | "park" | "back";
  readonly which: number;
  readonly rank: number;
};
const steps = fc.array(
  fc.record({
    act: fc.constantFrom<Step["act"]>("come", "come", "leave", "release", "park", "back"),
    which: fc.nat(30),
    rank: fc.nat(3),
  }),
  { maxLength: 80 },
);

describe("slots", () => {
  it("are taken by at most so many, none is lost, and none is free while one waits who is there", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 4 }), steps, async (concurrency, script) => {
        const crowd = new Crowd({ concurrency });
        type Caller = { slot?: Slot; state: "waits" | "away" | "has" | "over"; abort: AbortController };
        const callers: Caller[] = [];
        const come = (n: number, caller: Caller, rank: number): void => {
          const who = standing(n, { class: CLASSES[rank] ?? "batch", tenant: `t${n % 3}` });
          caller.abort = new AbortController();
          caller.state = "waits";
          const turn = crowd.turns.take(who, { call: 7, resource: crowd.resource }, caller.abort.signal);
          Promise.resolve(turn).then(
            (slot) => Object.assign(caller, { slot, state: "has" }),
            () => (caller.state = "over"),
          );
        };
        const pick = (state: Caller["state"], which: number): Caller | undefined => {
          const fitting = callers.filter((caller) => caller.state === state);
          return fitting[which % Math.max(1, fitting.length)];
        };
        for (const { act, which, rank } of script) {
          const caller = pick(act === "release" ? "has" : act === "back" ? "away" : "waits", which);
          const n = callers.indexOf(caller as Caller);
          if (act === "come") {
            callers.push({ state: "waits", abort: new AbortController() });
            come(callers.length - 1, callers.at(-1)!, rank);
          } else if (caller === undefined) continue;
          else if (act === "leave") caller.abort.abort();
          else if (act === "back") come(n, caller, rank);
          else if (act === "park") {
            crowd.turns.park(pidOf(n));
            caller.abort.abort();
            caller.state = "away";
          } else {
            caller.state = "over";
            caller.slot?.release();
            caller.slot?.release();
          }
          await settle();
          const count = (state: Caller["state"]): number => callers.filter((each) => each.state === state).length;
          expect(count("has")).toBeLessThanOrEqual(concurrency);
          expect(count("waits") === 0 || count("has") === concurrency).toBe(true);
          const load = crowd.turns.load()[0];
          expect(load?.inUse).toBe(count("has"));
          expect(Object.values(load?.waiting ?? {}).reduce((a, b) => a + b, 0)).toBe(count("waits") + count("away"));
        }
      }),
      { numRuns: 150 },
    );
  });

  it("are had at once, without a promise, while one is free and nobody waits", async () => {
    const crowd = new Crowd({ concurrency: 2 });
    const first = takeNow(crowd, "a");
    takeNow(crowd, "b");
    const third = crowd.turns.take(standing("c"), { call: 1, resource: crowd.resource }, signal);
    expect(third).toBeInstanceOf(Promise);
    first.release();
    first.release();
    expect(crowd.turns.load()).toMatchObject([{ slots: 2, inUse: 2, waiting: { standard: 0 } }]);
    await expect(third).resolves.toHaveProperty("release");
  });

  it("are refused to whoever has already given up", async () => {
    const crowd = new Crowd({});
    const turn = crowd.turns.take(standing("a"), { call: 1, resource: crowd.resource }, AbortSignal.abort());
    await expect(turn).rejects.toEqual(cancelled);
    expect(crowd.turns.load().map(({ inUse }) => inUse)).toEqual([]);
  });

  it("of one resource are not waited for by another's callers, and grow with what is declared", async () => {
    const crowd = new Crowd({});
    takeNow(crowd, "a");
    const other = { name: "other", concurrency: 1 };
    expect(crowd.turns.take(standing("b"), { call: 1, resource: other }, signal)).toHaveProperty("release");
    crowd.ask(standing("c"), { serviceMs: 1 });
    const wider = { ...crowd.resource, concurrency: 3 };
    expect(crowd.turns.take(standing("d"), { call: 1, resource: wider }, signal)).toHaveProperty("release");
    await settle();
    expect(crowd.order()).toEqual(["c"]);
  });

  it("kept for a class are taken by it and those above alone", async () => {
    const crowd = new Crowd({ concurrency: 4, reserved: { interactive: 2 } });
    for (const who of roots("b", 4, { class: "batch" })) crowd.ask(who, { serviceMs: 100 });
    const [blocked] = crowd.turns.waits(pidOf("b2"));
    expect(blocked).toMatchObject({ position: 0, inUse: 2, slots: 4, held: { by: "reserve", untilMs: null } });
    for (const who of roots("i", 3, { class: "interactive" })) crowd.ask(who, { serviceMs: 10 });
    await crowd.run(11);
    // The third urgent call came to a kept slot; those that wait below still have two.
    expect(crowd.order()).toEqual(["b0", "b1", "i0", "i1", "i2"]);
    await crowd.run();
    expect(crowd.served).toHaveLength(7);
  });

  it("are never all kept: a reserve of everything leaves one", () => {
    const crowd = new Crowd({ concurrency: 2, reserved: { critical: 5 } });
    const take = (name: string): unknown =>
      crowd.turns.take(standing(name, { class: "batch" }), { call: 1, resource: crowd.resource }, signal);
    expect(take("a")).toHaveProperty("release");
    expect(take("b")).toBeInstanceOf(Promise);
  });
});

describe("a call that waits", () => {
  it("leaves when its signal fires, and the others go on", async () => {
    const crowd = new Crowd({});
    const slot = takeNow(crowd, "a");
    const abort = new AbortController();
    const given = Promise.resolve(crowd.turns.take(standing("b"), { call: 1, resource: crowd.resource }, abort.signal));
    crowd.ask(standing("c"), { serviceMs: 1 });
    abort.abort();
    await expect(given).rejects.toEqual(cancelled);
    slot.release();
    await settle();
    expect(crowd.order()).toEqual(["c"]);
  });

  it("is rejected when its process is over, and gets no slot in going", async () => {
    const crowd = new Crowd({});
    const slot = takeNow(crowd, "a");
    const calls = [1, 2].map((call) =>
      Promise.resolve(crowd.turns.take(standing("b"), { call, resource: crowd.resource }, signal)),
    );
    crowd.turns.forget(pidOf("b"));
    for (const call of calls) await expect(call).rejects.toEqual(cancelled);
    slot.release();
    expect(crowd.turns.load()).toMatchObject([{ inUse: 0, waiting: { standard: 0 } }]);
  });

  it("moves when its process stands elsewhere, and keeps its arrival", async () => {
    const crowd = new Crowd({});
    const slot = takeNow(crowd, "first");
    const tree = { root: pidOf("tree"), class: "batch" } as const;
    for (const name of ["a", "b", "c"]) crowd.ask(standing(name, tree), { serviceMs: 1 });
    crowd.turns.restand(standing("c", { ...tree, class: "interactive" }));
    crowd.turns.restand(standing("a", { ...tree, class: "interactive" }));
    slot.release();
    await crowd.run();
    expect(crowd.order()).toEqual(["a", "c", "b"]);
  });

  it("leaves nothing behind by the thousand", () => {
    const crowd = new Crowd({});
    const slot = takeNow(crowd, "first");
    const aborts = Array.from({ length: 5_000 }, (_, at) => {
      const abort = new AbortController();
      const who = standing(at, { tenant: `t${at % 7}`, root: pidOf(`root${at % 1000}`) });
      crowd.ask(who, { serviceMs: 1, signal: abort.signal });
      return abort;
    });
    for (const abort of aborts) abort.abort();
    slot.release();
    expect(crowd.turns.load()).toMatchObject([{ inUse: 0, waiting: { standard: 0 } }]);
    expect(crowd.turns.waits(pidOf(5))).toEqual([]);
    takeNow(crowd, "next");
  });
});

describe("a call whose process is away", () => {
  const away = (crowd: Crowd, names: readonly string[]): AbortController[] =>
    names.map((name, at) => {
      const abort = new AbortController();
      crowd.askAs(standing(name, { root: pidOf("tree") }), at, { serviceMs: 10, signal: abort.signal });
      crowd.turns.park(pidOf(name));
      abort.abort();
      return abort;
    });

  it("keeps its place, is called back once when its turn comes, and goes first when it is back", async () => {
    const crowd = new Crowd({});
    takeNow(crowd, "first").release();
    const slot = takeNow(crowd, "first");
    away(crowd, ["a"]);
    for (const name of ["b", "c", "d"]) crowd.ask(standing(name, { root: pidOf("tree") }), { serviceMs: 10 });
    expect(crowd.turns.waits(pidOf("a"))).toMatchObject([{ call: 0, resource: "r", position: 0, inUse: 1 }]);
    expect(crowd.summoned).toEqual([]);
    slot.release();
    await crowd.run(15);
    expect(crowd.order()).toEqual(["b", "c"]);
    expect(crowd.summoned).toEqual([pidOf("a")]);
    crowd.askAs(standing("a", { root: pidOf("tree") }), 0, { serviceMs: 10 });
    await crowd.run();
    expect(crowd.order()).toEqual(["b", "c", "a", "d"]);
  });

  it("holds no slot, and a free one calls it back without waiting for another's turn", async () => {
    const crowd = new Crowd({ concurrency: 2 });
    const slots = [takeNow(crowd, "x"), takeNow(crowd, "y")];
    away(crowd, ["a", "b", "c", "d", "e"]);
    slots[0]?.release();
    slots[1]?.release();
    // As many as there are slots, and not all that are parked.
    expect(crowd.summoned).toEqual([pidOf("a"), pidOf("b")]);
    crowd.askAs(standing("b", { root: pidOf("tree") }), 1, { serviceMs: 10 });
    await settle();
    expect(crowd.order()).toEqual(["b"]);
    crowd.askAs(standing("a", { root: pidOf("tree") }), 0, { serviceMs: 10 });
    await crowd.run();
    expect(crowd.summoned).toEqual(["a", "b", "c", "d"].map(pidOf));
  });

  it("is called back again when it went away again before it asked", async () => {
    const crowd = new Crowd({});
    const slot = takeNow(crowd, "x");
    away(crowd, ["a"]);
    slot.release();
    crowd.turns.park(pidOf("a"));
    await crowd.run();
    expect(crowd.summoned).toEqual([pidOf("a"), pidOf("a")]);
    crowd.turns.forget(pidOf("a"));
    expect(crowd.turns.load()).toMatchObject([{ waiting: { standard: 0 } }]);
  });

  it("comes back as another call at another resource, and its place is gone", async () => {
    const crowd = new Crowd({});
    const slot = takeNow(crowd, "x");
    away(crowd, ["a"]);
    const other = { name: "other", concurrency: 1 };
    expect(crowd.turns.take(standing("a"), { call: 0, resource: other }, signal)).toHaveProperty("release");
    slot.release();
    expect(crowd.summoned).toEqual([]);
    expect(crowd.turns.load()).toMatchObject([{ waiting: { standard: 0 } }, { inUse: 1 }]);
  });

  it("ages like one that is there", async () => {
    const crowd = new Crowd({}, { agingMs: 100 });
    crowd.ask(standing("i", { class: "interactive" }), { serviceMs: 10, again: true });
    crowd.ask(standing("j", { class: "interactive" }), { serviceMs: 10, again: true });
    crowd.askAs(standing("b", { class: "batch" }), 0, { serviceMs: 10 });
    crowd.turns.park(pidOf("b"));
    await crowd.run(95);
    expect(crowd.summoned).toEqual([]);
    await crowd.run(115);
    expect(crowd.summoned).toEqual([pidOf("b")]);
    crowd.askAs(standing("b", { class: "batch" }), 0, { serviceMs: 10 });
    await crowd.run(125);
    expect(crowd.order().at(-1)).toBe("b");
  });
});

describe("what is not in use", () => {
  it("has no timer, and does not grow with the number of names", async () => {
    const crowd = new Crowd({ requestsPerMinute: 60 });
    for (const who of roots("a", 3)) crowd.ask(who, { serviceMs: 1 });
    await crowd.run();
    expect(crowd.served).toHaveLength(3);
    expect(crowd.clock.advance()).toBe(false);
    for (let at = 0; at < 2_000; at += 1) {
      const slot = await crowd.turns.take(
        standing(at),
        { call: 1, resource: { name: `r${at}`, concurrency: 1 } },
        signal,
      );
      slot.release();
    }
    expect(crowd.turns.load().length).toBeLessThan(600);
  });
});

describe("a decision", () => {
  /** Comparisons that a turn takes in the mean, while so many wait: tenants with trees, each with several calls, in all classes. */
  async function comparisonsOf(waiting: number): Promise<number> {
    const work = { comparisons: 0 };
    const crowd = new Crowd({}, { agingMs: 50, work });
    const some = (at: number): Standing =>
      standing(at, {
        class: CLASSES[at % 4] ?? "batch",
        tenant: `tenant${(at * 7) % 53}`,
        root: pidOf(`tree${(at * 13) % 1999}`),
      });
    for (let at = 0; at < waiting; at += 1) crowd.ask(some(at), { serviceMs: 1 + (at % 7) });
    work.comparisons = 0;
    const turns = 80;
    for (let turn = 0; turn < turns; turn += 1) {
      const served = crowd.served.length;
      while (crowd.served.length === served) await crowd.run(crowd.nowMs + 1);
    }
    return work.comparisons / turns;
  }

  it("compares a logarithm of the calls that wait", async () => {
    for (const waiting of [100, 1_000, 10_000, 50_000])
      expect(await comparisonsOf(waiting), `${waiting} waiting`).toBeLessThan(3 * Math.log2(waiting));
  });
});

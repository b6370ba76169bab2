// Locks, case by case: leases, order, inheritance, circles, parking, and what comes back after a restart. Random crowds are
// in locks-crowd.test.ts.
import { beforeEach, describe, expect, it } from "vitest";
import { SimulatedClock } from "../../test/simulation/clock.ts";
import type { ProcessId } from "../abi/ids.ts";
import { LOCKS_HELD_MAX } from "../abi/limits.ts";
import type { Class } from "../abi/scheduling.ts";
import type { HeldLock, Standing } from "../ports/scheduler.ts";
import { createLocks } from "./locks.ts";

const LEASE_MS = 1000;
const never = new AbortController().signal;
const process = (name: string, of: Class = "standard", tenant = "default"): Standing => {
  const pid = `p_${name.padStart(12, "0")}` as ProcessId;
  return { pid, root: pid, tenant, class: of, weight: 1 };
};

let clock: SimulatedClock;
let locks: ReturnType<typeof createLocks>;
let summoned: ProcessId[];
let restood: string[];

beforeEach(() => {
  clock = new SimulatedClock();
  summoned = [];
  restood = [];
  locks = createLocks({
    clock,
    summon: (pid) => summoned.push(pid),
    onRestand: (moved) => restood.push(...moved.map((who) => `${who.pid.slice(-1)}:${who.class}`)),
  });
});

type Asked = {
  readonly got: () => HeldLock | undefined;
  readonly code: () => string | undefined;
  readonly error: () => unknown;
};

/** Asks and keeps book of the answer. */
function ask(who: Standing, key: string, { call = 1, leaseMs = LEASE_MS, signal = never } = {}): Asked {
  let held: HeldLock | undefined;
  let error: unknown;
  const answer = locks.acquire(who, { call, key, leaseMs }, signal);
  if ("key" in answer) held = answer;
  else
    answer.then(
      (lock) => (held = lock),
      (reason: unknown) => (error = reason),
    );
  return { got: () => held, code: () => (error as { code?: string } | undefined)?.code, error: () => error };
}
const told = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const passMs = (ms: number): void => {
  const time = { over: false };
  clock.after(ms, () => (time.over = true));
  while (!time.over) clock.advance();
};

const [a, b, c, d] = [process("a"), process("b"), process("c"), process("d")];

describe("a lock", () => {
  it("has one holder, and goes to the next in the step that frees it", async () => {
    expect(ask(a, "k").got()).toEqual({ key: "k", call: 1, untilMs: clock.nowMs() + LEASE_MS });
    const second = ask(b, "k");
    const third = ask(c, "k");
    await told();
    expect(second.got()).toBeUndefined();
    expect(locks.release(a.pid, "k")).toBe(true);
    await told();
    expect(second.got()).toMatchObject({ key: "k", call: 1 });
    expect(third.got()).toBeUndefined();
    expect(locks.release(a.pid, "k")).toBe(false);
    expect(locks.held(a.pid)).toEqual([]);
    expect(locks.held(b.pid)).toHaveLength(1);
  });

  it("is another one for each tenant and each key", () => {
    for (const [who, key] of [
      [a, "k"],
      [b, "l"],
      [process("e", "standard", "shop"), "k"],
    ] as const)
      expect(ask(who, key).got()?.key).toBe(key);
  });

  it("is given again to whoever has it, for the longer time, under the call that took it", () => {
    ask(a, "k", { call: 3, leaseMs: 5000 });
    const untilMs = clock.nowMs() + 5000;
    expect(ask(a, "k", { call: 4, leaseMs: 10 }).got()).toEqual({ key: "k", call: 3, untilMs });
    passMs(4500);
    expect(ask(a, "k", { call: 5 }).got()).toEqual({ key: "k", call: 3, untilMs: clock.nowMs() + LEASE_MS });
    expect(locks.held(a.pid)).toHaveLength(1);
  });

  it("goes to all calls of the next process that wait for it", async () => {
    ask(a, "k");
    const calls = [ask(b, "k", { call: 1 }), ask(c, "k"), ask(b, "k", { call: 2, leaseMs: 9000 })];
    locks.release(a.pid, "k");
    await told();
    expect(calls.map((call) => call.got()?.untilMs)).toEqual([
      clock.nowMs() + LEASE_MS,
      undefined,
      clock.nowMs() + 9000,
    ]);
  });

  it("is left by a call whose signal fires, and not by one that comes with a signal that has fired", async () => {
    ask(a, "k");
    const abort = new AbortController();
    const second = ask(b, "k", { signal: abort.signal });
    const third = ask(c, "k");
    abort.abort();
    const late = ask(d, "k", { signal: abort.signal });
    await told();
    expect([second.code(), late.code()]).toEqual(["cancelled", "cancelled"]);
    locks.release(a.pid, "k");
    await told();
    expect(third.got()).toBeDefined();
  });

  it("comes in the order of class, then of arrival, and a restand moves a waiter", async () => {
    ask(a, "k");
    const batch = process("e", "batch");
    const order: string[] = [];
    for (const who of [batch, b, process("f", "interactive"), c]) {
      const asked = locks.acquire(who, { call: 1, key: "k", leaseMs: LEASE_MS }, never);
      void Promise.resolve(asked).then(() => order.push(who.pid.slice(-1)));
    }
    expect(locks.waits(c.pid)).toMatchObject([
      { holder: a.pid, position: 2, ahead: [{ class: "interactive" }, { pid: b.pid }] },
    ]);
    locks.restand({ ...batch, class: "critical" });
    for (const pid of [a.pid, batch.pid, process("f").pid, b.pid]) {
      expect(locks.release(pid, "k")).toBe(true);
      await told();
    }
    expect(order).toEqual(["e", "f", "b", "c"]);
  });

  it("is refused beyond the bound on locks, those that are waited for included", async () => {
    for (let n = 1; n < LOCKS_HELD_MAX; n += 1) ask(a, `k${n}`, { leaseMs: n === 1 ? 10 : 5000 });
    ask(b, "other", { leaseMs: 5000 });
    const waiting = ask(a, "other", { call: 2 });
    const refused = ask(a, "one more", { call: 3 });
    expect(ask(a, "k5").got()).toBeDefined();
    await told();
    expect([waiting.code(), refused.code()]).toEqual([undefined, "limit_exceeded"]);
    passMs(10);
    expect(ask(a, "one more", { call: 4 }).got()).toBeDefined();
  });
});

describe("a lease", () => {
  it("ends: the lock passes to the next one, and its holder has nothing left to release", async () => {
    ask(a, "k");
    const second = ask(b, "k", { leaseMs: 50 });
    passMs(LEASE_MS - 1);
    await told();
    expect(second.got()).toBeUndefined();
    passMs(1);
    await told();
    expect(second.got()?.untilMs).toBe(clock.nowMs() + 50);
    expect(locks.release(a.pid, "k")).toBe(false);
    expect(locks.held(b.pid)).toHaveLength(1);
  });

  it("that nobody waits behind sets no timer, and is found to be over when somebody asks", () => {
    ask(a, "k");
    expect(clock.advance()).toBe(false);
    passMs(LEASE_MS);
    expect(locks.held(a.pid)).toEqual([]);
    expect(ask(b, "k").got()).toBeDefined();
    expect(locks.held(a.pid)).toEqual([]);
    expect(locks.release(a.pid, "k")).toBe(false);
  });

  it("that ran out unnoticed is gone for release too", () => {
    ask(a, "k");
    passMs(LEASE_MS);
    expect(locks.release(a.pid, "k")).toBe(false);
    expect(locks.records).toBe(0);
  });

  it("that is made longer lets those behind it wait longer", async () => {
    ask(a, "k");
    const second = ask(b, "k");
    passMs(900);
    ask(a, "k", { call: 2 });
    passMs(900);
    await told();
    expect(second.got()).toBeUndefined();
    passMs(100);
    await told();
    expect(second.got()).toBeDefined();
  });
});

describe("inheritance", () => {
  it("passes the class of a waiter to the holder, over any number of steps, for as long as it waits", () => {
    const low = process("a", "batch");
    const middle = process("b", "standard");
    const abort = new AbortController();
    ask(low, "one");
    ask(middle, "two");
    ask(middle, "one", { call: 2 });
    expect(restood).toEqual(["a:standard"]);
    ask(process("c", "critical"), "two", { signal: abort.signal });
    expect([low, middle].map((who) => locks.effectiveClass(who))).toEqual(["critical", "critical"]);
    expect(restood.slice(1).toSorted()).toEqual(["a:critical", "b:critical"]);
    abort.abort();
    expect([low, middle].map((who) => locks.effectiveClass(who))).toEqual(["standard", "standard"]);
    locks.release(low.pid, "one");
    expect(locks.effectiveClass(low)).toBe("batch");
    expect(restood.slice(3).toSorted()).toEqual(["a:batch", "a:standard", "b:standard"]);
  });

  it("moves the holder's own place at other locks", async () => {
    ask(d, "one");
    const [low, other] = [process("a", "batch"), process("b", "standard")];
    ask(low, "two");
    const standard = ask(other, "one");
    const raised = ask(low, "one", { call: 2 });
    ask(process("c", "interactive"), "two");
    locks.release(d.pid, "one");
    await told();
    expect(raised.got()).toBeDefined();
    expect(standard.got()).toBeUndefined();
  });

  it("takes the class that a process is said to have, rather than the one that it had", () => {
    ask(a, "k");
    ask(process("b", "interactive"), "k");
    expect(locks.effectiveClass({ ...a, class: "critical" })).toBe("critical");
    expect(locks.effectiveClass({ ...a, class: "batch" })).toBe("interactive");
    expect(locks.effectiveClass(process("e", "batch"))).toBe("batch");
  });
});

describe("a circle", () => {
  it("is broken where it closes: the lowest class gives way, and is told who waits for whom", async () => {
    const low = process("a", "batch");
    ask(low, "one");
    ask(b, "two");
    const first = ask(low, "two", { call: 2 });
    const second = ask(b, "one", { call: 2 });
    await told();
    expect(second.code()).toBeUndefined();
    expect(first.error()).toMatchObject({ code: "deadlock", data: { key: "two", cycle: [low.pid, b.pid] } });
    expect(String(first.error())).toContain(`${b.pid} waits for the lock "one", which ${low.pid} has`);
    locks.release(low.pid, "one");
    await told();
    expect(second.got()).toBeDefined();
  });

  it("of one class is broken at the call that came last", async () => {
    const all = [a, b, c, d];
    for (const who of all) ask(who, who.pid);
    const calls = all.map((who, at) => ask(who, (all[(at + 1) % 4] as Standing).pid, { call: 2 }));
    await told();
    expect(calls.map((call) => call.code())).toEqual([undefined, undefined, undefined, "deadlock"]);
  });

  it("counts a class that comes from outside of it", async () => {
    const [one, two] = [process("a", "batch"), process("b", "batch")];
    ask(one, "one");
    ask(two, "two");
    ask(process("e", "critical"), "two", { call: 7 });
    const first = ask(one, "two", { call: 2 });
    const second = ask(two, "one", { call: 2 });
    await told();
    expect([first.code(), second.code()]).toEqual(["deadlock", undefined]);
  });

  it("may lead over waiting for an exit, and is broken at the lock, whichever closes it", async () => {
    for (const exitFirst of [true, false]) {
      const [parent, child] = [process(`a${exitFirst}`, "batch"), process(`b${exitFirst}`, "critical")];
      const key = String(exitFirst);
      ask(parent, key);
      if (exitFirst) locks.waitsForExit(parent.pid, 2, child.pid);
      const asked = ask(child, key);
      locks.waitsForExit(parent.pid, 2, child.pid);
      await told();
      expect(asked.code()).toBe("deadlock");
      locks.waitsForExit(parent.pid, 2, null);
      expect(ask(child, key, { call: 2 }).got()).toBeUndefined();
      locks.release(parent.pid, key);
      await told();
    }
  });

  it("may close because a lock changes hands", async () => {
    ask(a, "one");
    ask(c, "two");
    const forOne = ask(b, "one");
    const forTwo = ask(b, "two", { call: 2 });
    const closing = ask(c, "one", { call: 2 });
    locks.release(a.pid, "one");
    await told();
    expect(forOne.got()).toBeDefined();
    expect([forTwo.code(), closing.code()]).toEqual([undefined, "deadlock"]);
  });

  it("may close because a lock is kept for a process that is out of memory", async () => {
    ask(a, "one");
    ask(c, "two");
    ask(b, "one");
    ask(b, "two", { call: 2 });
    locks.park(b.pid);
    const closing = ask(c, "one", { call: 2 });
    locks.release(a.pid, "one");
    await told();
    expect(closing.code()).toBe("deadlock");
  });

  it("is broken for a call that is out of memory too: it is summoned, and told when it comes", async () => {
    const low = process("a", "batch");
    ask(low, "one");
    ask(b, "two");
    ask(low, "two", { call: 2 });
    locks.park(low.pid);
    const second = ask(b, "one", { call: 2 });
    await told();
    expect(second.code()).toBeUndefined();
    expect(summoned).toEqual([low.pid]);
    const again = ask(low, "two", { call: 2 });
    await told();
    expect(again.code()).toBe("deadlock");
    expect(ask(low, "three", { call: 3 }).got()).toBeDefined();
  });
});

describe("a parked process", () => {
  it("keeps its place, whatever becomes of its run, and what it holds", async () => {
    ask(a, "k");
    ask(b, "mine");
    const abort = new AbortController();
    const first = ask(b, "k", { signal: abort.signal });
    const behind = ask(c, "k");
    locks.park(b.pid);
    abort.abort();
    await told();
    expect(first.code()).toBe("cancelled");
    const again = ask(b, "k");
    locks.release(a.pid, "k");
    await told();
    expect(again.got()).toBeDefined();
    expect(behind.got()).toBeUndefined();
    expect(locks.held(b.pid).map(({ key }) => key)).toEqual(["mine", "k"]);
  });

  it("is summoned for a lock that is then kept for it; the lease begins when it takes it", async () => {
    ask(a, "k");
    ask(b, "k");
    locks.park(b.pid);
    locks.release(a.pid, "k");
    expect(summoned).toEqual([b.pid]);
    expect(locks.held(b.pid)).toEqual([]);
    const third = ask(c, "k");
    passMs(LEASE_MS / 2);
    expect(ask(b, "k").got()?.untilMs).toBe(clock.nowMs() + LEASE_MS);
    await told();
    expect(third.got()).toBeUndefined();
    expect(summoned).toEqual([b.pid]);
  });

  it("that does not come is passed over, and stands at its old place when it does", async () => {
    ask(a, "k");
    ask(b, "k");
    locks.park(b.pid);
    const third = ask(c, "k");
    const fourth = ask(d, "k");
    locks.release(a.pid, "k");
    passMs(LEASE_MS);
    await told();
    expect(third.got()).toBeDefined();
    expect(locks.waits(d.pid)).toMatchObject([{ holder: c.pid, position: 1 }]);
    const again = ask(b, "k");
    locks.release(c.pid, "k");
    await told();
    expect(again.got()).toBeDefined();
    expect(fourth.got()).toBeUndefined();
  });

  it("that does not come leaves the lock to whoever asks next, if nobody else waits", () => {
    ask(a, "k");
    ask(b, "k");
    locks.park(b.pid);
    locks.release(a.pid, "k");
    passMs(LEASE_MS);
    expect(ask(c, "k").got()).toBeDefined();
    locks.release(c.pid, "k");
    expect(ask(b, "k").got()).toBeDefined();
    for (const { pid } of [a, b, c]) locks.forget(pid);
    expect(locks.records).toBe(0);
  });

  it("that is over gives back what was kept for it", async () => {
    ask(a, "k");
    ask(b, "k");
    locks.park(b.pid);
    const third = ask(c, "k");
    locks.release(a.pid, "k");
    locks.forget(b.pid);
    await told();
    expect(third.got()).toBeDefined();
  });
});

describe("what is over or begins", () => {
  it("a process that is over gives back all it held, and its waiting calls are told", async () => {
    ask(a, "one");
    ask(a, "two");
    ask(b, "three");
    const own = ask(a, "three", { call: 2 });
    const others = [ask(c, "one"), ask(d, "two")];
    locks.forget(a.pid);
    await told();
    expect(own.code()).toBe("cancelled");
    expect(others.map((call) => call.got()?.key)).toEqual(["one", "two"]);
    for (const { pid } of [b, c, d]) locks.forget(pid);
    expect(locks.records).toBe(0);
    expect(clock.advance()).toBe(false);
  });

  it("restores what was held when the system stopped, but for leases that are over", async () => {
    const now = clock.nowMs();
    locks.restore(a, [
      { key: "k", call: 4, untilMs: now + 500 },
      { key: "old", call: 2, untilMs: now - 1 },
    ]);
    locks.restore(b, [{ key: "k", call: 1, untilMs: now + 200 }]);
    expect(locks.held(a.pid)).toEqual([{ key: "k", call: 4, untilMs: now + 500 }]);
    expect(locks.held(b.pid)).toEqual([]);
    const waiting = ask(c, "k");
    passMs(500);
    await told();
    expect(waiting.got()).toBeDefined();
  });
});

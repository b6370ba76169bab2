// Locks under random crowds: processes of two tenants that acquire, release, give up, wait for exits, are parked, come back and
// end, on a simulated clock, with a book kept beside. After each step:
//
//   C1. No lock has two holders, and the book knows the same holders as the locks do.
//   C2. No call in memory waits for a free lock, or for one that its own process has.
//   C3. The classes are those of a naive recomputation, and every change of one was told.
//   C4. Waiters stand by effective class, then arrival, and a lock that changes hands goes to the first of them.
//   C5. There is no circle of waits. Whoever was refused with `deadlock` was in a circle, and was the right one in it.
//   C6. When all processes are over, nothing is left: no record, no timer.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SimulatedClock } from "../../test/simulation/clock.ts";
import type { ProcessId } from "../abi/ids.ts";
import { CLASSES, type Class, rankOf } from "../abi/scheduling.ts";
import type { HeldLock, Standing } from "../ports/scheduler.ts";
import { createLocks } from "./locks.ts";

const PROCESSES = 6;
const KEYS = ["k1", "k2", "k3"];

type Pending = {
  readonly call: number;
  readonly key: string;
  readonly arrival: number;
  abort: AbortController;
  present: boolean;
  passedOver: boolean;
};
type Member = {
  who: Standing;
  told: Class;
  readonly pending: Map<number, Pending>;
  readonly exits: Map<number, ProcessId>;
  parked: boolean;
};
type Refusal = {
  readonly member: Member;
  readonly of: Pending;
  readonly key: string;
  readonly cycle: readonly ProcessId[];
};
type Edge = { readonly from: ProcessId; readonly to: ProcessId; readonly arrival: number | null };

const nameOf = ({ tenant }: Standing, key: string): string => `${tenant}/${key}`;

class Crowd {
  readonly clock = new SimulatedClock();
  readonly members: Member[] = [];
  /** Who was given which lock, until when. */
  readonly holds = new Map<string, { readonly pid: ProcessId; readonly untilMs: number }>();
  readonly refusals: Refusal[] = [];
  readonly faults: string[] = [];
  readonly grants: { readonly name: string; readonly pid: ProcessId }[] = [];
  readonly summoned = new Set<ProcessId>();
  readonly locks = createLocks({
    clock: this.clock,
    summon: (pid) => this.summoned.add(pid),
    onRestand: (moved) => moved.forEach((who) => (this.memberOf(who.pid).told = who.class)),
  });
  #count = 0;

  constructor() {
    for (let at = 0; at < PROCESSES; at += 1) this.join(at);
  }

  memberOf(pid: ProcessId): Member {
    const found = this.members.find(({ who }) => who.pid === pid);
    if (found === undefined) throw new Error(`${pid} is over.`);
    return found;
  }

  join(at: number): void {
    this.#count += 1;
    const pid = `p_${this.#count}` as ProcessId;
    const of = CLASSES[(this.#count * 7) % CLASSES.length] as Class;
    const who = { pid, root: pid, tenant: at < PROCESSES - 2 ? "one" : "two", class: of, weight: 1 };
    this.members[at] = { who, told: of, pending: new Map(), exits: new Map(), parked: false };
  }

  acquire(member: Member, key: string, leaseMs: number): void {
    this.#count += 1;
    const pending = {
      call: this.#count,
      key,
      arrival: this.#count,
      abort: new AbortController(),
      present: true,
      passedOver: false,
    };
    member.pending.set(pending.call, pending);
    this.#ask(member, pending, leaseMs);
  }

  #ask(member: Member, pending: Pending, leaseMs: number): void {
    const { abort, call, key } = pending;
    pending.present = true;
    pending.passedOver = false;
    const answer = this.locks.acquire(member.who, { call, key, leaseMs }, abort.signal);
    if ("key" in answer) return this.#granted(member, pending, answer);
    answer.then(
      (held) => this.#granted(member, pending, held),
      (error: { code: string; data: { key: string; cycle: ProcessId[] } }) => {
        // A run that is gone hears that its call is given up; the call is not.
        if (abort.signal.aborted) return;
        member.pending.delete(call);
        if (error.code === "deadlock") this.refusals.push({ member, of: pending, ...error.data });
      },
    );
  }

  #granted({ who, pending }: Member, { call, key }: Pending, held: HeldLock): void {
    const name = nameOf(who, key);
    const earlier = this.holds.get(name);
    const other = earlier !== undefined && earlier.pid !== who.pid && earlier.untilMs > this.clock.nowMs();
    if (other) this.faults.push(`C1: ${name} was given to ${who.pid} while ${earlier.pid} held it`);
    pending.delete(call);
    this.holds.set(name, { pid: who.pid, untilMs: held.untilMs });
    this.grants.push({ name, pid: who.pid });
  }

  giveUp(member: Member, n: number): void {
    const pending = [...member.pending.values()][n % Math.max(1, member.pending.size)];
    if (pending === undefined) return;
    member.pending.delete(pending.call);
    pending.abort.abort();
  }

  release(member: Member, key: string): void {
    const name = nameOf(member.who, key);
    const held = this.holds.get(name);
    const mine = held?.pid === member.who.pid && held.untilMs > this.clock.nowMs();
    if (mine) this.holds.delete(name);
    const released = this.locks.release(member.who.pid, key);
    if (released !== mine) this.faults.push(`C1: release of ${name} by ${member.who.pid} said ${released}`);
  }

  park(member: Member): void {
    member.parked = true;
    this.locks.park(member.who.pid);
    for (const pending of member.pending.values()) {
      pending.present = false;
      pending.abort.abort();
      pending.abort = new AbortController();
    }
  }

  comeBack(member: Member, leaseMs: number): void {
    member.parked = false;
    this.summoned.delete(member.who.pid);
    for (const pending of [...member.pending.values()]) this.#ask(member, pending, leaseMs);
  }

  end(member: Member): void {
    for (const [name, { pid }] of this.holds) if (pid === member.who.pid) this.holds.delete(name);
    member.pending.clear();
    this.locks.forget(member.who.pid);
  }

  restand(member: Member, to: Class): void {
    member.who = { ...member.who, class: to };
    this.locks.restand(member.who);
    // Whoever moves a process moves its turns as well, to the class that it has then.
    member.told = this.locks.effectiveClass(member.who);
  }

  waitForExit(member: Member, target: ProcessId | null): void {
    const [call] = member.exits.keys();
    this.#count += 1;
    const of = target === null ? call : this.#count;
    if (of === undefined) return;
    if (target === null) member.exits.delete(of);
    else member.exits.set(of, target);
    this.locks.waitsForExit(member.who.pid, of, target);
  }

  /** The edges of the graph, from what the locks say of waits and the book of exits. */
  edges(): Edge[] {
    return this.members.flatMap(({ who: { pid }, pending, exits }) => [
      ...this.locks
        .waits(pid)
        .map(({ call, holder }) => ({ from: pid, to: holder, arrival: pending.get(call)?.arrival ?? 0 })),
      ...[...exits.values()].map((to) => ({ from: pid, to, arrival: null })),
    ]);
  }

  /** Processes by the absent calls of theirs that have a place. */
  absent(): Map<number, ProcessId> {
    return new Map(
      this.members.flatMap(({ who, pending }) =>
        this.locks
          .waits(who.pid)
          .flatMap(({ call }) => (pending.get(call)?.present === false ? [[call, who.pid]] : [])),
      ),
    );
  }

  /** Classes as ranks, by passing them on until nothing changes. */
  ranks(): Map<ProcessId, number> {
    const ranks = new Map(this.members.map(({ who }) => [who.pid, rankOf(who.class)]));
    for (let changed = true; changed;) {
      changed = false;
      for (const { from, to, arrival } of this.edges()) {
        if (arrival === null || (ranks.get(from) ?? 9) >= (ranks.get(to) ?? 0)) continue;
        ranks.set(to, ranks.get(from) ?? 9);
        changed = true;
      }
    }
    return ranks;
  }

  /** Waiters of each lock that can be served, in order; those that are passed over stand aside. */
  queues(): Map<string, ProcessId[]> {
    const ranks = this.ranks();
    const all = this.members.flatMap(({ who, pending }) => {
      const waiting = new Set(this.locks.waits(who.pid).map(({ call }) => call));
      const rank = ranks.get(who.pid) ?? 9;
      return [...pending.values()]
        .filter(({ call, passedOver }) => waiting.has(call) && !passedOver)
        .map(({ key, arrival }) => ({ name: nameOf(who, key), pid: who.pid, rank, arrival }));
    });
    all.sort((one, other) => one.rank - other.rank || one.arrival - other.arrival);
    const queues = new Map<string, ProcessId[]>();
    for (const { name, pid } of all) queues.set(name, [...(queues.get(name) ?? []), pid]);
    return queues;
  }
}

function checkHolders({ locks, members, holds, clock }: Crowd): void {
  for (const { who } of members) {
    const booked = [...holds].filter(([, { pid, untilMs }]) => pid === who.pid && untilMs > clock.nowMs());
    const said = locks.held(who.pid).map(({ key, untilMs }) => [nameOf(who, key), { pid: who.pid, untilMs }]);
    expect(Object.fromEntries(said), "C1").toEqual(Object.fromEntries(booked));
  }
}

function checkWaiters(crowd: Crowd): void {
  const { locks, members, holds, clock, summoned } = crowd;
  for (const { who, pending } of members) {
    const waits = new Map(locks.waits(who.pid).map((wait) => [wait.call, wait]));
    for (const { call, key, present } of pending.values()) {
      const wait = waits.get(call);
      if (!present && wait === undefined) continue;
      expect(wait, `C2: call ${call} of ${who.pid} is in memory and has no place`).toBeDefined();
      if (wait === undefined) continue;
      expect(wait.holder, "C2").not.toBe(who.pid);
      const hold = holds.get(nameOf(who, key));
      const held = hold !== undefined && hold.pid === wait.holder && hold.untilMs > clock.nowMs();
      const kept = [...crowd.memberOf(wait.holder).pending.values()].some((one) => !one.present && one.key === key);
      expect(held || (kept && wait.untilMs > clock.nowMs()), `C2: ${key} is free, and ${who.pid} waits`).toBe(true);
      if (!held) expect(summoned.has(wait.holder) || !crowd.memberOf(wait.holder).parked, "C2: summoned").toBe(true);
    }
  }
}

function checkClasses(crowd: Crowd): void {
  const ranks = crowd.ranks();
  for (const { who, told } of crowd.members) {
    const right = CLASSES[ranks.get(who.pid) ?? 9];
    expect([crowd.locks.effectiveClass(who), told], `C3: ${who.pid}`).toEqual([right, right]);
  }
}

function checkOrder(crowd: Crowd): void {
  const ranks = crowd.ranks();
  const waits = crowd.members.flatMap(({ who, pending }) =>
    crowd.locks.waits(who.pid).map((wait) => ({ ...wait, who, arrival: pending.get(wait.call)?.arrival ?? 0 })),
  );
  for (const one of waits) {
    const rank = ranks.get(one.who.pid) ?? 9;
    const before = waits.filter((other) => {
      const otherRank = ranks.get(other.who.pid) ?? 9;
      const same = nameOf(other.who, other.key) === nameOf(one.who, one.key);
      return same && (otherRank < rank || (otherRank === rank && other.arrival < one.arrival));
    });
    // An absent call of the holder itself has a place too, and is not among the waits.
    expect(one.position, "C4").toBeGreaterThanOrEqual(before.length);
    expect(one.position - before.length, "C4").toBeLessThanOrEqual(crowd.memberOf(one.holder).pending.size);
  }
}

/** Whether `from` waits for `to`, over any number of edges. */
function leads(edges: readonly Edge[], from: ProcessId, to: ProcessId): boolean {
  const seen = new Set([from]);
  for (const at of seen)
    for (const edge of edges)
      if (edge.from === at) {
        if (edge.to === to) return true;
        seen.add(edge.to);
      }
  return false;
}

/** `left`: those who had an absent call before the step that has no place after it. It may have been refused, and tells when it comes again. */
function checkCircles(crowd: Crowd, left: ReadonlySet<ProcessId>): void {
  const edges = crowd.edges();
  for (const { from, to, arrival } of edges)
    if (arrival !== null) expect(leads(edges, to, from), `C5: a circle through ${from} and ${to} stands`).toBe(false);
  for (const { member, of, cycle } of crowd.refusals) {
    const pid = member.who.pid;
    expect(cycle[0], "C5").toBe(pid);
    const taken = crowd.refusals.map((refusal) => ({
      from: refusal.member.who.pid,
      to: refusal.cycle[1] as ProcessId,
      arrival: refusal.of.arrival,
    }));
    const all = [...edges, ...taken];
    const steps = cycle.map((from, at) =>
      all.filter((edge) => edge.from === from && edge.to === cycle[(at + 1) % cycle.length]),
    );
    for (const [at, step] of steps.entries())
      expect(step.length > 0 || left.has(cycle[at] as ProcessId), `C5: ${cycle.join(" ")} was no circle`).toBe(true);
    const outside = all.some((edge) => edge.arrival !== null && cycle.includes(edge.to) && !cycle.includes(edge.from));
    if (outside) continue;
    const rank = rankOf(member.who.class);
    for (const step of steps) {
      const [edge] = step;
      if (edge === undefined || edge.arrival === null || step.length > 1) continue;
      const other = rankOf(crowd.memberOf(edge.from).who.class);
      expect(other < rank || (other === rank && edge.arrival <= of.arrival), "C5: the wrong one gave way").toBe(true);
    }
  }
}

type Before = {
  readonly queues: ReadonlyMap<string, readonly ProcessId[]>;
  readonly absent: ReadonlyMap<number, ProcessId>;
};

const seenIn = (crowd: Crowd): Before => ({ queues: crowd.queues(), absent: crowd.absent() });

function check(crowd: Crowd, before: Before, servedInOrder: boolean): void {
  expect(crowd.faults).toEqual([]);
  checkHolders(crowd);
  checkWaiters(crowd);
  checkClasses(crowd);
  checkOrder(crowd);
  const absent = crowd.absent();
  checkCircles(crowd, new Set([...before.absent].flatMap(([call, pid]) => (absent.has(call) ? [] : [pid]))));
  const refused = new Set(crowd.refusals.map(({ member }) => member.who.pid));
  const first = new Set<string>();
  for (const { name, pid } of servedInOrder ? crowd.grants : []) {
    if (first.has(name)) continue;
    first.add(name);
    const queue = (before.queues.get(name) ?? []).filter((one) => crowd.members.some(({ who }) => who.pid === one));
    expect(refused.has(queue[0] as ProcessId) ? queue[0] : pid, `C4: ${name}`).toBe(queue[0]);
  }
}

const told = async (): Promise<void> => {
  for (let turn = 0; turn < 4; turn += 1) await Promise.resolve();
};

/** Moves time timer by timer; `each` is run after every one. */
async function passMs({ clock }: Crowd, ms: number, each: () => Promise<void>): Promise<void> {
  const time = { over: false };
  clock.after(ms, () => clock.after(0, () => clock.after(0, () => (time.over = true))));
  while (!time.over) {
    clock.advance();
    await each();
  }
}

const WEIGHTS = { acquire: 8, release: 3, giveUp: 1, park: 1, end: 1, restand: 2, exit: 2, pass: 1 } as const;
type Step = { readonly act: keyof typeof WEIGHTS; readonly who: number; readonly n: number };
const acts = Object.entries(WEIGHTS) as [Step["act"], number][];
const act = fc.oneof(...acts.map(([value, weight]) => ({ arbitrary: fc.constant(value), weight })));
const script = fc.array(fc.record({ act, who: fc.nat(PROCESSES - 1), n: fc.nat(59) }), { maxLength: 90, size: "max" });

/** What a step does at once; time passes elsewhere. */
function perform(crowd: Crowd, { act: what, who, n }: Step): void {
  const member = crowd.members[who] as Member;
  const key = KEYS[n % KEYS.length] as string;
  // Lengths that are never whole multiples of one another, so that leases seldom end at the same time.
  const leaseMs = 100 + 37 * n;
  if (what === "restand") return crowd.restand(member, CLASSES[n % CLASSES.length] as Class);
  if (what === "end") {
    crowd.end(member);
    for (const { exits, who: other } of crowd.members)
      for (const [call, pid] of exits)
        if (pid === member.who.pid && exits.delete(call)) crowd.locks.waitsForExit(other.pid, call, null);
    return crowd.join(who);
  }
  if (member.parked) return n % 4 === 0 ? crowd.comeBack(member, leaseMs) : undefined;
  if (what === "acquire") return crowd.acquire(member, key, leaseMs);
  if (what === "release") return crowd.release(member, key);
  if (what === "giveUp") return crowd.giveUp(member, n);
  if (what === "park") return crowd.park(member);
  // Only for later processes, as a parent waits for its children: exits alone make no circle.
  if (what !== "exit") return;
  const target = crowd.members[who + 1 + (n % 2)];
  const later = target !== undefined && target.who.pid > member.who.pid && who + 2 < PROCESSES;
  crowd.waitForExit(member, later && n % 5 > 0 ? target.who.pid : null);
}

/** Which absent calls lost their turn: the lock was kept for them, and now another has it, or nobody. */
function notePassedOver({ locks, members, summoned }: Crowd): void {
  for (const { who, pending } of members) {
    if (!summoned.has(who.pid)) continue;
    const waiting = new Set(locks.waits(who.pid).map(({ call }) => call));
    for (const one of pending.values()) if (!one.present && waiting.has(one.call)) one.passedOver = true;
  }
}

/** The last step closes two circles: one is broken by a call that is told so at once, the other by one that is absent. */
const ABSENT_IN_TWO_CIRCLES: Step[] = [
  { act: "acquire", who: 0, n: 40 },
  { act: "acquire", who: 2, n: 4 },
  { act: "acquire", who: 1, n: 44 },
  { act: "exit", who: 0, n: 26 },
  { act: "park", who: 2, n: 0 },
  { act: "acquire", who: 0, n: 26 },
  { act: "exit", who: 1, n: 6 },
];

describe("a crowd at the locks", () => {
  it("keeps C1 to C6", async () => {
    let deadlocks = 0;
    let timers = 0;
    await fc.assert(
      fc.asyncProperty(script, async (steps) => {
        const crowd = new Crowd();
        let before = seenIn(crowd);
        const checked = (servedInOrder: boolean) => async (): Promise<void> => {
          await told();
          check(crowd, before, servedInOrder);
          deadlocks += crowd.refusals.length;
          crowd.refusals.length = 0;
          crowd.grants.length = 0;
          before = seenIn(crowd);
        };
        for (const step of steps) {
          if (step.act === "pass")
            await passMs(crowd, 20 + step.n * 3, async () => {
              await checked(crowd.summoned.size === 0)();
              notePassedOver(crowd);
              timers += 1;
            });
          else {
            const comesBack = crowd.members[step.who]?.parked === true;
            const passes = (step.act === "release" && !comesBack) || step.act === "end";
            perform(crowd, step);
            await told();
            // What absent calls are told now was decided when the circle stood.
            if (comesBack) crowd.refusals.length = 0;
            await checked(crowd.summoned.size === 0 && passes)();
          }
        }
        for (const member of crowd.members) {
          crowd.end(member);
          await told();
        }
        expect(crowd.faults).toEqual([]);
        for (const { who, exits } of crowd.members)
          for (const call of exits.keys()) crowd.locks.waitsForExit(who.pid, call, null);
        expect(crowd.locks.records, "C6").toBe(0);
        expect(crowd.clock.advance(), "C6: a timer is left").toBe(false);
      }),
      { numRuns: 120, examples: [[ABSENT_IN_TWO_CIRCLES]] },
    );
    // The crowds are such that what is checked does happen.
    expect(deadlocks).toBeGreaterThan(20);
    expect(timers).toBeGreaterThan(200);
  });
});

// The book of a simulated workload: who waits at which resource, who has a slot and who is ready, as seen from outside, and
// the invariants that can be said of that.
//
//   S1. No inversion: a call gets a slot while one of a higher class waits that is there to take it only if its own class is
//       entitled by age, and never twice in succession.
//   S2. No starvation: a call waits no longer than `waitBoundMs` says for the number of calls of its class served before it.
//   S3. No resource has more calls than slots, and no class has slots that are reserved for those above it.
//   S4. No slot is free while a call waits that is there and may take it, unless the provider's limits hold it.
//   S9. A process is brought into memory before one of a higher class only if its class is entitled by age, and none is lost.
import { CLASSES, rankOf } from "../../src/abi/scheduling.ts";
import type { ProcessId } from "../../src/abi/ids.ts";
import type { Resource, Scheduler, Standing, TurnWait } from "../../src/ports/scheduler.ts";
import { waitBoundMs } from "../../src/scheduler/order.ts";
import { SERVICE_MS_MAX } from "./scheduler-load.ts";

type Asker = {
  readonly who: Standing;
  readonly call: number;
  readonly resource: Resource;
  readonly sinceMs: number;
  present: boolean;
  rank: number;
  /** Turns that its class had had when it came; null once it was moved or away, since the bound is for those that stay. */
  from: number | null;
};

type Lane = { sinceMs: number; served: number; waiting: number };
type Counter = {
  readonly lanes: readonly Lane[];
  readonly taken: Map<string, number>;
  /** Whether the last turn was given by age, and when. */
  aged: boolean;
  agedMs: number;
  paused: boolean;
};

const keyOf = (pid: ProcessId, call: number): string => `${pid}.${call}`;

export type Surroundings = {
  readonly agingMs: number;
  readonly nowMs: () => number;
  readonly scheduler: () => Scheduler;
  readonly fault: (what: string) => void;
};

export class Book {
  readonly #askers = new Map<string, Asker>();
  readonly #counters = new Map<string, Counter>();
  readonly #ready = new Map<ProcessId, Standing>();
  /** By rank, since when no ready process of the class was brought in. */
  readonly #readySinceMs = CLASSES.map(() => 0);
  readonly #around: Surroundings;
  /** Waits held against their bounds, so that a test can see that there were some. */
  bounded = 0;
  aged = 0;

  constructor(around: Surroundings) {
    this.#around = around;
  }

  asks(who: Standing, call: number, resource: Resource): void {
    const known = this.#askers.get(keyOf(who.pid, call));
    if (known !== undefined) {
      known.present = true;
      return;
    }
    const rank = this.#rankOf(who);
    const lane = this.#lane(resource.name, rank);
    const sinceMs = this.#around.nowMs();
    if (lane.waiting === 0) lane.sinceMs = sinceMs;
    lane.waiting += 1;
    const from = this.#counter(resource.name).paused ? null : lane.served;
    this.#askers.set(keyOf(who.pid, call), { who, call, resource, sinceMs, present: true, rank, from });
  }

  granted(pid: ProcessId, call: number): void {
    const asker = this.#askers.get(keyOf(pid, call));
    if (asker === undefined) return this.#around.fault(`S3: ${keyOf(pid, call)} got a slot without asking`);
    const { name } = asker.resource;
    const counter = this.#counter(name);
    const lane = this.#lane(name, asker.rank);
    this.#checkBound(asker, lane);
    this.#forget(asker);
    this.#checkClass(asker, counter, lane);
    counter.taken.set(keyOf(pid, call), asker.rank);
    lane.sinceMs = this.#around.nowMs();
    lane.served += 1;
    if (!this.#within(asker.resource)) this.#around.fault(`S3: ${name} has more calls than slots for their classes`);
  }

  /** The slot was given back. */
  released(pid: ProcessId, call: number, resource: Resource): void {
    this.#counter(resource.name).taken.delete(keyOf(pid, call));
  }

  parked(pid: ProcessId): void {
    for (const asker of this.#of(pid)) {
      asker.present = false;
      asker.from = null;
    }
  }

  /** The process is over: it waits for nothing. */
  over(pid: ProcessId): void {
    this.#ready.delete(pid);
    for (const asker of this.#of(pid)) this.#forget(asker);
  }

  /** From now on other limits than those of the slots may hold calls of the resource. */
  paused(resource: string): void {
    this.#counter(resource).paused = true;
    for (const asker of this.#askers.values()) if (asker.resource.name === resource) asker.from = null;
  }

  /** The process has something to do; false if that is known. */
  ready(who: Standing): boolean {
    if (this.#ready.has(who.pid)) return false;
    const rank = this.#rankOf(who);
    if (![...this.#ready.values()].some((other) => this.#rankOf(other) === rank))
      this.#readySinceMs[rank] = this.#around.nowMs();
    this.#ready.set(who.pid, who);
    return true;
  }

  /** The process was next; false if that cannot be. */
  broughtIn(pid: ProcessId): boolean {
    const { agingMs, nowMs, fault } = this.#around;
    const who = this.#ready.get(pid);
    if (who === undefined) fault(`S9: ${pid} was next, and is not ready`);
    if (who === undefined) return false;
    this.#ready.delete(pid);
    const rank = this.#rankOf(who);
    const higher = [...this.#ready.values()].find((other) => this.#rankOf(other) < rank);
    const ageMs = nowMs() - (this.#readySinceMs[rank] ?? 0);
    if (higher !== undefined && ageMs < agingMs)
      fault(`S9: ${pid} came in before ${higher.pid}, which is of a higher class, after ${ageMs} ms`);
    this.#readySinceMs[rank] = nowMs();
    return true;
  }

  checkNoneReady(): void {
    for (const pid of this.#ready.keys()) this.#around.fault(`S9: ${pid} is ready, and the order does not know it`);
  }

  /** After each step: classes may have changed, by inheritance or by hand. */
  observe(current: (pid: ProcessId) => Standing): void {
    for (const pid of this.#ready.keys()) this.#ready.set(pid, current(pid));
    for (const asker of this.#askers.values()) {
      const rank = this.#rankOf(current(asker.who.pid));
      if (rank === asker.rank) continue;
      this.#lane(asker.resource.name, asker.rank).waiting -= 1;
      const lane = this.#lane(asker.resource.name, rank);
      if (lane.waiting === 0) lane.sinceMs = this.#around.nowMs();
      lane.waiting += 1;
      asker.rank = rank;
      asker.from = null;
    }
  }

  /** When nothing more happens at this time. */
  checkQuiet(): void {
    const { scheduler, fault } = this.#around;
    const idle = new Map<string, string>();
    const held = new Set<string>();
    const places = new Map<ProcessId, readonly TurnWait[]>();
    for (const { who, call, resource, rank, present } of this.#askers.values()) {
      const { name } = resource;
      const waits = places.get(who.pid) ?? scheduler().turns.waits(who.pid);
      places.set(who.pid, waits);
      const wait = waits.find((one) => one.call === call);
      if (wait === undefined) fault(`S4: ${keyOf(who.pid, call)} waits and has no place at ${name}`);
      // The first one is held, and those behind it with it.
      if ((wait?.held ?? null) !== null) held.add(name);
      if (present && this.#within(resource, rank)) idle.set(name, keyOf(who.pid, call));
    }
    for (const [name, asker] of idle) if (!held.has(name)) fault(`S4: ${name} has a slot, and ${asker} waits`);
    for (const { name, inUse } of scheduler().turns.load()) {
      const taken = this.#counter(name).taken.size;
      if (inUse !== taken) fault(`S3: ${name} says that ${inUse} slots are in use, and ${taken} are`);
    }
  }

  #of(pid: ProcessId): Asker[] {
    return [...this.#askers.values()].filter(({ who }) => who.pid === pid);
  }

  #forget(asker: Asker): void {
    this.#askers.delete(keyOf(asker.who.pid, asker.call));
    this.#lane(asker.resource.name, asker.rank).waiting -= 1;
  }

  #rankOf(who: Standing): number {
    return rankOf(this.#around.scheduler().locks.effectiveClass(who));
  }

  #counter(name: string): Counter {
    const found = this.#counters.get(name);
    if (found !== undefined) return found;
    const lanes = CLASSES.map(() => ({ sinceMs: 0, served: 0, waiting: 0 }));
    const made: Counter = { lanes, taken: new Map(), aged: false, agedMs: -1, paused: false };
    this.#counters.set(name, made);
    return made;
  }

  #lane(name: string, rank: number): Lane {
    return this.#counter(name).lanes[rank] as Lane;
  }

  #checkClass({ who, call, resource, rank }: Asker, counter: Counter, lane: Lane): void {
    const { agingMs, nowMs, fault } = this.#around;
    const higher = [...this.#askers.values()].some(
      (other) => other.resource.name === resource.name && other.present && other.rank < rank,
    );
    const ageMs = nowMs() - lane.sinceMs;
    const what = `${keyOf(who.pid, call)} of class ${CLASSES[rank] ?? rank} got ${resource.name} before a higher one`;
    if (higher && ageMs < agingMs) fault(`S1: ${what} after ${ageMs} ms of ${agingMs}`);
    // Of turns given at one moment those are heard of first that were given at once, and not through a promise: among
    // them nothing is said of succession, and one that was not by age stands between those before and after.
    const together = nowMs() === counter.agedMs;
    if (higher && counter.aged && !together) fault(`S1: ${what}, by age, and so did the one before it`);
    counter.aged = together ? counter.aged && higher : higher;
    counter.agedMs = nowMs();
    if (higher) this.aged += 1;
  }

  #checkBound({ who, call, resource, sinceMs, rank, from }: Asker, lane: Lane): void {
    const limited = resource.requestsPerMinute ?? resource.tokensPerMinute;
    if (from === null || limited !== undefined || this.#counter(resource.name).paused) return;
    const { agingMs, nowMs, fault } = this.#around;
    const position = lane.served - from;
    const slots = openTo(resource, rank);
    const boundMs = waitBoundMs({ agingMs, serviceMs: SERVICE_MS_MAX, slots, position });
    const waitedMs = nowMs() - sinceMs;
    this.bounded += waitedMs > 0 ? 1 : 0;
    if (waitedMs <= boundMs) return;
    fault(
      `S2: ${keyOf(who.pid, call)} waited ${waitedMs} ms at ${resource.name}, bound ${boundMs} (${position} before it)`,
    );
  }

  /** Whether what is taken is within what each class may have; with a rank, whether one more of it would be. */
  #within(resource: Resource, rank?: number): boolean {
    const ranks = [...this.#counter(resource.name).taken.values(), ...(rank === undefined ? [] : [rank])];
    return CLASSES.every((_, at) => {
      const lower = ranks.filter((one) => one >= at).length;
      // What is kept for a class above it is closed to a lower one, which only matters to those that are there.
      return lower <= openTo(resource, at);
    });
  }
}

/** The slots that a class may take, with all below it. */
function openTo({ concurrency, reserved = {} }: Resource, rank: number): number {
  const kept = CLASSES.slice(0, rank).reduce((sum, name) => sum + (reserved[name] ?? 0), 0);
  return Math.max(1, concurrency - kept);
}

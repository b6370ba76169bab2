// Locks by key: who gets one, for how long, and who gives way when processes wait for one another in a circle.
//
// The boundary: memory alone. After a restart the kernel restores what was held; those that waited ask again.
//
// Invariants:
//   1. A lock has one holder at a time, until the holder releases it, is over, or its lease runs out.
//   2. A lock is never free while a process in memory waits for it: whatever frees it passes it on in the same step. The next
//      holder is the first by effective class, then arrival.
//   3. A holder whose effective class changes is told (`onRestand`), so that its waiting calls for turns move as well.
//   4. After each step the graph of waits has no circle with a lock in it: the step that would close one refuses one
//      waiter of it with `deadlock`. See waits-for.ts for what an edge is.
//   5. A parked call keeps its place. When its turn comes the lock is kept for it and its process is summoned; the lease begins
//      when it takes it. What is not taken for as long as that lease would last goes to the next one, and the absent call is
//      passed over until it comes, again at its old place: a process that is stopped blocks nobody for longer than a lease.
//   6. A process that is over leaves no record, and no timer is set while nobody waits. A lease that ran out while nobody
//      waited is found when somebody asks.
import { OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import { LOCKS_HELD_MAX } from "../abi/limits.ts";
import type { Class } from "../abi/scheduling.ts";
import type { Clock } from "../ports/clock.ts";
import type { HeldLock, Locks, LockWait, Standing } from "../ports/scheduler.ts";
import {
  type Claimant,
  classOf,
  effectiveRank,
  firstOther,
  type Hold,
  type Lock,
  LockTable,
  type Waiter,
} from "./lock-table.ts";
import { deadlock, victimOf } from "./deadlock.ts";
import { type Edge, findCircle } from "./waits-for.ts";

const AHEAD_MAX = 5;
const TIMER_MS_MAX = 2 ** 31 - 1;

export type LocksOptions = {
  readonly clock: Clock;
  /** A process that is out of memory has been given a lock, or an answer, that it comes for by calling `acquire` again. */
  readonly summon: (pid: ProcessId) => void;
  /** The effective classes of these have changed; each is the `class` of its standing. */
  readonly onRestand?: (moved: readonly Standing[]) => void;
};

type Ask = Parameters<Locks["acquire"]>[1];
type Wish = Pick<Waiter, "claimant" | "call" | "leaseMs" | "forCall">;

/** As the port says; `records` counts what is in memory. */
export const createLocks = (options: LocksOptions): Locks & { readonly records: number } => new KeyLocks(options);

class KeyLocks implements Locks {
  readonly #options: LocksOptions;
  readonly #table = new LockTable();
  /** Who waits for whose exit, by the number of the waiting call. */
  readonly #exits = new Map<ProcessId, Map<number, ProcessId>>();
  /** What absent calls are told when they come again. */
  readonly #refusals = new Map<ProcessId, Map<number, OsError>>();
  /** Processes whose edges are new since the last search for circles, and those to be summoned after this step. */
  readonly #suspects = new Set<ProcessId>();
  readonly #summoned = new Set<ProcessId>();
  #timer: { readonly atMs: number; readonly cancel: () => void } | null = null;

  constructor(options: LocksOptions) {
    this.#options = options;
  }

  get records(): number {
    return this.#table.size + this.#exits.size + this.#refusals.size + (this.#timer === null ? 0 : 1);
  }

  acquire(who: Standing, ask: Ask, signal: AbortSignal): Promise<HeldLock> | HeldLock {
    const refusal = this.#takeRefusal(who.pid, ask.call);
    if (refusal !== undefined) return Promise.reject(refusal);
    this.restand(who);
    const answer = this.#answer(this.#table.claimantOf(who), ask, signal);
    this.#settle();
    return answer;
  }

  release(pid: ProcessId, key: string, { forCall = false }: { readonly forCall?: boolean } = {}): boolean {
    const lock = this.#table.find(pid)?.held.get(key);
    if (lock === undefined || (forCall && lock.hold?.forCall === false)) return false;
    const lapsed = this.#lapse(lock);
    const held = !lapsed && lock.hold?.keptFor === null;
    if (held) this.#pass(lock);
    this.#settle();
    return held;
  }

  restore(who: Standing, held: readonly HeldLock[]): void {
    const claimant = this.#table.claimantOf(who);
    for (const { key, call, untilMs } of held) {
      const lock = this.#table.lockOf(who, key);
      // Two rows may name one key where the first lease ran out: the one that ends later was taken later.
      const ended = untilMs <= this.#nowMs() || untilMs <= (lock.hold?.untilMs ?? 0);
      if (!ended) this.#table.hold(lock, { claimant, call, untilMs, forCall: false, keptFor: null });
    }
    this.#settle();
  }

  waitsForExit(pid: ProcessId, call: number, target: ProcessId | null): void {
    const exits = this.#exits.get(pid) ?? new Map<number, ProcessId>();
    if (target === null) exits.delete(call);
    else exits.set(call, target);
    if (exits.size === 0) this.#exits.delete(pid);
    else this.#exits.set(pid, exits);
    if (target === null) return;
    this.#suspects.add(pid);
    this.#settle();
  }

  park(pid: ProcessId): void {
    for (const waiter of this.#table.find(pid)?.waiting.values() ?? []) waiter.asker = null;
  }

  forget(pid: ProcessId): void {
    this.#exits.delete(pid);
    this.#refusals.delete(pid);
    const claimant = this.#table.find(pid);
    if (claimant === undefined) return;
    for (const waiter of [...claimant.waiting.values()]) {
      this.#table.dequeue(waiter);
      waiter.asker?.refuse(cancelled(waiter.lock.key));
    }
    for (const lock of [...claimant.held.values()]) this.#pass(lock);
    this.#settle();
  }

  restand(who: Standing): void {
    const claimant = this.#table.find(who.pid);
    if (claimant === undefined || claimant.who === who) return;
    this.#table.claimantOf(who);
    this.#settle();
  }

  held(pid: ProcessId): readonly HeldLock[] {
    const holds = [...(this.#table.find(pid)?.held.values() ?? [])].map(({ hold }) => hold as Hold);
    return holds.filter(({ keptFor, untilMs }) => keptFor === null && untilMs > this.#nowMs()).map(heldLock);
  }

  waits(pid: ProcessId): readonly LockWait[] {
    const waiting = [...(this.#table.find(pid)?.waiting.values() ?? [])];
    return waiting.flatMap((waiter) => explain(waiter) ?? []);
  }

  effectiveClass(who: Standing): Class {
    return classOf(effectiveRank(who, this.#table.find(who.pid)));
  }

  #nowMs(): number {
    return this.#options.clock.nowMs();
  }

  #answer(claimant: Claimant, ask: Ask, signal: AbortSignal): Promise<HeldLock> | HeldLock {
    const { call, key, leaseMs, forCall = false } = ask;
    const lock = this.#table.lockOf(claimant.who, key);
    this.#lapse(lock);
    const place = claimant.waiting.get(call);
    if (place !== undefined && (signal.aborted || place.lock !== lock)) this.#leave(place);
    if (signal.aborted) return Promise.reject(cancelled(key));
    const free = lock.hold === null || lock.hold.claimant === claimant;
    if (place?.lock !== lock && this.#isFull(claimant, lock)) return Promise.reject(tooMany(claimant.who.pid, key));
    if (free) return this.#take(lock, { claimant, call, leaseMs, forCall });
    const waiter = place?.lock === lock ? place : this.#enter(lock, { claimant, call, leaseMs, forCall });
    waiter.passedOver = false;
    return this.#wait(waiter, signal);
  }

  /** Gives a lock that is free, kept for the process, or held by it: from now, and no shorter than before. */
  #take(lock: Lock, { claimant, call, leaseMs, forCall }: Wish): HeldLock {
    const place = claimant.waiting.get(call);
    if (place !== undefined) this.#table.dequeue(place);
    const { hold } = lock;
    const untilMs = this.#nowMs() + leaseMs;
    const taken = hold !== null && hold.keptFor === null;
    const terms = taken
      ? { call: hold.call, untilMs: Math.max(hold.untilMs, untilMs), forCall: hold.forCall && forCall }
      : { call, untilMs, forCall };
    const given = heldLock(this.#table.hold(lock, { claimant, ...terms, keptFor: null }));
    const other = hold?.keptFor ?? null;
    if (other !== null && other.call !== call) this.#table.enqueue(other);
    this.#suspects.add(claimant.who.pid);
    return given;
  }

  #enter(lock: Lock, { claimant, call, leaseMs, forCall }: Wish): Waiter {
    const arrival = this.#table.nextOrder();
    const sinceMs = this.#nowMs();
    const waiter = { claimant, call, lock, arrival, sinceMs, leaseMs, forCall, asker: null, passedOver: false };
    this.#table.enqueue(waiter);
    this.#suspects.add(claimant.who.pid);
    return waiter;
  }

  #wait(waiter: Waiter, signal: AbortSignal): Promise<HeldLock> {
    waiter.asker?.refuse(cancelled(waiter.lock.key));
    return new Promise((resolve, reject) => {
      const asker = {
        grant: (lock: HeldLock): void => {
          signal.removeEventListener("abort", leave);
          resolve(lock);
        },
        refuse: (error: OsError): void => {
          signal.removeEventListener("abort", leave);
          reject(error);
        },
      };
      const leave = (): void => {
        asker.refuse(cancelled(waiter.lock.key));
        // A call that was parked, or asked for anew, no longer leaves with the run that asked first.
        if (waiter.asker !== asker) return;
        this.#leave(waiter);
        this.#settle();
      };
      waiter.asker = asker;
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  #leave(waiter: Waiter): void {
    waiter.asker = null;
    this.#table.dequeue(waiter);
  }

  /** Ends a lease whose time is over; false if it still runs. */
  #lapse(lock: Lock): boolean {
    const { hold } = lock;
    if (hold === null || hold.untilMs > this.#nowMs()) return false;
    if (hold.keptFor !== null) {
      hold.keptFor.passedOver = true;
      this.#table.enqueue(hold.keptFor);
    }
    this.#pass(lock);
    return true;
  }

  /** Takes the lock from its holder and gives it to the next one, if there is one. */
  #pass(lock: Lock): void {
    this.#table.free(lock);
    const next = firstOther(lock, ({ passedOver }) => passedOver);
    if (next === undefined) return;
    const { claimant, call, leaseMs, forCall } = next;
    const present = [...claimant.waiting.values()].filter((waiter) => waiter.lock === lock && waiter.asker !== null);
    // All its calls that wait for this lock have it now.
    for (const waiter of present) waiter.asker?.grant(this.#take(lock, waiter));
    if (present.length > 0) return;
    this.#table.dequeue(next);
    this.#table.hold(lock, { claimant, call, untilMs: this.#nowMs() + leaseMs, forCall, keptFor: next });
    this.#suspects.add(claimant.who.pid);
    this.#summoned.add(claimant.who.pid);
  }

  /** Whether one more lock would be too many, those that the process waits for included. */
  #isFull({ held, waiting }: Claimant, lock: Lock): boolean {
    if (held.size + waiting.size < LOCKS_HELD_MAX) return false;
    for (const one of [...held.values()]) this.#lapse(one);
    const locks = new Set([...held.values(), ...[...waiting.values()].map((waiter) => waiter.lock)]);
    return !locks.has(lock) && locks.size >= LOCKS_HELD_MAX;
  }

  #takeRefusal(pid: ProcessId, call: number): OsError | undefined {
    const refusals = this.#refusals.get(pid);
    const refusal = refusals?.get(call);
    refusals?.delete(call);
    if (refusals?.size === 0) this.#refusals.delete(pid);
    return refusal;
  }

  /** Ends a step: circles, classes, the timer, and only then those who are told, so that they find everything in order. */
  #settle(): void {
    for (const pid of this.#suspects) this.#breakCircles(pid);
    this.#suspects.clear();
    const moved = this.#table.settle().map(({ who, rank }) => ({ ...who, class: classOf(rank) }));
    this.#setTimer();
    const summoned = [...this.#summoned];
    this.#summoned.clear();
    if (moved.length > 0) this.#options.onRestand?.(moved);
    for (const pid of summoned) this.#options.summon(pid);
  }

  #setTimer(): void {
    const atMs = this.#table.contended.first?.untilMs ?? null;
    if (atMs === (this.#timer?.atMs ?? null)) return;
    this.#timer?.cancel();
    this.#timer = null;
    if (atMs === null) return;
    const ms = Math.min(Math.max(0, atMs - this.#nowMs()), TIMER_MS_MAX);
    this.#timer = { atMs, cancel: this.#options.clock.after(ms, () => this.#onTimer()) };
  }

  #onTimer(): void {
    this.#timer = null;
    const due: Lock[] = [];
    for (const { untilMs, lock } of this.#table.contended) {
      if (untilMs > this.#nowMs()) break;
      due.push(lock);
    }
    for (const lock of due) this.#lapse(lock);
    this.#settle();
  }

  *#edgesFrom(pid: ProcessId): Iterable<Edge<Waiter>> {
    for (const waiter of this.#table.find(pid)?.waiting.values() ?? []) {
      const { hold } = waiter.lock;
      const to = hold?.claimant.who.pid;
      // What one call holds is given back when it ends, whatever its process waits for besides.
      if (to !== undefined && to !== pid && hold?.forCall === false) yield { from: pid, to, by: waiter };
    }
    for (const to of this.#exits.get(pid)?.values() ?? []) yield { from: pid, to, by: null };
  }

  /** All new edges touch `pid`, so every new circle goes through it. */
  #breakCircles(pid: ProcessId): void {
    for (;;) {
      const circle = findCircle(pid, (from) => this.#edgesFrom(from));
      const victim = circle === null ? undefined : victimOf(circle);
      // A circle of exits alone cannot come about: a process waits for the exit of its descendants only.
      if (circle === null || victim === undefined) return;
      this.#refuse(victim, deadlock(circle, victim));
    }
  }

  #refuse(waiter: Waiter, error: OsError): void {
    const { asker, call, claimant } = waiter;
    const { pid } = claimant.who;
    this.#leave(waiter);
    if (asker !== null) return asker.refuse(error);
    const refusals = this.#refusals.get(pid) ?? new Map<number, OsError>();
    this.#refusals.set(pid, refusals.set(call, error));
    this.#summoned.add(pid);
  }
}

const heldLock = ({ lock: { key }, call, untilMs, forCall }: Hold): HeldLock => ({
  key,
  call,
  untilMs,
  ...(forCall ? { forCall } : {}),
});

/** Undefined where nobody else has the lock: it is there for the taking when the process comes back. */
function explain(waiter: Waiter): LockWait | undefined {
  const { call, claimant, lock, sinceMs } = waiter;
  if (lock.hold === null || lock.hold.claimant === claimant) return undefined;
  const position = lock.waiters.positionOf(waiter);
  const ahead = lock.waiters.head(Math.min(position, AHEAD_MAX));
  return {
    call,
    key: lock.key,
    holder: lock.hold.claimant.who.pid,
    position,
    ahead: ahead.map(({ claimant: { who, rank } }) => ({ pid: who.pid, class: classOf(rank) })),
    untilMs: lock.hold.untilMs,
    sinceMs,
  };
}

const cancelled = (key: string): OsError =>
  new OsError("cancelled", `The call was given up while it waited for the lock "${key}".`);

const tooMany = (pid: ProcessId, key: string): OsError =>
  new OsError(
    "limit_exceeded",
    `Process ${pid} did not get the lock "${key}": it holds, or waits for, ${LOCKS_HELD_MAX} locks already. Release some first.`,
    { data: { limit: "LOCKS_HELD_MAX", max: LOCKS_HELD_MAX } },
  );

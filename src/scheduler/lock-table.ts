// The records behind the locks: who holds which key, who waits for it in which order, and the class that each process has by
// inheritance. Decides nothing: locks.ts says who gets a lock, and when.
//
// Invariants:
//   1. The waiters of a lock stand in the order of their processes' effective classes, then of their arrival.
//   2. After `settle`, the effective class of a process is the most urgent among its own and the effective classes of the
//      others that wait for a lock that it holds. This is priority inheritance (L. Sha, R. Rajkumar, J. P. Lehoczky, Priority
//      Inheritance Protocols, IEEE Transactions on Computers 39(9), 1990): nobody waits for a lock longer because its holder,
//      or whoever that holder waits for in turn, stands behind others.
//   3. `contended` holds each lease that somebody waits behind, and no other, the one that ends first in front.
//   4. After `settle`, there is no record of a process that neither holds nor waits, and none of a lock without either.
//
// The waiting of a parent for its child's exit passes on no class: a parent that starts work of a lower class means it.
import type { ProcessId } from "../abi/ids.ts";
import { CLASSES, type Class, rankOf } from "../abi/scheduling.ts";
import type { HeldLock, Standing } from "../ports/scheduler.ts";
import type { OsError } from "../abi/errors.ts";
import { SortedList } from "./sorted-list.ts";

/** A process that holds a lock or waits for one. */
export type Claimant = {
  who: Standing;
  /** The rank of its effective class. */
  rank: number;
  /** Locks by key, those that are kept for it included. */
  readonly held: Map<string, Lock>;
  /** By the number of the call. */
  readonly waiting: Map<number, Waiter>;
};

export type Waiter = {
  readonly claimant: Claimant;
  readonly call: number;
  readonly lock: Lock;
  readonly arrival: number;
  readonly sinceMs: number;
  leaseMs: number;
  readonly forCall: boolean;
  /** Whoever is to be told; null while the process is out of memory. */
  asker: Asker | null;
  /** Its turn came, the lock was kept for it, and it did not come for as long as its lease would have lasted. */
  passedOver: boolean;
};

export type Asker = { readonly grant: (lock: HeldLock) => void; readonly refuse: (error: OsError) => void };

export type Lock = {
  readonly name: string;
  readonly key: string;
  readonly waiters: SortedList<Waiter>;
  hold: Hold | null;
};

export type Hold = {
  readonly claimant: Claimant;
  readonly lock: Lock;
  /** The call that took it first. */
  readonly call: number;
  readonly untilMs: number;
  /** It ends with that call. */
  readonly forCall: boolean;
  /** The absent waiter that it is kept for; null once it is taken. */
  readonly keptFor: Waiter | null;
  readonly order: number;
};

const NO_RANK = CLASSES.length;

export class LockTable {
  readonly #claimants = new Map<ProcessId, Claimant>();
  readonly #locks = new Map<string, Lock>();
  /** Claimants whose inherited class may have changed, and records that may have become empty. */
  readonly #stale = new Set<Claimant>();
  readonly #touched = new Set<Lock>();
  readonly #contended = new SortedList<Hold>((one, other) => one.untilMs - other.untilMs || one.order - other.order);
  #order = 0;

  get contended(): SortedList<Hold> {
    return this.#contended;
  }

  /** Records in memory, for those who look for leaks. */
  get size(): number {
    return this.#claimants.size + this.#locks.size;
  }

  find(pid: ProcessId): Claimant | undefined {
    return this.#claimants.get(pid);
  }

  claimantOf(who: Standing): Claimant {
    const found = this.#claimants.get(who.pid);
    const claimant = found ?? { who, rank: rankOf(who.class), held: new Map(), waiting: new Map() };
    if (found === undefined) this.#claimants.set(who.pid, claimant);
    claimant.who = who;
    this.#stale.add(claimant);
    return claimant;
  }

  /** Equal keys of two tenants are two locks. A tenant's name has no line breaks, so that no two pairs share a name. */
  lockOf({ tenant }: Standing, key: string): Lock {
    const name = `${tenant}\n${key}`;
    const found = this.#locks.get(name);
    if (found !== undefined) return found;
    const waiters = new SortedList<Waiter>(
      (one, other) => one.claimant.rank - other.claimant.rank || one.arrival - other.arrival,
    );
    const lock: Lock = { name, key, waiters, hold: null };
    this.#locks.set(name, lock);
    this.#touched.add(lock);
    return lock;
  }

  nextOrder(): number {
    this.#order += 1;
    return this.#order;
  }

  enqueue(waiter: Waiter): void {
    const { lock, claimant } = waiter;
    claimant.waiting.set(waiter.call, waiter);
    lock.waiters.add(waiter);
    if (lock.waiters.size === 1 && lock.hold !== null) this.#contended.add(lock.hold);
    this.#touch(lock);
  }

  dequeue(waiter: Waiter): void {
    const { lock, claimant } = waiter;
    if (!lock.waiters.delete(waiter)) return;
    claimant.waiting.delete(waiter.call);
    this.#stale.add(claimant);
    if (lock.waiters.size === 0 && lock.hold !== null) this.#contended.delete(lock.hold);
    this.#touch(lock);
  }

  hold(lock: Lock, terms: Pick<Hold, "claimant" | "call" | "untilMs" | "forCall" | "keptFor">): Hold {
    this.free(lock);
    const hold: Hold = { ...terms, lock, order: this.nextOrder() };
    lock.hold = hold;
    hold.claimant.held.set(lock.key, lock);
    if (lock.waiters.size > 0) this.#contended.add(hold);
    this.#touch(lock);
    return hold;
  }

  free(lock: Lock): void {
    if (lock.hold === null) return;
    this.#touch(lock);
    this.#contended.delete(lock.hold);
    lock.hold.claimant.held.delete(lock.key);
    lock.hold = null;
  }

  /** Passes classes on until none changes, and drops what is empty. Gives those whose effective class is another one now. */
  settle(): Claimant[] {
    const before = new Map<Claimant, number>();
    const seen = new Set<Claimant>();
    for (const claimant of this.#stale) {
      // A claimant that becomes stale again while the set is walked is walked again.
      this.#stale.delete(claimant);
      seen.add(claimant);
      const rank = Math.min(rankOf(claimant.who.class), mostUrgentWaiter(claimant));
      if (rank === claimant.rank) continue;
      if (!before.has(claimant)) before.set(claimant, claimant.rank);
      this.#move(claimant, rank);
    }
    for (const lock of this.#touched) if (lock.hold === null && lock.waiters.size === 0) this.#locks.delete(lock.name);
    this.#touched.clear();
    for (const { who, held, waiting } of seen)
      if (held.size === 0 && waiting.size === 0) this.#claimants.delete(who.pid);
    return [...before].filter(([{ rank }, was]) => rank !== was).map(([claimant]) => claimant);
  }

  #touch(lock: Lock): void {
    this.#touched.add(lock);
    if (lock.hold !== null) this.#stale.add(lock.hold.claimant);
  }

  /** Its places in the queues follow its class, so it is taken out of them while that changes. */
  #move(claimant: Claimant, rank: number): void {
    const waiters = [...claimant.waiting.values()];
    for (const waiter of waiters) waiter.lock.waiters.delete(waiter);
    claimant.rank = rank;
    for (const waiter of waiters) {
      waiter.lock.waiters.add(waiter);
      this.#touch(waiter.lock);
    }
  }
}

/** The rank of the most urgent among those that wait for what the process holds; below all classes if nobody does. */
function mostUrgentWaiter(claimant: Claimant): number {
  let rank: number = NO_RANK;
  for (const lock of claimant.held.values()) {
    const first = firstOther(lock, (waiter) => waiter.claimant === claimant);
    if (first !== undefined) rank = Math.min(rank, first.claimant.rank);
  }
  return rank;
}

/** The first waiter that is not left out. Those left out are few: calls of the holder itself, members of one circle. */
export function firstOther({ waiters }: Lock, leftOut: (waiter: Waiter) => boolean): Waiter | undefined {
  for (const waiter of waiters) if (!leftOut(waiter)) return waiter;
  return undefined;
}

export const classOf = (rank: number): Class => CLASSES[rank] as Class;

/** The most urgent of the process's own class and those of the processes that wait for what it holds. */
export function effectiveRank(who: Standing, claimant: Claimant | undefined): number {
  const own = rankOf(who.class);
  return claimant === undefined ? own : Math.min(own, mostUrgentWaiter(claimant));
}

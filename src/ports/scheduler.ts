// The scheduler's face. Two decisions (which ready process a node runs, which waiting call gets a resource) and two
// accounts (budgets, locks). All of it is memory: after a restart the kernel opens the accounts anew from the process
// table, and processes that waited for a turn are ready and ask again.
//
// Deterministic: the same calls at the same times of the clock give the same decisions.
import type { Budget } from "../abi/agents.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Spent } from "../abi/process.ts";
import type { Class } from "../abi/scheduling.ts";

/** Where a process stands among the others. */
export type Standing = {
  readonly pid: ProcessId;
  readonly root: ProcessId;
  readonly tenant: string;
  readonly class: Class;
  /** Of its root's tree among the trees of its tenant. */
  readonly weight: number;
};

/** A thing of which only so much can be in use, such as the slots of a model's provider. */
export type Resource = {
  readonly name: string;
  /** Calls at once. */
  readonly concurrency: number;
  readonly requestsPerMinute?: number | undefined;
  readonly tokensPerMinute?: number | undefined;
  /** Slots that only this class and those above it may take, where an operator keeps some free. */
  readonly reserved?: { readonly [name in Class]?: number } | undefined;
};

/** What a provider says of its limits, with an answer or a refusal. Absent: it did not say. */
export type RateReport = {
  readonly requests?: RateWindow;
  readonly tokens?: RateWindow;
  /** It refused (429, 503, 529); no call before this time. Milliseconds since 1970. */
  readonly pausedUntilMs?: number;
};
/** `limit` in `windowMs`, of which `remaining` are left until `resetMs` (since 1970). */
export type RateWindow = {
  readonly limit?: number;
  readonly remaining?: number;
  readonly resetMs?: number;
  readonly windowMs?: number;
};

/** A slot of a resource, taken. */
export interface Slot {
  /** It was given by age, while calls of a higher class waited: after so many milliseconds. */
  readonly agedMs?: number | undefined;
  /** Gives it back. Once; later calls do nothing. `tokens` is what the call really used, for the limit of tokens. */
  release(used?: { readonly tokens?: number }): void;
}

/** Why a call waits, in facts; the kernel puts them into words. */
export type TurnWait = {
  readonly call: number;
  readonly resource: string;
  /** How many calls go before it as things stand; 0 is next. */
  readonly position: number;
  /** Some of those before it, next first; at most five. */
  readonly ahead: readonly { readonly pid: ProcessId; readonly class: Class }[];
  readonly inUse: number;
  readonly slots: number;
  /** Why nobody is served now though a slot is free: the provider's limit, or its pause. */
  readonly held: { readonly by: "requests" | "tokens" | "pause" | "reserve"; readonly untilMs: number | null } | null;
  /** By the mean time of service so far; null before anything was served. */
  readonly estimateMs: number | null;
  readonly sinceMs: number;
};

/** The second decision: which waiting call gets a resource. Strict by class with ageing; fair among tenants, then trees. */
export interface Turns {
  /**
   * A slot, when it is the call's turn: at once if one is free and nobody is before it. Rejects with `cancelled` when the signal
   * fires. A call that was parked (see `park`) keeps its place when it comes again with the same pid and number.
   */
  take(
    who: Standing,
    ask: { readonly call: number; readonly resource: Resource; readonly tokens?: number },
    signal: AbortSignal,
  ): Promise<Slot> | Slot;
  /**
   * The process leaves memory and its waiting calls keep their places. Others go before a call whose process is away; when
   * it would have been its turn, `summon` (given at construction) is told, once.
   */
  park(pid: ProcessId): void;
  /** One call gives up the place that it kept: it came back, and was refused before it asked for its turn. */
  leave(pid: ProcessId, call: number): void;
  /** The process is over, or starts again from nothing: its waiting calls lose their places. */
  forget(pid: ProcessId): void;
  /** These stand elsewhere now: their waiting calls move, all of them before anything is given out. */
  restand(...moved: readonly Standing[]): void;
  /** What a provider said of its limits. */
  report(resource: string, report: RateReport): void;
  /** What the waiting calls of a process wait for. */
  waits(pid: ProcessId): readonly TurnWait[];
  /** How long a call of this resource has to reckon with from now until it is done; null if nothing is known. */
  estimateMs(who: Standing, resource: Resource): number | null;
  load(): readonly ResourceLoad[];
}

export type ResourceLoad = {
  readonly name: string;
  readonly slots: number;
  readonly inUse: number;
  readonly waiting: { readonly [name in Class]: number };
  readonly meanServiceMs: number | null;
};

/** The first decision: which ready process a node brings into memory next. The same order as for turns. */
export interface ReadyOrder {
  add(who: Standing): void;
  delete(pid: ProcessId): boolean;
  has(pid: ProcessId): boolean;
  /** Takes the next one out; undefined if there is none. */
  next(): ProcessId | undefined;
  /** The class of the next one, without taking it. */
  readonly nextClass: Class | undefined;
  readonly size: number;
  clear(): void;
}

/** A call asks for more than is left in a budget of its line. */
export type Shortage = {
  /** The process whose budget it is: the asking one, or the nearest ancestor that bounds this. */
  readonly pid: ProcessId;
  readonly budget: Exclude<keyof Budget, "whenExhausted">;
  readonly max: number;
  readonly spent: number;
  readonly reserved: number;
  readonly asked: number;
};

/** A process's account as it is when it is opened. */
export type Account = {
  readonly pid: ProcessId;
  readonly parent: ProcessId | null;
  readonly budget: Budget;
  readonly createdMs: number;
  /** By its own calls. */
  readonly spent: Spent;
  /** For calls that were under way when the system stopped, by call. */
  readonly reserved: readonly { readonly call: number; readonly amounts: Spent }[];
  readonly exited: boolean;
};

/** Budgets as trees of reservations (K10). A dimension that a process does not bound is drawn from the nearest ancestor that does. */
export interface Budgets {
  /** Parents before children. Opening a child carves its budget from its line; throws `budget_exhausted` if it does not fit, unless `restored`. */
  open(account: Account, options?: { readonly restored?: boolean }): void;
  has(pid: ProcessId): boolean;
  /** Whether anything bounds the process or its line. */
  bounded(pid: ProcessId): boolean;
  /** What would be missing; null if it fits. Reserves nothing. */
  shortage(pid: ProcessId, amounts: Spent, nowMs: number): Shortage | null;
  /** Reserves for a call from every account of the line, or gives what is missing and reserves nothing. Adds to what the call has reserved already. */
  reserve(pid: ProcessId, call: number, amounts: Spent, nowMs: number): Shortage | null;
  /** The call has its outcome: everything reserved for it is given back and `charged` is spent. */
  settle(pid: ProcessId, call: number, charged: Spent): void;
  /** What is left to the process in each dimension that is bounded; `wallMs` is time. */
  left(pid: ProcessId, nowMs: number): { readonly [name in keyof Spent | "tokens" | "wallMs"]?: number };
  /** The whole tree below, itself included: spent by it and its descendants, and reserved. */
  total(pid: ProcessId): { readonly spent: Spent; readonly reserved: Spent };
  /** A new budget for a living process. Throws `budget_exhausted` if the line has not got the difference, `conflict` if less is asked than is used up. */
  change(pid: ProcessId, budget: Budget): void;
  /** The process is over: what it reserved and did not settle stays charged; what is left of its carving goes back. */
  close(pid: ProcessId): void;
  /** Forgets a tree. */
  forget(root: ProcessId): void;
}

export type LockWait = {
  readonly call: number;
  readonly key: string;
  readonly holder: ProcessId;
  readonly position: number;
  readonly ahead: readonly { readonly pid: ProcessId; readonly class: Class }[];
  /** When the holder's lease runs out; milliseconds since 1970. */
  readonly untilMs: number;
  readonly sinceMs: number;
};

/** `forCall`: held by one call for as long as it is performed, and not by the program. */
export type HeldLock = {
  readonly key: string;
  readonly call: number;
  readonly untilMs: number;
  readonly forCall?: true;
};

/** Locks by key. Order of waiters: class, then arrival. */
export interface Locks {
  /**
   * The lock, when it is free. A process that holds it already gets it again, with the later end. Rejects with `cancelled` when the signal
   * fires, with `deadlock` if the call was chosen to break a circle (the waiter of the lowest class in it; the latest of several),
   * with `limit_exceeded` beyond LOCKS_HELD_MAX. As with turns, a call that was parked keeps its place.
   * A lock `forCall` is given back when its call ends, whatever else its process waits for: waiting for it closes no circle.
   */
  acquire(
    who: Standing,
    ask: { readonly call: number; readonly key: string; readonly leaseMs: number; readonly forCall?: boolean },
    signal: AbortSignal,
  ): Promise<HeldLock> | HeldLock;
  /** False if it was not held. With `forCall`, what the program has taken for itself meanwhile stays held. */
  release(pid: ProcessId, key: string, options?: { readonly forCall?: boolean }): boolean;
  /** Takes back what was held when the system stopped; before anything is acquired. */
  restore(who: Standing, held: readonly HeldLock[]): void;
  /** The process waits for the exit of another, or no longer does (null): an edge in the search for circles. */
  waitsForExit(pid: ProcessId, call: number, target: ProcessId | null): void;
  park(pid: ProcessId): void;
  /** The process is over: gives back all it held and its places. */
  forget(pid: ProcessId): void;
  restand(who: Standing): void;
  held(pid: ProcessId): readonly HeldLock[];
  waits(pid: ProcessId): readonly LockWait[];
  /** The most urgent class among those that wait for what the process holds, over any number of steps; its own if none is above it. */
  effectiveClass(who: Standing): Class;
}

export interface Scheduler {
  readonly ready: ReadyOrder;
  readonly turns: Turns;
  readonly budgets: Budgets;
  readonly locks: Locks;
}

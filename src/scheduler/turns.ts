// Which waiting call gets a resource: the resources, and for each process the calls with which it waits for one.
//
// Boundary: a resource's slots, order, rates and explanations stand in files of their own; this one knows whose call is whose,
// and what becomes of it when its caller gives up, goes away, comes back or stands elsewhere.
//
// Invariants:
//   T1. A call that is given up while it waits leaves; one that was parked does not hear its old signal any more.
//   T2. A call that was parked and comes again has its old place. Its process is called back once for each time it was parked.
//   T3. A slot that is free while nobody waits is taken without a promise.
//   T4. What nobody uses is bounded: idle resources are dropped when there are many.
import { OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Clock } from "../ports/clock.ts";
import type { RateReport, Resource, ResourceLoad, Slot, Standing, Turns, TurnWait } from "../ports/scheduler.ts";
import { turnWait, untilDoneMs } from "./explain.ts";
import type { Flow } from "./flow.ts";
import type { Work } from "./heap.ts";
import type { Whereabouts } from "./order.ts";
import { ResourceQueue, type Surroundings, type Waiting } from "./resource.ts";

/** So many resources are kept before the idle ones among them are dropped. */
const RESOURCES_KEPT = 256;

export type TurnsOptions = {
  readonly clock: Clock;
  /** Told when a call of a parked process would have its turn. */
  readonly summon: (pid: ProcessId) => void;
  /** A class that has waited so long at a resource without a turn gets one. Milliseconds. */
  readonly agingMs: number;
  /** The share of a tenant. */
  readonly weightOf: (tenant: string) => number;
  /** At least 0 and below 1: the jitter after a pause. None if absent. */
  readonly random?: () => number;
  /** Counts what the choices cost; nobody counts if absent. */
  readonly work?: Work;
};

type Ask = { readonly call: number; readonly resource: Resource; readonly tokens?: number };
/** A process with calls that wait: few, for what a process may have under way is bounded. */
type Waiter = { away: boolean; called: boolean; entries: readonly WaitingCall[] };

export const createTurns = (options: TurnsOptions): Turns => new TurnsAtResources(options);

const cancelled = (resource: string): OsError =>
  new OsError("cancelled", `The call was given up while it waited for ${resource}.`);

class TurnsAtResources implements Turns {
  readonly #options: TurnsOptions;
  readonly #around: Surroundings;
  readonly #queues = new Map<string, ResourceQueue>();
  readonly #waiters = new Map<ProcessId, Waiter>();
  #arrivals = 0;
  #sweepAt = RESOURCES_KEPT;
  readonly #over = (entry: WaitingCall): void => this.#drop(entry);

  constructor(options: TurnsOptions) {
    this.#options = options;
    const { clock, agingMs, weightOf, random = () => 0, work = { comparisons: 0 } } = options;
    this.#around = { clock, agingMs, weightOf, random, work, absent: (entry) => this.#absent(entry) };
  }

  take(who: Standing, ask: Ask, signal: AbortSignal): Promise<Slot> | Slot {
    if (signal.aborted) return Promise.reject(cancelled(ask.resource.name));
    const queue = this.#queueOf(ask.resource);
    const waiter = this.#waiters.get(who.pid);
    const kept = waiter === undefined ? undefined : this.#returned(waiter, ask, queue);
    if (kept !== undefined) {
      queue.shift(kept, { where: "present", who });
      return settled(kept, queue, signal);
    }
    const slot = queue.takeFree(who, ask.tokens ?? 0);
    if (slot !== undefined) return slot;
    const entry = this.#entry(who, ask, queue);
    queue.enqueue(entry);
    return settled(entry, queue, signal);
  }

  park(pid: ProcessId): void {
    const waiter = this.#waiters.get(pid);
    if (waiter === undefined) return;
    waiter.away = true;
    waiter.called = false;
    for (const entry of waiter.entries) {
      const { where, queue } = entry;
      entry.unbind();
      queue.shift(entry, { where: "away" });
      // It was called back, and goes away before it has asked: its turn is still there.
      if (where === "aside") queue.dispatchSoon();
    }
  }

  forget(pid: ProcessId): void {
    const waiter = this.#waiters.get(pid);
    if (waiter === undefined) return;
    this.#waiters.delete(pid);
    // All leave before anything is given out, or one of them would get it.
    for (const entry of waiter.entries) {
      entry.queue.leave(entry);
      entry.reject();
    }
    dispatchAll(waiter.entries);
  }

  leave(pid: ProcessId, call: number): void {
    const entry = this.#waiters.get(pid)?.entries.find((each) => each.call === call);
    if (entry === undefined) return;
    this.#drop(entry);
    entry.queue.leave(entry);
    entry.reject();
    entry.queue.dispatch();
  }

  restand(...standings: readonly Standing[]): void {
    const moved = standings.flatMap((who) =>
      (this.#waiters.get(who.pid)?.entries ?? []).map((entry) => {
        entry.queue.shift(entry, { who });
        return entry;
      }),
    );
    dispatchAll(moved);
  }

  report(resource: string, report: RateReport): void {
    this.#queues.get(resource)?.report(report);
  }

  waits(pid: ProcessId): readonly TurnWait[] {
    return (this.#waiters.get(pid)?.entries ?? []).map(turnWait);
  }

  estimateMs(who: Standing, resource: Resource): number | null {
    const queue = this.#queues.get(resource.name);
    return queue === undefined ? null : untilDoneMs(queue, who);
  }

  load(): readonly ResourceLoad[] {
    return [...this.#queues.values()].map((queue) => queue.load());
  }

  #queueOf(resource: Resource): ResourceQueue {
    const { name } = resource;
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      if (this.#queues.size >= this.#sweepAt) this.#sweep();
      queue = new ResourceQueue(name, this.#around);
      this.#queues.set(name, queue);
    }
    if (!queue.is(resource)) queue.configure(resource, resource.reserved);
    return queue;
  }

  #sweep(): void {
    for (const [name, queue] of this.#queues) if (queue.idle) this.#queues.delete(name);
    this.#sweepAt = Math.max(RESOURCES_KEPT, 2 * this.#queues.size);
  }

  /** The place that the call has kept, if it has one at this resource. Its process is here again. */
  #returned(waiter: Waiter, ask: Ask, queue: ResourceQueue): WaitingCall | undefined {
    waiter.away = false;
    waiter.called = false;
    const entry = waiter.entries.find((each) => each.call === ask.call);
    if (entry === undefined) return undefined;
    entry.reject();
    if (entry.queue === queue) return entry;
    // The call has become another one.
    this.#drop(entry);
    entry.queue.leave(entry);
    entry.queue.dispatch();
    return undefined;
  }

  #entry(who: Standing, { call, tokens = 0 }: Ask, queue: ResourceQueue): WaitingCall {
    this.#arrivals += 1;
    const asked = { who, arrival: this.#arrivals, call, tokens, queue, sinceMs: queue.nowMs() };
    const entry = new WaitingCall(asked, this.#over);
    const waiter = this.#waiters.get(who.pid);
    if (waiter === undefined) this.#waiters.set(who.pid, { away: false, called: false, entries: [entry] });
    else waiter.entries = [...waiter.entries, entry];
    return entry;
  }

  #drop(entry: WaitingCall): void {
    const { pid } = entry.who;
    const waiter = this.#waiters.get(pid);
    if (waiter === undefined) return;
    if (waiter.entries.length > 1) waiter.entries = waiter.entries.filter((each) => each !== entry);
    else if (waiter.entries[0] === entry) this.#waiters.delete(pid);
  }

  #absent({ who }: Waiting): void {
    const waiter = this.#waiters.get(who.pid);
    if (waiter?.away !== true || waiter.called) return;
    waiter.called = true;
    this.#options.summon(who.pid);
  }
}

function dispatchAll(entries: readonly WaitingCall[]): void {
  for (const each of new Set(entries.map(({ queue }) => queue))) each.dispatch();
}

/** The slot if the call has its turn already, else the promise of it. */
function settled(entry: WaitingCall, queue: ResourceQueue, signal: AbortSignal): Promise<Slot> | Slot {
  queue.dispatch();
  return entry.slot ?? entry.bind(signal);
}

type Asked = Pick<Waiting, "who" | "arrival" | "call" | "queue" | "tokens" | "sinceMs">;

/** A call that waits, with the promise that its caller has of it; none while the process is away. */
class WaitingCall implements Waiting {
  readonly arrival: number;
  hereHandle = -1;
  awayHandle = -1;
  who: Standing;
  where: Whereabouts = "present";
  flow: Flow<Waiting> | undefined;
  readonly call: number;
  readonly queue: ResourceQueue;
  readonly tokens: number;
  readonly sinceMs: number;
  readonly #over: (call: WaitingCall) => void;
  slot: Slot | undefined;
  #signal: AbortSignal | undefined;
  #resolve: ((slot: Slot) => void) | undefined;
  #reject: ((error: OsError) => void) | undefined;

  constructor({ who, arrival, call, queue, tokens, sinceMs }: Asked, over: (call: WaitingCall) => void) {
    this.who = who;
    this.arrival = arrival;
    this.call = call;
    this.queue = queue;
    this.tokens = tokens;
    this.sinceMs = sinceMs;
    this.#over = over;
  }

  grant(slot: Slot): void {
    this.slot = slot;
    const resolve = this.#resolve;
    this.unbind();
    this.#over(this);
    resolve?.(slot);
  }

  bind(signal: AbortSignal): Promise<Slot> {
    this.#signal = signal;
    signal.addEventListener("abort", this);
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Whoever waited for it waits no longer, and hears nothing. */
  unbind(): void {
    this.#signal?.removeEventListener("abort", this);
    this.#signal = undefined;
    this.#resolve = undefined;
    this.#reject = undefined;
  }

  reject(): void {
    const reject = this.#reject;
    this.unbind();
    reject?.(cancelled(this.queue.name));
  }

  /** Its signal fired. */
  handleEvent(): void {
    this.#over(this);
    this.queue.leave(this);
    this.reject();
    this.queue.dispatch();
  }
}

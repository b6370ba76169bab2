// Which ready process is brought into memory next: the same order as for turns at a resource. A turn costs the same
// for each, since nobody knows how long a process will stay.
//
// Invariants:
//   1. Each process stands in it once. One that is added again keeps its arrival, and moves to where it stands now.
//   2. A class that waited `agingMs` without a turn gets one when room is next made, but no more than every second: O2 of order.ts.
import type { ProcessId } from "../abi/ids.ts";
import { CLASSES, rankOf, type Class } from "../abi/scheduling.ts";
import type { Clock } from "../ports/clock.ts";
import type { ReadyOrder, Standing } from "../ports/scheduler.ts";
import type { Flow } from "./flow.ts";
import { type Choosing, type Entry, Order, type Whereabouts } from "./order.ts";

export type ReadyOptions = {
  /** Without one nothing ages. */
  readonly clock?: Clock;
  readonly agingMs: number;
  /** The share of a tenant. */
  readonly weightOf: (tenant: string) => number;
};

const TURN_COST = 1;

class ReadyProcess implements Entry<ReadyProcess> {
  readonly arrival: number;
  hereHandle = -1;
  awayHandle = -1;
  who: Standing;
  where: Whereabouts = "present";
  flow: Flow<ReadyProcess> | undefined;

  constructor(who: Standing, arrival: number) {
    this.who = who;
    this.arrival = arrival;
  }
}

export const createReadyOrder = (options: ReadyOptions): ReadyOrder => new Ready(options);

class Ready implements ReadyOrder {
  readonly #options: ReadyOptions;
  readonly #entries = new Map<ProcessId, ReadyProcess>();
  #order: Order<ReadyProcess>;
  #arrivals = 0;

  constructor(options: ReadyOptions) {
    this.#options = options;
    this.#order = new Order(options.weightOf);
  }

  get size(): number {
    return this.#entries.size;
  }

  get nextClass(): Class | undefined {
    const entry = this.#order.choose(this.#choosing());
    return entry === undefined ? undefined : CLASSES[rankOf(entry.who.class)];
  }

  add(who: Standing): void {
    const nowMs = this.#nowMs();
    const known = this.#entries.get(who.pid);
    if (known !== undefined) return this.#order.restand(known, who, nowMs);
    this.#arrivals += 1;
    const entry = new ReadyProcess(who, this.#arrivals);
    this.#entries.set(who.pid, entry);
    this.#order.add(entry, nowMs);
  }

  delete(pid: ProcessId): boolean {
    const entry = this.#entries.get(pid);
    if (entry === undefined) return false;
    this.#entries.delete(pid);
    this.#order.remove(entry, this.#nowMs());
    return true;
  }

  has(pid: ProcessId): boolean {
    return this.#entries.has(pid);
  }

  next(): ProcessId | undefined {
    const choosing = this.#choosing();
    const entry = this.#order.choose(choosing);
    if (entry === undefined) return undefined;
    this.#order.serve(entry, choosing.nowMs, TURN_COST);
    const { pid } = entry.who;
    this.#entries.delete(pid);
    return pid;
  }

  clear(): void {
    this.#entries.clear();
    this.#order = new Order(this.#options.weightOf);
  }

  #nowMs(): number {
    return this.#options.clock?.nowMs() ?? 0;
  }

  #choosing(): Choosing {
    return { nowMs: this.#nowMs(), agingMs: this.#options.agingMs, fits: () => true, presentOnly: true };
  }
}

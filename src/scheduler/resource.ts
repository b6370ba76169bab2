// One resource: its slots, who has them, and who waits for one.
//
// Boundary: which calls a process has at which resources is known in turns.ts; order and rates stand in files of their own.
//
// Invariants:
//   S1. At most `concurrency` slots are taken. A slot is given back once, whoever asks twice.
//   S2. Of the slots that are kept for a class and those above it, nothing below takes one. At least one slot is open to all.
//   S3. While a slot is free and nothing holds it (rates, reserve), no call that is present waits.
//   S4. A slot is never kept for a call whose process is away: the next one that is present gets it, and the process is called back.
//       No more are called back at once than there are slots, so thousands of parked calls wake nobody in vain.
//   S5. A call of a higher class waits for lower ones at most as long as those that have their slots, but for turns given by age.
//   S6. One timer at most, and none while nobody waits.
import { CLASSES, rankOf } from "../abi/scheduling.ts";
import type { Clock } from "../ports/clock.ts";
import type { RateReport, Resource, ResourceLoad, Slot, Standing } from "../ports/scheduler.ts";
import { COST_MS_MIN, type Occupation } from "./flow.ts";
import type { Work } from "./heap.ts";
import { type Entry, Order } from "./order.ts";
import { type Hold, Rates } from "./rates.ts";

/** How much the latest time of service counts in the mean. */
const MEAN_SHARE = 0.1;
const TIMER_MS_MAX = 2 ** 31 - 1;

/** A call that waits for a slot. */
export interface Waiting extends Entry<Waiting> {
  readonly call: number;
  readonly queue: ResourceQueue;
  readonly tokens: number;
  readonly sinceMs: number;
  /** It has its turn. */
  grant(slot: Slot): void;
}

export type Surroundings = {
  readonly clock: Clock;
  readonly agingMs: number;
  readonly weightOf: (tenant: string) => number;
  readonly random: () => number;
  /** The turn of a call has come whose process is away. */
  readonly absent: (entry: Waiting) => void;
  /** Counts what the order does. */
  readonly work: Work;
};

/** Why nobody of a class is served though a slot is free. */
export type Held = Hold | { readonly by: "reserve"; readonly untilMs: null };

export class ResourceQueue {
  readonly name: string;
  readonly order: Order<Waiting>;
  readonly rates: Rates;
  readonly #around: Surroundings;
  #resource: Resource | undefined;
  #slots = 1;
  /** By rank: the slots that a class and those below it may take together. */
  #open: number[] = [];
  #inUse = 0;
  readonly #inUseByRank = CLASSES.map(() => 0);
  #meanMs: number | null = null;
  /** Calls that were called back and are not here yet. */
  #aside = 0;
  #timer: { readonly atMs: number; readonly cancel: () => void } | undefined;
  readonly #fits = (rank: number): boolean => this.fits(rank);

  constructor(name: string, around: Surroundings) {
    this.name = name;
    this.#around = around;
    this.order = new Order(around.weightOf, around.work);
    this.rates = new Rates(around.random);
  }

  get slots(): number {
    return this.#slots;
  }
  get inUse(): number {
    return this.#inUse;
  }
  /** Of the times of service so far, the latest first; null before the first. */
  get meanMs(): number | null {
    return this.#meanMs;
  }
  get idle(): boolean {
    return this.#inUse === 0 && this.order.size === 0 && this.rates.calm(this.#around.clock.nowMs());
  }

  nowMs(): number {
    return this.#around.clock.nowMs();
  }

  /** Whether it is declared to be just this. */
  is(resource: Resource): boolean {
    const known = this.#resource;
    return (
      resource === known ||
      (known !== undefined &&
        resource.concurrency === known.concurrency &&
        resource.requestsPerMinute === known.requestsPerMinute &&
        resource.tokensPerMinute === known.tokensPerMinute &&
        resource.reserved === known.reserved)
    );
  }

  /** Takes over what the resource is declared to be now; `dispatch` follows with the call that brought it. */
  configure(resource: Resource, reserved: Resource["reserved"]): void {
    this.#resource = resource;
    this.#slots = Math.max(1, resource.concurrency);
    let kept = 0;
    this.#open = CLASSES.map((name) => {
      const open = Math.max(1, this.#slots - kept);
      kept += reserved?.[name] ?? 0;
      return open;
    });
    this.rates.configure(resource, this.#around.clock.nowMs());
  }

  /** The slots that a class may take. */
  openTo(rank: number): number {
    return this.#open[rank] ?? 1;
  }

  /** Whether there is a slot for a class: it, and each class above it with all below, stays within what is open to it. */
  fits(rank: number): boolean {
    if (this.#inUse >= this.#slots) return false;
    let below = this.#inUse;
    for (let at = 0; at <= rank; at += 1) {
      if (below >= this.openTo(at)) return false;
      below -= this.#inUseByRank[at] ?? 0;
    }
    return true;
  }

  /** A slot at once, if one is free and nobody waits. */
  takeFree(who: Standing, tokens: number): Slot | undefined {
    const rank = rankOf(who.class);
    if (this.order.size > 0 || !this.fits(rank)) return undefined;
    const nowMs = this.#around.clock.nowMs();
    if (this.rates.limited && this.rates.hold(tokens, nowMs) !== null) return undefined;
    // Nobody waits, so nobody pays.
    return this.#occupy(this.order.flowOf(who).occupy(nowMs, 0), { rank, tokens, agedMs: undefined });
  }

  /** Before `dispatch`. */
  enqueue(entry: Waiting): void {
    this.order.add(entry, this.#around.clock.nowMs());
  }

  /** It no longer waits. Before `dispatch`. */
  leave(entry: Waiting): void {
    if (entry.where === "aside") this.#aside -= 1;
    this.order.remove(entry, this.#around.clock.nowMs());
  }

  /** Its process went away, or is back, or stands elsewhere; the place stays. Before `dispatch`. */
  shift(entry: Waiting, to: { readonly where?: "present" | "away"; readonly who?: Standing }): void {
    const nowMs = this.#around.clock.nowMs();
    const { where = entry.where, who } = to;
    if (entry.where === "aside" && where !== "aside") this.#aside -= 1;
    if (where !== entry.where) this.order.move(entry, where, nowMs);
    if (who !== undefined) this.order.restand(entry, who, nowMs);
  }

  /** Looks for a turn to give a little later, and not within the call that asks for it. */
  dispatchSoon(): void {
    if (this.#timer === undefined) this.#arm(this.nowMs() + 1, this.nowMs());
  }

  report(report: RateReport): void {
    this.rates.report(report, this.#around.clock.nowMs());
    this.dispatch();
  }

  /** Why a call of this class and size is not served though a slot is free; null if none is free, or nothing holds it. */
  held(rank: number, tokens: number): Held | null {
    if (this.#inUse >= this.#slots) return null;
    const hold = this.rates.hold(tokens, this.#around.clock.nowMs());
    if (hold !== null) return hold;
    return this.fits(rank) ? null : { by: "reserve", untilMs: null };
  }

  load(): ResourceLoad {
    const waiting = CLASSES.map((name, rank) => [name, this.order.lanes[rank]?.root.waiting ?? 0] as const);
    return {
      name: this.name,
      slots: this.#slots,
      inUse: this.#inUse,
      waiting: Object.fromEntries(waiting) as ResourceLoad["waiting"],
      meanServiceMs: this.#meanMs,
    };
  }

  /** Gives out what is free. */
  dispatch(): void {
    if (this.order.size === 0) return this.#disarm();
    if (this.#inUse >= this.#slots) return;
    const nowMs = this.#around.clock.nowMs();
    const called: Waiting[] = [];
    const held = this.#giveOut(nowMs, called);
    if (!held) this.#disarm();
    // Last, since whoever is told may ask for something at once.
    for (const entry of called) this.#around.absent(entry);
  }

  /** Gives turns until nobody fits; true if a limit or a pause holds the next. Those to be called back are put into `called`. */
  #giveOut(nowMs: number, called: Waiting[]): boolean {
    // One is called back for each turn that is given.
    let calling = true;
    for (;;) {
      const room = this.order.present > 0 ? this.#slots : this.#slots - this.#inUse;
      const presentOnly = !calling || this.#aside >= room;
      const entry = this.#next(nowMs, presentOnly);
      if (entry === undefined && calling) return false;
      if (entry === undefined) {
        calling = true;
        continue;
      }
      if (this.#isHeld(entry, nowMs)) return true;
      calling = entry.where === "present";
      if (calling) this.#grant(entry, nowMs);
      else called.push(this.#setAside(entry, nowMs));
    }
  }

  #next(nowMs: number, presentOnly: boolean): Waiting | undefined {
    const agingMs = Math.max(this.#around.agingMs, this.#meanMs ?? 0);
    return this.order.choose({ nowMs, agingMs, fits: this.#fits, presentOnly });
  }

  #isHeld(entry: Waiting, nowMs: number): boolean {
    if (!this.rates.limited) return false;
    const hold = this.rates.hold(entry.tokens, nowMs);
    if (hold?.untilMs === null) this.#disarm();
    else if (hold !== null) this.#arm(hold.untilMs, nowMs);
    return hold !== null;
  }

  #grant(entry: Waiting, nowMs: number): void {
    const costMs = Math.max(COST_MS_MIN, this.#meanMs ?? 0);
    const flow = this.order.serve(entry, nowMs, costMs);
    const agedMs = this.order.aged ? nowMs - entry.sinceMs : undefined;
    const occupation = flow.occupy(nowMs, costMs);
    const slot = this.#occupy(occupation, { rank: rankOf(entry.who.class), tokens: entry.tokens, agedMs });
    entry.grant(slot);
  }

  #setAside(entry: Waiting, nowMs: number): Waiting {
    this.#aside += 1;
    this.order.move(entry, "aside", nowMs);
    return entry;
  }

  #occupy(occupation: Occupation<Waiting>, { rank, tokens, agedMs }: Omit<Taken, "wave"> & Aged): Slot {
    this.#inUse += 1;
    this.#inUseByRank[rank] = (this.#inUseByRank[rank] ?? 0) + 1;
    const slot = new TakenSlot(this, occupation, { rank, tokens, wave: this.rates.wave, agedMs });
    this.rates.begin(tokens, occupation.fromMs);
    return slot;
  }

  /** For `TakenSlot` alone. */
  vacate(occupation: Occupation<Waiting>, taken: Taken, used: number | undefined): void {
    const nowMs = this.#around.clock.nowMs();
    const tookMs = Math.max(0, nowMs - occupation.fromMs);
    this.#inUse -= 1;
    this.#inUseByRank[taken.rank] = (this.#inUseByRank[taken.rank] ?? 0) - 1;
    this.#meanMs = this.#meanMs === null ? tookMs : this.#meanMs + (tookMs - this.#meanMs) * MEAN_SHARE;
    this.rates.end(taken, used);
    occupation.flow.vacate(occupation, nowMs);
    this.dispatch();
  }

  #arm(atMs: number, nowMs: number): void {
    if (this.#timer?.atMs === atMs) return;
    this.#disarm();
    const ms = Math.min(TIMER_MS_MAX, Math.max(1, Math.ceil(atMs - nowMs)));
    const cancel = this.#around.clock.after(ms, () => {
      this.#timer = undefined;
      this.dispatch();
    });
    this.#timer = { atMs, cancel };
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}

type Taken = { readonly rank: number; readonly tokens: number; readonly wave: number };

type Aged = Pick<Slot, "agedMs">;

class TakenSlot implements Slot {
  readonly agedMs: number | undefined;
  #queue: ResourceQueue | undefined;
  readonly #occupation: Occupation<Waiting>;
  readonly #taken: Taken;

  constructor(queue: ResourceQueue, occupation: Occupation<Waiting>, taken: Taken & Aged) {
    this.agedMs = taken.agedMs;
    this.#queue = queue;
    this.#occupation = occupation;
    this.#taken = taken;
  }

  release(used?: { readonly tokens?: number }): void {
    const queue = this.#queue;
    if (queue === undefined) return;
    this.#queue = undefined;
    queue.vacate(this.#occupation, this.#taken, used?.tokens);
  }
}

// A share of a class at one resource: a tenant among tenants, or a tree among the trees of its tenant.
//
// Start-time fair queueing (P. Goyal, H. M. Vin, H. Cheng: "Start-time Fair Queuing: A Scheduling Algorithm for Integrated
// Services Packet Switching Networks", SIGCOMM 1996), one instance for each parent, as in the paper's section on hierarchies.
// Each flow has a tag, the virtual time at which its next call starts; the least goes first, and a call moves its
// flow's tag on by its cost over the flow's weight. The cost is slot time. It is known only at the end, so the mean is charged
// at the start, what goes beyond it when the flow is looked at again, and the rest is put right at the end. A resource has many slots where a link has one server; what that
// changes is how far a flow may run ahead: by what it has in flight.
//
// Boundary: shares and their order. Which class is served, and when, is not known here.
//
// Invariants:
//   F1. Between two flows that both have calls waiting all the time, slot time over weight differs by no more than what
//       both have in flight costs, however long it goes on.
//   F2. A flow that waits for nothing gathers no credit: it comes back at the virtual time of those that are served.
//   F3. Slot time is charged only while another flow waits: nobody pays for what nobody else wanted.
//   F4. What is not needed to say where a flow stands is forgotten: flows without calls that have no lead are dropped.
import { AWAY, Heap, type Kind, PRESENT, type Queued, type Work } from "./heap.ts";

/** Below the resolution of the clock a call still costs something, or whoever asks oftenest would get all. Milliseconds. */
export const COST_MS_MIN = 1;
const SWEEP_AT_MIN = 32;
const NONE: ReadonlyMap<string, never> = new Map<string, never>();

/** A call, or whatever else waits in the order. */
export interface Leaf extends Queued {
  /** Those of one flow are served in this order. */
  readonly arrival: number;
}

/** What is kept of a slot that a flow has taken, to put the charge right at its end. */
export type Occupation<T extends Leaf> = {
  readonly flow: Flow<T>;
  readonly fromMs: number;
  /** What was charged at its start. */
  readonly paidMs: number;
  readonly epoch: number;
  readonly epochAbove: number;
};

export class Flow<T extends Leaf> implements Queued {
  readonly key: string;
  readonly parent: Flow<T> | null;
  readonly #work: Work;
  #children: Map<string, Flow<T>> | undefined;
  /** Of its children; of its calls if it is a tree. */
  readonly queues: readonly [Heap<Flow<T> | T>, Heap<Flow<T> | T>];
  weight: number;

  tag = 0;
  hereHandle = -1;
  awayHandle = -1;
  /** Calls below it that can be served now. */
  present = 0;
  /** Calls below it that wait in whatever state. */
  waiting = 0;

  #inFlight = 0;
  /** The sum of the times from which those in flight count, and of what was charged for them in advance. */
  #fromMs = 0;
  #paidMs = 0;
  /** Counts how often the past was settled; what began in an earlier epoch counts from `sinceMs`, and has paid nothing since. */
  #epoch = 0;
  #sinceMs = 0;
  #seenRush = 0;

  // As a parent.
  #virtual = 0;
  #tagMax = 0;
  /** Counts the times in which children wait; between two of them all are equal again. */
  #rush = 0;
  #rushMs = 0;
  #rushVirtual = 0;
  #sweepAt = SWEEP_AT_MIN;

  constructor(key: string, parent: Flow<T> | null, { weight, work }: { readonly weight: number; readonly work: Work }) {
    this.key = key;
    this.parent = parent;
    this.weight = weight;
    this.#work = work;
    this.queues = [new Heap(PRESENT, work), new Heap(AWAY, work)];
    if (parent !== null) this.tag = parent.#virtual;
  }

  get virtual(): number {
    return this.#virtual;
  }

  /** By key; none for a tree, whose queues hold calls. */
  get children(): ReadonlyMap<string, Flow<T>> {
    return this.#children ?? NONE;
  }

  get #idle(): boolean {
    return this.waiting === 0 && this.#inFlight === 0;
  }

  /** The child of that key, made where there is none. */
  child(key: string, weightOf: () => number): Flow<T> {
    this.#children ??= new Map();
    const known = this.#children.get(key);
    if (known !== undefined) return known;
    if (this.#children.size >= this.#sweepAt) this.#sweep(this.#children);
    const made = new Flow<T>(key, this, { weight: weightOf(), work: this.#work });
    this.#children.set(key, made);
    return made;
  }

  /** The call that is next in this flow; undefined if it has none of the kind. */
  head(kind: Kind): T | undefined {
    const top = this.queues[kind].top;
    return top instanceof Flow ? top.head(kind) : top;
  }

  /** Its queue of this kind has changed, or its tag: its place among its siblings follows, and theirs above it. */
  touch(kind: Kind, nowMs: number): void {
    const { parent } = this;
    if (parent === null) return;
    const siblings = parent.queues[kind];
    const own = this.queues[kind];
    if (own.size === 0) siblings.delete(this);
    else {
      if (kind === PRESENT && !siblings.has(this)) this.#join(parent, nowMs);
      else if (this.hereHandle < 0) this.tag = Math.max(this.tag, parent.#virtual);
      siblings.set(this, this.tag, own.topArrival);
    }
    parent.touch(kind, nowMs);
  }

  /** A call of it is served: the cost, at least COST_MS_MIN, is charged. `touch` follows. */
  charge(costMs: number, nowMs: number): void {
    const { parent } = this;
    if (parent === null) return;
    parent.#virtual = Math.max(parent.#virtual, this.tag);
    const owedMs = this.#owedMs(nowMs);
    this.#advance(parent, owedMs + costMs);
    if (owedMs > 0) this.#settle(nowMs);
    parent.charge(costMs, nowMs);
  }

  /** One of its calls takes a slot, for which `paidMs` was charged; 0 if nobody waited. For a tree. */
  occupy(nowMs: number, paidMs: number): Occupation<T> {
    const { parent } = this;
    this.#enter(nowMs, paidMs);
    if (parent !== null) parent.#enter(nowMs, paidMs);
    return {
      flow: this,
      fromMs: nowMs,
      paidMs,
      epoch: this.#epoch,
      epochAbove: parent === null ? 0 : parent.#epoch,
    };
  }

  /** The slot is given back: the charge becomes what it really took. */
  vacate(occupation: Occupation<T>, nowMs: number): void {
    this.#leave(occupation, occupation.epoch, nowMs);
    const { parent } = this;
    if (parent !== null) parent.#leave(occupation, occupation.epochAbove, nowMs);
  }

  #enter(nowMs: number, paidMs: number): void {
    if (this.parent !== null) this.#catchUp(this.parent);
    this.#inFlight += 1;
    this.#fromMs += nowMs;
    this.#paidMs += paidMs;
  }

  #leave(occupation: Occupation<T>, epoch: number, nowMs: number): void {
    const { parent } = this;
    if (parent === null) return;
    this.#catchUp(parent);
    const current = epoch === this.#epoch;
    const fromMs = current ? occupation.fromMs : this.#sinceMs;
    const paidMs = current ? occupation.paidMs : 0;
    this.#inFlight -= 1;
    this.#fromMs -= fromMs;
    this.#paidMs -= paidMs;
    if (parent.queues[PRESENT].size === 0) return;
    this.#advance(parent, Math.max(current ? COST_MS_MIN : 0, nowMs - fromMs) - paidMs);
    if (this.hereHandle >= 0) this.touch(PRESENT, nowMs);
    if (this.awayHandle >= 0) this.touch(AWAY, nowMs);
  }

  #advance(parent: Flow<T>, ms: number): void {
    this.tag += ms / this.weight;
    parent.#tagMax = Math.max(parent.#tagMax, this.tag);
  }

  /** It has calls to serve again. */
  #join(parent: Flow<T>, nowMs: number): void {
    const rivals = parent.queues[PRESENT];
    if (rivals.size === 0) parent.#beginRush(nowMs);
    else if (rivals.size === 1 && rivals.top instanceof Flow) rivals.top.#endSolitude(parent, nowMs);
    this.#catchUp(parent);
    const owedMs = this.#owedMs(nowMs);
    if (owedMs > 0 || this.tag < parent.#virtual) {
      this.tag = Math.max(parent.#virtual, this.tag + owedMs / this.weight);
      this.#settle(nowMs);
    }
    parent.#tagMax = Math.max(parent.#tagMax, this.tag);
    this.#replaceAway(parent);
  }

  /** Its tag has changed: so has its place among those that are away. */
  #replaceAway(parent: Flow<T>): void {
    if (this.awayHandle >= 0) parent.queues[AWAY].set(this, this.tag, this.queues[AWAY].topArrival);
  }

  /** The first child waits: whoever was served before, it was at nobody's cost. */
  #beginRush(nowMs: number): void {
    this.#virtual = Math.max(this.#virtual, this.#tagMax);
    this.#rush += 1;
    this.#rushMs = nowMs;
    this.#rushVirtual = this.#virtual;
  }

  /** A second flow waits beside this one: what it had while it waited alone was at nobody's cost. */
  #endSolitude(parent: Flow<T>, nowMs: number): void {
    if (this.#owedMs(nowMs) > 0) this.#settle(nowMs);
    parent.#virtual = Math.max(parent.#virtual, this.tag - this.#paidMs / this.weight);
  }

  #catchUp(parent: Flow<T>): void {
    if (this.#seenRush === parent.#rush) return;
    this.#seenRush = parent.#rush;
    this.tag = Math.max(this.tag, parent.#rushVirtual);
    this.#settle(parent.#rushMs);
    this.#replaceAway(parent);
  }

  /** What those in flight have used beyond what was charged: their end is not waited for. */
  #owedMs(nowMs: number): number {
    return Math.max(0, this.#inFlight * nowMs - this.#fromMs - this.#paidMs);
  }

  /** What was used up to now is settled, in one way or the other. */
  #settle(nowMs: number): void {
    this.#epoch += 1;
    this.#sinceMs = nowMs;
    this.#fromMs = this.#inFlight * nowMs;
    this.#paidMs = 0;
  }

  #sweep(children: Map<string, Flow<T>>): void {
    const calm = this.queues[PRESENT].size === 0;
    for (const [key, flow] of children) if (flow.#idle && (calm || flow.tag <= this.#virtual)) children.delete(key);
    this.#sweepAt = Math.max(SWEEP_AT_MIN, 2 * children.size);
  }
}

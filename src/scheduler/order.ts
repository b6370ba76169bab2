// The order in which what waits is served: strictly by class with ageing, then fairly among tenants, then among the
// trees of a tenant (flow.ts), then by arrival. Calls that wait for a resource stand in it, and processes that wait for memory.
//
// Boundary: says who is next. When somebody may be served, and what that means, is its user's affair.
//
// Invariants:
//   O1. While nothing ages, what is served belongs to the highest class in which anything waits.
//   O2. A class is due when something of it waits and none of it was served, nor began to wait after nothing did, for
//       `agingMs`, or for the mean time of service if that is longer. Of the classes that are due the one goes
//       first whose time was over first. Of two turns in succession at most one is given by age while a higher class waits,
//       so ageing never takes more than every second turn, and no more than one in `agingMs` for each class.
//   O3. It follows: while all slots are kept busy, a call waits at most
//           (p + 1) * (max(agingMs, S) + ceil(2 * L / m) * S)
//       where p calls of its class are served before it, S is the longest time of service, m the slots that its class may
//       take, and L the number of classes below the highest that waits, its own among them: `waitBoundMs`. For a class is due `max(agingMs, S)`
//       after it was last served; from then on each of the L - 1 other classes goes before it by age at most once, since its
//       next time is later; with a turn by class before each of the L that makes 2 * L turns; and in each S every
//       slot comes free, so at least m turns that the class may take are given. With 2 * L <= m, which is 6 slots for four classes,
//       the bound is (p + 1) * (max(agingMs, S) + S). In a class of one tree p is the position on arrival. A provider's limit or
//       pause adds its own time.
//   O4. What waits keeps its arrival when it moves, goes away or comes back. The same calls at the same times give the
//       same order: the last tie is broken by arrival, which is unique.
//   O5. To put in, to take out and to find the next cost O(log n); nothing is searched for.
import { CLASSES, rankOf } from "../abi/scheduling.ts";
import type { Standing } from "../ports/scheduler.ts";
import { COST_MS_MIN, Flow, type Leaf } from "./flow.ts";
import { AWAY, type Kind, PRESENT, type Work } from "./heap.ts";

/** `aside`: it was away when its turn came, and its turn is kept until it is back. */
export type Whereabouts = "present" | "away" | "aside";

/** One that waits. The order writes what can be written. */
export interface Entry<Self extends Entry<Self>> extends Leaf {
  who: Standing;
  where: Whereabouts;
  /** Where it stands; undefined while it does not. */
  flow: Flow<Self> | undefined;
}

export type Choosing = {
  readonly nowMs: number;
  /** How long a class waits before it is due. Milliseconds. */
  readonly agingMs: number;
  /** Whether there is room for a class. What fits a class fits those above it. */
  readonly fits: (rank: number) => boolean;
  /** Looks past those that are away. */
  readonly presentOnly: boolean;
};

type Lane<T extends Entry<T>> = {
  readonly root: Flow<T>;
  /** Since when it ages: it was served, or began to wait. */
  sinceMs: number;
};

export class Order<T extends Entry<T>> {
  readonly lanes: readonly Lane<T>[];
  readonly #weightOf: (tenant: string) => number;
  /** The last turn was given by age, over the head of a higher class. */
  #aged = false;

  /** `weightOf` is the share of a tenant; what is not a positive number counts as 1. `work` counts what each step costs. */
  constructor(weightOf: (tenant: string) => number, work: Work = { comparisons: 0 }) {
    this.#weightOf = weightOf;
    this.lanes = CLASSES.map((name) => ({ root: new Flow(name, null, { weight: 1, work }), sinceMs: 0 }));
  }

  /** Whether the last turn was given by age, while something of a higher class waited. */
  get aged(): boolean {
    return this.#aged;
  }

  /** How many wait, wherever they are. */
  get size(): number {
    return this.#sum((root) => root.waiting);
  }

  /** How many could be served now. */
  get present(): number {
    return this.#sum((root) => root.present);
  }

  /** The tree's share, made where there is none. */
  flowOf(who: Standing): Flow<T> {
    const tenant = this.#lane(rankOf(who.class)).root.child(who.tenant, () => sound(this.#weightOf(who.tenant)));
    const tree = tenant.child(who.root, () => sound(who.weight));
    tree.weight = sound(who.weight);
    return tree;
  }

  add(entry: T, nowMs: number): void {
    const lane = this.#lane(rankOf(entry.who.class));
    if (lane.root.waiting === 0) lane.sinceMs = nowMs;
    const flow = this.flowOf(entry.who);
    if (flow.parent !== null) flow.parent.weight = sound(this.#weightOf(entry.who.tenant));
    entry.flow = flow;
    for (let at: Flow<T> | null = flow; at !== null; at = at.parent) at.waiting += 1;
    this.#insert(entry, flow, nowMs);
  }

  /** Takes it out; nothing if it is not there. */
  remove(entry: T, nowMs: number): void {
    const { flow } = entry;
    if (flow === undefined) return;
    this.#extract(entry, flow, nowMs);
    for (let at: Flow<T> | null = flow; at !== null; at = at.parent) at.waiting -= 1;
    entry.flow = undefined;
  }

  /** It went away, or came back; its place stays. */
  move(entry: T, where: Whereabouts, nowMs: number): void {
    const { flow } = entry;
    if (flow !== undefined) this.#extract(entry, flow, nowMs);
    entry.where = where;
    if (flow !== undefined) this.#insert(entry, flow, nowMs);
  }

  /** Its process stands elsewhere now; the arrival stays, and so does the age of its class if that is the same. */
  restand(entry: T, who: Standing, nowMs: number): void {
    const lane = this.#lane(rankOf(entry.who.class));
    const { sinceMs } = lane;
    this.remove(entry, nowMs);
    const same = entry.who.class === who.class;
    entry.who = who;
    this.add(entry, nowMs);
    if (same) lane.sinceMs = sinceMs;
  }

  /** Who is next; undefined if nobody fits. Changes nothing. */
  choose(choosing: Choosing): T | undefined {
    const { nowMs, agingMs, fits, presentOnly } = choosing;
    let chosen: Lane<T> | undefined;
    let due: Lane<T> | undefined;
    for (let rank = 0; rank < this.lanes.length; rank += 1) {
      const lane = this.#lane(rank);
      if (!hasAny(lane.root, presentOnly)) continue;
      if (!fits(rank)) break;
      if (chosen === undefined) chosen = lane;
      else if (nowMs - lane.sinceMs >= agingMs && (due === undefined || lane.sinceMs < due.sinceMs)) due = lane;
    }
    const lane = due === undefined || this.#aged ? chosen : due;
    return lane === undefined ? undefined : firstOf(lane.root, presentOnly);
  }

  /** It has its turn: it leaves, and its share is charged. The tree's share, for `occupy`. */
  serve(entry: T, nowMs: number, costMs: number): Flow<T> {
    const flow = entry.flow ?? this.flowOf(entry.who);
    const rank = rankOf(entry.who.class);
    const lane = this.#lane(rank);
    lane.sinceMs = nowMs;
    this.#aged = this.lanes.some(({ root }, above) => above < rank && root.present > 0);
    flow.charge(Math.max(COST_MS_MIN, costMs), nowMs);
    this.remove(entry, nowMs);
    if (lane.root.queues[AWAY].size > 0) flow.touch(AWAY, nowMs);
    return flow;
  }

  #insert(entry: T, flow: Flow<T>, nowMs: number): void {
    const kind = kindOf(entry);
    if (kind === undefined) return;
    if (kind === PRESENT) for (let at: Flow<T> | null = flow; at !== null; at = at.parent) at.present += 1;
    flow.queues[kind].set(entry, 0, entry.arrival);
    flow.touch(kind, nowMs);
  }

  #extract(entry: T, flow: Flow<T>, nowMs: number): void {
    const kind = kindOf(entry);
    if (kind === undefined) return;
    if (kind === PRESENT) for (let at: Flow<T> | null = flow; at !== null; at = at.parent) at.present -= 1;
    flow.queues[kind].delete(entry);
    flow.touch(kind, nowMs);
  }

  #lane(rank: number): Lane<T> {
    const lane = this.lanes[rank];
    if (lane === undefined) throw new Error(`There is no class of rank ${rank}.`);
    return lane;
  }

  #sum(count: (root: Flow<T>) => number): number {
    let sum = 0;
    for (const { root } of this.lanes) sum += count(root);
    return sum;
  }
}

const sound = (weight: number): number => (weight > 0 && Number.isFinite(weight) ? weight : 1);

const kindOf = ({ where }: { readonly where: Whereabouts }): Kind | undefined =>
  where === "present" ? PRESENT : where === "away" ? AWAY : undefined;

const hasAny = <T extends Leaf>(root: Flow<T>, presentOnly: boolean): boolean =>
  root.present > 0 || (!presentOnly && root.queues[AWAY].size > 0);

/** The next of a class; one that is away if its turn comes before that of all who are present. */
function firstOf<T extends Leaf>(root: Flow<T>, presentOnly: boolean): T | undefined {
  const here = root.head(PRESENT);
  if (presentOnly) return here;
  const away = root.head(AWAY);
  if (here === undefined || away === undefined) return here ?? away;
  return awayFirst(root) ? away : here;
}

/** Compares the two queues of a flow from the top, down to the level at which they part. */
function awayFirst<T extends Leaf>(flow: Flow<T>): boolean {
  const [present, absent] = flow.queues;
  const { top: here, topTag, topArrival } = present;
  if (here === undefined || absent.size === 0) return here === undefined;
  if (here === absent.top) return here instanceof Flow && awayFirst(here);
  if (topTag !== absent.topTag) return absent.topTag < topTag;
  return absent.topArrival < topArrival;
}

export type WaitBound = {
  readonly agingMs: number;
  /** The longest time of service. */
  readonly serviceMs: number;
  /** That the class may take. */
  readonly slots: number;
  /** How many calls of its class are served before it; 0 for the next. */
  readonly position: number;
  /** Classes below the highest that waits, its own among them; 3 of the four if nothing is known. */
  readonly classes?: number;
};

/** How long a call waits at most, in milliseconds, whatever waits above it: O3. */
export function waitBoundMs({ agingMs, serviceMs, slots, position, classes = CLASSES.length - 1 }: WaitBound): number {
  const turnMs = Math.ceil((2 * classes) / slots) * serviceMs;
  return (position + 1) * (Math.max(agingMs, serviceMs) + turnMs);
}

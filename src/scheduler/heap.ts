// A heap whose items can be moved or taken out wherever they stand, in O(log n).
//
// It is laid out for the memory that it is read from. Keys stand side by side, not in the items, and a node has four
// children, which fill one line of a cache: with a hundred thousand calls waiting each item is far from the processor, and
// none is touched but the one that is put in or taken out.
//
// Invariants:
//   H1. An item has a handle in its heap of each kind, and -1 where it stands in none.
//   H2. No key stands before its parent's in the heap: the top is the least by tag, then by arrival.
//   H3. `places[handles[place]]` is `place`; the handles behind the last place are free.

/** Two heaps hold the same crowd from two sides: those that can be served now, and those that are away. */
export type Kind = 0 | 1;
export const PRESENT = 0;
export const AWAY = 1;

export interface Queued {
  /** In the heap of those that are present. For the heap alone, as is the other. */
  hereHandle: number;
  awayHandle: number;
}

/** Counts what grows with the number of those that wait: comparisons of keys. */
export type Work = { comparisons: number };

const FAN_BITS = 2;
const FAN = 1 << FAN_BITS;
/** A heap that is empty keeps the room of so many. */
const KEPT = 64;

export class Heap<T extends Queued> {
  readonly #kind: Kind;
  readonly #work: Work;
  #size = 0;
  /** By place: tag, then arrival. */
  readonly #keys: number[] = [];
  readonly #handles: number[] = [];
  readonly #places: number[] = [];
  /** By handle. */
  readonly #items: (T | undefined)[] = [];

  constructor(kind: Kind, work: Work) {
    this.#kind = kind;
    this.#work = work;
  }

  get size(): number {
    return this.#size;
  }

  get top(): T | undefined {
    return this.#size === 0 ? undefined : this.#itemAt(0);
  }

  /** Infinite where nothing stands in it. */
  get topTag(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#tagAt(0);
  }

  /** Infinite where nothing stands in it. */
  get topArrival(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#arrivalAt(0);
  }

  has(item: T): boolean {
    return this.#handleOf(item) >= 0;
  }

  /** Puts the item in, or moves it to where it belongs now: least tag first, ties by least arrival. O(log n). */
  set(item: T, tag: number, arrival: number): void {
    let handle = this.#handleOf(item);
    let place = this.#size;
    if (handle >= 0) place = this.#places[handle] ?? 0;
    else {
      handle = this.#handles[place] ?? place;
      this.#size += 1;
      this.#items[handle] = item;
      this.#give(item, handle);
    }
    this.#settle(handle, { tag, arrival, place });
  }

  /** False if it was not there. O(log n). */
  delete(item: T): boolean {
    const handle = this.#handleOf(item);
    if (handle < 0) return false;
    this.#give(item, -1);
    this.#items[handle] = undefined;
    this.#size -= 1;
    const last = this.#size;
    const place = this.#places[handle] ?? 0;
    const moved = this.#handles[last] ?? 0;
    this.#handles[last] = handle;
    if (place !== last) this.#settle(moved, { tag: this.#tagAt(last), arrival: this.#arrivalAt(last), place });
    else if (last === 0 && this.#items.length > KEPT) this.#shrink();
    return true;
  }

  /** Some of them, at most so many, in no particular order. */
  some(max: number): T[] {
    const some: T[] = [];
    for (let place = 0; place < Math.min(max, this.#size); place += 1) {
      const item = this.#itemAt(place);
      if (item !== undefined) some.push(item);
    }
    return some;
  }

  /** The first `count` in order, without taking them out. O(count²), however many there are. */
  first(count: number): T[] {
    const found: T[] = [];
    const edge = this.#size > 0 ? [0] : [];
    while (found.length < count && edge.length > 0) {
      let least = 0;
      for (let at = 1; at < edge.length; at += 1) if (this.#before(edge[at] ?? 0, edge[least] ?? 0)) least = at;
      const place = edge.splice(least, 1)[0] ?? 0;
      const item = this.#itemAt(place);
      if (item !== undefined) found.push(item);
      for (let below = FAN * place + 1; below <= FAN * (place + 1); below += 1)
        if (below < this.#size) edge.push(below);
    }
    return found;
  }

  #handleOf(item: T): number {
    return this.#kind === PRESENT ? item.hereHandle : item.awayHandle;
  }

  #give(item: T, handle: number): void {
    if (this.#kind === PRESENT) item.hereHandle = handle;
    else item.awayHandle = handle;
  }

  #itemAt(place: number): T | undefined {
    return this.#items[this.#handles[place] ?? -1];
  }

  #tagAt(place: number): number {
    return this.#keys[2 * place] ?? 0;
  }

  #arrivalAt(place: number): number {
    return this.#keys[2 * place + 1] ?? 0;
  }

  /** Whether who stands at the one place goes before who stands at the other. */
  #before(one: number, other: number): boolean {
    return this.#precedes(this.#tagAt(one), this.#arrivalAt(one), other);
  }

  /** Whether such a key goes before who stands at the place. */
  #precedes(tag: number, arrival: number, place: number): boolean {
    this.#work.comparisons += 1;
    const other = this.#tagAt(place);
    return tag < other || (tag === other && arrival < this.#arrivalAt(place));
  }

  #put(handle: number, { tag, arrival, place }: Placed): void {
    this.#keys[2 * place] = tag;
    this.#keys[2 * place + 1] = arrival;
    this.#handles[place] = handle;
    this.#places[handle] = place;
  }

  #move(from: number, to: number): void {
    this.#put(this.#handles[from] ?? 0, { tag: this.#tagAt(from), arrival: this.#arrivalAt(from), place: to });
  }

  /** The item belongs at this place, or above it, or below it: makes way for it. */
  #settle(handle: number, { tag, arrival, place }: Placed): void {
    let at = place;
    while (at > 0) {
      const above = (at - 1) >> FAN_BITS;
      if (!this.#precedes(tag, arrival, above)) break;
      this.#move(above, at);
      at = above;
    }
    while (at >= place) {
      const child = this.#leastBelow(at);
      if (child < 0 || this.#precedes(tag, arrival, child)) break;
      this.#move(child, at);
      at = child;
    }
    this.#put(handle, { tag, arrival, place: at });
  }

  /** The place of the first of those right below; -1 if there is none. */
  #leastBelow(place: number): number {
    let least = (place << FAN_BITS) + 1;
    if (least >= this.#size) return -1;
    const end = Math.min(least + FAN, this.#size);
    for (let child = least + 1; child < end; child += 1) if (this.#before(child, least)) least = child;
    return least;
  }

  #shrink(): void {
    for (const list of [this.#keys, this.#handles, this.#places, this.#items]) list.length = 0;
  }
}

type Placed = { readonly tag: number; readonly arrival: number; readonly place: number };

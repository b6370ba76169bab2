// A binary heap whose items know their places, so that one in the middle can be moved or taken out in O(log n).
//
// An item may stand in one heap of each kind at a time; it keeps its index for each.
//
// Invariants:
//   H1. An item's `at[kind]` is its index in its heap of that kind, and -1 where it stands in none.
//   H2. No item stands before its parent in the heap: the top is the least by tag, then by arrival.

/** Two heaps hold the same crowd from two sides: those that can be served now, and those that are away. */
export type Kind = 0 | 1;
export const PRESENT = 0;
export const AWAY = 1;

/** One value for each kind. */
export type Pair = [number, number];

export interface Queued {
  /** Least first. Whoever changes it says so with `set`. */
  readonly tag: number;
  /** Breaks ties: least first. */
  readonly arrival: Readonly<Pair>;
  readonly at: Pair;
}

export class Heap<T extends Queued> {
  readonly #kind: Kind;
  readonly #items: T[] = [];

  constructor(kind: Kind) {
    this.#kind = kind;
  }

  get size(): number {
    return this.#items.length;
  }

  get top(): T | undefined {
    return this.#items[0];
  }

  /** In no particular order. */
  get items(): readonly T[] {
    return this.#items;
  }

  has(item: T): boolean {
    return item.at[this.#kind] >= 0;
  }

  /** Puts the item in, or moves it to where it belongs now. O(log n). */
  set(item: T): void {
    let index = item.at[this.#kind];
    if (index < 0) {
      index = this.#items.length;
      this.#items.push(item);
      item.at[this.#kind] = index;
    }
    this.#sink(item, this.#rise(item, index));
  }

  /** False if it was not there. O(log n). */
  delete(item: T): boolean {
    const index = item.at[this.#kind];
    if (index < 0) return false;
    item.at[this.#kind] = -1;
    const last = this.#items.pop();
    if (last !== undefined && last !== item) this.#sink(last, this.#rise(last, index));
    return true;
  }

  /** The first `count` in order, without taking them out. O(count²), however many there are. */
  first(count: number): T[] {
    const found: T[] = [];
    const edge = this.#items.length > 0 ? [0] : [];
    while (found.length < count && edge.length > 0) {
      const least = edge.reduce((best, index, at) => (this.#before(index, edge[best] ?? 0) ? at : best), 0);
      const [index = 0] = edge.splice(least, 1);
      const item = this.#items[index];
      if (item !== undefined) found.push(item);
      for (const child of [2 * index + 1, 2 * index + 2]) if (child < this.#items.length) edge.push(child);
    }
    return found;
  }

  #before(index: number, other: number): boolean {
    const [one, two] = [this.#items[index], this.#items[other]];
    return one !== undefined && two !== undefined && this.#precedes(one, two);
  }

  #precedes(one: T, other: T): boolean {
    return one.tag < other.tag || (one.tag === other.tag && one.arrival[this.#kind] < other.arrival[this.#kind]);
  }

  #place(item: T, index: number): void {
    this.#items[index] = item;
    item.at[this.#kind] = index;
  }

  /** Moves the item up from the index; the index where it came to stand. */
  #rise(item: T, from: number): number {
    let index = from;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = this.#items[above];
      if (parent === undefined || !this.#precedes(item, parent)) break;
      this.#place(parent, index);
      index = above;
    }
    this.#place(item, index);
    return index;
  }

  #sink(item: T, from: number): void {
    let index = from;
    for (;;) {
      let below = 2 * index + 1;
      let child = this.#items[below];
      if (child === undefined) break;
      const right = this.#items[below + 1];
      if (right !== undefined && this.#precedes(right, child)) {
        below += 1;
        child = right;
      }
      if (!this.#precedes(child, item)) break;
      this.#place(child, index);
      index = below;
    }
    this.#place(item, index);
  }
}

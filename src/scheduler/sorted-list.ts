// A list that is kept in order: the waiters of a lock, the ends of leases.
//
// Sorted blocks of bounded length, found by binary search: putting in and taking out move a part of one block, however long
// the list is. Unlike a heap it says how many stand before an entry, and can be read in order.
//
// Invariants:
//   1. The order of an entry does not change while it is in the list: whoever changes it takes the entry out before.
//   2. No block is empty or longer than BLOCK_MAX, and no entry of a block comes after one of the next.

const BLOCK_MAX = 512;

export class SortedList<T> {
  readonly #blocks: T[][] = [];
  readonly #compare: (one: T, other: T) => number;
  #size = 0;

  /** `compare` tells any two different entries apart: it answers 0 for an entry and itself alone. */
  constructor(compare: (one: T, other: T) => number) {
    this.#compare = compare;
  }

  get size(): number {
    return this.#size;
  }

  get first(): T | undefined {
    return this.#blocks[0]?.[0];
  }

  *[Symbol.iterator](): IterableIterator<T> {
    for (const block of this.#blocks) yield* block;
  }

  add(entry: T): void {
    this.#size += 1;
    const at = Math.min(this.#blockOf(entry), this.#blocks.length - 1);
    const block = this.#blocks[at];
    if (block === undefined) {
      this.#blocks.push([entry]);
      return;
    }
    block.splice(this.#placeIn(block, entry), 0, entry);
    if (block.length > BLOCK_MAX) this.#blocks.splice(at + 1, 0, block.splice(BLOCK_MAX / 2));
  }

  /** False if it was not there. */
  delete(entry: T): boolean {
    const at = this.#blockOf(entry);
    const block = this.#blocks[at];
    if (block === undefined) return false;
    const place = this.#placeIn(block, entry);
    if (block[place] !== entry) return false;
    this.#size -= 1;
    block.splice(place, 1);
    if (block.length === 0) this.#blocks.splice(at, 1);
    return true;
  }

  /** How many stand before it; -1 if it is not in the list. */
  positionOf(entry: T): number {
    const at = this.#blockOf(entry);
    const block = this.#blocks[at];
    if (block === undefined) return -1;
    const place = this.#placeIn(block, entry);
    if (block[place] !== entry) return -1;
    let before = place;
    for (const { length } of this.#blocks.slice(0, at)) before += length;
    return before;
  }

  /** The first so many, in order. */
  head(count: number): T[] {
    const head: T[] = [];
    for (const block of this.#blocks) {
      if (head.length >= count) break;
      head.push(...block.slice(0, count - head.length));
    }
    return head;
  }

  /** The first block whose last entry does not come before this one; behind all blocks if there is none. */
  #blockOf(entry: T): number {
    return firstAt(this.#blocks.length, (at) => this.#compare(this.#blocks[at]?.at(-1) as T, entry) >= 0);
  }

  #placeIn(block: readonly T[], entry: T): number {
    return firstAt(block.length, (at) => this.#compare(block[at] as T, entry) >= 0);
  }
}

/** The first index for which `holds`, where it holds for all after the first; `length` if for none. */
function firstAt(length: number, holds: (index: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

// The heap against a list that is sorted anew each time (H1, H2).
import fc from "fast-check";
import { expect, it } from "vitest";
import { Heap, PRESENT, type Queued } from "./heap.ts";

type Item = Queued & { tag: number; readonly arrival: number };
const step = fc.record({
  act: fc.constantFrom("set", "set", "retag", "delete", "pop"),
  tag: fc.nat(9),
  which: fc.nat(),
});

it("keeps its order and its places through any steps", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const heap = new Heap<Item>(PRESENT, { comparisons: 0 });
      const items: Item[] = [];
      const deleted: [boolean, boolean][] = [];
      for (const [number, { act, tag, which }] of steps.entries()) {
        const item = items[which % Math.max(1, items.length)];
        if (act === "set") {
          const made: Item = { tag, arrival: number, hereHandle: -1, awayHandle: -1 };
          heap.set(made, tag, number);
          items.push(made);
        } else if (act === "pop") {
          const { top } = heap;
          if (top !== undefined && heap.delete(top)) items.splice(items.indexOf(top), 1);
        } else if (item !== undefined && act === "retag") {
          item.tag = tag;
          heap.set(item, tag, item.arrival);
        } else if (item !== undefined) {
          deleted.push([heap.delete(item), heap.delete(item)]);
          items.splice(items.indexOf(item), 1);
        }
        const sorted = items.toSorted((a, b) => a.tag - b.tag || a.arrival - b.arrival);
        expect(heap.size).toBe(items.length);
        expect(heap.top).toBe(sorted[0]);
        expect(heap.first(5)).toEqual(sorted.slice(0, 5));
        expect(new Set(heap.some(items.length))).toEqual(new Set(items));
        expect([heap.topTag, heap.topArrival]).toEqual([
          sorted[0]?.tag ?? Number.POSITIVE_INFINITY,
          sorted[0]?.arrival ?? Number.POSITIVE_INFINITY,
        ]);
        for (const each of items) expect([heap.has(each), each.awayHandle]).toEqual([true, -1]);
      }
      // Once, and not again.
      for (const answers of deleted) expect(answers).toEqual([true, false]);
    }),
  );
});

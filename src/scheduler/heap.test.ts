// The heap against a list that is sorted anew each time (H1, H2).
import fc from "fast-check";
import { expect, it } from "vitest";
import { AWAY, Heap, type Pair, PRESENT, type Queued } from "./heap.ts";

type Item = Queued & { tag: number };
const step = fc.record({
  act: fc.constantFrom("set", "set", "retag", "delete", "pop"),
  tag: fc.nat(9),
  which: fc.nat(),
});

it("keeps its order and its places through any steps", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const heap = new Heap<Item>(PRESENT);
      const items: Item[] = [];
      const deleted: [boolean, boolean][] = [];
      for (const [number, { act, tag, which }] of steps.entries()) {
        const item = items[which % Math.max(1, items.length)];
        if (act === "set") {
          const made: Item = { tag, arrival: [number, 0] satisfies Pair, at: [-1, -1] satisfies Pair };
          heap.set(made);
          items.push(made);
        } else if (act === "pop") {
          const { top } = heap;
          if (top !== undefined && heap.delete(top)) items.splice(items.indexOf(top), 1);
        } else if (item !== undefined && act === "retag") {
          item.tag = tag;
          heap.set(item);
        } else if (item !== undefined) {
          deleted.push([heap.delete(item), heap.delete(item)]);
          items.splice(items.indexOf(item), 1);
        }
        const sorted = items.toSorted((a, b) => a.tag - b.tag || a.arrival[PRESENT] - b.arrival[PRESENT]);
        expect(heap.size).toBe(items.length);
        expect(heap.top).toBe(sorted[0]);
        expect(heap.first(5)).toEqual(sorted.slice(0, 5));
        for (const each of items) {
          expect(heap.items[each.at[PRESENT]]).toBe(each);
          expect(each.at[AWAY]).toBe(-1);
        }
      }
      // Once, and not again.
      for (const answers of deleted) expect(answers).toEqual([true, false]);
    }),
  );
});

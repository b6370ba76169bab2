// The sorted list against an array that is sorted anew after each change, over the length of several blocks.
import fc from "fast-check";
import { expect, it } from "vitest";
import { SortedList } from "./sorted-list.ts";

it("is what sorting anew would give, whatever is put in and taken out", () => {
  const entries = fc.uniqueArray(fc.nat(100_000), { minLength: 1, maxLength: 3000, size: "max" });
  fc.assert(
    fc.property(entries, fc.nat(), (all, seed) => {
      const list = new SortedList<number>((one, other) => one - other);
      for (const entry of all) list.add(entry);
      const taken = new Set(all.filter((entry) => (entry + seed) % 3 > 0));
      for (const entry of taken) expect(list.delete(entry)).toBe(true);
      for (const entry of [...taken].slice(0, 3))
        expect([list.delete(entry), list.positionOf(entry)]).toEqual([false, -1]);
      const right = all.filter((entry) => !taken.has(entry)).toSorted((one, other) => one - other);
      expect([...list]).toEqual(right);
      expect([list.size, list.first, list.head(5)]).toEqual([right.length, right[0], right.slice(0, 5)]);
      expect(right.map((entry) => list.positionOf(entry))).toEqual(right.map((_, place) => place));
    }),
    { numRuns: 20 },
  );
});

it("is empty again when all are taken out, in whatever order they went in", () => {
  for (const step of [1, -1, 7]) {
    const list = new SortedList<number>((one, other) => one - other);
    const all = Array.from({ length: 2000 }, (_, at) => (((at * step) % 2000) + 2000) % 2000);
    for (const entry of new Set(all)) list.add(entry);
    for (let first = list.first; first !== undefined; first = list.first) {
      expect(list.positionOf(first)).toBe(0);
      list.delete(first);
    }
    expect([list.size, [...list], list.head(3)]).toEqual([0, [], []]);
  }
});

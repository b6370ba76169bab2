// Trees as the store has them: random ones, read back against what they were made of, and how much is read for it.
import fc from "fast-check";
import { expect, it } from "vitest";
import type { ProcessId } from "../abi/ids.ts";
import type { ProcessQuery, ProcessRecord } from "../ports/store.ts";
import { ALIVE, descendantsOf, treeOf } from "./rows.ts";

const pidOf = (n: number): ProcessId => `p_${String(n).padStart(5, "0")}` as ProcessId;

/** Each process's parent is an earlier one; those below an exited one have exited. */
function treeFrom(parents: readonly number[], exited: ReadonlySet<number>): ProcessRecord[] {
  const over = new Set<number>();
  return [-1, ...parents].map((above, n) => {
    const parent = n === 0 ? -1 : above % n;
    if (exited.has(n) || over.has(parent)) over.add(n);
    const row = { pid: pidOf(n), root: pidOf(0), parent: parent < 0 ? null : pidOf(parent) };
    return { ...row, state: over.has(n) ? "exited" : "ready" } as ProcessRecord;
  });
}

/** Answers as a store does, newest first. */
function storeOf(rows: readonly ProcessRecord[]) {
  const read = { rows: 0 };
  const processes = async ({ root, parent, states, before, limit }: ProcessQuery): Promise<ProcessRecord[]> => {
    const fits = (row: ProcessRecord): boolean =>
      (root === undefined || row.root === root) &&
      (parent === undefined || row.parent === parent) &&
      (states === undefined || states.includes(row.state)) &&
      (before === undefined || row.pid < before);
    const page = rows.filter(fits).toReversed().slice(0, limit);
    read.rows += page.length;
    return page;
  };
  return { processes, read };
}

const below = (rows: readonly ProcessRecord[], pid: ProcessId): ProcessRecord[] => {
  const within = new Set([pid]);
  return rows.filter((row) => row.parent !== null && within.has(row.parent) && within.add(row.pid));
};
const sorted = (rows: readonly ProcessRecord[]): ProcessId[] => rows.map(({ pid }) => pid).toSorted();

it("all below a process are found, alive or at all, each once and after its parent", async () => {
  const trees = fc.record({
    parents: fc.array(fc.nat(5_000), { maxLength: 60 }),
    exited: fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 5 }),
    of: fc.nat(60),
  });
  await fc.assert(
    fc.asyncProperty(trees, async ({ parents, exited, of }) => {
      const rows = treeFrom(parents, new Set(exited));
      const { pid, root } = rows[of % rows.length] as ProcessRecord;
      const found = await descendantsOf(storeOf(rows), { pid, root });
      expect(sorted(found)).toEqual(sorted(below(rows, pid)));
      for (const [at, { parent }] of found.entries())
        expect([pid, ...found.slice(0, at).map((row) => row.pid)]).toContain(parent);
      const living = rows.filter(({ state }) => state !== "exited");
      expect(sorted(await descendantsOf(storeOf(rows), { pid, root }, ALIVE))).toEqual(sorted(below(living, pid)));
    }),
  );
});

it("a tree is read over several pages, oldest first", async () => {
  const rows = treeFrom(
    Array.from({ length: 2_500 }, (_, n) => n),
    new Set(),
  );
  expect(await treeOf(storeOf(rows), pidOf(0))).toEqual(rows);
});

it("of a large tree no more is read than is below the process", async () => {
  const wide = Array.from({ length: 3_000 }, () => 0);
  const store = storeOf(treeFrom([...wide, 7, 7, 3_001], new Set()));
  expect(await descendantsOf(store, { pid: pidOf(7), root: pidOf(0) })).toHaveLength(3);
  expect(store.read.rows).toBeLessThanOrEqual(4);
});

// What a statement did, as both engines tell it.
import type { Count, Lost, RowChange, Touched } from "./database.ts";

/** Rows that were seen, counted by their tables. */
export function countsOf(rows: readonly RowChange[]): Count[] {
  const counts = new Map<string, { inserted: number; updated: number; deleted: number }>();
  for (const { table, before, after } of rows) {
    const count = counts.get(table) ?? { inserted: 0, updated: 0, deleted: 0 };
    counts.set(table, count);
    if (before === null) count.inserted += 1;
    else if (after === null) count.deleted += 1;
    else count.updated += 1;
  }
  return [...counts].map(([table, count]) => ({ table, ...count }));
}

/** A definition that changed: it touches no rows, but for those that went with it. */
export const definitionTouched = (lost: readonly Lost[], notes: readonly string[]): Touched => ({
  ...{ rows: [], whole: true, counts: [], total: 0, keys: new Map(), answer: null },
  lost,
  notes,
});

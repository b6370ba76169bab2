// What a statement did, as both engines tell it.
import type { Count, Lost, RowChange, Touched } from "./database.ts";
import type { Operation } from "./statement.ts";

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
export const definitionTouched = (lost: readonly Lost[], notes: readonly string[], followed = 0): Touched => ({
  ...{ rows: [], whole: true, counts: [], total: 0, sweeps: null, keys: new Map(), answer: null },
  lost,
  notes,
  followed,
});

type Reached = Pick<Touched, "rows" | "total"> & { readonly operation: Operation };

/** Of so many rows and more, nearly all are told from some: below that it is chance. */
const SWEPT_MIN = 10;
/** What nearly all rows are, of ten. */
const SWEPT_TENTHS = 9;

/**
 * Whether the statement changed or deleted every row that was there, and these were several, or nearly every one, as by `id <> 1`.
 * `count` counts the rows that are there now, up to a bound.
 */
export async function sweepOf(
  { rows, total, operation }: Reached,
  count: (max: number) => Promise<number>,
): Promise<Touched["sweeps"]> {
  const known = operation === "merge" || operation === "insert";
  const reached = known ? rows.filter(({ before }) => before !== null).length : total;
  if (reached < 2) return null;
  const inserted = known ? rows.filter(({ before }) => before === null).length : 0;
  const deleted = known ? rows.filter(({ after }) => after === null).length : operation === "delete" ? total : 0;
  const most = Math.floor((reached * 10) / SWEPT_TENTHS);
  // A view may have lost what was changed.
  const there = Math.max(reached, (await count(most + inserted + 1)) - inserted + deleted);
  if (there === reached) return "every";
  return reached >= SWEPT_MIN && there <= most ? "nearly every" : null;
}

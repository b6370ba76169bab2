// What stands for a change in an approval: the statement, its parameters, how many rows it touches, and what they hold.
//
// A statement may set what differs each time it runs: a key from a sequence, the time. Such columns are found by running it
// twice, and left out; their names are part of the digest, so that the later run leaves out the same.
//
// Invariants:
//   D1. Whatever a person saw of the rows, but for columns named as differing each time, is in the digest; and so is what was
//       said of a definition that changes. How much of a table they are is not: it changes with rows that are none of them.
import { hash } from "node:crypto";
import canonicalize from "canonicalize";
import type { Json, JsonObject } from "../../abi/json.ts";
import type { RowChange, Touched } from "./database.ts";
import type { Statement } from "./statement.ts";

/** `table.column` of those left out. */
export type Volatile = ReadonlySet<string>;

type Subject = { readonly dialect: string; readonly statement: Statement; readonly params: readonly Json[] };

const SEPARATOR = "~";

/** SHA-256 in hex, and the names of the columns left out. */
export function digestOf(subject: Subject, touched: Touched, without: Volatile): string {
  const { counts, total, followed, whole, lost, notes } = touched;
  const defines = subject.statement.does.kind === "definition";
  const content = {
    dialect: subject.dialect,
    statement: subject.statement.text,
    params: subject.params,
    counts,
    total,
    followed,
    rows: whole ? texts(touched.rows, without) : null,
    lost: lost.map(({ table, rows, sample, dependents }) => ({ table, rows, sample, dependents })),
    notes: defines ? notes : [],
  };
  const names = [...without].sort().map(encodeURIComponent).join(",");
  return `${hash("sha256", canonicalize(content) ?? "", "hex")}${names === "" ? "" : SEPARATOR + names}`;
}

/** The columns that an approved digest leaves out. */
export function volatileOf(digest: string): Volatile {
  const names = digest.split(SEPARATOR)[1] ?? "";
  return new Set(names === "" ? [] : names.split(",").map(decodeURIComponent));
}

/** The columns whose values differ between two runs; undefined where the runs touch different rows, whatever is left out. */
export function differing(first: Touched, second: Touched): Volatile | undefined {
  const found = new Set<string>();
  const columns = new Set([...first.rows, ...second.rows].flatMap(namesOf));
  for (const column of columns) {
    const [a, b] = [valuesOf(first.rows, column), valuesOf(second.rows, column)];
    if (a !== b) found.add(column);
  }
  const alike = (touched: Touched): string =>
    JSON.stringify([
      touched.total,
      touched.followed,
      touched.counts,
      touched.whole ? texts(touched.rows, found) : null,
    ]);
  return alike(first) === alike(second) ? found : undefined;
}

const namesOf = ({ table, before, after }: RowChange): string[] =>
  [...Object.keys(before ?? {}), ...Object.keys(after ?? {})].map((column) => `${table}.${column}`);

/** What a column holds afterwards over all rows, whatever their order. */
const valuesOf = (rows: readonly RowChange[], name: string): string =>
  JSON.stringify(
    rows
      .flatMap(({ table, after }) =>
        Object.entries(after ?? {}).flatMap(([column, value]) =>
          `${table}.${column}` === name ? [JSON.stringify(value)] : [],
        ),
      )
      .sort(),
  );

/** Rows in an order of their own. What was there before is what it is; only what is set can differ. */
function texts(rows: readonly RowChange[], without: Volatile): string[] {
  const kept = (table: string, row: JsonObject | null): JsonObject | null =>
    row === null
      ? null
      : Object.fromEntries(Object.entries(row).filter(([column]) => !without.has(`${table}.${column}`)));
  return rows
    .map(({ table, before, after }) => canonicalize({ table, before, after: kept(table, after) }) ?? "")
    .sort();
}

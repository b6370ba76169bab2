// What the tools say: answers as the model reads them, changes as people read them.
import type { Json, JsonObject } from "../../abi/json.ts";
import {
  type Answer,
  type Count,
  type Lost,
  LOST_ROWS_COUNTED,
  type RowChange,
  SAMPLE_ROWS,
  type Table,
  type Touched,
} from "./database.ts";
import type { Statement } from "./statement.ts";
import { ANSWER_BYTES_MAX } from "./values.ts";

/** A value in a change as people see it: its beginning, where it is long. Characters. */
const SHOWN_CHARS = 200;

const counted = (count: number, one: string): string => `${count} ${one}${count === 1 ? "" : "s"}`;

const cell = (value: Json): string =>
  typeof value === "string" ? value.replaceAll(/[\r\n\t|]/g, " ") : JSON.stringify(value);

/** Rows as lines of cells. */
export function answerText({ columns, rows, cut }: Answer): string {
  const lines = [
    columns.map(cell).join(" | "),
    ...rows.map((row) => row.map((value) => (value === null ? "NULL" : cell(value))).join(" | ")),
  ];
  const why = cut === "rows" ? "more rows than may be answered with" : "more bytes than may be answered with";
  const end =
    cut === null
      ? `(${counted(rows.length, "row")})`
      : `(the first ${counted(rows.length, "row")}; there is more: ${why}. Add a condition, or LIMIT and OFFSET.)`;
  return [...(columns.length === 0 ? [] : lines), end].join("\n");
}

export const answerData = ({ columns, rows, cut }: Answer): JsonObject => ({
  columns: [...columns],
  rows: rows.map((row) => [...row]),
  cut: cut !== null,
});

const PARTS = ["inserted", "updated", "deleted"] as const;
const countText = (count: Count): string =>
  PARTS.filter((part) => count[part] > 0)
    .map((part) => `${count[part]} ${part}`)
    .join(", ");

/** One line: what was done. */
export function doneText({ does }: Statement, touched: Touched): string {
  if (does.kind === "definition") return `${does.what}: done.`;
  const lines = touched.counts
    .filter((count) => countText(count) !== "")
    .map((count) => `${count.table}: ${countText(count)}`);
  const total = `${counted(touched.total, "row")} touched.`;
  return [lines.length === 0 ? total : `${lines.join("; ")}.`, ...touched.notes].join("\n");
}

/** What a change would do, for whoever is to approve it. */
export function previewText(statement: Statement, touched: Touched, volatile: ReadonlySet<string>): string {
  const { does } = statement;
  const lines: string[] = [];
  if (does.kind === "definition")
    lines.push(`${does.what} ${touched.lost.length === 0 ? "takes no rows away." : "takes away:"}`);
  if (does.kind === "rows") {
    lines.push(`${counted(touched.total, "row")} of ${does.table.name} ${touched.total === 1 ? "is" : "are"} touched.`);
    if (touched.sweeps !== null) lines.push(`That is ${touched.sweeps} row that is there.`);
    for (const count of touched.counts)
      if (countText(count) !== "") lines.push(`  ${count.table}: ${countText(count)}`);
  }
  for (const lost of touched.lost) lines.push(...lostLines(lost));
  const shown = touched.rows.slice(0, SAMPLE_ROWS);
  if (shown.length > 0) {
    const all = touched.whole && touched.rows.length <= SAMPLE_ROWS;
    lines.push(all ? "Rows:" : `The first ${shown.length}${touched.whole ? ` of ${touched.rows.length}` : ""} rows:`);
    lines.push(...shown.map((row) => `  ${bounded(rowText(row, touched.keys.get(row.table) ?? []))}`));
  }
  lines.push(...touched.notes);
  if (volatile.size > 0)
    lines.push(`These differ each time it runs, and are not part of what is approved: ${[...volatile].join(", ")}.`);
  if (!touched.whole)
    lines.push("These are more rows than are gathered: what is approved is how many they are, and not what they hold.");
  return lines.join("\n");
}

function lostLines({ table, rows, sample, dependents }: Lost): string[] {
  const more = rows >= LOST_ROWS_COUNTED ? "at least " : "";
  return [
    `  ${table}: ${more}${counted(rows, "row")}`,
    ...sample.map((row) => `    ${bounded(fields(row))}`),
    ...(rows > sample.length ? ["    …"] : []),
    ...(dependents.length === 0 ? [] : [`    hanging on it: ${dependents.join(", ")}`]),
  ];
}

const short = (value: Json): string => {
  const text = JSON.stringify(value);
  return text.length <= SHOWN_CHARS ? text : `${text.slice(0, SHOWN_CHARS)}… (${text.length} characters)`;
};
const fields = (row: JsonObject): string =>
  Object.entries(row)
    .map(([column, value]) => `${column}: ${short(value)}`)
    .join(", ");

/** One row, however many columns it has. Characters. */
const ROW_CHARS = 2_000;
const bounded = (line: string): string => (line.length <= ROW_CHARS ? line : `${line.slice(0, ROW_CHARS)}…`);

/** `+` is added, `-` goes, `~` changes: its key, and each column that becomes another. */
function rowText({ table, before, after }: RowChange, key: readonly string[]): string {
  if (before === null) return `+ ${table} { ${fields(after ?? {})} }`;
  if (after === null) return `- ${table} { ${fields(before)} }`;
  const columns = Object.keys(after).filter(
    (column) => JSON.stringify(before[column]) !== JSON.stringify(after[column]),
  );
  const name = fields(Object.fromEntries(key.map((column) => [column, before[column] ?? null])));
  const changes = columns.map(
    (column) => `${column}: ${short(before[column] ?? null)} → ${short(after[column] ?? null)}`,
  );
  return `~ ${table} { ${name} } ${changes.length === 0 ? "(stays as it is)" : changes.join(", ")}`;
}

/** What was done, without the rows: whoever wants them asks with RETURNING. */
export const doneData = ({ total, counts }: Touched): JsonObject => ({
  total,
  counts: counts.map((count) => ({ ...count })),
});

export const previewData = (touched: Touched): JsonObject => ({
  total: touched.total,
  counts: touched.counts.map((count) => ({ ...count })),
  rows: touched.rows.slice(0, SAMPLE_ROWS).map(({ table, before, after }) => ({ table, before, after })),
  lost: touched.lost.map(({ table, rows, dependents }) => ({ table, rows, dependents: [...dependents] })),
});

/** Tables with their columns; where that is too much to answer with, their names alone. */
export function schemaText(tables: readonly Table[]): string {
  if (tables.length === 0) return "There is no such table.";
  const whole = columnsText(tables);
  if (Buffer.byteLength(whole) <= ANSWER_BYTES_MAX) return whole;
  return [
    "Too many to show their columns; ask for one table.",
    ...tables.map(({ name, kind }) => `${name} (${kind})`),
  ].join("\n");
}

function columnsText(tables: readonly Table[]): string {
  return tables
    .map(({ name, kind, rows, columns, references }) => {
      const about = rows === null ? kind : `${kind}, about ${counted(rows, "row")}`;
      const lines = columns.map(
        (column) => `  ${column.name} ${column.type}${column.key ? " key" : ""}${column.nullable ? "" : " not null"}`,
      );
      return [`${name} (${about})`, ...lines, ...references.map((reference) => `  ${reference}`)].join("\n");
    })
    .join("\n");
}

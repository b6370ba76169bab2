// Plain tables for people.

export type Table = {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
};

const looksNumeric = (text: string): boolean => /^[\d.,–\-+%x ]*$/.test(text);

/** Columns whose cells are all figures stand to the right, the others to the left. */
export function formatTable({ title, columns, rows }: Table): string {
  const widths = columns.map((column, at) => Math.max(column.length, ...rows.map((row) => (row[at] ?? "").length)));
  const right = columns.map((_, at) => rows.length > 0 && rows.every((row) => looksNumeric(row[at] ?? "")));
  const cell = (text: string, at: number): string =>
    right[at] === true ? text.padStart(widths[at] ?? 0) : text.padEnd(widths[at] ?? 0);
  const line = (cells: readonly string[]): string => `  ${cells.map(cell).join("   ")}`.trimEnd();
  return [title, line(columns), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}

/** Three significant digits, or whole above a thousand. */
export function figure(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "not measured";
  if (Number.isInteger(value) || Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return value.toPrecision(3);
}

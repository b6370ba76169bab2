// Aligned columns.
import stringWidth from "string-width";
import { cut, pad } from "./text.ts";

export type Column = {
  readonly title: string;
  readonly align?: "left" | "right";
  /** Gives way when the line is too long for the terminal, down to this width; columns on the left first. */
  readonly widthMin?: number;
  /** Left out when the line is too long even so; the lowest number first. */
  readonly leftOut?: number;
};

/** A cell's text; `paint` colours it after it was cut and filled. */
export type Cell = string | { readonly text: string; readonly paint: (text: string) => string };

/** Between two columns. */
export const GAP = "  ";

type Layout = {
  /** The terminal's columns; undefined where nothing may be cut. */
  readonly columns: number | undefined;
  readonly paintTitle: (text: string) => string;
};

/** The lines of a table, the titles first. Lines never end in spaces. */
export function table(all: readonly Column[], allRows: readonly (readonly Cell[])[], layout: Layout): string[] {
  const kept = keptOf(all, allRows, layout.columns);
  const columns = all.filter((_, at) => kept.has(at));
  const rows = allRows.map((cells) => cells.filter((_, at) => kept.has(at)));
  const widths = widthsOf(columns, rows, layout.columns);
  const titles = columns.map(({ title }): Cell => ({ text: title, paint: layout.paintTitle }));
  return [titles, ...rows].map((cells) => {
    let line = "";
    let left = layout.columns ?? Number.POSITIVE_INFINITY;
    cells.forEach((cell, at) => {
      const last = at === cells.length - 1;
      const room = Math.min(widths[at] ?? 0, left);
      if (room <= 0) return;
      const { text, paint } = typeof cell === "string" ? { text: cell, paint: (same: string) => same } : cell;
      const fitted = cut(text, room);
      const filled = last && columns[at]?.align !== "right" ? fitted : pad(fitted, room, columns[at]?.align);
      line += paint(filled) + (last ? "" : GAP);
      left -= room + GAP.length;
    });
    return line.trimEnd();
  });
}

const fullWidths = (columns: readonly Column[], rows: readonly (readonly Cell[])[]): number[] =>
  columns.map(({ title }, at) =>
    Math.max(stringWidth(title), ...rows.map((row) => stringWidth(textOf(row[at] ?? "")))),
  );

/** The places of the columns that there is room for. */
function keptOf(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  most: number | undefined,
): ReadonlySet<number> {
  const kept = new Set(columns.keys());
  if (most === undefined) return kept;
  const widths = fullWidths(columns, rows).map((width, at) => Math.min(width, columns[at]?.widthMin ?? width));
  const order = [...columns.keys()]
    .filter((at) => columns[at]?.leftOut !== undefined)
    .toSorted((a, b) => (columns[a]?.leftOut ?? 0) - (columns[b]?.leftOut ?? 0));
  let total = widths.reduce((sum, width) => sum + width + GAP.length, -GAP.length);
  for (const at of order) {
    if (total <= most) break;
    kept.delete(at);
    total -= (widths[at] ?? 0) + GAP.length;
  }
  return kept;
}

function widthsOf(columns: readonly Column[], rows: readonly (readonly Cell[])[], most: number | undefined): number[] {
  const widths = fullWidths(columns, rows);
  const total = widths.reduce((sum, width) => sum + width, 0) + GAP.length * (columns.length - 1);
  let excess = most === undefined ? 0 : Math.max(0, total - most);
  columns.forEach(({ widthMin }, at) => {
    const width = widths[at] ?? 0;
    const given = widthMin === undefined ? 0 : Math.min(excess, Math.max(0, width - widthMin));
    widths[at] = width - given;
    excess -= given;
  });
  return widths;
}

const textOf = (cell: Cell): string => (typeof cell === "string" ? cell : cell.text);

/** `name  value` lines with the values aligned. */
export function pairs(
  list: readonly (readonly [name: string, value: string])[],
  paint: (text: string) => string,
): string[] {
  const width = Math.max(...list.map(([name]) => stringWidth(name)));
  return list.map(
    ([name, value]) =>
      `${paint(pad(name, width))}${GAP}${value.split("\n").join(`\n${" ".repeat(width + GAP.length)}`)}`,
  );
}

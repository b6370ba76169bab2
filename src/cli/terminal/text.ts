// Text as it may stand on a terminal.
//
// What agents, models and tools say is data. A terminal obeys control characters, and a reader believes the order in
// which letters stand; so both are shown as escapes here, and nothing of theirs is printed by another way.
import stringWidth from "string-width";
import type { Json } from "../../abi/json.ts";

/** Controls (but line feed and tab), and the marks that reorder or hide text. */
// oxlint-disable-next-line no-control-regex -- Finding control characters is what this is for.
const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

const escape = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** The text with line breaks and tabs, and everything else that a terminal would obey made visible. */
export const plain = (text: string): string => text.replaceAll("\r\n", "\n").replace(UNSAFE, escape);

/** The text on one line. */
export const oneLine = (text: string): string => plain(text.trim().replace(/\s+/g, " "));

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });
const ELLIPSIS = "…";

/** At most `columns` wide, with an ellipsis where something is missing. */
export function cut(text: string, columns: number): string {
  if (text.length <= columns && stringWidth(text) <= columns) return text;
  let kept = "";
  let width = 0;
  for (const { segment } of graphemes.segment(text)) {
    width += stringWidth(segment);
    if (width > columns) return kept.slice(0, lastFit(kept, columns)) + ELLIPSIS;
    kept += segment;
  }
  return kept;
}

/** Where to cut so that the ellipsis fits as well. */
function lastFit(text: string, columns: number): number {
  const segments = [...graphemes.segment(text)];
  while (segments.length > 0 && stringWidth(segments.map(({ segment }) => segment).join("")) > columns - 1)
    segments.pop();
  const last = segments.at(-1);
  return last === undefined ? 0 : last.index + last.segment.length;
}

/** Broken at spaces into lines of at most `columns`; a word that is longer stands on a line of its own. */
export function wrap(text: string, columns: number): string[] {
  const [first = "", ...words] = text.split(" ");
  const lines: string[] = [];
  let line = first;
  for (const word of words) {
    const longer = `${line} ${word}`;
    if (line.trim() !== "" && stringWidth(longer) > columns) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return [...lines, line];
}

/** Filled with spaces to `columns`. */
export function pad(text: string, columns: number, align: "left" | "right" = "left"): string {
  const fill = " ".repeat(Math.max(0, columns - stringWidth(text)));
  return align === "right" ? fill + text : text + fill;
}

/** A value on one line: text as it is, all else as JSON. */
export const inShort = (value: Json | undefined): string =>
  value === undefined ? "" : oneLine(typeof value === "string" ? value : JSON.stringify(value));

/** A value in full: text as it is, all else as indented JSON. */
export const inFull = (value: Json): string =>
  plain(typeof value === "string" ? value : JSON.stringify(value, null, 2));

export const indent = (text: string, by = 2): string =>
  text
    .split("\n")
    .map((line) => (line === "" ? line : " ".repeat(by) + line))
    .join("\n");

/** A field of a value that may be anything. */
export const fieldOf = (value: Json | undefined, name: string): Json | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as { readonly [key: string]: Json })[name]
    : undefined;

export function textField(value: Json | undefined, name: string): string | undefined {
  const field = fieldOf(value, name);
  return typeof field === "string" ? field : undefined;
}

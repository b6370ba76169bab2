// Differences of a workspace in words and colours.
import type { Change, Differences } from "../../abi/reports.ts";
import type { Context } from "../context.ts";
import { counted } from "../terminal/figures.ts";
import { oneLine, plain } from "../terminal/text.ts";

type Lines = { readonly added: number; readonly removed: number };

/** Lines of a unified diff that were added and removed. */
function linesOf(diff: string | undefined): Lines {
  const hunks = (diff ?? "").split("\n").slice(2);
  const begin = (sign: string): number => hunks.filter((line) => line.startsWith(sign)).length;
  return { added: begin("+"), removed: begin("-") };
}

const MARK = { added: "A", changed: "M", removed: "D" } as const;

/** One line for a change: its mark, its path, how many lines or bytes. */
export function changeLine({ screen }: Context, change: Change): string {
  const { green, yellow, red, dim } = screen.paint;
  const paint = { added: green, changed: yellow, removed: red }[change.change];
  const path = oneLine(change.path) + (change.kind === "folder" ? "/" : change.kind === "link" ? " (link)" : "");
  return `${paint(MARK[change.change])} ${path}${dim(figuresOf(change))}`;
}

function figuresOf({ diff, kind, sizeBytes, mode }: Change): string {
  const { added, removed } = linesOf(diff);
  const size = diff === undefined ? (kind === "file" ? counted(sizeBytes, "byte") : "") : `+${added} -${removed}`;
  const text = [size, mode === undefined ? "" : `${mode.from} → ${mode.to}`].filter((part) => part !== "").join(", ");
  return text === "" ? "" : `  ${text}`;
}

/** `n files, +a -b`. */
export function summary({ changes, more }: Pick<Differences, "changes" | "more">): string {
  const all = changes.map(({ diff }) => linesOf(diff));
  const added = all.reduce((sum, one) => sum + one.added, 0);
  const removed = all.reduce((sum, one) => sum + one.removed, 0);
  const some = all.length > 0 && changes.some(({ diff }) => diff !== undefined);
  return `${counted(changes.length + more, "file")}${some ? `, +${added} -${removed}` : ""}`;
}

/** The lines of a unified diff, coloured. */
export function diffLines({ screen }: Context, diff: string): string[] {
  const { green, red, cyan, bold } = screen.paint;
  const lines = plain(diff.replace(/\n$/, "")).split("\n");
  return lines.map((line, at) => {
    if (at < 2) return bold(line);
    if (line.startsWith("@@")) return cyan(line);
    return line.startsWith("+") ? green(line) : line.startsWith("-") ? red(line) : line;
  });
}

/** What the list leaves unsaid: what is not listed, and what is neither kept nor written. */
export function remarks({ screen }: Context, { more, leftOut }: Differences): string[] {
  const { yellow, dim } = screen.paint;
  const shown = leftOut.slice(0, LEFT_OUT_SHOWN).map(({ path, why }) => dim(`  ${oneLine(path)}: ${oneLine(why)}`));
  const rest =
    leftOut.length > shown.length ? [dim(`  and ${leftOut.length - shown.length} more (--json has them)`)] : [];
  return [
    ...(more === 0 ? [] : [dim(`${counted(more, "further change")} not listed`)]),
    ...(leftOut.length === 0 ? [] : [yellow(`${leftOut.length} left out:`), ...shown, ...rest]),
  ];
}

const LEFT_OUT_SHOWN = 10;

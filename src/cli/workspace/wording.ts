// Differences of a workspace in words and colours.
import type { Change, Differences } from "../../abi/reports.ts";
import type { Context } from "../context.ts";
import { count, counted } from "../terminal/figures.ts";
import { oneLine, plain } from "../terminal/text.ts";

type Lines = { readonly added: number; readonly removed: number };

/** Lines of a unified diff that were added and removed. */
function linesOf(diff: string | undefined): Lines {
  const hunks = (diff ?? "").split("\n").slice(2);
  const begin = (sign: string): number => hunks.filter((line) => line.startsWith(sign)).length;
  return { added: begin("+"), removed: begin("-") };
}

const MARK = { added: "A", changed: "M", removed: "D" } as const;

/** One line for a change: its mark, its path, where a link leads, how many lines or bytes. */
export function changeLine({ screen }: Context, change: Change): string {
  const { green, yellow, red, dim } = screen.paint;
  const paint = { added: green, changed: yellow, removed: red }[change.change];
  const path = oneLine(change.path) + (change.kind === "folder" ? "/" : linkText(change.target));
  const out = change.leadsOut === true ? red("  leads out: not written back") : "";
  return `${paint(MARK[change.change])} ${path}${dim(figuresOf(change))}${out}`;
}

const linkText = (target: string | undefined): string => (target === undefined ? "" : ` → ${oneLine(target)}`);

const WHY_UNSHOWN = { binary: "binary", long: "too long to show", room: "not shown" } as const;

function figuresOf(change: Change): string {
  const { diff, mode, moved, unshown, before } = change;
  const { added, removed } = linesOf(diff);
  const parts = [
    moved === undefined ? "" : `${change.change === "added" ? "moved from" : "moved to"} ${oneLine(moved)}`,
    before === undefined || before.kind === change.kind ? "" : `was a ${before.kind}`,
    before?.target === undefined || before.kind !== change.kind ? "" : `was${linkText(before.target)}`,
    diff === undefined ? bytesText(change) : `+${added} -${removed}`,
    unshown === undefined ? "" : WHY_UNSHOWN[unshown],
    mode === undefined ? "" : `${mode.from} → ${mode.to}`,
  ].filter((part) => part !== "");
  return parts.length === 0 ? "" : `  ${parts.join(", ")}`;
}

/** Of a file whose lines are not told; nothing where only its permissions differ. */
function bytesText({ kind, sizeBytes, before, unshown, mode }: Change): string {
  if (kind !== "file" || (mode !== undefined && unshown === undefined && before?.sizeBytes === sizeBytes)) return "";
  const was = before?.kind === "file" && before.sizeBytes !== sizeBytes ? `${count(before.sizeBytes)} → ` : "";
  return was + counted(sizeBytes, "byte");
}

/** `n changes, +a -b`. */
export function summary({ changes, more }: Pick<Differences, "changes" | "more">): string {
  const all = changes.map(({ diff }) => linesOf(diff));
  const added = all.reduce((sum, one) => sum + one.added, 0);
  const removed = all.reduce((sum, one) => sum + one.removed, 0);
  const some = all.length > 0 && changes.some(({ diff }) => diff !== undefined);
  return `${counted(changes.length + more, "change")}${some ? `, +${added} -${removed}` : ""}`;
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
export function remarks({ screen }: Context, { more, leftOut }: Pick<Differences, "more" | "leftOut">): string[] {
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

// A request as it is shown to whoever decides it: what is asked, why, by whom, with which arguments, and what to type.
//
// Invariant R1. Nothing of it is cut where it is decided: a yes is for exactly this. Only a list of many shows the beginning of
// what a call would do, and says where the rest is.
import type { InboxItem } from "../../abi/requests.ts";
import type { Context } from "../context.ts";
import { age } from "../terminal/figures.ts";
import { inFull, oneLine, plain } from "../terminal/text.ts";
import { optionOf, shortOf } from "./budget.ts";
import { requestText } from "./wording.ts";

type Fact = readonly [name: string, value: string];

/** Columns before a fact's value: an indent, the longest name, a gap. */
const TAKEN_COLUMNS = 11;

/** Lines of a preview in a list of many requests. */
const SHORT_LINES = 5;

/**
 * What is asked, as a heading. Only a question of an agent has lines of its own; they begin further in, so that none passes for
 * a fact. In every other kind line breaks come from arguments.
 */
export const questionText = ({ kind, question }: InboxItem): string =>
  kind === "question" ? plain(question.trim()).split("\n").join("\n    ") : oneLine(question);

/** The facts of a request, broken to the terminal's width. `short`: of what it would do, the beginning. */
export function requestFacts(
  context: Context,
  item: InboxItem,
  { short = false }: { readonly short?: boolean } = {},
): Fact[] {
  const { screen, host } = context;
  const asked = `call #${item.call}, ${age(host.nowMs() - item.openedMs)} ago`;
  const facts: Fact[] = [
    ["what", requestText(item)],
    ["why", `${oneLine(item.rule)}: ${oneLine(item.reason)}`],
    ["from", `${oneLine(item.agent)} ${item.pid}, ${asked}`],
  ];
  if (item.args !== undefined) facts.push(["with", inFull(item.args)]);
  if (item.preview !== undefined) facts.push(["preview", previewText(context, item, short)]);
  return facts.map(([name, value]) => [name, screen.fitted(value, TAKEN_COLUMNS)]);
}

/** What the call would do. */
function previewText(context: Context, { preview, pid }: InboxItem, short: boolean): string {
  const lines = plain(preview?.text ?? "").split("\n");
  if (!short || lines.length <= SHORT_LINES + 1) return lines.join("\n");
  const more = `… ${lines.length - SHORT_LINES} more lines: ${context.typed(`inbox --pid ${pid}`)}`;
  return [...lines.slice(0, SHORT_LINES), more].join("\n");
}

/** What to type to decide a request. */
export function decisions(context: Context, item: InboxItem): string[] {
  const { request, kind, options } = item;
  const approve = (flags: string): string => context.typed(`approve ${request}${flags}`);
  const reject = context.typed(`reject ${request} --reason TEXT`);
  switch (kind) {
    case "approval":
      return [approve(""), reject];
    case "question": {
      const [first] = options ?? [];
      return [approve(` --answer ${first === undefined ? "TEXT" : JSON.stringify(oneLine(first))}`), reject];
    }
    case "settlement":
      return [approve(" --outcome done --result TEXT"), approve(" --outcome not_done"), approve(" --outcome failed")];
    case "budget":
      return [approve(` ${optionOf(shortOf(item) ?? "costUsd")}`), reject];
  }
}

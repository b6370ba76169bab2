// A request as it is shown to whoever decides it: what is asked, why, by whom, with which arguments, and what to type.
//
// Invariant R1. Nothing of it is cut: a yes is for exactly this.
import type { InboxItem } from "../../abi/requests.ts";
import type { Context } from "../context.ts";
import { age } from "../terminal/figures.ts";
import { inFull, oneLine } from "../terminal/text.ts";
import { optionOf, shortOf } from "./budget.ts";
import { requestText } from "./wording.ts";

type Fact = readonly [name: string, value: string];

/** Columns before a fact's value: an indent, the longest name, a gap. */
const TAKEN_COLUMNS = 11;

/** The facts of a request, broken to the terminal's width. */
export function requestFacts({ screen, host }: Context, item: InboxItem): Fact[] {
  const asked = `call #${item.call}, ${age(host.nowMs() - item.openedMs)} ago`;
  const facts: Fact[] = [
    ["what", requestText(item)],
    ["why", `${oneLine(item.rule)}: ${oneLine(item.reason)}`],
    ["from", `${oneLine(item.agent)} ${item.pid}, ${asked}`],
  ];
  if (item.args !== undefined) facts.push(["with", inFull(item.args)]);
  return facts.map(([name, value]) => [name, screen.fitted(value, TAKEN_COLUMNS)]);
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

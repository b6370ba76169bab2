// Questions to the person at the terminal.
//
// Invariants:
//   P1. What is asked is shown whole before it can be answered: the arguments of an approval are never cut.
//   P2. Enter alone approves nothing: the choice that stands first in line is to decide later.
import { isCancel, select, text } from "@clack/prompts";
import type { Decision, InboxItem } from "../../abi/requests.ts";
import { jsonOrText, type Context } from "../context.ts";
import { dimension, DIMENSIONS, shortOf, type Dimension } from "./budget.ts";
import { questionText, requestFacts } from "./request.ts";
import { pairs } from "../terminal/table.ts";
import { indent, oneLine } from "../terminal/text.ts";

/** A decision; `later` leaves it in the inbox; `leave` is Ctrl-C. */
export type Answered = Decision | "later" | "leave";

type Asking = { readonly context: Context; readonly item: InboxItem; readonly signal: AbortSignal };
type Choice = { readonly value: string; readonly label: string; readonly hint?: string };

const LATER: Choice = { value: "later", label: "Decide later", hint: "it stays in the inbox" };
const OTHER = "another answer";

/** Asks for the decision of a request. The signal takes the question back, which answers `leave`. */
export async function askDecision(asking: Asking): Promise<Answered> {
  showRequest(asking);
  switch (asking.item.kind) {
    case "approval":
      return askApproval(asking);
    case "question":
      return askAnswer(asking);
    case "settlement":
      return askSettlement(asking);
    case "budget":
      return askBudget(asking);
  }
}

function showRequest({ context, item }: Asking): void {
  const { screen } = context;
  const { dim, bold, yellow } = screen.paint;
  screen.line();
  screen.line(`${yellow("?")} ${bold(questionText(item))}`);
  for (const line of pairs([["id", item.request], ...requestFacts(context, item)], dim)) screen.line(indent(line));
}

async function askApproval(asking: Asking): Promise<Answered> {
  const choice = await choose(asking, "May it be done?", [
    LATER,
    { value: "approve", label: "Approve", hint: "once, exactly this" },
    { value: "reject", label: "Reject", hint: "with a reason" },
  ]);
  if (choice === "approve") return { verdict: "approved" };
  if (choice === "reject") return askReason(asking);
  return choice === "leave" ? choice : "later";
}

async function askReason(asking: Asking): Promise<Answered> {
  const note = await write(asking, "Why not? The agent is told. (may be empty)");
  if (note === "leave") return note;
  return { verdict: "rejected", ...(note.text === "" ? {} : { note: note.text }) };
}

async function askAnswer(asking: Asking): Promise<Answered> {
  const offered = (asking.item.options ?? []).map((option, at): Choice => ({
    value: String(at),
    label: oneLine(option),
  }));
  const ways = [
    LATER,
    ...offered,
    { value: "other", label: offered.length === 0 ? "Answer" : `Give ${OTHER}` },
    { value: "reject", label: "Refuse to answer" },
  ];
  const choice = await choose(asking, "Your answer?", ways);
  if (choice === "later" || choice === "leave") return choice;
  if (choice === "reject") return askReason(asking);
  if (choice !== "other") return { verdict: "answered", answer: asking.item.options?.[Number(choice)] ?? "" };
  const answer = await write(asking, "Answer (text or JSON)");
  return answer === "leave" ? answer : { verdict: "answered", answer: jsonOrText(answer.text) };
}

async function askSettlement(asking: Asking): Promise<Answered> {
  const choice = await choose(asking, "It was sent, and no answer came back. What became of it?", [
    LATER,
    { value: "done", label: "It happened", hint: "the agent goes on with its result" },
    { value: "not_done", label: "It did not happen", hint: "it is performed now" },
    { value: "failed", label: "Give it up", hint: "the agent is told that the outcome is unknown" },
  ]);
  if (choice === "later" || choice === "leave") return choice;
  if (choice !== "done") return { verdict: "settled", outcome: choice === "failed" ? "failed" : "not_done" };
  const result = await write(asking, "What did it answer? The agent reads this as the result.");
  return result === "leave" ? result : { verdict: "settled", outcome: "done", result: { text: result.text } };
}

async function askBudget(asking: Asking): Promise<Answered> {
  const choice = await choose(asking, "May it use up more?", [
    LATER,
    { value: "raise", label: "Give it more" },
    { value: "reject", label: "Refuse", hint: "the call is refused" },
  ]);
  if (choice === "reject") return askReason(asking);
  if (choice !== "raise") return choice === "leave" ? choice : "later";
  const name = shortOf(asking.item) ?? (await askDimension(asking));
  return name === "later" || name === "leave" ? name : askAmount(asking, name);
}

/** Which part of the budget is to be another; asked where the request does not say what is short. */
async function askDimension(asking: Asking): Promise<Dimension | "later" | "leave"> {
  const ways = DIMENSIONS.map(({ name, title }): Choice => ({ value: name, label: title }));
  return (await choose(asking, "More of what?", [LATER, ...ways])) as Dimension | "later" | "leave";
}

/** What it may use up in all; asked again until it is an amount. */
async function askAmount(asking: Asking, name: Dimension): Promise<Answered> {
  const { doc, read } = dimension(name);
  const given = await write(asking, `How much in all from now on? (${doc})`, (typed) => {
    try {
      read(typed.trim());
      return undefined;
    } catch (error) {
      // The reader says what it takes; the person types again.
      return error instanceof Error ? error.message : String(error);
    }
  });
  return given === "leave" ? given : { verdict: "raised", budget: { [name]: read(given.text.trim()) } };
}

/** The value chosen. */
async function choose(
  { context: { host }, signal }: Asking,
  message: string,
  options: readonly Choice[],
): Promise<string> {
  const chosen = await select<string>({
    message,
    options: options.map((option) => ({ ...option })),
    initialValue: LATER.value,
    input: host.stdin,
    output: host.stdout,
    signal,
  });
  return isCancel(chosen) ? "leave" : chosen;
}

async function write(
  { context: { host }, signal }: Pick<Asking, "context" | "signal">,
  message: string,
  fault: (typed: string) => string | undefined = () => undefined,
): Promise<{ readonly text: string } | "leave"> {
  const validate = (typed: string | undefined): string | undefined => fault(typed ?? "");
  const written = await text({ message, validate, input: host.stdin, output: host.stdout, signal });
  return isCancel(written) ? "leave" : { text: written ?? "" };
}

/** The next message to a process that waits for one; `later` if it is left waiting. */
export async function askMessage(
  context: Context,
  agent: string,
  signal: AbortSignal,
): Promise<{ readonly text: string } | "later" | "leave"> {
  const written = await write({ context, signal }, `Message to ${oneLine(agent)} (empty to leave it waiting)`);
  return written !== "leave" && written.text.trim() === "" ? "later" : written;
}

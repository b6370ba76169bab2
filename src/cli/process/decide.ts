// What `approve` and `reject` share: the decision that fits a request, and what comes after it.
import type { Budget } from "../../abi/agents.ts";
import type { OsError } from "../../abi/errors.ts";
import type { ProcessId } from "../../abi/ids.ts";
import type { Output } from "../../abi/syscalls.ts";
import type { Decision, InboxItem } from "../../abi/requests.ts";
import { jsonOrText, type Context } from "../context.ts";
import { misuse, textOption, type Options } from "../command.ts";
import { STATUS } from "../exit-status.ts";
import { follow, tellNotices } from "../follow.ts";
import type { Session } from "../session.ts";
import { budgetOf, optionOf, shortOf } from "./budget.ts";
import { resolveRequest } from "./ids.ts";
import { oneLine } from "../terminal/text.ts";

type Outcome = "done" | "not_done" | "failed";

/** Decides a request. Without a server its process then goes on here, until it is over or asks again. */
export async function decideRequest(
  context: Context,
  given: string,
  decision: (item: InboxItem | undefined) => Decision,
): Promise<number> {
  return context.session(true, async (session) => {
    const { request, item } = await resolveRequest(session.client, given);
    // What happens from the decision on is shown, so the place in the journal is taken before it.
    const from = item === undefined ? undefined : await eventsOf(session, item.pid);
    const decided = await session.client.human.decide({ request, decision: decision(item) });
    if (session.server === null)
      return goOn(context, session, { ...decided, from: from ?? (await eventsOf(session, decided.pid)) });
    const { pid, verdict } = decided;
    context.answer(decided, () => [
      `${request} ${verdict}. ${pid} goes on at ${session.server ?? "the server"}: ${context.typed(`wait ${pid}`)}`,
    ]);
    return STATUS.ok;
  });
}

const eventsOf = async ({ client }: Session, pid: ProcessId): Promise<number> =>
  (await client.process.show({ pid })).process.events;

type Decided = Output<"human.decide"> & { readonly from: number };

async function goOn(context: Context, session: Session, { request, pid, verdict, from }: Decided): Promise<number> {
  tellNotices(context, session);
  if (!context.json)
    context.screen.line(`${request} ${verdict}. No server is running, so ${pid} goes on here; Ctrl-C parks it.`);
  const { why } = await follow(context, session, { pid, from, patient: false, json: "summary" });
  // The decision is taken, however the process fares after it.
  return why === "detached" ? STATUS.interrupted : STATUS.ok;
}

/**
 * The decision of `approve`: approves, answers, settles or raises, as the request's kind asks. Of a request that is not in the
 * inbox the kind is unknown: what was typed decides, and the system says what became of the request.
 * Throws `invalid_argument` where what was typed does not fit.
 */
export function approval(item: InboxItem | undefined, options: Options): Decision {
  const typed: Typed = {
    note: textOption(options, "note"),
    answer: textOption(options, "answer"),
    outcome: textOption(options, "outcome"),
    result: textOption(options, "result"),
  };
  const budget = budgetOf(options);
  const named = Object.keys(budget).length > 0;
  if (item?.kind === "budget" || (item === undefined && named)) return raised(item, typed, budget);
  if (named) throw mismatch(item, `${KINDS[item?.kind ?? "approval"]} and asks for no budget`);
  if (item?.kind === "settlement" || (item === undefined && typed.outcome !== undefined)) return settled(item, typed);
  if (item?.kind === "question" || (item === undefined && typed.answer !== undefined)) return answered(item, typed);
  if (typed.answer !== undefined || typed.outcome !== undefined || typed.result !== undefined) {
    throw mismatch(item, "an approval, which takes a yes (with --note TEXT, if you like) or `reeve reject`");
  }
  return { verdict: "approved", ...noted(typed.note) };
}

type Typed = { readonly [Name in "note" | "answer" | "outcome" | "result"]: string | undefined };

const KINDS: { readonly [Kind in InboxItem["kind"]]: string } = {
  approval: "an approval",
  question: "a question",
  settlement: "a settlement",
  budget: "about a budget",
};

function raised(item: InboxItem | undefined, { note, answer, outcome, result }: Typed, budget: Budget): Decision {
  if (answer !== undefined || outcome !== undefined || result !== undefined)
    throw mismatch(item, "about a budget, which takes an amount (and --note TEXT, if you like) or `reeve reject`");
  if (Object.keys(budget).length === 0) {
    const option = optionOf((item === undefined ? undefined : shortOf(item)) ?? "costUsd");
    throw mismatch(item, `about a budget. Say what it may use up in all from now on: ${option}`);
  }
  return { verdict: "raised", budget, ...noted(note) };
}

const noted = (note: string | undefined): { readonly note?: string } => (note === undefined ? {} : { note });

function answered(item: InboxItem | undefined, { note, answer, outcome, result }: Typed): Decision {
  if (outcome !== undefined || result !== undefined || note !== undefined)
    throw mismatch(item, "a question, which takes --answer TEXT and nothing else");
  const offered = item?.options;
  if (answer === undefined) {
    const choices = offered === undefined ? "" : ` (${offered.map(oneLine).join(" | ")})`;
    throw mismatch(item, `a question: "${oneLine(item?.question ?? "")}". Answer it with --answer TEXT${choices}`);
  }
  return { verdict: "answered", answer: offered?.includes(answer) === true ? answer : jsonOrText(answer) };
}

function settled(item: InboxItem | undefined, { note, answer, outcome, result }: Typed): Decision {
  if (answer !== undefined) throw mismatch(item, "a settlement, which takes --outcome and no answer");
  if (outcome === undefined)
    throw mismatch(
      item,
      `a settlement: the effect was sent and no answer came back. Say what became of it: ${OUTCOMES}`,
    );
  if (outcome !== "done" && result !== undefined)
    throw mismatch(item, "a settlement; --result goes with --outcome done only");
  if (outcome === "done" && result === undefined)
    throw mismatch(
      item,
      "a settlement; --outcome done needs --result TEXT, which the agent reads as the tool's answer",
    );
  return {
    verdict: "settled",
    outcome: outcome as Outcome,
    ...(result === undefined ? {} : { result: { text: result } }),
    ...noted(note),
  };
}

const OUTCOMES =
  "--outcome done --result TEXT (it happened), --outcome not_done (it did not; it is performed now) or --outcome failed (give it up)";

/** The decision of `reject`. */
export function rejection(item: InboxItem | undefined, options: Options): Decision {
  if (item?.kind === "settlement")
    throw mismatch(
      item,
      "a settlement: what was sent cannot be refused any more. Give it up with `reeve approve ID --outcome failed`, or say with `reeve approve` what became of it",
    );
  return { verdict: "rejected", ...noted(textOption(options, "reason")) };
}

const mismatch = (item: InboxItem | undefined, what: string): OsError =>
  misuse(`${item?.request ?? "The request"} is ${what}.`);

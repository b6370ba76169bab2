// Budgets in words and as options: what a process may use up, what is left of it, and how somebody types more.
//
// Boundary: amounts and texts. Whether a budget may be had, the system says.
import { InvalidArgumentError, Option, type Command } from "commander";
import type { Budget } from "../../abi/agents.ts";
import type { Spent } from "../../abi/process.ts";
import type { InboxItem } from "../../abi/requests.ts";
import { wholeNumber, type Options } from "../command.ts";
import { count, counted, duration, money, time } from "../terminal/figures.ts";
import { durationOption } from "../times.ts";

/** What a budget counts. */
export type Dimension = Exclude<keyof Budget, "whenExhausted">;

type Described = {
  readonly name: Dimension;
  readonly title: string;
  /** As an option, after the prefix. */
  readonly flag: string;
  readonly doc: string;
  /** Throws what commander tells as a wrong option. */
  readonly read: (text: string) => number;
  /** With its unit, where it stands alone. */
  readonly text: (amount: number) => string;
};

export const DIMENSIONS: readonly Described[] = [
  {
    name: "costUsd",
    title: "cost",
    flag: "cost-usd <dollars>",
    doc: "US dollars",
    read: dollars,
    text: (amount) => (amount === 0 ? "$0.00" : money(amount)),
  },
  {
    name: "calls",
    title: "calls",
    flag: "calls <n>",
    doc: "calls of models and tools",
    read: wholeNumber(1),
    text: (amount) => counted(amount, "call"),
  },
  {
    name: "tokens",
    title: "tokens",
    flag: "tokens <n>",
    doc: "input and output tokens together",
    read: wholeNumber(1),
    text: (amount) => counted(amount, "token"),
  },
  {
    name: "inputTokens",
    title: "input tokens",
    flag: "input-tokens <n>",
    doc: "input tokens",
    read: wholeNumber(1),
    text: (amount) => counted(amount, "input token"),
  },
  {
    name: "outputTokens",
    title: "output tokens",
    flag: "output-tokens <n>",
    doc: "output tokens",
    read: wholeNumber(1),
    text: (amount) => counted(amount, "output token"),
  },
  {
    name: "wallMs",
    title: "wall time",
    flag: "wall <duration>",
    doc: "time since it was created, such as 90s or 2h",
    read: durationOption,
    text: (amount) => `${duration(amount)} of wall time`,
  },
];

const DESCRIBED = Object.fromEntries(DIMENSIONS.map((each) => [each.name, each])) as {
  readonly [Name in Dimension]: Described;
};

export const dimension = (name: Dimension): Described => DESCRIBED[name];

function dollars(text: string): number {
  const value = Number(text.replace(/^\$/, ""));
  if (/^\$?\d+(\.\d+)?$/.test(text) && value > 0) return value;
  throw new InvalidArgumentError("It must be an amount of US dollars, such as 5 or 0.25.");
}

type Prefixed = {
  /** What the options begin with: `budget-`, or nothing. */
  readonly prefix: string;
  /** What the help says of each, before its unit. */
  readonly what: string;
};

/** Adds an option for each part of a budget. */
export function addBudgetOptions(command: Command, { prefix, what }: Prefixed): void {
  for (const { flag, doc, read } of DIMENSIONS)
    command.addOption(new Option(`--${prefix}${flag}`, `${what}: ${doc}`).argParser(read));
}

export const whenExhaustedOption = (prefix: string): Option =>
  new Option(
    `--${prefix}when-exhausted <what>`,
    "a call that would cross the budget: refuse it, or ask a human for more",
  ).choices(["fail", "ask"]);

/** The budget that the options name; empty if they name none. */
export function budgetOf(options: Options, prefix = ""): Budget {
  const value = (option: string): unknown =>
    options[`${prefix}${option}`.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())];
  const amounts = DIMENSIONS.flatMap(({ name, flag }) => {
    const amount = value(flag.split(" ")[0] ?? "");
    return typeof amount === "number" ? [[name, amount] as const] : [];
  });
  const when = value("when-exhausted");
  const exhausted: Budget = when === "fail" || when === "ask" ? { whenExhausted: when } : {};
  return { ...(Object.fromEntries(amounts) as Budget), ...exhausted };
}

/** `$5.00, 100 calls`; `unlimited` if it bounds nothing. */
export function budgetText(budget: Budget): string {
  const bounds = DIMENSIONS.flatMap(({ name, text }) => {
    const amount = budget[name];
    return amount === undefined ? [] : [text(amount)];
  });
  const asks = budget.whenExhausted === "ask" ? "; more is asked of a human" : "";
  return `${bounds.length === 0 ? "unlimited" : bounds.join(", ")}${asks}`;
}

/** `1 call, 2,310 tokens, $0.01`: amounts without those that are nothing. */
export function amountsText({ calls, inputTokens, outputTokens, costUsd }: Spent): string {
  const amounts: Budget = { calls, tokens: inputTokens + outputTokens, costUsd };
  const parts = (["calls", "tokens", "costUsd"] as const).filter((name) => (amounts[name] ?? 0) > 0);
  return parts.length === 0 ? "nothing" : parts.map((name) => DESCRIBED[name].text(amounts[name] ?? 0)).join(", ");
}

/** When it must be over, and how long that is from now. */
export const deadlineText = (deadlineMs: number, nowMs: number): string =>
  `${time(deadlineMs)} (${deadlineMs < nowMs ? `${duration(nowMs - deadlineMs)} ago` : `in ${duration(deadlineMs - nowMs)}`})`;

/** How much of one part of a budget is used up. */
export function amountOf(name: Dimension, spent: Spent, elapsedMs: number): number {
  switch (name) {
    case "tokens":
      return spent.inputTokens + spent.outputTokens;
    case "wallMs":
      return elapsedMs;
    default:
      return spent[name];
  }
}

const RULE = "budget.";

/** Which part of a budget a request of kind `budget` is about, as its rule says; undefined if that is none of them. */
export const shortOf = ({ rule }: Pick<InboxItem, "rule">): Dimension | undefined =>
  DIMENSIONS.find(({ name }) => rule === `${RULE}${name}`)?.name;

/** The option that raises a part of a budget, with what it takes: `--cost-usd <dollars>`. */
export const optionOf = (name: Dimension): string => `--${DESCRIBED[name].flag}`;

/** An amount in the cell of a table, under its title. */
export const cellAmount = (name: Dimension, amount: number): string =>
  name === "wallMs" ? duration(amount) : name === "costUsd" ? DESCRIBED.costUsd.text(amount) : count(amount);

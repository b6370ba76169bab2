// Amounts of what a budget counts: calls, tokens, dollars.
import type { Budget } from "../abi/agents.ts";
import type { EventHeader } from "../abi/events.ts";
import type { Usage } from "../abi/messages.ts";
import type { Spent } from "../abi/process.ts";
import type { ProcessCall } from "../abi/syscalls.ts";

export const NOTHING_SPENT: Spent = { calls: 0, inputTokens: 0, outputTokens: 0, costUsd: 0 };

/** Sums of dollars are kept to a billionth, so that they do not depend on their order. */
const NANO = 1_000_000_000;

export const plus = (one: Spent, other: Spent): Spent => ({
  calls: one.calls + other.calls,
  inputTokens: one.inputTokens + other.inputTokens,
  outputTokens: one.outputTokens + other.outputTokens,
  costUsd: Math.round((one.costUsd + other.costUsd) * NANO) / NANO,
});

/** The calls that a budget counts: those that cost somebody something. */
const isCounted = (syscall: ProcessCall): boolean => syscall === "model.generate" || syscall === "tool.call";

/** One call with what its model said that it used. */
export const oneCall = (usage: Usage | undefined): Spent => ({
  calls: 1,
  inputTokens: usage?.inputTokens ?? 0,
  outputTokens: usage?.outputTokens ?? 0,
  costUsd: usage?.costUsd ?? 0,
});

/** What has been used up after one more outcome. A call that failed is charged what its event says, and otherwise nothing. */
export function spendFor(spent: Spent, header: Extract<EventHeader, { kind: "call.completed" }>): Spent {
  if (!isCounted(header.syscall)) return spent;
  if (header.charged !== undefined) return plus(spent, header.charged);
  return header.error === undefined ? plus(spent, oneCall(header.usage)) : spent;
}

/** The dimensions of a budget. */
export const AMOUNTS = ["calls", "tokens", "inputTokens", "outputTokens", "costUsd", "wallMs"] as const;
export type Amount = (typeof AMOUNTS)[number];

/** The least of those that are given. */
export function least(...bounds: readonly (number | null | undefined)[]): number | undefined {
  const set = bounds.filter((bound) => bound !== undefined && bound !== null);
  return set.length === 0 ? undefined : Math.min(...set);
}

/** The tightest of several budgets, dimension by dimension; of what happens when one is exhausted, the last word. */
export function tightestBudget(...budgets: readonly (Budget | undefined)[]): Budget {
  const tightest: { [name in Amount]?: number } = {};
  for (const name of AMOUNTS) {
    const max = least(...budgets.map((budget) => budget?.[name]));
    if (max !== undefined) tightest[name] = max;
  }
  const whenExhausted = budgets.findLast((budget) => budget?.whenExhausted !== undefined)?.whenExhausted;
  return { ...tightest, ...(whenExhausted === undefined ? {} : { whenExhausted }) };
}

// What budgets count, as whole numbers of any size.
//
// Money is counted in nano-dollars, because sums of binary fractions drift: ten times 0.1 is not 1, and a budget that is kept
// in floating point is overrun, or has something left over, by rounding alone. A nano-dollar divides every price of a token
// that is published (the least are some nano-dollars). Whole numbers of any size, because a budget may name the largest number
// that there is, and ten thousand children of one parent may each do so.
//
// Invariants:
//   M1. Reading an amount rounds up and reading a bound rounds down, so that rounding never lets anything through.
//   M2. What was a whole number of nano-dollars comes back as the same number, although it was a binary fraction meanwhile.
import type { Budget } from "../abi/agents.ts";
import type { Spent } from "../abi/process.ts";

export const DIMENSIONS = ["calls", "inputTokens", "outputTokens", "tokens", "costUsd"] as const;
export type Dimension = (typeof DIMENSIONS)[number];

/** `tokens` is input and output together; `costUsd` is in nano-dollars. */
export type Amounts = { [name in Dimension]: bigint };
/** Undefined: not bounded. */
export type Bounds = { readonly [name in Dimension]: bigint | undefined };

export const nothing = (): Amounts => ({ calls: 0n, inputTokens: 0n, outputTokens: 0n, tokens: 0n, costUsd: 0n });

const NANO = 1e9;
/** A fraction of a nano-dollar below this is taken for the noise of binary fractions; it is, up to some ten thousand dollars. */
const NOISE = 0.01;

/** Throws a RangeError for what is no number. */
export function amountsOf({ calls, inputTokens, outputTokens, costUsd }: Spent): Amounts {
  const [input, output] = [whole(inputTokens), whole(outputTokens)];
  const cost = costUsd === 0 ? 0n : BigInt(Math.ceil(finite(costUsd * NANO) - NOISE));
  return { calls: whole(calls), inputTokens: input, outputTokens: output, tokens: input + output, costUsd: cost };
}

export const boundsOf = ({ calls, inputTokens, outputTokens, tokens, costUsd }: Budget): Bounds => ({
  calls: bound(calls),
  inputTokens: bound(inputTokens),
  outputTokens: bound(outputTokens),
  tokens: bound(tokens),
  costUsd: costUsd === undefined ? undefined : BigInt(Math.floor(finite(costUsd * NANO) + NOISE)),
});

/** As people and the contract write it: dollars, or a count. */
export const numberOf = (dimension: Dimension, amount: bigint): number =>
  dimension === "costUsd" ? Number(amount) / NANO : Number(amount);

export const spentOf = ({ calls, inputTokens, outputTokens, costUsd }: Amounts): Spent => ({
  calls: Number(calls),
  inputTokens: Number(inputTokens),
  outputTokens: Number(outputTokens),
  costUsd: numberOf("costUsd", costUsd),
});

export function add(to: Amounts, amounts: Amounts, sign: 1n | -1n = 1n): void {
  for (const dimension of DIMENSIONS) to[dimension] += sign * amounts[dimension];
}

/** Dollars may be so many that there is no number of nano-dollars for them. */
const finite = (nano: number): number => Math.min(nano, Number.MAX_VALUE);
const whole = (count: number): bigint => (count === 0 ? 0n : BigInt(Math.ceil(count)));
const bound = (count: number | undefined): bigint | undefined => (count === undefined ? undefined : BigInt(count));

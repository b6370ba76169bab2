// What well-known models cost, how much they may answer, and how they count; and what a call has cost.
//
// Boundary: a table, and arithmetic on it. The configuration's `models.NAME.prices` come before it (registry.ts).
//
// The table holds the standard rates for text of the vendors' public price lists (developers.openai.com/api/docs/pricing,
// platform.claude.com/docs/en/about-claude/pricing, ai.google.dev/gemini-api/docs/pricing), as they were known on
// PRICES_AS_OF. No discount for batches, no surcharge for speed or region. Prices change, so the date is shown by `reeve
// doctor`. Where a rate is introductory, the lasting one stands here. Models that are not here have no price, and an operator
// who bounds dollars has to write one.
//
// Invariants:
//   P1. A model is known by its exact name, or by that with a date or number of a version after it. A name that only begins like a known one
//       is another model, with a price of its own.
//   P2. Costs are whole nano-dollars, rounded up: sums of them do not drift (scheduler/budget-amounts.ts counts in the same).
import type { Usage } from "../abi/messages.ts";
import type { Price } from "../ports/model.ts";
import type { Counting } from "./tokens.ts";

export const PRICES_AS_OF = "2026-11-18";

/** Above so many input tokens the whole call costs more: input, cache included, and output by these factors. */
type Long = { readonly above: number; readonly input: number; readonly output: number };
type Row = {
  /** Dollars for a million tokens: input, output, read from the cache, written to it (as input, where absent). */
  readonly rates: readonly [input: number, output: number, cacheRead?: number, cacheWrite?: number];
  readonly long?: Long;
  /** The most tokens that one answer may have. */
  readonly answer: number;
};
type Table = { readonly [model: string]: Row };

const K = 1000;
const OPENAI_LONG: Long = { above: 272 * K, input: 2, output: 1.5 };
const GOOGLE_LONG: Long = { above: 200 * K, input: 2, output: 1.5 };

const OPENAI: Table = {
  "gpt-6.2-astra": { rates: [8, 40, 0.4, 10], long: OPENAI_LONG, answer: 128 * K },
  "gpt-6.2-sol": { rates: [2, 10, 0.1, 2.5], long: OPENAI_LONG, answer: 128 * K },
  "gpt-6.1-sol": { rates: [2, 10, 0.1, 2.5], long: OPENAI_LONG, answer: 128 * K },
  "gpt-6-astra": { rates: [10, 50, 1, 12.5], long: OPENAI_LONG, answer: 128 * K },
  "gpt-6-sol": { rates: [2, 10, 0.2, 2.5], long: OPENAI_LONG, answer: 128 * K },
  "gpt-6-luna": { rates: [0.1, 0.5, 0.01, 0.125], long: OPENAI_LONG, answer: 128 * K },
  "gpt-5.6-sol": { rates: [5, 30, 0.5], long: OPENAI_LONG, answer: 128 * K },
  "gpt-5.6-terra": { rates: [2, 12, 0.2], long: OPENAI_LONG, answer: 128 * K },
  "gpt-5.6-luna": { rates: [0.2, 1.2, 0.02], long: OPENAI_LONG, answer: 128 * K },
  "gpt-5.5": { rates: [5, 30, 0.5], long: OPENAI_LONG, answer: 128 * K },
  "gpt-5.4": { rates: [2.5, 15, 0.25], long: OPENAI_LONG, answer: 128 * K },
  "gpt-5.4-mini": { rates: [0.75, 4.5, 0.075], answer: 128 * K },
  "gpt-5.4-nano": { rates: [0.2, 1.25, 0.02], answer: 128 * K },
  "gpt-5.2": { rates: [1.75, 14, 0.175], answer: 128 * K },
  "gpt-5.1": { rates: [1.25, 10, 0.125], answer: 128 * K },
  "gpt-5": { rates: [1.25, 10, 0.125], answer: 128 * K },
  "gpt-5-mini": { rates: [0.25, 2, 0.025], answer: 128 * K },
  "gpt-5-nano": { rates: [0.05, 0.4, 0.005], answer: 128 * K },
  "gpt-4.1": { rates: [2, 8, 0.5], answer: 32_768 },
  "gpt-4.1-mini": { rates: [0.4, 1.6, 0.1], answer: 32_768 },
  "gpt-4.1-nano": { rates: [0.1, 0.4, 0.025], answer: 32_768 },
  "gpt-4o": { rates: [2.5, 10, 1.25], answer: 16_384 },
  "gpt-4o-2024-05-13": { rates: [5, 15], answer: 4096 },
  "gpt-4o-mini": { rates: [0.15, 0.6, 0.075], answer: 16_384 },
  o3: { rates: [2, 8, 0.5], answer: 100 * K },
  "o3-mini": { rates: [1.1, 4.4, 0.55], answer: 100 * K },
  "o4-mini": { rates: [1.1, 4.4, 0.275], answer: 100 * K },
};

/** Writing to the cache for five minutes; for an hour it costs more. */
const ANTHROPIC: Table = {
  "claude-fable-5-1": { rates: [10, 50, 0.25, 12.5], answer: 128 * K },
  "claude-fable-5": { rates: [10, 50, 1, 12.5], answer: 128 * K },
  "claude-opus-5-5": { rates: [4, 20, 0.2, 5], answer: 128 * K },
  "claude-opus-5": { rates: [5, 25, 0.5, 6.25], answer: 128 * K },
  "claude-opus-4-8": { rates: [5, 25, 0.5, 6.25], answer: 128 * K },
  "claude-opus-4-7": { rates: [5, 25, 0.5, 6.25], answer: 128 * K },
  "claude-opus-4-6": { rates: [5, 25, 0.5, 6.25], answer: 128 * K },
  "claude-opus-4-5": { rates: [5, 25, 0.5, 6.25], answer: 64 * K },
  "claude-opus-4-1": { rates: [15, 75, 1.5, 18.75], answer: 32 * K },
  "claude-sonnet-5-5": { rates: [2, 10, 0.1, 2.5], answer: 128 * K },
  "claude-sonnet-5": { rates: [2, 10, 0.2, 2.5], answer: 128 * K },
  "claude-sonnet-4-6": { rates: [3, 15, 0.3, 3.75], answer: 128 * K },
  "claude-sonnet-4-5": { rates: [3, 15, 0.3, 3.75], answer: 64 * K },
  "claude-haiku-5-5": {
    rates: [0.1, 0.5, 0.01, 0.125],
    long: { above: 100 * K, input: 5, output: 5 },
    answer: 128 * K,
  },
  "claude-haiku-4-5": { rates: [1, 5, 0.1, 1.25], answer: 64 * K },
};

const GOOGLE: Table = {
  "gemini-3.8-flash": { rates: [1.5, 7.5, 0.15], answer: 65_536 },
  "gemini-3.6-flash": { rates: [1.5, 7.5, 0.15], answer: 65_536 },
  "gemini-3.5-flash": { rates: [1.5, 9, 0.15], answer: 65_536 },
  "gemini-3.1-pro-preview": { rates: [2, 12, 0.2], long: GOOGLE_LONG, answer: 65_536 },
  "gemini-3.1-flash-lite": { rates: [0.25, 1.5, 0.025], answer: 65_536 },
  "gemini-2.5-pro": { rates: [1.25, 10, 0.125], long: GOOGLE_LONG, answer: 65_536 },
  "gemini-2.5-flash": { rates: [0.3, 2.5, 0.03], answer: 65_536 },
};

const VENDORS: { readonly [vendor: string]: Table } = { openai: OPENAI, anthropic: ANTHROPIC, google: GOOGLE };

/** How many models have a price here. */
export const MODELS_PRICED = Object.values(VENDORS).reduce((sum, table) => sum + Object.keys(table).length, 0);

const VERSION = /-(?:\d{8}|\d{4}-\d{2}-\d{2}|\d{3})$/;

function rowOf(vendor: string | undefined, model: string): Row | undefined {
  const table = vendor !== undefined && Object.hasOwn(VENDORS, vendor) ? VENDORS[vendor] : undefined;
  if (table === undefined) return undefined;
  const name = Object.hasOwn(table, model) ? model : model.replace(VERSION, "");
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

/** The price of a call with so much input; null if the table does not know the model. */
export function listPrice(vendor: string | undefined, model: string, inputTokens: number): Price | null {
  const row = rowOf(vendor, model);
  if (row === undefined) return null;
  const { rates, long } = row;
  const [inputBy, outputBy] = long !== undefined && inputTokens > long.above ? [long.input, long.output] : [1, 1];
  const [input, output, cacheRead, cacheWrite] = rates;
  return {
    input: input * inputBy,
    output: output * outputBy,
    ...(cacheRead !== undefined && { cacheRead: cacheRead * inputBy }),
    ...(cacheWrite !== undefined && { cacheWrite: cacheWrite * inputBy }),
  };
}

/** The most tokens that the model answers in one call; undefined if the table does not know it. */
export const answerTokensMax = (vendor: string | undefined, model: string): number | undefined =>
  rowOf(vendor, model)?.answer;

/** Models whose own tokenizer is o200k_base. Whether later ones kept it has not been said. */
const O200K = /^(?:chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|o[134])(?:[-.]|$)/;
/** Models with Anthropic's earlier tokenizer; that of the later ones gives some 30 % more, and up to 35. */
const EARLY_CLAUDE = /^claude-(?:\d|(?:opus|sonnet|haiku)-4(?:-[0-6])?(?:-\d{8})?$)/;

/** By how many times a model may have more tokens than o200k_base, and what it adds of its own to a request with tools. */
export function countingOf(vendor: string | undefined, model: string): Counting {
  if (vendor === "openai" && O200K.test(model)) return { margin: 1, toolsExtra: 32 };
  if (vendor === "anthropic") return { margin: EARLY_CLAUDE.test(model) ? 1.35 : 1.8, toolsExtra: 800 };
  return { margin: 1.35, toolsExtra: 400 };
}

const NANO_PER_MICRO = 1000;
const NANO = 1e9;
/** Below this a fraction of a nano-dollar is the noise of binary fractions. */
const NOISE = 0.01;

/**
 * US dollars. What was read from the provider's cache costs `cacheRead`, what was written to it `cacheWrite` (as input, where the price
 * does not say), the rest of the input `input`.
 */
export function costOf(usage: Usage, price: Price): number {
  const read = usage.cacheReadTokens ?? 0;
  const written = usage.cacheWriteTokens ?? 0;
  // Some servers report more cached tokens than tokens; nobody is paid for that.
  const fresh = Math.max(0, usage.inputTokens - read - written);
  const microDollars =
    fresh * price.input +
    read * (price.cacheRead ?? price.input) +
    written * (price.cacheWrite ?? price.input) +
    usage.outputTokens * price.output;
  return Math.max(0, Math.ceil(microDollars * NANO_PER_MICRO - NOISE)) / NANO;
}

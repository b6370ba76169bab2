// Tokens and money of one call, from what the provider reported.
//
// The packages' totals already include what was read from and written to the provider's cache. A server that reports nothing
// is counted by an estimate of four characters a token: a call that counts as nothing would slip through every budget.
import type { LanguageModelV4Usage } from "@ai-sdk/provider";
import type { Usage } from "../../abi/messages.ts";
import type { RemoteConfig } from "./endpoint.ts";

const CHARACTERS_PER_TOKEN = 4;
const TOKENS_PER_PRICE = 1_000_000;

export type Price = RemoteConfig["prices"][string];
/** Characters that went in and came out. */
export type Characters = { readonly input: number; readonly output: number };

/** `costUsd` is absent where there is no price. Cached tokens cost their own price if one is given, else that of input. */
export function usageOf(reported: LanguageModelV4Usage, characters: () => Characters, price: Price | undefined): Usage {
  const inputTokens = count(reported.inputTokens.total) ?? estimate(characters().input);
  const outputTokens = count(reported.outputTokens.total) ?? estimate(characters().output);
  const cacheReadTokens = count(reported.inputTokens.cacheRead) ?? 0;
  const cacheWriteTokens = count(reported.inputTokens.cacheWrite) ?? 0;
  const reasoningTokens = count(reported.outputTokens.reasoning) ?? 0;
  const usage: Usage = {
    inputTokens,
    outputTokens,
    ...(cacheReadTokens > 0 && { cacheReadTokens }),
    ...(cacheWriteTokens > 0 && { cacheWriteTokens }),
    ...(reasoningTokens > 0 && { reasoningTokens }),
  };
  return price === undefined ? usage : { ...usage, costUsd: costUsd(usage, price) };
}

const estimate = (characters: number): number => Math.ceil(characters / CHARACTERS_PER_TOKEN);

const count = (tokens: number | undefined): number | undefined =>
  tokens === undefined || !Number.isFinite(tokens) ? undefined : Math.max(0, Math.round(tokens));

function costUsd(usage: Usage, price: Price): number {
  const read = usage.cacheReadTokens ?? 0;
  const written = usage.cacheWriteTokens ?? 0;
  // Some servers report more cached tokens than tokens; nobody is paid for that.
  const fresh = Math.max(0, usage.inputTokens - read - written);
  const total =
    fresh * price.input +
    read * (price.cacheRead ?? price.input) +
    written * (price.cacheWrite ?? price.input) +
    usage.outputTokens * price.output;
  return total / TOKENS_PER_PRICE;
}

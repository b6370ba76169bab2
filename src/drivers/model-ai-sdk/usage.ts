// Tokens of one call, from what the provider reported. What they cost is reckoned in src/models, for every provider alike.
//
// The packages' totals already include what was read from and written to the provider's cache. A server that reports nothing
// is counted by an estimate of four characters a token: a call that counts as nothing would slip through every budget.
import type { LanguageModelV4Usage } from "@ai-sdk/provider";
import type { Usage } from "../../abi/messages.ts";

const CHARACTERS_PER_TOKEN = 4;

/** Characters that went in and came out. */
export type Characters = { readonly input: number; readonly output: number };

export function usageOf(reported: LanguageModelV4Usage, characters: () => Characters): Usage {
  const inputTokens = count(reported.inputTokens.total) ?? estimate(characters().input);
  const outputTokens = count(reported.outputTokens.total) ?? estimate(characters().output);
  const cacheReadTokens = count(reported.inputTokens.cacheRead) ?? 0;
  const cacheWriteTokens = count(reported.inputTokens.cacheWrite) ?? 0;
  const reasoningTokens = count(reported.outputTokens.reasoning) ?? 0;
  return {
    inputTokens,
    outputTokens,
    ...(cacheReadTokens > 0 && { cacheReadTokens }),
    ...(cacheWriteTokens > 0 && { cacheWriteTokens }),
    ...(reasoningTokens > 0 && { reasoningTokens }),
  };
}

const estimate = (characters: number): number => Math.ceil(characters / CHARACTERS_PER_TOKEN);

const count = (tokens: number | undefined): number | undefined =>
  tokens === undefined || !Number.isFinite(tokens) ? undefined : Math.max(0, Math.round(tokens));

// The models of this system: finds the provider that a `provider/model` string names, and says what a call will use and
// what it has cost.
//
// Boundary: knows names, prices and counts. How a provider is asked is its driver's affair.
//
// Invariants:
//   R1. What a call cost is reckoned here and nowhere else, so that every provider's calls cost by the same rule; a cost that a
//       driver states itself stands.
//   R2. The configuration's price comes before the table's, model by model.
import { OsError } from "../abi/errors.ts";
import type { Usage } from "../abi/messages.ts";
import type { CountTokens, Estimate, ModelProvider, ModelRequest, Models, Price } from "../ports/model.ts";
import { answerTokensMax, costOf, countingOf, listPrice, MODELS_PRICED, PRICES_AS_OF } from "./prices.ts";
import { createTokenCounter } from "./tokens.ts";

/**
 * What a model that nobody knows is taken to answer at most, where the request does not say: what Chat Completions servers and
 * Anthropic's older models stop at by default. Whoever bounds such a model's tokens sets `maxOutputTokens` as well.
 */
const ANSWER_TOKENS_UNKNOWN = 4096;

type Found = { readonly name: string; readonly model: string; readonly provider: ModelProvider };

export type ModelsOptions = {
  /** By the name that stands before the slash. */
  readonly providers: ReadonlyMap<string, ModelProvider>;
  readonly defaultModel: string | undefined;
  /** The configuration's, by provider and model; absent: the table's alone. */
  readonly prices?: ReadonlyMap<string, Readonly<Record<string, Price>>>;
  /** Absent: a text has as many tokens as bytes, which is never too few. */
  readonly countTokens?: CountTokens;
};

/**
 * Joins providers, by the name that stands before the slash. Everything after the first slash is the provider's own affair,
 * so `openrouter/meta/llama` is the model `meta/llama` of `openrouter`.
 * Fails with `invalid_argument` for a string of another form, `not_found` for a provider that is not here.
 */
export function createModels(options: ModelsOptions): Models {
  const { providers, defaultModel, prices = new Map<string, Readonly<Record<string, Price>>>() } = options;
  const inputTokens = createTokenCounter(options.countTokens ?? Buffer.byteLength);

  const find = (reference: string): Found => findIn(providers, reference);

  const priceOf = ({ name, model, provider }: Found, tokens: number): Price | null => {
    const configured = prices.get(name);
    if (configured !== undefined && Object.hasOwn(configured, model)) return configured[model] ?? null;
    return provider.own?.price ?? listPrice(provider.vendor, model, tokens);
  };

  const costed = (found: Found, usage: Usage): Usage => {
    const price = usage.costUsd === undefined ? priceOf(found, usage.inputTokens) : null;
    return price === null ? usage : { ...usage, costUsd: costOf(usage, price) };
  };

  return {
    defaultModel,
    resource(reference) {
      const { name, provider } = find(reference);
      provider.ready();
      const { concurrency, requestsPerMinute, tokensPerMinute } = provider;
      return {
        name: `model:${name}`,
        concurrency,
        ...(requestsPerMinute !== undefined && { requestsPerMinute }),
        ...(tokensPerMinute !== undefined && { tokensPerMinute }),
      };
    },
    estimate(request: ModelRequest): Estimate {
      const { model, provider } = find(request.model);
      if (provider.own !== undefined) return provider.own.estimate(request);
      const { vendor } = provider;
      return {
        inputTokens: inputTokens(request, countingOf(vendor, model)),
        outputTokens: request.settings.maxOutputTokens ?? answerTokensMax(vendor, model) ?? ANSWER_TOKENS_UNKNOWN,
      };
    },
    priceOf: (reference, tokens = 0) => priceOf(find(reference), tokens),
    async generate(request, generateOptions) {
      const found = find(request.model);
      const answer = await found.provider.generate(found.model, request, generateOptions);
      return { ...answer, usage: costed(found, answer.usage) };
    },
    checks: () => [
      ...[...providers.values()].map((provider) => provider.check()),
      {
        name: "prices",
        state: "ok",
        detail: `of ${MODELS_PRICED} models as of ${PRICES_AS_OF}; those in the configuration come first`,
      },
    ],
  };
}

/** The provider that a `provider/model` string names, and the model of it. */
function findIn(providers: ModelsOptions["providers"], reference: string): Found {
  const slash = reference.indexOf("/");
  const name = reference.slice(0, Math.max(slash, 0));
  const model = reference.slice(slash + 1);
  if (name === "" || model === "") {
    throw new OsError(
      "invalid_argument",
      `"${reference}" does not name a model: the form is provider/model, as in openai/gpt-5. Providers here: ${listed(providers)}.`,
      { data: { issues: ["model: is not provider/model"] } },
    );
  }
  const provider = providers.get(name);
  if (provider === undefined) {
    throw new OsError(
      "not_found",
      `There is no model provider "${name}" (asked for as ${reference}). Providers here: ${listed(providers)}. ` +
        `Name one of these, or add "${name}" to \`models\` in the configuration.`,
      { data: { what: "model provider", id: name, known: [...providers.keys()] } },
    );
  }
  return { name, model, provider };
}

const listed = (providers: ReadonlyMap<string, ModelProvider>): string =>
  providers.size === 0 ? "none" : [...providers.keys()].join(", ");

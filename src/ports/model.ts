// Language models, as the kernel sees them: one call, one answer. Retrying is the program's affair, not the driver's.
import type { AssistantPart, Message, Usage } from "../abi/messages.ts";
import type { GenerateInput, GenerateOutput } from "../abi/messages.ts";
import type { Check } from "../abi/reports.ts";
import type { ToolDefinition } from "../abi/tools.ts";
import type { RateReport, Resource } from "./scheduler.ts";

export type ModelRequest = {
  /** `provider/model`. */
  readonly model: string;
  readonly messages: readonly Message[];
  readonly tools: readonly ToolDefinition[];
  readonly settings: Omit<GenerateInput, "model" | "after" | "messages" | "tools">;
};

export type ModelAnswer = {
  readonly content: AssistantPart[];
  readonly finishReason: GenerateOutput["finishReason"];
  readonly usage: Usage;
};

/** What a call will use at most, before it is made. */
export type Estimate = {
  /** By a real tokenizer, with a margin where it is not the model's own. */
  readonly inputTokens: number;
  /** What the request allows, or the most that the model gives. */
  readonly outputTokens: number;
};

/** How many tokens a text is, in the time of its length. */
export type CountTokens = (text: string) => number;

/** US dollars for a million tokens. */
export type Price = {
  readonly input: number;
  readonly output: number;
  readonly cacheRead?: number | undefined;
  readonly cacheWrite?: number | undefined;
};

type GenerateOptions = {
  readonly signal: AbortSignal;
  readonly onDelta: (text: string) => void;
  /** Told what the provider says of its limits, with an answer as with a refusal; before the call ends. */
  readonly onRate?: (report: RateReport) => void;
};

export interface Models {
  /** The model that agents get who name none; undefined if nothing is configured. */
  readonly defaultModel: string | undefined;
  /** What a call of this model occupies. Throws `not_found` for an unknown provider, `config_invalid` for one without its key. */
  resource(model: string): Resource;
  estimate(request: ModelRequest): Estimate;
  /**
   * By the configuration, else by the price table; null if neither knows the model. Some models cost more, all of the call, when much goes
   * in: with `inputTokens` it is the price of a call of that size, without it that of a short one.
   */
  priceOf(model: string, inputTokens?: number): Price | null;
  /**
   * Asks once. Rejects with `model_failed` (`retryable` as the provider says; data.retryAfterMs if it named a delay),
   * `timeout`, or `cancelled` when the signal fires. A stream that breaks off is `model_failed`, retryable: no part of it counts.
   * `onDelta` gets the words as they come.
   */
  generate(request: ModelRequest, options: GenerateOptions): Promise<ModelAnswer>;
  /** What `reeve doctor` says of each provider; asks no model. */
  checks(): readonly Check[];
}

/** One provider of models: what stands before the slash. Drivers implement it; `models/registry.ts` joins them to `Models`. */
export interface ModelProvider {
  /** Calls that it may have under way at once. */
  readonly concurrency: number;
  /** As the operator set them; absent where only the provider knows. */
  readonly requestsPerMinute?: number | undefined;
  readonly tokensPerMinute?: number | undefined;
  /** Whose models these are (`openai`, `anthropic`, `google`): by that, what they cost and how they count is looked up. Absent: not known. */
  readonly vendor?: string | undefined;
  /** For one that counts and charges by a rule of its own, and by none of a model's. */
  readonly own?: { readonly estimate: (request: ModelRequest) => Estimate; readonly price: Price };
  /** Throws `config_invalid` if it cannot be asked as it is configured (a key is missing). Asks nobody. */
  ready(): void;
  /** As `Models.generate`. `model` is what stands after the slash. */
  generate(model: string, request: ModelRequest, options: GenerateOptions): Promise<ModelAnswer>;
  check(): Check;
}

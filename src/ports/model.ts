// Language models, as the kernel sees them: one call, one answer. Retrying is the program's affair, not the driver's.
import type { AssistantPart, Message, Usage } from "../abi/messages.ts";
import type { GenerateInput, GenerateOutput } from "../abi/messages.ts";
import type { Check } from "../abi/syscalls.ts";
import type { ToolDefinition } from "../abi/tools.ts";
import type { Resource } from "./scheduler.ts";

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

export interface Models {
  /** The model that agents get who name none; undefined if nothing is configured. */
  readonly defaultModel: string | undefined;
  /** What a call of this model occupies. Throws `not_found` for an unknown provider, `config_invalid` for one without its key. */
  resource(model: string): Resource;
  /**
   * Asks once. Rejects with `model_failed` (`retryable` as the provider says; data.retryAfterMs if it named a delay),
   * `timeout`, or `cancelled` when the signal fires. A stream that breaks off is `model_failed`, retryable: no part of it counts.
   * `onDelta` gets the words as they come.
   */
  generate(
    request: ModelRequest,
    options: { readonly signal: AbortSignal; readonly onDelta: (text: string) => void },
  ): Promise<ModelAnswer>;
  /** What `reeve doctor` says of each provider; asks no model. */
  checks(): readonly Check[];
}

/** One provider of models: what stands before the slash. Drivers implement it; `models/registry.ts` joins them to `Models`. */
export interface ModelProvider {
  /** Calls that it may have under way at once. */
  readonly concurrency: number;
  /** Throws `config_invalid` if it cannot be asked as it is configured (a key is missing). Asks nobody. */
  ready(): void;
  /** As `Models.generate`. `model` is what stands after the slash. */
  generate(model: string, request: ModelRequest, options: Parameters<Models["generate"]>[1]): Promise<ModelAnswer>;
  check(): Check;
}

// From the provider's stream to a ModelAnswer. The parts stand in the order in which they began.
//
// Boundary: reads the stream and judges nothing but what cannot be recorded as it came. Errors of the stream are thrown
// as they are; failure.ts says what they mean.
import type { LanguageModelV4StreamPart, LanguageModelV4Usage, SharedV4ProviderMetadata } from "@ai-sdk/provider";
import { OsError } from "../../abi/errors.ts";
import type { JsonObject } from "../../abi/json.ts";
import type { AssistantPart, ToolCallPart } from "../../abi/messages.ts";
import type { ModelAnswer } from "../../ports/model.ts";
import type { ToolNames } from "./tool-names.ts";

export type Collected = {
  readonly content: AssistantPart[];
  readonly finishReason: ModelAnswer["finishReason"];
  readonly usage: LanguageModelV4Usage;
};

export type Collecting = {
  /** `provider/model`, for messages. */
  readonly label: string;
  readonly names: ToolNames;
  readonly signal: AbortSignal;
  readonly onDelta: (text: string) => void;
};

type Finish = Extract<LanguageModelV4StreamPart, { type: "finish" }>;
type ToolCall = Extract<LanguageModelV4StreamPart, { type: "tool-call" }>;
type Block = Extract<LanguageModelV4StreamPart, { id: string; type: `${"text" | "reasoning"}-${string}` }>;
type Draft = { readonly type: "text" | "reasoning"; text: string; provider: JsonObject | undefined };

/**
 * Rejects with what the stream fails with; with `model_failed`, retryable, if it ended without an end;
 * with `model_failed`, not retryable, if the provider ran a tool itself or answered with a file.
 */
export async function collectAnswer(
  stream: ReadableStream<LanguageModelV4StreamPart>,
  collecting: Collecting,
): Promise<Collected> {
  const parts = new Parts();
  let finish: Finish | undefined;
  for await (const part of stream) {
    switch (part.type) {
      case "text-start":
      case "text-delta":
      case "text-end":
      case "reasoning-start":
      case "reasoning-delta":
      case "reasoning-end":
        parts.block(part);
        if (part.type === "text-delta" && part.delta !== "" && !collecting.signal.aborted)
          collecting.onDelta(part.delta);
        break;
      case "tool-call":
        parts.toolCall(part, collecting);
        break;
      case "tool-result":
      case "tool-approval-request":
        throw providerRan(collecting.label, part.type === "tool-result" ? part.toolName : undefined);
      case "file":
      case "reasoning-file":
        throw unrecordable(collecting.label, part.mediaType);
      case "error":
        throw part.error;
      case "finish":
        finish = part;
        break;
      // The input of a tool call comes again, whole, as `tool-call`. Sources are notes on text that is there anyway.
      // `custom` parts come only of features that are never asked for. The warnings of `stream-start` say which settings
      // this model does not know: they are dropped, since every setting is one that the provider may ignore and nobody
      // could act on them in the middle of a call.
      case "tool-input-start":
      case "tool-input-delta":
      case "tool-input-end":
      case "source":
      case "custom":
      case "stream-start":
      case "response-metadata":
      case "raw":
      case "ping":
        break;
    }
  }
  const finishReason = finish?.finishReason.unified;
  if (finish === undefined || finishReason === undefined || finishReason === "interrupted")
    throw brokenOff(collecting.label);
  return { content: parts.content(), finishReason, usage: finish.usage };
}

class Parts {
  readonly #drafts: (Draft | ToolCallPart)[] = [];
  // By kind and id; an id may be used again once its block has ended.
  readonly #open = new Map<string, Draft>();

  block(part: Block): void {
    const kind = part.type.startsWith("text") ? "text" : "reasoning";
    const key = `${kind}:${part.id}`;
    const draft = this.#open.get(key) ?? this.#begin(kind, key);
    if ("delta" in part) draft.text += part.delta;
    draft.provider = merged(draft.provider, part.providerMetadata);
    if (part.type.endsWith("-end")) this.#open.delete(key);
  }

  #begin(type: Draft["type"], key: string): Draft {
    const draft: Draft = { type, text: "", provider: undefined };
    this.#open.set(key, draft);
    this.#drafts.push(draft);
    return draft;
  }

  toolCall(part: ToolCall, { label, names }: Collecting): void {
    if (part.providerExecuted === true) throw providerRan(label, part.toolName);
    const provider = merged(undefined, part.providerMetadata);
    this.#drafts.push({
      type: "tool-call",
      id: part.toolCallId,
      name: names.fromWire(part.toolName),
      ...parsedInput(part.input),
      ...(provider !== undefined && { provider }),
    });
  }

  /** Text that is empty and carries nothing for the provider is left out. */
  content(): AssistantPart[] {
    return this.#drafts.flatMap((draft): AssistantPart[] => {
      if (draft.type === "tool-call") return [draft];
      const { type, text, provider } = draft;
      if (text === "" && provider === undefined) return [];
      return [{ type, text, ...(provider !== undefined && { provider }) }];
    });
  }
}

/** What a provider says of a block comes in pieces, at its start, its end, or between: later fields win. */
function merged(
  earlier: JsonObject | undefined,
  metadata: SharedV4ProviderMetadata | undefined,
): JsonObject | undefined {
  if (metadata === undefined) return earlier;
  // A turn through JSON drops the fields that are `undefined`, which no journal can hold.
  const later = JSON.parse(JSON.stringify(metadata)) as Record<string, JsonObject>;
  const result: Record<string, JsonObject> = { ...(earlier as Record<string, JsonObject> | undefined) };
  for (const [provider, fields] of Object.entries(later)) result[provider] = { ...result[provider], ...fields };
  return result;
}

/** A tool's arguments are an object; anything else is kept as it came. No text at all is how some servers say that there are none. */
function parsedInput(text: string): Pick<ToolCallPart, "input" | "invalid"> {
  if (text.trim() === "") return { input: {} };
  try {
    const input: unknown = JSON.parse(text, finite);
    if (typeof input === "object" && input !== null && !Array.isArray(input)) return { input: input as JsonObject };
  } catch {
    // Models write broken JSON at times. It is part of the answer, for the program to show to the model.
  }
  return { input: {}, invalid: text };
}

/** A number such as 1e999 is valid text and no JSON value. */
function finite(_key: string, value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) throw new RangeError("not a finite number");
  return value;
}

const failed = (label: string, what: string, retryable: boolean): OsError =>
  new OsError("model_failed", `${label} failed: ${what}`, { retryable, data: { model: label } });

const brokenOff = (label: string): OsError =>
  failed(label, "its answer broke off before the end. No part of it counts; try again.", true);

const providerRan = (label: string, tool: string | undefined): OsError =>
  failed(
    label,
    `its provider ran a tool by itself${tool === undefined ? "" : ` (${tool})`}, which no rule here has seen or allowed. ` +
      "Use a model or deployment without built-in tools, and offer the tool through Reeve.",
    false,
  );

const unrecordable = (label: string, mediaType: string): OsError =>
  failed(
    label,
    `it answered with a file (${mediaType}), and only text, reasoning and tool calls can be recorded. Use a model that answers in text.`,
    false,
  );

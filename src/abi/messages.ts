// What is said to a model and what it answers.
//
// The form follows the AI SDK's provider contract (LanguageModelV4), reduced to what is journaled, so that
// a driver translates field by field. `provider` carries what a provider wants back unchanged (signatures of
// reasoning, item ids); nothing else reads it.
import { z } from "zod";
import { addressSchema } from "./ids.ts";
import { jsonObjectSchema, jsonSchema } from "./json.ts";

const provider = { provider: jsonObjectSchema.optional() };

export const textPartSchema = z.strictObject({ type: z.literal("text"), text: z.string(), ...provider });
export const reasoningPartSchema = z.strictObject({ type: z.literal("reasoning"), text: z.string(), ...provider });
/** `input` is the arguments as JSON; text that the model got wrong stands in `invalid` instead, as it came. */
export const toolCallPartSchema = z.strictObject({
  type: z.literal("tool-call"),
  id: z.string(),
  name: z.string(),
  input: jsonSchema,
  invalid: z.string().optional(),
  ...provider,
});
export const toolResultPartSchema = z.strictObject({
  type: z.literal("tool-result"),
  id: z.string(),
  name: z.string(),
  output: z.union([z.string(), jsonSchema]),
  isError: z.boolean(),
});

export const assistantPartSchema = z.discriminatedUnion("type", [
  textPartSchema,
  reasoningPartSchema,
  toolCallPartSchema,
]);
export const messageSchema = z.discriminatedUnion("role", [
  z.strictObject({ role: z.literal("system"), content: z.string() }),
  z.strictObject({ role: z.literal("user"), content: z.string() }),
  z.strictObject({ role: z.literal("assistant"), content: z.array(assistantPartSchema) }),
  z.strictObject({ role: z.literal("tool"), content: z.array(toolResultPartSchema) }),
]);

export type TextPart = z.infer<typeof textPartSchema>;
export type ReasoningPart = z.infer<typeof reasoningPartSchema>;
export type ToolCallPart = z.infer<typeof toolCallPartSchema>;
export type ToolResultPart = z.infer<typeof toolResultPartSchema>;
export type AssistantPart = z.infer<typeof assistantPartSchema>;
export type Message = z.infer<typeof messageSchema>;

/** Tokens of one model call; totals include what came from or went to the provider's cache. */
export const usageSchema = z.strictObject({
  inputTokens: z.int().nonnegative(),
  outputTokens: z.int().nonnegative(),
  cacheReadTokens: z.int().nonnegative().optional(),
  cacheWriteTokens: z.int().nonnegative().optional(),
  reasoningTokens: z.int().nonnegative().optional(),
  /** US dollars by the price table; absent where the model has no price there. */
  costUsd: z.number().nonnegative().optional(),
});
export type Usage = z.infer<typeof usageSchema>;

export const FINISH_REASONS = ["stop", "length", "content-filter", "tool-calls", "error", "other"] as const;

export const generateInputSchema = z.strictObject({
  /** `provider/model`; the agent's own model if absent. */
  model: z.string().min(3).optional(),
  /** The context that an earlier `model.generate` of this process answered with: its messages come first. */
  after: addressSchema.optional(),
  messages: z.array(messageSchema),
  /** Names of the process's tools to offer; all of them if absent. */
  tools: z.array(z.string()).optional(),
  toolChoice: z.enum(["auto", "none", "required"]).optional(),
  maxOutputTokens: z.int().positive().optional(),
  temperature: z.number().min(0).max(2).optional(),
  topP: z.number().min(0).max(1).optional(),
  seed: z.int().optional(),
  stopSequences: z.array(z.string()).optional(),
  reasoning: z.enum(["none", "minimal", "low", "medium", "high", "xhigh", "max"]).optional(),
  /** JSON Schema that the answer's text must fit, where the provider supports it. */
  responseSchema: jsonObjectSchema.optional(),
});
export type GenerateInput = z.infer<typeof generateInputSchema>;

export const generateOutputSchema = z.strictObject({
  content: z.array(assistantPartSchema),
  finishReason: z.enum(FINISH_REASONS),
  usage: usageSchema,
  /** The model that answered, as `provider/model`. */
  model: z.string(),
  /** All messages up to and including this answer; pass it as `after` to go on. */
  context: addressSchema,
});
export type GenerateOutput = z.infer<typeof generateOutputSchema>;

// From a ModelRequest to the call options of the AI SDK's provider contract, field by field.
import type {
  LanguageModelV4CallOptions,
  LanguageModelV4FunctionTool,
  LanguageModelV4Message,
  SharedV4ProviderOptions,
} from "@ai-sdk/provider";
import type { JsonObject } from "../../abi/json.ts";
import type { AssistantPart, Message, ToolResultPart } from "../../abi/messages.ts";
import type { ToolDefinition } from "../../abi/tools.ts";
import type { ModelRequest } from "../../ports/model.ts";
import { withCacheMarks } from "./cache-marks.ts";
import type { ProviderType } from "./endpoint.ts";
import type { ToolNames } from "./tool-names.ts";

type AssistantContent = Extract<LanguageModelV4Message, { role: "assistant" }>["content"][number];
type ToolOutput = Extract<
  Extract<LanguageModelV4Message, { role: "tool" }>["content"][number],
  { type: "tool-result" }
>["output"];

export function callOptions(type: ProviderType, request: ModelRequest, names: ToolNames): LanguageModelV4CallOptions {
  const { toolChoice, maxOutputTokens, temperature, topP, seed, stopSequences, reasoning, responseSchema } =
    request.settings;
  const prompt = request.messages.flatMap((message) => promptMessage(type, message, names));
  return {
    prompt: type === "anthropic" ? withCacheMarks(prompt, { mayCall: request.tools.length > 0 }) : prompt,
    ...(request.tools.length > 0 && { tools: request.tools.map((tool) => functionTool(type, tool, names)) }),
    ...(toolChoice !== undefined && { toolChoice: { type: toolChoice } }),
    ...(maxOutputTokens !== undefined && { maxOutputTokens }),
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { topP }),
    ...(seed !== undefined && { seed }),
    ...(stopSequences !== undefined && { stopSequences }),
    ...(reasoning !== undefined && { reasoning }),
    ...(responseSchema !== undefined && { responseFormat: { type: "json" as const, schema: responseSchema } }),
    // The history is in the journal and goes out whole. What OpenAI would keep is neither needed nor there any more
    // when a process goes on after months; it then hands out its reasoning encrypted, to be sent back.
    ...(type === "openai" && { providerOptions: { openai: { store: false } } }),
  };
}

function functionTool(type: ProviderType, tool: ToolDefinition, names: ToolNames): LanguageModelV4FunctionTool {
  return {
    type: "function",
    name: names.toWire(tool.name),
    description: tool.description,
    inputSchema: tool.inputSchema,
    // Left unsaid, the Responses API rewrites schemas to its strict form; a tool's schema is pinned and goes as it is.
    ...(type === "openai" && { strict: false }),
  };
}

function promptMessage(type: ProviderType, message: Message, names: ToolNames): LanguageModelV4Message[] {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }];
    case "user":
      return [{ role: "user", content: [{ type: "text", text: message.content }] }];
    case "assistant":
      // A model that said nothing leaves a message without parts, which providers refuse to be shown.
      if (message.content.length === 0) return [];
      return [{ role: "assistant", content: message.content.map((part) => assistantContent(type, part, names)) }];
    case "tool":
      return [{ role: "tool", content: message.content.map((part) => toolResult(part, names)) }];
  }
}

function assistantContent(type: ProviderType, part: AssistantPart, names: ToolNames): AssistantContent {
  const back = part.provider === undefined ? {} : { providerOptions: part.provider as SharedV4ProviderOptions };
  switch (part.type) {
    case "text":
      return { type: "text", text: part.text, ...back };
    case "reasoning":
      return { type: "reasoning", text: part.text, ...back };
    case "tool-call":
      return {
        type: "tool-call",
        toolCallId: part.id,
        toolName: names.toWire(part.name),
        input: part.invalid === undefined ? part.input : invalidInput(type, part.invalid),
        ...back,
      };
  }
}

/**
 * Arguments that are no JSON object, for the model to see again. The OpenAI formats take text (what is not JSON goes as a JSON string);
 * Anthropic's package wraps it in an object under this same name; Google's does not, and Google takes objects only.
 */
const invalidInput = (type: ProviderType, text: string): string | JsonObject =>
  type === "google" ? { rawInvalidInput: text } : text;

function toolResult(
  part: ToolResultPart,
  names: ToolNames,
): { type: "tool-result"; toolCallId: string; toolName: string; output: ToolOutput } {
  return { type: "tool-result", toolCallId: part.id, toolName: names.toWire(part.name), output: toolOutput(part) };
}

function toolOutput({ output, isError }: ToolResultPart): ToolOutput {
  if (typeof output === "string") return { type: isError ? "error-text" : "text", value: output };
  return { type: isError ? "error-json" : "json", value: output };
}

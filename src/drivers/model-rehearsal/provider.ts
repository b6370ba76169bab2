// The rehearsal: plays a script instead of asking a model, for a first run without an account. It says so wherever it can.
//
// Invariants:
//   R1. The answer is a function of the script and the request alone: the turn is the number of the model's messages in the
//       history, so the same request always gets the same answer.
//   R2. It touches nothing: no network, no clock, no randomness.
//   R3. It uses what it estimated, and no more output than it is allowed: like a model, it breaks off there.
//
// Usage is a quarter of the characters, so that budgets can be seen at work; it costs nothing.
import { OsError } from "../../abi/errors.ts";
import type { AssistantPart, Message } from "../../abi/messages.ts";
import type { Estimate, ModelAnswer, ModelProvider, ModelRequest } from "../../ports/model.ts";
import { parseScript, type Script, type Spoken } from "./script.ts";

const CHARACTERS_PER_TOKEN = 4;

/**
 * `scriptText` is the script, `file` where it was read, for messages. Any model name will do: `rehearsal/x` plays the same script.
 * Throws `config_invalid` for a script that cannot be played.
 */
export function createRehearsalProvider(
  name: string,
  options: Pick<ModelProvider, "concurrency" | "requestsPerMinute" | "tokensPerMinute"> & {
    readonly scriptText: string;
    readonly file: string;
  },
): ModelProvider {
  const { file, scriptText, ...rates } = options;
  const script = parseScript(scriptText, file);
  return {
    ...rates,
    own: { estimate: (request) => usage(request, played(script, request).content), price: { input: 0, output: 0 } },
    ready: () => undefined,
    async generate(model, request, { signal, onDelta }) {
      const { content, finishReason } = played(script, request);
      for (const part of content) {
        if (part.type !== "text") continue;
        for (const word of words(part.text)) {
          if (signal.aborted) break;
          onDelta(word);
        }
      }
      if (signal.aborted) {
        throw new OsError(
          "cancelled",
          `The rehearsal of ${name}/${model} was given up, because its process ended or its caller left.`,
          { data: { model: `${name}/${model}` } },
        );
      }
      return { content, finishReason, usage: usage(request, content) };
    },
    check: () => ({
      name: `model:${name}`,
      state: "warning",
      detail:
        `a rehearsal, no model: it plays the ${script.turns.length} turns of ${file}, whatever it is asked. ` +
        "For real answers, name a model in the agent or as `defaultModel` and set its provider's key.",
    }),
  };
}

const turnNumber = (messages: readonly Message[]): number => messages.filter(({ role }) => role === "assistant").length;

/** What it answers to a request. */
function played(script: Script, { messages, settings }: ModelRequest): Pick<ModelAnswer, "content" | "finishReason"> {
  const content = answer(script, messages, turnNumber(messages));
  const max = settings.maxOutputTokens ?? Infinity;
  if (tokens(content) > max) return { content: cut(content, max), finishReason: "length" };
  return { content, finishReason: content.some(({ type }) => type === "tool-call") ? "tool-calls" : "stop" };
}

/** As much of it as fits: whole parts, and the beginning of the text that no longer does. */
function cut(content: readonly AssistantPart[], max: number): AssistantPart[] {
  const kept: AssistantPart[] = [];
  for (const part of content) {
    if (tokens([...kept, part]) > max)
      return part.type === "text" ? [...kept, ...beginning(part.text, kept, max)] : kept;
    kept.push(part);
  }
  return kept;
}

function beginning(text: string, kept: readonly AssistantPart[], max: number): AssistantPart[] {
  for (let length = max * CHARACTERS_PER_TOKEN; length >= 1; length = Math.floor(length * 0.9)) {
    const part = { type: "text" as const, text: text.slice(0, length).toWellFormed() };
    if (tokens([...kept, part]) <= max) return [part];
  }
  return [];
}

function answer(script: Script, messages: readonly Message[], number: number): AssistantPart[] {
  const turn = script.turns[number];
  if (turn === undefined)
    return [
      {
        type: "text",
        text: `The rehearsal has ended: its script has ${script.turns.length} turns. This is no model's answer.`,
      },
    ];
  const spoken: Spoken = turn.when_denied !== undefined && wasDenied(messages) ? turn.when_denied : turn;
  return [
    ...(spoken.say === undefined ? [] : [{ type: "text" as const, text: spoken.say }]),
    ...(spoken.call ?? []).map(({ tool, input }, index) => ({
      type: "tool-call" as const,
      id: `rehearsal_${number}_${index}`,
      name: tool,
      input,
    })),
  ];
}

/** Whether one of the results since the model last spoke is an error: a denial, or the tool's own. */
function wasDenied(messages: readonly Message[]): boolean {
  const since = messages.slice(messages.findLastIndex(({ role }) => role === "assistant") + 1);
  return since.some((message) => message.role === "tool" && message.content.some(({ isError }) => isError));
}

/** The words with the space after them: put together they are the text. */
const words = (text: string): string[] => text.match(/\s*\S+\s*|\s+/g) ?? [];

const tokens = (value: unknown): number => Math.ceil(JSON.stringify(value).length / CHARACTERS_PER_TOKEN);

const usage = ({ messages }: ModelRequest, content: readonly AssistantPart[]): Estimate => ({
  inputTokens: tokens(messages),
  outputTokens: tokens(content),
});

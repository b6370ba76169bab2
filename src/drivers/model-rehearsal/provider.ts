// The rehearsal: plays a script instead of asking a model, for a first run without an account. It says so wherever it can.
//
// Invariants:
//   R1. The answer is a function of the script and the request alone: the turn is the number of the model's messages in the
//       history, so the same request always gets the same answer.
//   R2. It touches nothing: no network, no clock, no randomness.
//
// Usage is an estimate, a quarter of the characters, so that budgets can be seen at work; it costs nothing.
import { OsError } from "../../abi/errors.ts";
import type { AssistantPart, Message, Usage } from "../../abi/messages.ts";
import type { ModelProvider, ModelRequest } from "../../ports/model.ts";
import { parseScript, type Script, type Spoken } from "./script.ts";

const CHARACTERS_PER_TOKEN = 4;

/**
 * `scriptText` is the script, `file` where it was read, for messages. Any model name will do: `rehearsal/x` plays the same script.
 * Throws `config_invalid` for a script that cannot be played.
 */
export function createRehearsalProvider(
  name: string,
  options: { readonly scriptText: string; readonly file: string; readonly concurrency: number },
): ModelProvider {
  const { file, concurrency } = options;
  const script = parseScript(options.scriptText, file);
  return {
    concurrency,
    ready: () => undefined,
    async generate(model, request, { signal, onDelta }) {
      const number = turnNumber(request.messages);
      const content = answer(script, request.messages, number);
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
      return {
        content,
        finishReason: content.some(({ type }) => type === "tool-call") ? "tool-calls" : "stop",
        usage: usage(request, content),
      };
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

function usage(request: ModelRequest, content: readonly AssistantPart[]): Usage {
  const tokens = (value: unknown): number => Math.ceil(JSON.stringify(value).length / CHARACTERS_PER_TOKEN);
  return { inputTokens: tokens(request.messages), outputTokens: tokens(content) };
}

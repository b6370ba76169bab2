// The loop: the program of Markdown agents. Ask the model, do what it asks for, tell it what came of it, again.
//
// A plain program over `sys`, which a module agent may call as well. It keeps no history of its own: each request
// names the context of the answer before it and brings only what is new, so a step costs what it adds.
//
// What becomes of errors:
//   L1. Of a tool call, those in TOLD become a result that the model reads. Every other ends the program, once the
//       other calls of that answer are over: `budget_exhausted` and `replay_divergence` because nothing further can
//       succeed, `process_gone` and `cancelled` because nobody is left to read it, `outcome_unknown` because a model
//       that is told "perhaps" may do it a second time, and faults of the store or the kernel because they are not
//       the model's to mend.
//   L2. Of the model, `model_failed` and `timeout` that say `retryable`, and an answer that finished with `error`,
//       are asked again up to 5 times, after the delay that the provider named or else 1 s, doubled each time to at most 30 s.
//   L3. An answer cut off at the output limit is continued, and the parts are joined; one that was cut off before
//       it had a word in it ends with `limit_exceeded`, since asking again would only cost the same again.
//   L4. An answer that the provider's filter stopped ends with `model_failed`: half an answer is not a result.
import type { AgentManifest } from "../abi/agents.ts";
import { OsError } from "../abi/errors.ts";
import type { ErrorCode } from "../abi/errors.ts";
import type { Json, JsonObject } from "../abi/json.ts";
import { SLEEP_MS_MAX } from "../abi/limits.ts";
import type {
  AssistantPart,
  GenerateInput,
  GenerateOutput,
  Message,
  ToolCallPart,
  ToolResultPart,
} from "../abi/messages.ts";
import type { Sys } from "./sys.ts";

export type LoopOptions = {
  /** What of the manifest the loop goes by; an agent's whole manifest fits. */
  readonly manifest: Partial<
    Pick<AgentManifest, "model" | "turns" | "temperature" | "maxOutputTokens" | "conversation">
  >;
  /** The system message; none if blank. */
  readonly instructions: string;
  /** The first user message: text, or anything else as JSON text. */
  readonly task: Json;
};

/** `text`: the model's last words. `turns`: how often it answered. */
export type LoopResult = { readonly text: string; readonly turns: number };

const TURNS_DEFAULT = 100;
const RETRIES_MAX = 5;
const RETRY_DELAY_MS = 1_000;
const RETRY_DELAY_MS_MAX = 30_000;
const QUOTE_CHARACTERS_MAX = 200;
const GO_ON = "Your answer was cut off at the output limit. Go on exactly where it stopped; repeat nothing.";

const TOLD: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "tool_failed",
  "denied",
  "egress_denied",
  "timeout",
  "not_found",
  "tool_unavailable",
  "tool_changed",
  "invalid_argument",
  "limit_exceeded",
  "conflict",
  "unsupported",
]);

/**
 * Runs until the model asks for no tool; in a conversation by messages, until a message of topic `end` comes.
 * Rejects with `limit_exceeded` after the manifest's `turns` (100 if it says none), with `model_failed` or `timeout`
 * when retrying did not help, and with whatever else ends a program (L1).
 */
export async function loop(sys: Sys, options: LoopOptions): Promise<LoopResult> {
  const { manifest } = options;
  const turnsMax = manifest.turns ?? TURNS_DEFAULT;
  let request: GenerateInput = { ...settingsOf(manifest), messages: opening(options) };
  let begun = "";
  for (let turns = 1; turns <= turnsMax; turns += 1) {
    const answer = await generate(sys, request);
    const text = begun + textOf(answer.content);
    begun = "";
    const next = await whatNext(sys, { answer, text, conversation: manifest.conversation ?? "none" });
    if (next.kind === "end") return { text, turns };
    if (next.kind === "continue") begun = text;
    request = { ...settingsOf(manifest), after: answer.context, messages: [next.message] };
  }
  throw new OsError(
    "limit_exceeded",
    `The model has had its ${turnsMax} turns without coming to an end. Raise \`turns\` in the agent's manifest, or give it a smaller task.`,
    {
      data: { limit: "turns", max: turnsMax },
    },
  );
}

type Next = { readonly kind: "end" } | { readonly kind: "say" | "continue"; readonly message: Message };
type Turn = {
  readonly answer: GenerateOutput;
  readonly text: string;
  readonly conversation: AgentManifest["conversation"];
};

async function whatNext(sys: Sys, { answer, text, conversation }: Turn): Promise<Next> {
  const calls = answer.content.filter((part) => part.type === "tool-call");
  if (calls.length > 0) return { kind: "say", message: { role: "tool", content: await performAll(sys, calls) } };
  if (answer.finishReason === "length") {
    if (textOf(answer.content) === "") throw cutBeforeAWord(answer.model);
    return { kind: "continue", message: { role: "user", content: GO_ON } };
  }
  if (answer.finishReason === "content-filter") throw filtered(answer.model, text);
  if (conversation === "none") return { kind: "end" };
  const said = await receive(sys);
  return said === undefined ? { kind: "end" } : { kind: "say", message: { role: "user", content: said } };
}

const opening = ({ instructions, task }: LoopOptions): Message[] => [
  ...(instructions.trim() === "" ? [] : [{ role: "system", content: instructions } as const]),
  { role: "user", content: asText(task) },
];

const settingsOf = ({
  model,
  temperature,
  maxOutputTokens,
}: LoopOptions["manifest"]): Omit<GenerateInput, "messages"> => ({
  ...(model === undefined ? {} : { model }),
  ...(temperature === undefined ? {} : { temperature }),
  ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
});

const asText = (value: Json): string => (typeof value === "string" ? value : JSON.stringify(value));

const textOf = (content: readonly AssistantPart[]): string =>
  content.map((part) => (part.type === "text" ? part.text : "")).join("");

/** The next user message of a conversation; undefined when it has ended. */
async function receive(sys: Sys): Promise<string | undefined> {
  for (;;) {
    const { message } = await sys.message.receive();
    // Null comes only after a timeout, and none was asked for.
    if (message !== null) return message.topic === "end" ? undefined : asText(message.body);
  }
}

async function generate(sys: Sys, request: GenerateInput): Promise<GenerateOutput> {
  for (let failures = 0; ; failures += 1) {
    const outcome = await attempt(sys, request);
    if (!OsError.is(outcome)) return outcome;
    if (failures >= RETRIES_MAX) throw outcome;
    await sys.clock.sleep({ ms: delayMs(outcome, failures) * (1 + (await chance(sys)) / 2) });
  }
}

/** The answer, or the error after which the model may be asked again; any other error is thrown. */
async function attempt(sys: Sys, request: GenerateInput): Promise<GenerateOutput | OsError> {
  try {
    const answer = await sys.model.generate(request);
    return answer.finishReason === "error" ? brokenOff(answer.model) : answer;
  } catch (error) {
    if ((OsError.is(error, "model_failed") || OsError.is(error, "timeout")) && error.retryable) return error;
    throw error;
  }
}

/** From 0 to 1: processes that failed together are not to come back together. */
async function chance(sys: Sys): Promise<number> {
  const { base64 } = await sys.random.bytes({ size: 1 });
  return (atob(base64).codePointAt(0) ?? 0) / 255;
}

function delayMs(error: OsError, failures: number): number {
  const named = error.data["retryAfterMs"];
  if (typeof named === "number" && named >= 0) return Math.min(named, SLEEP_MS_MAX);
  return Math.min(RETRY_DELAY_MS * 2 ** failures, RETRY_DELAY_MS_MAX);
}

/** Issues all calls at once, in order, and answers in that order. */
async function performAll(sys: Sys, calls: readonly ToolCallPart[]): Promise<ToolResultPart[]> {
  const outcomes = await Promise.allSettled(calls.map((call) => perform(sys, call)));
  // A call that ends the program does so only now, so that none is left under way with an effect that nobody learns of.
  return outcomes.map((outcome) => {
    if (outcome.status === "rejected") throw outcome.reason;
    return outcome.value;
  });
}

async function perform(sys: Sys, call: ToolCallPart): Promise<ToolResultPart> {
  const result = (output: Json, isError: boolean): ToolResultPart => ({
    type: "tool-result",
    id: call.id,
    name: call.name,
    output,
    isError,
  });
  if (call.invalid !== undefined)
    return result(
      `The arguments are not valid JSON: ${quote(call.invalid)}. Call ${call.name} again with correct arguments.`,
      true,
    );
  if (!isObject(call.input))
    return result(
      `The arguments must be a JSON object, not ${quote(JSON.stringify(call.input))}. Call ${call.name} again with correct arguments.`,
      true,
    );
  try {
    const content = await sys.tool.call({ tool: call.name, args: call.input });
    return result(content.text === "" && content.data !== undefined ? content.data : content.text, false);
  } catch (error) {
    if (!OsError.is(error) || !TOLD.has(error.code)) throw error;
    return result(wordsFor(error), true);
  }
}

/** What the model reads: of a tool that answered with an error, exactly its own words. */
function wordsFor(error: OsError): string {
  const content = error.code === "tool_failed" ? error.data["content"] : undefined;
  if (content === undefined || !isObject(content)) return error.message;
  return typeof content["text"] === "string" ? content["text"] : error.message;
}

const isObject = (value: Json): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const quote = (text: string): string =>
  text.length <= QUOTE_CHARACTERS_MAX ? text : `${text.slice(0, QUOTE_CHARACTERS_MAX)}…`;

const brokenOff = (model: string): OsError =>
  new OsError(
    "model_failed",
    `The answer of ${model} ended with an error. Try again, or look at the provider's status.`,
    { retryable: true, data: { model } },
  );

const cutBeforeAWord = (model: string): OsError =>
  new OsError(
    "limit_exceeded",
    `${model} used up its output limit before it wrote a word. Raise \`maxOutputTokens\` in the agent's manifest.`,
    {
      data: { limit: "maxOutputTokens", model },
    },
  );

const filtered = (model: string, text: string): OsError =>
  new OsError(
    "model_failed",
    `The provider's content filter stopped the answer of ${model}. Change the task or the instructions, or choose another model.`,
    {
      retryable: false,
      data: { model, text },
    },
  );

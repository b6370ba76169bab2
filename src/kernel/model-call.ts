// Calls of models: what one needs and may cost, and how the provider is asked.
//
// A budget in tokens or dollars is reserved for before the call: what goes in by a tokenizer, what may come out as far as
// the budget has it left, which is then the most that the model is asked for. So a call costs at most what was reserved,
// but for what the provider counts differently.
import { OsError } from "../abi/errors.ts";
import { type Json, wellFormed } from "../abi/json.ts";
import type { GenerateInput } from "../abi/messages.ts";
import type { Spent } from "../abi/process.ts";
import type { ModelAnswer, ModelRequest, Price } from "../ports/model.ts";
import type { RateReport } from "../ports/scheduler.ts";
import { noContext } from "./journal/contexts.ts";
import { encodeAnswer } from "./journal/encoding.ts";
import type { Demand, Left, Performed } from "./performance.ts";
import type { Services } from "./services.ts";
import type { CallContext } from "./waiting.ts";

function modelOf({ services, run }: CallContext, wanted: string | undefined): string {
  const model = wanted ?? run.process.manifest.model ?? services.ports.models.defaultModel;
  if (model !== undefined) return model;
  throw new OsError(
    "not_found",
    "The agent names no model and the configuration has no `defaultModel`. Set one of them, as `provider/model`.",
    { data: { what: "model", id: "" } },
  );
}

export async function generate(context: CallContext): Promise<Performed> {
  const { services, run, call } = context;
  const { process } = run;
  const { model: wanted, after, messages, tools: offered, ...settings } = call.args as unknown as GenerateInput;
  const model = modelOf(context, wanted);
  // Another process's conversation is not this one's to read, whoever told it the address.
  if (after !== undefined && !run.recall.contexts.has(after)) throw noContext(after);
  const all = await services.contexts.messages({ process, made: run.recall.contexts }, after, messages);
  const tools =
    offered === undefined ? [...process.tools.values()] : offered.flatMap((name) => process.tools.get(name) ?? []);
  const onDelta = (text: string): void =>
    services.bus.delta({ kind: "delta", pid: process.pid, call: call.number, text });
  const request = { model, messages: all, tools, settings: bounded(settings, call.outputTokensMax) };
  const asked = await ask({ services, request, signal: run.signal, onDelta });
  if ("kind" in asked) return asked;
  // As a call's arguments are (call.ts): halves of characters would stand in every later turn, and providers refuse them.
  const answer = { ...asked, content: wellFormed(asked.content as unknown as Json) as unknown as typeof asked.content };
  const stored = encodeAnswer(process.key, { ...answer, model }, { after: after ?? null, parts: call.parts });
  run.recall.contexts.add(stored.context);
  services.contexts.extend(process, {
    after: after,
    messages,
    answer: answer.content,
    context: stored.context,
  });
  return {
    kind: "value",
    value: { ...answer, model, context: stored.context } as unknown as Json,
    usage: answer.usage,
    stored,
  };
}

type Settings = ModelRequest["settings"];

/** A model is never asked for more than the budget has left. */
const bounded = (settings: Settings, max: number | undefined): Settings =>
  max === undefined ? settings : { ...settings, maxOutputTokens: Math.min(settings.maxOutputTokens ?? max, max) };

/** Answers of a provider that is too busy. */
const BUSY = [429, 503, 529];

async function ask(parts: {
  readonly services: Services;
  readonly request: ModelRequest;
  readonly signal: AbortSignal;
  readonly onDelta: (text: string) => void;
}): Promise<ModelAnswer | Extract<Performed, { kind: "refused" }>> {
  const { services, request, signal, onDelta } = parts;
  const { models, scheduler, clock } = services.ports;
  const { name } = models.resource(request.model);
  let told = false;
  const onRate = (report: RateReport): void => {
    told ||= report.pausedUntilMs !== undefined;
    scheduler.turns.report(name, report);
  };
  try {
    return await models.generate(request, { signal, onDelta, onRate });
  } catch (error) {
    if (!OsError.is(error, "model_failed") || !error.retryable || !BUSY.includes(Number(error.data["status"])))
      throw error;
    const delayMs = Number(error.data["retryAfterMs"] ?? BUSY_PAUSE_MS);
    if (!told) scheduler.turns.report(name, { pausedUntilMs: clock.nowMs() + delayMs });
    return { kind: "refused", error };
  }
}

/** How long a provider that is busy and does not say for how long is left alone. Milliseconds. */
const BUSY_PAUSE_MS = 1_000;

/** What a call of a model may put out where neither the agent nor a budget says. Tokens. */
const OUTPUT_TOKENS_RESERVED = 8_192;

export function modelDemand(context: CallContext): Demand {
  const { services, run, call } = context;
  const { models } = services.ports;
  const { model: wanted, after, messages, tools: offered, ...settings } = call.args as unknown as GenerateInput;
  const model = modelOf(context, wanted);
  const resource = models.resource(model);
  const amounts = { calls: 1, inputTokens: 0, outputTokens: 0, costUsd: 0 };
  const within = async (left: Left): Promise<Spent> => {
    if (Object.keys(left).length === 0 && resource.tokensPerMinute === undefined) return amounts;
    const history = await services.contexts.history({ process: run.process, made: run.recall.contexts }, after);
    const tools = [...run.process.tools.values()].filter(({ name }) => offered?.includes(name) ?? true);
    const estimate = models.estimate({ model, messages: [...history, ...messages], tools, settings });
    const price = models.priceOf(model, estimate.inputTokens);
    if (left.costUsd !== undefined && price === null) throw noPrice(model);
    const wish = settings.maxOutputTokens ?? Math.min(estimate.outputTokens, OUTPUT_TOKENS_RESERVED);
    const outputTokens = affordable({ left, price, inputTokens: estimate.inputTokens, wish });
    if (Object.keys(left).length > 0) call.outputTokensMax = outputTokens;
    const { inputTokens } = estimate;
    return {
      calls: 1,
      inputTokens,
      outputTokens,
      costUsd: price === null ? 0 : worst(price, inputTokens, outputTokens),
    };
  };
  return { resource, amounts, within, timeoutMs: 0, counted: true };
}

const MILLION = 1_000_000;
/** What a call costs at most: nothing of it comes from the provider's cache, and all of it goes there. */
const worst = (price: Price, inputTokens: number, outputTokens: number): number =>
  (inputTokens * Math.max(price.input, price.cacheWrite ?? 0) + outputTokens * price.output) / MILLION;

/** As much output as is wished, or as is left; at least one token, so that what is missing is named. */
function affordable(parts: { left: Left; price: Price | null; inputTokens: number; wish: number }): number {
  const { left, price, inputTokens, wish } = parts;
  const byCost =
    left.costUsd === undefined || price === null || price.output === 0
      ? Infinity
      : Math.floor(((left.costUsd - worst(price, inputTokens, 0)) * MILLION) / price.output);
  const byTokens = Math.min(left.outputTokens ?? Infinity, (left.tokens ?? Infinity) - inputTokens);
  return Math.max(1, Math.min(wish, byTokens, byCost));
}

const noPrice = (model: string): OsError =>
  new OsError(
    "config_invalid",
    `The process has a budget in dollars, and the price of ${model} is not known. Write it into the configuration, as models.${model.split("/")[0]}.prices["${model.slice(model.indexOf("/") + 1)}"], or give the budget in tokens.`,
    { data: { file: "", issues: [`no price for ${model}`] } },
  );

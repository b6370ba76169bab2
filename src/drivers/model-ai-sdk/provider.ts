// A provider of models, through the AI SDK's packages (provider contract v4): OpenAI, Anthropic, Google, and whatever speaks
// Chat Completions.
//
// Invariants:
//   P1. One `generate` is at most one request: `doStream` does not retry, and neither does this.
//   P2. The configuration's timeout bounds the whole call, answer included.
//   P3. An answer counts whole or not at all.
//   P4. A key that is missing is reported by `ready`, `generate` and `check`, not at start: who uses another model needs none.
//   P5. What the response's headers say of the provider's limits is told as soon as they are there, before the call ends.
import type { LanguageModelV4 } from "@ai-sdk/provider";
import { OsError } from "../../abi/errors.ts";
import type { Check } from "../../abi/reports.ts";
import type { ModelAnswer, ModelProvider, ModelRequest } from "../../ports/model.ts";
import type { RateReport } from "../../ports/scheduler.ts";
import { collectAnswer } from "./answer.ts";
import {
  type Endpoint,
  type Environment,
  formatName,
  headersListener,
  keyNames,
  languageModel,
  type RemoteConfig,
  resolveEndpoint,
} from "./endpoint.ts";
import { modelFailure, rateOfFailure } from "./failure.ts";
import { callOptions } from "./prompt.ts";
import { rateReport } from "./rates.ts";
import { toolNames } from "./tool-names.ts";
import { type Characters, usageOf } from "./usage.ts";

/** What a timer can hold, some 24 days; beyond it, it would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

type GenerateOptions = Parameters<ModelProvider["generate"]>[2];

/** `name` is the one in the configuration; `env` is where keys and base URLs are looked up. Throws nothing; see P4. */
export function createAiSdkProvider(name: string, config: RemoteConfig, env: Environment): ModelProvider {
  return new AiSdkProvider(name, config, env);
}

class AiSdkProvider implements ModelProvider {
  readonly concurrency: number;
  readonly requestsPerMinute: number | undefined;
  readonly tokensPerMinute: number | undefined;
  readonly vendor: string | undefined;
  readonly #name: string;
  readonly #config: RemoteConfig;
  readonly #env: Environment;
  readonly #models = new Map<string, Promise<LanguageModelV4>>();
  #endpoint: Endpoint | undefined;

  constructor(name: string, config: RemoteConfig, env: Environment) {
    this.#name = name;
    this.#config = config;
    this.#env = env;
    this.concurrency = config.concurrency;
    this.requestsPerMinute = config.requestsPerMinute;
    this.tokensPerMinute = config.tokensPerMinute;
    // Who speaks Chat Completions may be anybody, at any price.
    this.vendor = config.type === "openai-compatible" ? undefined : config.type;
  }

  ready(): void {
    this.#endpoint ??= resolveEndpoint(this.#name, this.#config, this.#env);
  }

  async generate(model: string, request: ModelRequest, options: GenerateOptions): Promise<ModelAnswer> {
    const { signal, onDelta } = options;
    const label = `${this.#name}/${model}`;
    const endpoint = (this.#endpoint ??= resolveEndpoint(this.#name, this.#config, this.#env));
    const limits = new Limits(label, this.#config.timeoutMs, signal);
    let streaming = false;
    const ask = async (): Promise<ModelAnswer> => {
      const names = toolNames(request);
      const call = callOptions(endpoint.type, request, names);
      const asked = await this.#model(model, endpoint);
      const { stream } = await headersListener.run(
        (headers) => tell(options, rateReport(headers, { nowMs: Date.now() })),
        async () => asked.doStream({ ...call, abortSignal: limits.signal }),
      );
      streaming = true;
      const { content, finishReason, usage } = await collectAnswer(stream, {
        label,
        names,
        signal: limits.signal,
        onDelta,
      });
      return { content, finishReason, usage: usageOf(usage, () => characters(request, content)) };
    };
    try {
      limits.start();
      return await Promise.race([ask(), limits.exceeded]);
    } catch (error) {
      const nowMs = Date.now();
      const failed = modelFailure(error, { label, name: this.#name, endpoint, streaming, nowMs });
      tell(options, rateOfFailure(error, failed, nowMs));
      throw failed;
    } finally {
      limits.stop();
    }
  }

  check(): Check {
    const name = `model:${this.#name}`;
    const from = keyNames(this.#config);
    try {
      this.ready();
      const endpoint = this.#endpoint;
      const key = endpoint?.keyName === undefined ? "without a key" : `with the key in ${endpoint.keyName}`;
      return {
        name,
        state: "ok",
        detail: `${formatName(this.#config.type)} at ${endpoint?.baseUrl}, ${key}; not asked`,
      };
    } catch (error) {
      if (!OsError.is(error)) throw error;
      // Nobody has to use each of the providers that exist without being configured: without its usual key, one is off.
      const unused =
        this.#config.keyFrom === undefined &&
        from.length > 0 &&
        from.every((variable) => (this.#env[variable] ?? "").trim() === "");
      return { name, state: unused ? "off" : "failed", detail: error.message };
    }
  }

  #model(model: string, endpoint: Endpoint): Promise<LanguageModelV4> {
    const known = this.#models.get(model);
    if (known !== undefined) return known;
    const made = languageModel(this.#name, endpoint, model);
    this.#models.set(model, made);
    return made;
  }
}

function tell({ onRate }: GenerateOptions, report: RateReport | undefined): void {
  if (report !== undefined) onRate?.(report);
}

/** What may end a call from outside: its caller's signal and its timeout. */
class Limits {
  readonly #controller = new AbortController();
  readonly #label: string;
  readonly #timeoutMs: number;
  readonly #caller: AbortSignal;
  readonly #exceeded = Promise.withResolvers<never>();
  #timer: NodeJS.Timeout | undefined;

  constructor(label: string, timeoutMs: number, caller: AbortSignal) {
    this.#label = label;
    this.#timeoutMs = timeoutMs;
    this.#caller = caller;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Rejects with `timeout` or `cancelled`. The call is raced against it, so that no package can outstay it. */
  get exceeded(): Promise<never> {
    return this.#exceeded.promise;
  }

  /** Throws `cancelled` if the caller has left already. */
  start(): void {
    this.#timer = setTimeout(this.#onTimeout, Math.min(this.#timeoutMs, TIMER_MS_MAX));
    this.#caller.addEventListener("abort", this.#onAbort, { once: true });
    if (this.#caller.aborted) throw cancelled(this.#label);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#caller.removeEventListener("abort", this.#onAbort);
  }

  readonly #onAbort = (): void => this.#exceed(cancelled(this.#label));

  readonly #onTimeout = (): void => {
    const message = `${this.#label} did not answer in full within ${this.#timeoutMs} ms. Try again, or raise \`timeoutMs\` of this provider in \`models\`.`;
    this.#exceed(new OsError("timeout", message, { data: { afterMs: this.#timeoutMs, model: this.#label } }));
  };

  /** Says why before the request is given up, so that the reason wins the race against what the request then fails with. */
  #exceed(reason: OsError): void {
    this.#exceeded.reject(reason);
    this.#controller.abort();
  }
}

const cancelled = (label: string): OsError =>
  new OsError("cancelled", `The call of ${label} was given up, because its process ended or its caller left.`, {
    data: { model: label },
  });

/** For providers that report no usage. Counted on the JSON text, which is near enough to what the provider is sent. */
const characters = (request: ModelRequest, content: ModelAnswer["content"]): Characters => ({
  input: JSON.stringify(request.messages).length + JSON.stringify(request.tools).length,
  output: JSON.stringify(content).length,
});

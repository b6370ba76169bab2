// Goal: every way in which a call can fail ends in the right code, at once, and without the key in any text.
// Method: the driver against a loopback server that refuses, breaks off, says nothing, or speaks nonsense.
import { inspect } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { OsError } from "../../abi/errors.ts";
import type { ModelRequest } from "../../ports/model.ts";
import type { RateReport } from "../../ports/scheduler.ts";
import type { RemoteConfig } from "./endpoint.ts";
import {
  chat,
  gemini,
  hanging,
  LoopbackServer,
  messages,
  type Reply,
  refusal,
  responses,
  silent,
  stream,
} from "./fixtures/loopback-server.ts";
import { createAiSdkProvider } from "./provider.ts";

let server: LoopbackServer;
beforeAll(async () => {
  server = new LoopbackServer();
  await server.start();
});
afterAll(() => server.stop());
let deltas: string[] = [];
let onFirstDelta: (() => void) | undefined;
beforeEach(() => {
  deltas = [];
  onFirstDelta = undefined;
});

const KEY = "sk-very-secret-0123456789";
const env = { OPENAI_API_KEY: KEY, ANTHROPIC_API_KEY: KEY, GOOGLE_GENERATIVE_AI_API_KEY: KEY, OTHER_KEY: KEY };
const request: ModelRequest = { model: "p/m", messages: [{ role: "user", content: "Hello" }], tools: [], settings: {} };
type Options = {
  readonly type?: RemoteConfig["type"];
  readonly config?: Partial<RemoteConfig>;
  readonly signal?: AbortSignal;
  readonly env?: Record<string, string>;
};

function provider({ type = "openai-compatible", config = {}, env: environment = env }: Options) {
  const common = {
    baseUrl: `${server.url}/v1`,
    headers: {},
    concurrency: 8,
    timeoutMs: 10_000,
    prices: {},
    keyFrom: "OTHER_KEY",
  };
  return createAiSdkProvider("p", { ...common, ...config, type } as RemoteConfig, environment);
}

async function failure(options: Options): Promise<OsError> {
  const signal = options.signal ?? new AbortController().signal;
  const error: unknown = await provider(options)
    .generate("m", request, { signal, onDelta: (text) => void (deltas.push(text) === 1 && onFirstDelta?.()) })
    .then(
      (answer) => expect.unreachable(`answered ${JSON.stringify(answer)}`),
      (reason: unknown) => reason,
    );
  if (!OsError.is(error)) throw error;
  expect(`${error.stack}${inspect(error, { depth: 20 })}${JSON.stringify(error)}`).not.toContain(KEY);
  return error;
}

const containing = (text: string): unknown => expect.stringContaining(text);
const openAiError = (message: string, code: string | null = null) => ({
  error: { message, type: "some_error", param: null, code },
});
const anthropicError = (type: string, message: string) => ({ type: "error", error: { type, message } });
const greeting = chat({ text: ["Good ", "day."], usage: { prompt_tokens: 1, completion_tokens: 2 } });

describe("refusals", () => {
  test("429 with retry-after in seconds", async () => {
    server.will(refusal(429, openAiError("Rate limit reached"), { "retry-after": "7" }));
    const error = await failure({});
    expect(error).toMatchObject({
      code: "model_failed",
      retryable: true,
      data: { model: "p/m", status: 429, retryAfterMs: 7000 },
    });
    expect(error.message).toBe(
      "p/m failed: the provider answered 429: Rate limit reached. Try again after 7 s; if it goes on, lower `models.p.concurrency`.",
    );
  });

  test("429 with retry-after-ms, which is more exact, and with a date", async () => {
    server.will(refusal(429, openAiError("slow down"), { "retry-after": "1", "retry-after-ms": "250" }));
    expect((await failure({ type: "openai" })).data).toMatchObject({ retryAfterMs: 250 });
    const dates = { date: "Wed, 21 Oct 2026 07:28:00 GMT", "retry-after": "Wed, 21 Oct 2026 07:28:30 GMT" };
    server.will(refusal(429, anthropicError("rate_limit_error", "slow down"), dates));
    expect((await failure({ type: "anthropic" })).data).toMatchObject({ status: 429, retryAfterMs: 30_000 });
  });

  test("Google's delay stands in the body", async () => {
    const details = [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "12.5s" }];
    server.will(refusal(429, { error: { code: 429, message: "quota", status: "RESOURCE_EXHAUSTED", details } }));
    expect(await failure({ type: "google" })).toMatchObject({ retryable: true, data: { retryAfterMs: 12_500 } });
  });

  test.each([
    [500, true, "Try again later."],
    [529, true, "Try again later."],
    [401, false, "Check the key in OTHER_KEY."],
    [404, false, "Check the model's name and the base URL"],
    [400, false, "Change the request"],
  ])("status %i", async (status, retryable, remedy) => {
    server.will(refusal(status, openAiError("No.")));
    const error = await failure({});
    expect(error).toMatchObject({ code: "model_failed", retryable, data: { model: "p/m", status } });
    expect(error.message).toContain(`the provider answered ${status}: No. ${remedy}`);
  });

  test("one request is made, whatever the answer: nothing here retries", async () => {
    for (const type of ["openai", "anthropic", "google", "openai-compatible"] as const) {
      const before = server.exchanges.length;
      server.will(refusal(503, openAiError("overloaded")));
      await failure({ type });
      expect(server.exchanges.length - before).toBe(1);
    }
  });

  test("a provider's long message is clipped, and a key that it repeats is removed", async () => {
    server.will(refusal(401, openAiError(`Incorrect API key provided: ${KEY}. ${"x".repeat(2000)}`)));
    const { message } = await failure({ type: "openai" });
    expect(message).toContain("Incorrect API key provided: [key].");
    expect(message.length).toBeLessThan(700);
  });

  test("a secret in a configured header is removed as well", async () => {
    server.will(refusal(403, openAiError("bad token abcdef-token")));
    const error = await failure({ config: { headers: { "x-auth-token": "Bearer abcdef-token" } } });
    expect(error.message).toContain("bad token [key]");
  });

  test("what is no JSON is told as it is", async () => {
    server.will(
      (response) => void response.writeHead(502, { "content-type": "text/html" }).end("<h1>upstream is down</h1>"),
    );
    const error = await failure({ type: "anthropic" });
    expect(error).toMatchObject({ retryable: true, data: { status: 502 } });
    expect(error.message).toContain("Bad Gateway");
  });

  test("a redirect is not followed, and the key stays here", async () => {
    const elsewhere = new LoopbackServer();
    await elsewhere.start();
    server.will((response) => void response.writeHead(307, { location: elsewhere.url }).end());
    const error = await failure({ type: "anthropic" });
    expect(error).toMatchObject({ code: "model_failed", retryable: false, data: { status: 307 } });
    expect(elsewhere.exchanges).toEqual([]);
    await elsewhere.stop();
  });
});

describe("what the provider says of its limits", () => {
  const TYPES = ["openai-compatible", "openai", "anthropic", "google"] as const;
  const begun = {
    "openai-compatible": chat({ text: ["Good "], finish: null }),
    openai: responses([], {}).slice(0, 1),
    anthropic: messages([{ start: { type: "text", text: "" }, deltas: [] }], {
      stop: "end_turn",
      usage: { input_tokens: 1 },
      outputTokens: 1,
    }).slice(0, 2),
    google: gemini([{ text: "Good " }, { text: "day." }], {}).slice(0, 1),
  } as const;
  const limits = { "x-ratelimit-limit-requests": "600", "x-ratelimit-remaining-requests": "7" };
  const requests: unknown = expect.objectContaining({ limit: 600, windowMs: 60_000, remaining: 7 });
  const ask = (
    type: RemoteConfig["type"],
    onRate: (report: RateReport) => void,
    signal = new AbortController().signal,
  ) => provider({ type }).generate("m", request, { signal, onDelta: () => undefined, onRate });

  test.each(TYPES)("%s: with an answer, while it is still coming", async (type) => {
    server.will((response) => {
      for (const [name, value] of Object.entries(limits)) response.setHeader(name, value);
      hanging(begun[type])(response);
    });
    const reports: RateReport[] = [];
    const controller = new AbortController();
    const asked = ask(
      type,
      (report) => {
        reports.push(report);
        controller.abort();
      },
      controller.signal,
    );
    await expect(asked).rejects.toMatchObject({ code: "cancelled" });
    expect(reports).toEqual([{ requests }]);
  });

  test.each(TYPES)("%s: with a refusal, before the call ends", async (type) => {
    const beforeMs = Date.now();
    const reports: RateReport[] = [];
    server.will(refusal(429, openAiError("slow down"), { ...limits, "retry-after": "7" }));
    const asked = ask(type, (report) => void reports.push(report));
    await expect(asked).rejects.toMatchObject({ retryable: true, data: { status: 429, retryAfterMs: 7_000 } });
    expect(reports).toEqual([{ requests, pausedUntilMs: expect.any(Number) as unknown }]);
    expect(reports[0]?.pausedUntilMs).toBeGreaterThanOrEqual(beforeMs + 7_000);
    expect(reports[0]?.pausedUntilMs).toBeLessThanOrEqual(Date.now() + 7_000);
  });

  test("an overload that is reported in the stream is a refusal too", async () => {
    const reports: RateReport[] = [];
    server.will(stream([{ event: "error", data: anthropicError("overloaded_error", "Overloaded") }]));
    await expect(ask("anthropic", (report) => void reports.push(report))).rejects.toMatchObject({
      data: { status: 529 },
    });
    expect(reports).toEqual([{ pausedUntilMs: expect.any(Number) as unknown }]);
  });

  test("a provider that says nothing is not spoken for", async () => {
    const reports: RateReport[] = [];
    server.will(stream(greeting), refusal(500, openAiError("No.")));
    await ask("openai-compatible", (report) => void reports.push(report));
    await expect(ask("openai-compatible", (report) => void reports.push(report))).rejects.toMatchObject({
      data: { status: 500 },
    });
    expect(reports).toEqual([]);
  });
});

describe("answers that do not come to their end", () => {
  const item = { id: "m", type: "message", role: "assistant", content: [] };
  const block = { start: { type: "text", text: "" }, deltas: [{ type: "text_delta", text: "Good " }] };
  const begun = {
    "openai-compatible": chat({ text: ["Good "], finish: null }),
    openai: responses([{ item, deltas: ["Good "] }], {}).slice(0, 3),
    anthropic: messages([block], { stop: "end_turn", usage: { input_tokens: 1 }, outputTokens: 1 }).slice(0, 3),
    google: gemini([{ text: "Good " }, { text: "day." }], {}).slice(0, 1),
  } as const;
  const TYPES = ["openai-compatible", "openai", "anthropic", "google"] as const;

  test.each(TYPES)("%s: the connection drops in the middle", async (type) => {
    server.will((response) => {
      onFirstDelta = () => void response.destroy();
      hanging(begun[type])(response);
    });
    const error = await failure({ type });
    expect(error).toMatchObject({ code: "model_failed", retryable: true, data: { model: "p/m" } });
    expect(error.message).toContain("broke off");
    expect(deltas).toEqual(["Good "]);
  });

  test.each(TYPES)("%s: the stream ends cleanly, without its end", async (type) => {
    server.will(stream(begun[type]));
    expect(await failure({ type })).toMatchObject({ code: "model_failed", retryable: true });
    server.will(stream([]));
    expect(await failure({ type })).toMatchObject({ code: "model_failed", retryable: true });
  });

  test("the stream turns to garbage", async () => {
    server.will((response) => {
      hanging(begun["openai-compatible"])(response);
      onFirstDelta = () => void response.socket?.write("this is no chunk\r\n");
    });
    expect(await failure({})).toMatchObject({
      code: "model_failed",
      retryable: true,
      message: containing("broke off"),
    });
  });

  const blockRun = { start: { type: "server_tool_use", id: "s1", name: "web_search", input: {} }, deltas: [] };
  const itemRun = { id: "s1", type: "web_search_call", status: "completed", action: { type: "search", query: "x" } };
  test.each([
    ["anthropic", messages([blockRun], { stop: "end_turn", usage: { input_tokens: 1 }, outputTokens: 1 }).slice(0, 3)],
    ["openai", responses([{ item: itemRun }], {}).slice(0, 3)],
  ] as const)(
    "%s: a tool that the provider runs itself is refused at once, and the call given up",
    async (type, frames) => {
      const closed = Promise.withResolvers<void>();
      server.will((response) => {
        response.once("close", closed.resolve);
        hanging(frames)(response);
      });
      const error = await failure({ type });
      expect(error).toMatchObject({
        code: "model_failed",
        retryable: false,
        message: containing("ran a tool by itself (web_search)"),
      });
      await closed.promise;
    },
  );

  test("an error that the provider reports in the stream, by its kind", async () => {
    server.will(stream([...greeting.slice(0, 2), { data: openAiError("The engine is overloaded") }]));
    const overloaded = await failure({});
    expect(overloaded).toMatchObject({ code: "model_failed", retryable: true });
    expect(overloaded.message).toContain("The engine is overloaded");
    server.will(
      stream([
        ...greeting.slice(0, 2),
        { data: { error: { message: "too long", type: "invalid_request_error", code: "context_length_exceeded" } } },
      ]),
    );
    expect(await failure({})).toMatchObject({ retryable: false });
    server.will(stream([{ event: "error", data: anthropicError("overloaded_error", "Overloaded") }]));
    expect(await failure({ type: "anthropic" })).toMatchObject({ retryable: true, data: { status: 529 } });
    server.will(
      stream([
        {
          event: "error",
          data: { type: "error", sequence_number: 0, code: "insufficient_quota", message: "no money", param: null },
        },
      ]),
    );
    expect(await failure({ type: "openai" })).toMatchObject({ retryable: false });
  });

  test("a server that speaks another format is named as such", async () => {
    server.will(stream([{ data: { hello: "world" } }]));
    const error = await failure({});
    expect(error).toMatchObject({ code: "model_failed", retryable: false });
    expect(error.message).toContain("speaks the format of `type: openai-compatible`");
  });

  test("nobody listens", async () => {
    const gone = new LoopbackServer();
    await gone.start();
    const url = gone.url;
    await gone.stop();
    const error = await failure({ config: { baseUrl: url } });
    expect(error).toMatchObject({ code: "model_failed", retryable: true, data: { model: "p/m" } });
    expect(error.message).toContain(`the call of ${url} failed: Cannot connect to API: connect ECONNREFUSED`);
  });

  test("a finish reason is passed on; a cut answer's broken call is kept as it came", async () => {
    server.will(
      stream(
        chat({
          calls: [{ id: "a", name: "t", args: '{"half":' }],
          finish: "length",
          usage: { prompt_tokens: 1, completion_tokens: 1 },
        }),
      ),
    );
    const answer = await provider({}).generate("m", request, {
      signal: new AbortController().signal,
      onDelta: () => undefined,
    });
    expect(answer).toMatchObject({
      finishReason: "length",
      content: [{ type: "tool-call", input: {}, invalid: '{"half":' }],
    });
  });
});

describe("limits from outside", () => {
  test.each([
    ["openai-compatible", silent],
    ["openai-compatible", hanging(greeting.slice(0, 2))],
    ["openai", hanging(responses([], {}).slice(0, 1))],
    ["anthropic", silent],
    ["google", hanging([])],
  ] satisfies [RemoteConfig["type"], Reply][])(
    "%s hangs: the timeout holds for the whole call",
    async (type, reply) => {
      server.will(reply);
      const error = await failure({ type, config: { timeoutMs: 40 } });
      expect(error).toMatchObject({ code: "timeout", retryable: true, data: { afterMs: 40, model: "p/m" } });
    },
  );

  test.each([
    ["openai-compatible", silent],
    ["openai", hanging(responses([], {}).slice(0, 1))],
    ["anthropic", hanging(messages([], { stop: "end_turn", usage: { input_tokens: 1 }, outputTokens: 1 }).slice(0, 1))],
  ] satisfies [RemoteConfig["type"], Reply][])(
    "%s: the caller leaves, the call is given up and its connection closed",
    async (type, reply) => {
      const controller = new AbortController();
      const closed = Promise.withResolvers<void>();
      server.will((response) => {
        response.once("close", closed.resolve);
        reply(response);
      });
      const arrived = server.arrival();
      const failed = failure({ type, signal: controller.signal });
      await arrived;
      controller.abort();
      expect(await failed).toMatchObject({ code: "cancelled", retryable: false });
      await closed.promise;
    },
  );

  test("who leaves while words come gets no further ones", async () => {
    const controller = new AbortController();
    onFirstDelta = () => controller.abort();
    server.will(stream(greeting));
    expect(await failure({ signal: controller.signal })).toMatchObject({ code: "cancelled" });
    expect(deltas).toEqual(["Good "]);
  });

  test("a timeout longer than any timer is no timeout of nothing", async () => {
    server.will(stream(greeting));
    const options = { signal: new AbortController().signal, onDelta: () => undefined };
    const answer = await provider({ config: { timeoutMs: 2 ** 40 } }).generate("m", request, options);
    expect(answer.content).toEqual([{ type: "text", text: "Good day." }]);
  });

  test("who has left already asks nobody", async () => {
    const before = server.exchanges.length;
    expect(await failure({ signal: AbortSignal.abort() })).toMatchObject({ code: "cancelled" });
    expect(server.exchanges.length).toBe(before);
  });
});

describe("keys and addresses", () => {
  const common = { headers: {}, concurrency: 8, timeoutMs: 5_000, prices: {} };
  const missing = (type: RemoteConfig["type"], keyFrom?: string) => {
    const named = keyFrom === undefined ? {} : { keyFrom };
    return createAiSdkProvider("p", { type, baseUrl: server.url, ...common, ...named }, {});
  };

  test.each([
    ["openai", "OPENAI_API_KEY"],
    ["anthropic", "ANTHROPIC_API_KEY"],
    ["google", "GOOGLE_GENERATIVE_AI_API_KEY (or GEMINI_API_KEY)"],
  ] satisfies [RemoteConfig["type"], string][])(
    "%s without its key says which variable to set, when it is used",
    async (type, variable) => {
      const unkeyed = missing(type);
      expect(() => unkeyed.ready()).toThrow(
        expect.objectContaining({ code: "config_invalid", message: containing(`Set ${variable} to a key`) }),
      );
      await expect(
        unkeyed.generate("m", request, { signal: new AbortController().signal, onDelta: () => undefined }),
      ).rejects.toMatchObject({ code: "config_invalid" });
      expect(unkeyed.check()).toMatchObject({ name: "model:p", state: "off", detail: containing(variable) });
    },
  );

  test("a key that was asked for by name and is missing is a failure, not a provider that is off", () => {
    expect(missing("openai-compatible", "MY_KEY").check()).toMatchObject({
      state: "failed",
      detail: containing("MY_KEY is not set"),
    });
  });

  test("a key that no header can hold is refused without being shown", async () => {
    const error = await failure({ env: { OTHER_KEY: `${KEY}\nand more` } });
    expect(error).toMatchObject({ code: "config_invalid", data: { variable: "OTHER_KEY" } });
  });

  test("a base URL with a password is refused without being shown", async () => {
    const error = await failure({ config: { baseUrl: `http://user:${KEY}@127.0.0.1/v1` } });
    expect(error).toMatchObject({ code: "config_invalid", message: containing("holds a user name or password") });
  });

  test("the check says where and with which variable, and asks nobody", () => {
    const before = server.exchanges.length;
    expect(provider({}).check()).toEqual({
      name: "model:p",
      state: "ok",
      detail: `Chat Completions at ${server.url}/v1, with the key in OTHER_KEY; not asked`,
    });
    expect(missing("openai-compatible").check()).toMatchObject({ state: "ok", detail: containing("without a key") });
    expect(server.exchanges.length).toBe(before);
  });

  test("base URLs from the environment hold where the configuration has none; Anthropic's gets its /v1", async () => {
    const environment = { ...env, OPENAI_BASE_URL: `${server.url}/o/v1/`, ANTHROPIC_BASE_URL: `${server.url}/` };
    for (const [type, path] of [
      ["openai", "/o/v1/responses"],
      ["anthropic", "/v1/messages"],
    ] as const) {
      server.will(refusal(500, openAiError("no")));
      const unset = createAiSdkProvider("p", { type, ...common }, environment);
      await expect(
        unset.generate("m", request, { signal: new AbortController().signal, onDelta: () => undefined }),
      ).rejects.toMatchObject({ data: { status: 500 } });
      expect(server.last().path).toBe(path);
    }
  });
});

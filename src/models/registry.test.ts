// Goal: a `provider/model` string finds its provider, or says why not; what a call will use and has cost is reckoned here.
import { describe, expect, test } from "vitest";
import { OsError } from "../abi/errors.ts";
import type { Usage } from "../abi/messages.ts";
import type { ModelProvider, ModelRequest } from "../ports/model.ts";
import { createModels } from "./registry.ts";

function provider(name: string, ready: () => void = () => undefined): ModelProvider {
  return {
    concurrency: 3,
    ready,
    generate: async (model, request) => ({
      content: [{ type: "text", text: `${name} as ${model}, asked for as ${request.model}` }],
      finishReason: "stop",
      usage: { inputTokens: 0, outputTokens: 0 },
    }),
    check: () => ({ name: `model:${name}`, state: "ok", detail: "" }),
  };
}

const containing = (text: string): unknown => expect.stringContaining(text);
const missingKey = (): never => {
  throw new OsError("config_invalid", "no key");
};
const models = createModels({
  providers: new Map([
    ["openai", provider("openai")],
    ["anthropic", provider("anthropic", missingKey)],
  ]),
  defaultModel: "openai/small",
});
const ask = (model: string) => {
  const request: ModelRequest = { model, messages: [], tools: [], settings: {} };
  return models.generate(request, { signal: new AbortController().signal, onDelta: () => undefined });
};

test("what stands before the first slash is the provider, the rest is its model", async () => {
  expect(models.defaultModel).toBe("openai/small");
  expect(models.resource("openai/small")).toEqual({ name: "model:openai", concurrency: 3 });
  expect((await ask("openai/meta/llama")).content).toEqual([
    { type: "text", text: "openai as meta/llama, asked for as openai/meta/llama" },
  ]);
});

test("an unknown provider is not found, and the known ones are listed", async () => {
  const unknown = {
    code: "not_found",
    message: containing("openai, anthropic"),
    data: { what: "model provider", id: "opnai", known: ["openai", "anthropic"] },
  };
  expect(() => models.resource("opnai/small")).toThrow(expect.objectContaining(unknown));
  await expect(ask("opnai/small")).rejects.toMatchObject(unknown);
});

test.each(["small", "/small", "openai/", ""])("%j is no provider/model", async (reference) => {
  expect(() => models.resource(reference)).toThrow(
    expect.objectContaining({ code: "invalid_argument", message: containing("provider/model") }),
  );
  await expect(ask(reference)).rejects.toMatchObject({ code: "invalid_argument" });
});

test("a provider that is not ready has no resource, and the others do", () => {
  expect(() => models.resource("anthropic/large")).toThrow(expect.objectContaining({ code: "config_invalid" }));
  expect(models.checks().map(({ name }) => name)).toEqual(["model:openai", "model:anthropic", "prices"]);
});

describe("what a call will use, and has cost", () => {
  const used = (usage: Usage, part: Partial<ModelProvider> = {}): ModelProvider => ({
    ...provider("p"),
    generate: async () => ({ content: [], finishReason: "stop", usage }),
    ...part,
  });
  const FREE = { estimate: () => ({ inputTokens: 7, outputTokens: 8 }), price: { input: 0, output: 0 } };
  const USAGE = { inputTokens: 1000, outputTokens: 100, cacheReadTokens: 400 };
  const priced = createModels({
    providers: new Map([
      ["openai", used(USAGE, { vendor: "openai", requestsPerMinute: 60, tokensPerMinute: 90_000 })],
      ["mine", used(USAGE)],
      ["stated", used({ ...USAGE, costUsd: 3 }, { vendor: "openai" })],
      ["rehearsal", used(USAGE, { own: FREE })],
    ]),
    defaultModel: undefined,
    prices: new Map([
      ["mine", { small: { input: 2, output: 10 } }],
      ["openai", { "gpt-4.1": { input: 1, output: 1 } }],
    ]),
    countTokens: (text) => text.length / 4,
  });
  const request = (model: string, settings: ModelRequest["settings"] = {}): ModelRequest => ({
    model,
    messages: [{ role: "user", content: "x".repeat(400) }],
    tools: [],
    settings,
  });
  const costUsd = async (model: string) =>
    (await priced.generate(request(model), { signal: new AbortController().signal, onDelta: () => undefined })).usage
      .costUsd;

  test("the configuration's price comes first, then the table's; without one there is no cost", async () => {
    expect(await costUsd("mine/small")).toBe((1000 * 2 + 100 * 10) / 1e6);
    expect(await costUsd("openai/gpt-4.1")).toBe(1100 / 1e6);
    expect(await costUsd("openai/gpt-4o")).toBe((600 * 2.5 + 400 * 1.25 + 100 * 10) / 1e6);
    expect(await costUsd("mine/other")).toBeUndefined();
    expect(await costUsd("stated/gpt-4o")).toBe(3);
    expect(await costUsd("rehearsal/any")).toBe(0);
    expect(priced.priceOf("mine/gpt-4o")).toBeNull();
    expect(priced.priceOf("openai/toString")).toBeNull();
    expect(priced.priceOf("openai/gpt-5.4")).toMatchObject({ input: 2.5 });
    expect(priced.priceOf("openai/gpt-5.4", 300_000)).toMatchObject({ input: 5, output: 22.5 });
  });

  test("the estimate counts the input, with a margin where the tokenizer is not the model's, and takes the output at its most", () => {
    expect(priced.estimate(request("openai/gpt-4o"))).toEqual({ inputTokens: 100 + 13, outputTokens: 16_384 });
    expect(priced.estimate(request("openai/gpt-4o", { maxOutputTokens: 50 })).outputTokens).toBe(50);
    expect(priced.estimate(request("mine/small"))).toEqual({ inputTokens: 135 + 13, outputTokens: 4096 });
    expect(priced.estimate(request("rehearsal/any"))).toEqual({ inputTokens: 7, outputTokens: 8 });
    expect(() => priced.estimate(request("nobody/x"))).toThrow(expect.objectContaining({ code: "not_found" }));
  });

  test("the limits that an operator set go with the resource, and what the provider says of its own is passed on", async () => {
    expect(priced.resource("openai/gpt-4o")).toEqual({
      name: "model:openai",
      concurrency: 3,
      requestsPerMinute: 60,
      tokensPerMinute: 90_000,
    });
    const reports: unknown[] = [];
    const telling = createModels({
      providers: new Map([
        [
          "p",
          used(USAGE, {
            generate: async (_model, _request, { onRate }) => {
              onRate?.({ pausedUntilMs: 5 });
              return { content: [], finishReason: "stop", usage: USAGE };
            },
          }),
        ],
      ]),
      defaultModel: undefined,
    });
    const { signal } = new AbortController();
    await telling.generate(request("p/m"), {
      signal,
      onDelta: () => undefined,
      onRate: (report) => void reports.push(report),
    });
    expect(reports).toEqual([{ pausedUntilMs: 5 }]);
  });
});

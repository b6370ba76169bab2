// Goal: a `provider/model` string finds its provider, or says why not.
import { expect, test } from "vitest";
import { OsError } from "../abi/errors.ts";
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
  expect(models.checks().map(({ name }) => name)).toEqual(["model:openai", "model:anthropic"]);
});

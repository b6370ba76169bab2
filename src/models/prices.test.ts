// Goal: a model's name finds its own price and no other's, and costs are whole nano-dollars.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { answerTokensMax, costOf, countingOf, listPrice } from "./prices.ts";

describe("the table", () => {
  test.each([
    ["openai", "gpt-4o", 2.5],
    ["openai", "gpt-4o-2024-11-20", 2.5],
    ["openai", "gpt-4o-2024-05-13", 5],
    ["anthropic", "claude-haiku-4-5-20251001", 1],
    ["anthropic", "claude-opus-5-5", 4],
    ["google", "gemini-2.5-flash-001", 0.3],
  ])("knows %s/%s", (vendor, model, input) => {
    expect(listPrice(vendor, model, 0)?.input).toBe(input);
    expect(answerTokensMax(vendor, model)).toBeGreaterThan(4000);
  });

  test.each([
    ["openai", "gpt-4o-realtime"],
    ["openai", "gpt-5-imaginary"],
    ["openai", "constructor"],
    ["anthropic", "gpt-4o"],
    [undefined, "gpt-4o"],
    ["__proto__", "gpt-4o"],
  ])("does not guess at %s/%s", (vendor, model) => {
    expect(listPrice(vendor, model, 0)).toBeNull();
    expect(answerTokensMax(vendor, model)).toBeUndefined();
  });

  test("a call with much input costs more, all of it", () => {
    expect(listPrice("openai", "gpt-6-sol", 272_000)).toEqual({
      input: 2,
      output: 10,
      cacheRead: 0.2,
      cacheWrite: 2.5,
    });
    expect(listPrice("openai", "gpt-6-sol", 272_001)).toEqual({ input: 4, output: 15, cacheRead: 0.4, cacheWrite: 5 });
    expect(listPrice("openai", "gpt-5.4-mini", 300_000)).toEqual({ input: 0.75, output: 4.5, cacheRead: 0.075 });
  });

  test("has a margin for every tokenizer that is not o200k_base", () => {
    const margin = (vendor: string | undefined, model: string): number => countingOf(vendor, model).margin;
    expect(["gpt-4o", "gpt-4.1-mini", "gpt-5", "o4-mini-2025-04-16"].map((model) => margin("openai", model))).toEqual([
      1, 1, 1, 1,
    ]);
    expect(["gpt-4", "gpt-4-turbo", "gpt-6-sol"].map((model) => margin("openai", model))).toEqual([1.35, 1.35, 1.35]);
    expect(["claude-sonnet-4-5-20250929", "claude-opus-4-6"].map((model) => margin("anthropic", model))).toEqual([
      1.35, 1.35,
    ]);
    expect(["claude-opus-4-7", "claude-sonnet-5", "claude-new"].map((model) => margin("anthropic", model))).toEqual([
      1.8, 1.8, 1.8,
    ]);
    expect(margin(undefined, "gpt-4o")).toBe(1.35);
  });
});

describe("the cost of a call", () => {
  const usage = { inputTokens: 100, outputTokens: 10, cacheReadTokens: 50, cacheWriteTokens: 30 };

  test("takes cached input at its own price, or at that of input", () => {
    expect(costOf(usage, { input: 10, output: 20 })).toBe(1200 / 1e6);
    expect(costOf(usage, { input: 10, output: 20, cacheRead: 1, cacheWrite: 12 })).toBe(
      (20 * 10 + 50 + 30 * 12 + 200) / 1e6,
    );
    expect(
      costOf({ inputTokens: 10, outputTokens: 0, cacheReadTokens: 50 }, { input: 10, output: 20, cacheRead: 0 }),
    ).toBe(0);
  });

  test("is a whole number of nano-dollars, and never less than it is", () => {
    expect(costOf({ inputTokens: 1, outputTokens: 0 }, { input: 0.0025, output: 0 })).toBe(3e-9);
    const tokens = fc.nat(2_000_000);
    const price = fc.integer({ min: 1, max: 100_000 }).map((thousandths) => thousandths / 1000);
    fc.assert(
      fc.property(tokens, tokens, price, price, (inputTokens, outputTokens, input, output) => {
        const cost = costOf({ inputTokens, outputTokens }, { input, output });
        // With prices of whole thousandths of a dollar the cost is whole by itself.
        const exact = inputTokens * Math.round(input * 1000) + outputTokens * Math.round(output * 1000);
        expect(Math.round(cost * 1e9)).toBe(exact);
      }),
    );
  });
});

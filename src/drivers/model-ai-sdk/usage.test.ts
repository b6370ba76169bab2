// Goal: tokens and money are counted once, whatever a server reports.
import { expect, test } from "vitest";
import { usageOf } from "./usage.ts";

type Counts = { total?: number; cacheRead?: number; cacheWrite?: number; output?: number; reasoning?: number };
const reported = ({ total, cacheRead, cacheWrite, output, reasoning }: Counts) => ({
  inputTokens: { total, noCache: undefined, cacheRead, cacheWrite },
  outputTokens: { total: output, text: undefined, reasoning },
});
const unasked = () => expect.unreachable("no estimate is needed");

test("without a price there is no cost", () => {
  expect(usageOf(reported({ total: 5, output: 2 }), unasked, undefined)).toEqual({ inputTokens: 5, outputTokens: 2 });
});

test("cached tokens are part of the input and cost what they cost", () => {
  const usage = reported({ total: 100, cacheRead: 50, cacheWrite: 30, output: 10, reasoning: 4 });
  const price = { input: 10, output: 20 };
  expect(usageOf(usage, unasked, price)).toEqual({
    inputTokens: 100,
    outputTokens: 10,
    cacheReadTokens: 50,
    cacheWriteTokens: 30,
    reasoningTokens: 4,
    costUsd: 1200 / 1e6,
  });
  expect(usageOf(usage, unasked, { ...price, cacheRead: 1, cacheWrite: 12 }).costUsd).toBe(
    (20 * 10 + 50 + 30 * 12 + 200) / 1e6,
  );
  expect(
    usageOf(reported({ total: 10, cacheRead: 50, output: 0 }), unasked, { input: 10, output: 20, cacheRead: 0 })
      .costUsd,
  ).toBe(0);
});

test("what is not reported, or is no number, is estimated by four characters a token", () => {
  expect(usageOf(reported({}), () => ({ input: 41, output: 8 }), undefined)).toEqual({
    inputTokens: 11,
    outputTokens: 2,
  });
  expect(usageOf(reported({ total: Number.NaN, output: -3 }), () => ({ input: 4, output: 8 }), undefined)).toEqual({
    inputTokens: 1,
    outputTokens: 0,
  });
});

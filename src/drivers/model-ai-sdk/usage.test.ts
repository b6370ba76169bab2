// Goal: tokens are counted once, whatever a server reports.
import { expect, test } from "vitest";
import { usageOf } from "./usage.ts";

type Counts = { total?: number; cacheRead?: number; cacheWrite?: number; output?: number; reasoning?: number };
const reported = ({ total, cacheRead, cacheWrite, output, reasoning }: Counts) => ({
  inputTokens: { total, noCache: undefined, cacheRead, cacheWrite },
  outputTokens: { total: output, text: undefined, reasoning },
});
const unasked = () => expect.unreachable("no estimate is needed");

test("cached tokens are part of the input, and what is nothing is not named", () => {
  expect(usageOf(reported({ total: 5, output: 2 }), unasked)).toEqual({ inputTokens: 5, outputTokens: 2 });
  expect(usageOf(reported({ total: 100, cacheRead: 50, cacheWrite: 30, output: 10, reasoning: 4 }), unasked)).toEqual({
    inputTokens: 100,
    outputTokens: 10,
    cacheReadTokens: 50,
    cacheWriteTokens: 30,
    reasoningTokens: 4,
  });
});

test("what is not reported, or is no number, is estimated by four characters a token", () => {
  expect(usageOf(reported({}), () => ({ input: 41, output: 8 }))).toEqual({
    inputTokens: 11,
    outputTokens: 2,
  });
  expect(usageOf(reported({ total: Number.NaN, output: -3 }), () => ({ input: 4, output: 8 }))).toEqual({
    inputTokens: 1,
    outputTokens: 0,
  });
});

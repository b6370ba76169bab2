// Goal: the counts are those of o200k_base, for any text, and a text that cannot be cut up takes no time. Method: the package,
// asked directly, is the measure; it is asked for short runs only.
import fc from "fast-check";
import { countTokens } from "gpt-tokenizer/encoding/o200k_base";
import { expect, test } from "vitest";
import { createTokenizer } from "./tokenizer.ts";

const count = createTokenizer();

test("prose, code and data are counted as the package counts them", () => {
  const texts = ["", "hello world", "Grüße, 世界! 🎉\n\n\tok", 'const a = { order: 1001, cents: -4.9e3 };\r\n  "x"'];
  expect(texts.map(count)).toEqual(texts.map((text) => countTokens(text)));
  expect(count("hello world")).toBe(2);
});

test("the name of a special token is text", () => {
  expect(count("<|endoftext|>")).toBeGreaterThan(1);
  expect(count("a <|endofprompt|> b")).toBeGreaterThan(3);
});

test("a text has at most as many tokens as bytes, and not none", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", minLength: 1 }), (text) => {
      const tokens = count(text);
      expect(tokens).toBeGreaterThan(0);
      expect(tokens).toBeLessThanOrEqual(Buffer.byteLength(text));
    }),
  );
});

test.each(["a", " ", "汉字", "!", "é"])("a run of %j is counted in pieces: at most a token more for each", (unit) => {
  const run = unit.repeat(500);
  expect(count(run)).toBeGreaterThanOrEqual(countTokens(run));
  expect(count(run)).toBeLessThanOrEqual(countTokens(run) + Math.ceil(run.length / 128));
  // As one run this would take minutes.
  expect(count(unit.repeat(50_000))).toBeGreaterThan(0);
});

test("what stands before and after a long run is counted too", () => {
  const run = "x".repeat(300);
  expect(count(`one two ${run} three four`)).toBeGreaterThanOrEqual(count("one two ") + count(run) + 2);
});

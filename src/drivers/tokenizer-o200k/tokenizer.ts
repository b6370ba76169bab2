// Counts tokens as OpenAI's models since GPT-4o do (o200k_base), with the package gpt-tokenizer: byte pair encoding
// (Sennrich, Haddow and Birch, 2016) in plain JavaScript.
//
// Boundary: counts a text. What a request adds to its texts, and what margin other models need, is known in src/models.
//
// Invariants:
//   K1. The tables (2 MB of source, 70 MB in memory, a tenth of a second) are loaded with the first text that is counted, and
//       by `require`, since whoever estimates cannot wait: most commands never count anything.
//   K2. It takes time in proportion to the text. The package takes the square of the length for what it does not cut up:
//       ten thousand Chinese characters without a comma are seconds. Such runs are counted in pieces, which gives a
//       token more for a piece at most places, and hardly ever one less.
//   K3. Names of special tokens, such as <|endoftext|>, are text like any other: providers take them so, and nothing may throw.
import { createRequire } from "node:module";
import type { CountTokens } from "../../ports/model.ts";

type Encoding = {
  readonly countTokens: (text: string, options: { readonly disallowedSpecial: Set<string> }) => number;
};

const PIECE = 128;
/** The same kinds of characters as o200k_base cuts between; digits it takes three at a time anyway. */
const LONG_RUN = new RegExp(
  String.raw`[\p{L}\p{M}]{${PIECE + 1},}|[^\s\p{L}\p{N}]{${PIECE + 1},}|\s{${PIECE + 1},}`,
  "gu",
);
const AS_TEXT = { disallowedSpecial: new Set<string>() };

/** Loads nothing yet. */
export function createTokenizer(): CountTokens {
  const require = createRequire(import.meta.url);
  let encoding: Encoding | undefined;
  const countShort = (text: string): number => {
    encoding ??= require("gpt-tokenizer/encoding/o200k_base") as Encoding;
    return encoding.countTokens(text, AS_TEXT);
  };
  return (text) => {
    let tokens = 0;
    let at = 0;
    for (const { 0: run, index } of text.matchAll(LONG_RUN)) {
      tokens += countShort(text.slice(at, index));
      for (let start = 0; start < run.length; start += PIECE) tokens += countShort(run.slice(start, start + PIECE));
      at = index + run.length;
    }
    return tokens + countShort(at === 0 ? text : text.slice(at));
  };
}

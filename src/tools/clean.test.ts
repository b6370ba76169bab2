// Goal: nothing hides in a text, and ordinary writing comes through byte for byte.
import fc from "fast-check";
import { expect, test } from "vitest";
import { cleanText } from "./clean.ts";

test.each([
  ["a bell, an escape, a null", "a\u0007b\u001b[31mc\u0000", "ab[31mc"],
  ["a carriage return that overwrites a line", "pay 10\rpay 1000", "pay 10pay 1000"],
  ["bidirectional controls", "\u202egnp.exe\u2066\u2069\u200f", "gnp.exe"],
  ["zero-width characters", "re\u200bfu\u2060nd\ufeff", "refund"],
  ["a joiner between Latin letters", "re\u200dfund", "refund"],
  ["words in tag characters", "ok\u{e0049}\u{e0047}\u{e004e}\u{e004f}\u{e0052}\u{e0045}", "ok"],
  ["tags behind a flag that is none", "\u{1f3f4}\u{e0067}\u{e0062}\u{e0078}\u{e007f}", "\u{1f3f4}"],
  ["bits in selectors behind digits and flags", "1\ufe0f2\ufe0e\u{1f1e9}\ufe0f\u{1f1ea}\ufe0f", "12\u{1f1e9}\u{1f1ea}"],
  ["marks of direction among Hebrew letters", "\u05d0\u200f!\u200e\u05d1", "\u05d0!\u05d1"],
  ["controls of hieroglyphs", "a\u{13430}b", "ab"],
  ["halves of characters", "a\ud83db\ude00\ud83d\ude00\ud83d", "ab\u{1f600}"],
  ["bytes in variation selectors", "x\ufe00\u{e0101}\u{e01ef}", "x"],
])("takes out %s", (_, text, clean) => {
  expect(cleanText(text)).toBe(clean);
});

test.each([
  ["JSON with escapes", '{"a": "\\u200b\\n", "b":  [1,2.50], "c":"\u00e9\u2014\u201c"}\n'],
  ["tabs, line feeds and Windows line ends", "a\tb\r\nc\n"],
  [
    "a family, a pirate, a heart, a keycap",
    "\u{1f468}\u200d\u{1f469}\u{1f3fd}\u200d\u{1f467} \u{1f3f4}\u200d\u2620\ufe0f \u2764\ufe0f 1\ufe0f\u20e3",
  ],
  ["the flag of Wales", "\u{1f3f4}\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}"],
  [
    "Persian with non-joiners, Sinhala with joiners",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u0dc1\u0dca\u200d\u0dbb\u0dd3",
  ],
  ["a Japanese name with a variant", "\u845b\u{e0100}\u57ce"],
])("keeps %s", (_, text) => {
  expect(cleanText(text)).toBe(text);
});

test("cleaning twice is cleaning once, and printable ASCII is never touched", () => {
  const parts = fc.constantFrom(
    "a",
    "1",
    "\r",
    "\n",
    "\u200b",
    "\u200d",
    "\ufe0f",
    "\u{1f468}",
    "\u2620",
    "\u{1f3f4}",
    "\u{e0067}",
    "\u{e007f}",
    "\u0645",
    "\u0dca",
    "\u845b",
    "\u{e0100}",
  );
  const mixed = fc.oneof(fc.string({ unit: "binary" }), fc.string({ unit: parts }));
  fc.assert(
    fc.property(mixed, (text) => {
      expect(cleanText(cleanText(text))).toBe(cleanText(text));
    }),
    { numRuns: 1000 },
  );
  fc.assert(
    fc.property(fc.string({ unit: "grapheme-ascii" }), (text) => {
      expect(cleanText(text)).toBe(text);
    }),
  );
});

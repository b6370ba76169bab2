// Takes secrets' values out of what comes back, as it streams.
//
// A value is looked for as it is, and as servers are known to say it back: in base64 (at any offset, so within longer text as
// well), in hexadecimal, percent-encoded, escaped for JSON and for HTML. A server that wants to give it away can still encode it
// otherwise: this guards against servers that talk too much, not against those that the secret should not have been sent to.
//
// Invariants:
//   S1. What is held back is at most the beginning of a form of a value; all else is passed on at once, so streams stay streams.
//   S2. Where a value is cut into pieces by chunks, it is still found.
import { placeholderOf } from "../../../abi/isolation.ts";
import type { Secret } from "./secrets.ts";

type Needle = { readonly bytes: Buffer; readonly replacement: Buffer };

/** The part of a text's base64 that is the same wherever the text begins within three bytes, for each of the three. */
function base64Forms(value: string): readonly string[] {
  return [0, 1, 2].map((offset) => {
    const encoded = Buffer.from("\0".repeat(offset) + value, "latin1")
      .toString("base64")
      .replace(/=+$/, "");
    const whole = Math.floor(((offset + value.length) * 8) / 6);
    return encoded.slice(Math.ceil((offset * 8) / 6), whole);
  });
}

const HTML: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function formsOf(value: string): readonly string[] {
  const base64 = base64Forms(value);
  const hex = Buffer.from(value, "latin1").toString("hex");
  const percent = encodeURIComponent(value);
  const json = JSON.stringify(value).slice(1, -1);
  const forms = [
    value,
    ...base64,
    ...base64.map((text) => text.replaceAll("+", "-").replaceAll("/", "_")),
    hex,
    hex.toUpperCase(),
    percent,
    percent.replaceAll(/%../g, (code) => code.toLowerCase()),
    percent.replaceAll("%20", "+"),
    json,
    json.replaceAll("/", "\\/"),
    value.replaceAll(/[&<>"']/g, (character) => HTML[character] ?? character),
  ];
  return [...new Set(forms)];
}

export type Scrubber = {
  /** All of a text at once, such as a header's value. */
  readonly text: (text: string) => string;
  /** A stream's own; `fill` keeps each value's length, with asterisks, where what comes counts its bytes. */
  readonly stream: (how?: "fill") => ScrubStream;
};

export type ScrubStream = {
  readonly push: (chunk: Buffer) => Buffer;
  /** What was held back, at the end. */
  readonly end: () => Buffer;
};

/** Undefined where there is nothing to look for. */
export function createScrubber(secrets: readonly Secret[]): Scrubber | undefined {
  if (secrets.length === 0) return undefined;
  const needles = secrets
    .flatMap(({ name, value }) =>
      formsOf(value).map((form) => ({
        bytes: Buffer.from(form, "latin1"),
        replacement: Buffer.from(placeholderOf(name), "latin1"),
      })),
    )
    .toSorted((a, b) => b.bytes.length - a.bytes.length);
  const filled = needles.map(({ bytes }) => ({ bytes, replacement: Buffer.alloc(bytes.length, "*") }));
  const stream = (how?: "fill"): ScrubStream => scrubStream(how === "fill" ? filled : needles);
  return {
    stream,
    text: (text) => {
      const once = stream();
      return Buffer.concat([once.push(Buffer.from(text, "latin1")), once.end()]).toString("latin1");
    },
  };
}

function scrubStream(needles: readonly Needle[]): ScrubStream {
  let held: Buffer = Buffer.alloc(0);
  return {
    push: (chunk) => {
      const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      const { done, rest } = replaceAll(bytes, needles);
      const keep = beginningLength(rest, needles);
      // A copy, so that a few bytes do not keep a whole chunk in memory.
      held = Buffer.from(rest.subarray(rest.length - keep));
      const passed = rest.subarray(0, rest.length - keep);
      return done.length === 0 ? passed : Buffer.concat([...done, passed]);
    },
    end: () => {
      const last = held;
      held = Buffer.alloc(0);
      return last;
    },
  };
}

/** All that is whole, replaced, leftmost first and the longest of those that begin at one place; `rest` holds none. */
function replaceAll(bytes: Buffer, needles: readonly Needle[]): { done: Buffer[]; rest: Buffer } {
  const done: Buffer[] = [];
  const next = needles.map(({ bytes: needle }) => bytes.indexOf(needle));
  let from = 0;
  for (;;) {
    let best = -1;
    for (const [at, needle] of needles.entries()) {
      while ((next[at] ?? -1) !== -1 && (next[at] ?? -1) < from) next[at] = bytes.indexOf(needle.bytes, from);
      const place = next[at] ?? -1;
      if (place !== -1 && (best === -1 || place < (next[best] ?? -1))) best = at;
    }
    const needle = needles[best];
    const place = next[best];
    if (needle === undefined || place === undefined) return { done, rest: bytes.subarray(from) };
    done.push(bytes.subarray(from, place), needle.replacement);
    from = place + needle.bytes.length;
  }
}

/** How many of the last bytes may be the beginning of a needle. */
function beginningLength(bytes: Buffer, needles: readonly Needle[]): number {
  let longest = 0;
  for (const { bytes: needle } of needles) {
    const first = needle[0] ?? 0;
    let at = bytes.indexOf(first, Math.max(0, bytes.length - needle.length + 1));
    while (at !== -1 && bytes.length - at > longest) {
      const length = bytes.length - at;
      if (needle.compare(bytes, at, bytes.length, 0, length) === 0) longest = length;
      at = bytes.indexOf(first, at + 1);
    }
  }
  return longest;
}

// Takes secrets' values out of what comes back, as it streams.
//
// A value is looked for as it is, and as servers are known to say it back: in capitals or small letters, in base64 (at any offset, so within longer text as well,
// and over the ends of lines), in hexadecimal; and each character of these as it is or escaped (escapes.ts). A server that wants to give it away can still
// encode it otherwise: this guards against servers that talk too much, not against those that the secret should not have been sent to.
//
// Invariants:
//   S1. What is held back is at most the beginning of a form of a value; all else is passed on at once, so streams stay streams.
//   S2. Where a value is cut into pieces by chunks, it is still found.
import { placeholderOf } from "../../../abi/isolation.ts";
import { beginningsOf, characterEnd, codeIn, escapeAt, escapedBeginnings, NONE, UNDECIDED } from "./escapes.ts";
import type { Headers, Secret } from "./secrets.ts";

const [LINE_FEED, CARRIAGE_RETURN] = [10, 13];

type Needle = {
  readonly plain: string;
  /** Codes of its characters. */
  readonly codes: readonly number[];
  readonly placeholder: string;
  /** Whether lines may end within it. */
  readonly wrapped: boolean;
};

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

function needlesOf({ name, value }: Secret): readonly Needle[] {
  const base64 = base64Forms(value);
  const hex = Buffer.from(value, "latin1").toString("hex");
  // Some servers write all that they are given in one case; for many a key that makes no difference.
  const plain = new Set([value, value.toLowerCase(), value.toUpperCase(), hex, hex.toUpperCase()]);
  const wrapped = new Set([...base64, ...base64.map((text) => text.replaceAll("+", "-").replaceAll("/", "_"))]);
  const needle = (text: string, isWrapped: boolean): Needle => ({
    plain: text,
    codes: [...Buffer.from(text, "latin1")],
    placeholder: placeholderOf(name),
    wrapped: isWrapped,
  });
  return [...[...plain].map((text) => needle(text, false)), ...[...wrapped].map((text) => needle(text, true))];
}

export type Scrubber = {
  /** All of a text at once. */
  readonly text: (text: string) => string;
  /** What is left of headers: a name that holds a value goes, and no name could say what was there. */
  readonly headers: (headers: Headers) => Headers;
  /** A stream's own; `fill` keeps each value's length, with asterisks, where what comes counts its bytes. */
  readonly stream: (how?: "fill") => ScrubStream;
};

export type ScrubStream = {
  readonly push: (chunk: Buffer) => Buffer;
  /** Of a stream that keeps lengths, what was held back, which is passed on as it is. If a value goes on in what comes, that is covered. */
  readonly pause: () => Buffer;
  /** What was held back, at the end. */
  readonly end: () => Buffer;
};

type Needles = {
  /** By what their first character is. */
  readonly byFirst: ReadonlyMap<number, readonly Needle[]>;
  /** For two bytes (the first in the higher bits), 1 where a form of a value may begin with them. */
  readonly pairs: Uint8Array;
};

function needlesFor(secrets: readonly Secret[]): Needles {
  const all = secrets.flatMap(needlesOf);
  const pairs = new Uint8Array(2 ** 16);
  for (const { codes, wrapped } of all) {
    const [first = 0, second = 0] = codes;
    const seconds = [...beginningsOf(second), ...(wrapped ? ["\r", "\n"] : [])];
    const beginnings = seconds.map((each) => String.fromCharCode(first) + each);
    for (const pair of [...beginnings, ...escapedBeginnings(first)])
      pairs[(pair.charCodeAt(0) << 8) | pair.charCodeAt(1)] = 1;
  }
  return { byFirst: Map.groupBy(all, ({ codes }) => codes[0] ?? 0), pairs };
}

/** Undefined where there is nothing to look for. */
export function createScrubber(secrets: readonly Secret[]): Scrubber | undefined {
  if (secrets.length === 0) return undefined;
  const needles = needlesFor(secrets);
  const text = (given: string): string => scrub(given, needles, { fill: false, last: true }).passed;
  return {
    stream: (how) => scrubStream(needles, how === "fill"),
    text,
    headers: (headers) =>
      headers.flatMap(([name, value]) => (text(name) === name ? [[name, text(value)] as const] : [])),
  };
}

function scrubStream(needles: Needles, fill: boolean): ScrubStream {
  let held = "";
  /** How much of that was passed on already. */
  let known = 0;
  const next = (chunk: Buffer, last: boolean): Buffer => {
    const isAlone = held === "";
    const { passed, rest, replaced } = scrub(held + chunk.toString("latin1"), needles, { fill, last });
    held = rest;
    if (isAlone && !replaced) return chunk.subarray(0, passed.length);
    const fresh = passed.slice(known);
    known = Math.max(0, known - passed.length);
    return Buffer.from(fresh, "latin1");
  };
  const pause = (): Buffer => {
    const fresh = held.slice(known);
    known = held.length;
    return Buffer.from(fresh, "latin1");
  };
  return { push: (chunk) => next(chunk, false), pause, end: () => next(Buffer.alloc(0), true) };
}

type How = {
  readonly fill: boolean;
  /** Whether nothing comes after the text. */
  readonly last: boolean;
};

type Scrubbed = { readonly passed: string; readonly rest: string; readonly replaced: boolean };

/** Replaces what is whole, leftmost first and the longest of those that begin at one place; `rest` may be the beginning of more. */
function scrub(text: string, needles: Needles, { fill, last }: How): Scrubbed {
  const { pairs } = needles;
  let [passed, from, at] = ["", 0, 0];
  while (at < text.length) {
    const isLast = at + 1 === text.length;
    if (!isLast && pairs[(text.charCodeAt(at) << 8) | text.charCodeAt(at + 1)] !== 1) {
      at += 1;
      continue;
    }
    const found = longestAt(text, at, needles, last);
    if (found === UNDECIDED) break;
    if (found === NONE) at += 1;
    else {
      passed += text.slice(from, at) + (fill ? "*".repeat(found.end - at) : found.placeholder);
      at = found.end;
      from = at;
    }
  }
  return { passed: passed + text.slice(from, at), rest: text.slice(at), replaced: from > 0 };
}

type Found = { readonly end: number; readonly placeholder: string };

function longestAt(
  text: string,
  at: number,
  { byFirst }: Needles,
  last: boolean,
): Found | typeof NONE | typeof UNDECIDED {
  const escape = escapeAt(text, at, last);
  if (escape === UNDECIDED) return UNDECIDED;
  const written = byFirst.get(text.charCodeAt(at));
  const meant = escape === NONE ? undefined : byFirst.get(codeIn(escape));
  if (written === undefined && meant === undefined) return NONE;
  let longest: Found | typeof NONE = NONE;
  for (const needle of [...(written ?? []), ...(meant ?? [])]) {
    const end = needleEnd(text, at, needle, last);
    if (end === UNDECIDED) return UNDECIDED;
    if (end !== NONE && (longest === NONE || end > longest.end)) longest = { end, placeholder: needle.placeholder };
  }
  return longest;
}

function needleEnd(text: string, start: number, { plain, codes, wrapped }: Needle, last: boolean): number {
  // As it is, it may hold what looks like an escape.
  if (text.startsWith(plain, start)) return start + plain.length;
  if (!last && text.length - start < plain.length && plain.startsWith(text.slice(start))) return UNDECIDED;
  let at = start;
  for (let index = 0; index < codes.length; index += 1) {
    if (wrapped && index > 0) {
      if (text.charCodeAt(at) === CARRIAGE_RETURN) at += 1;
      if (text.charCodeAt(at) === LINE_FEED) at += 1;
    }
    if (at >= text.length) return last ? NONE : UNDECIDED;
    const end = characterEnd(text, at, codes[index] ?? 0, last);
    if (end === NONE || end === UNDECIDED) return end;
    at = end;
  }
  return at;
}

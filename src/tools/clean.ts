// Text from outside, freed of characters that show nothing and yet say something to a model or bend what a person sees.
//
// Taken out: control characters, bidirectional controls, zero-width and other invisible format characters, tag
// characters, stray variation selectors and halves of characters (lone surrogates). Kept byte for byte: everything else, and those invisible characters that
// ordinary writing needs where it needs them: line feed, tab, the CR of a CRLF, joiners inside emoji and between
// letters of scripts that are written with them, one variation selector behind the sign that it varies, and the
// three flags that are spelled with tags. Marks of direction go even from Arabic and Hebrew: the letters know their own, and
// what is left to the marks is how signs between them are shown, by which people are deceived.
import type { Json } from "../abi/json.ts";

// Joiners mean something between two letters of these scripts only; elsewhere they hide.
const JOINING =
  "\\p{Script=Arabic}\\p{Script=Syriac}\\p{Script=Mongolian}\\p{Script=Devanagari}\\p{Script=Bengali}\\p{Script=Gurmukhi}\\p{Script=Gujarati}\\p{Script=Oriya}\\p{Script=Tamil}\\p{Script=Telugu}\\p{Script=Kannada}\\p{Script=Malayalam}\\p{Script=Sinhala}\\p{Script=Khmer}\\p{Script=Myanmar}\\p{Script=Tibetan}";

const KEPT = [
  "\\r(?=\\n)",
  `(?<=[${JOINING}])[\\u200c\\u200d](?=[${JOINING}])`,
  // After a virama a joiner shapes the letter even at the end of a word.
  "(?<=[\\u094d\\u09cd\\u0d4d\\u0dca])\\u200d",
  "(?<=[\\p{Extended_Pictographic}\\p{Emoji_Modifier}]\\ufe0f?)\\u200d(?=\\p{Extended_Pictographic})",
  "(?<=\\p{Extended_Pictographic})[\\ufe0e\\ufe0f]",
  // A key: a digit, or one of two signs, within a frame.
  "(?<=[0-9#*])\\ufe0f(?=\\u20e3)",
  "(?<=\\p{Script=Han})[\\u{e0100}-\\u{e01ef}]",
  "(?<=\\p{Script=Mongolian})[\\u180b-\\u180d\\u180f]",
  // England, Scotland, Wales.
  "(?<=\\u{1f3f4})\\u{e0067}\\u{e0062}(?:\\u{e0065}\\u{e006e}\\u{e0067}|\\u{e0073}\\u{e0063}\\u{e0074}|\\u{e0077}\\u{e006c}\\u{e0073})\\u{e007f}",
].join("|");

const HIDDEN =
  "\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\u3164\\ud800-\\udfff\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff9-\\ufffb\\u{13430}-\\u{1343f}\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}";

const ANY_HIDDEN = new RegExp(`[${HIDDEN}]`, "u");
const KEPT_OR_HIDDEN = new RegExp(`(${KEPT})|[${HIDDEN}]`, "gu");

/** The text with what hides in it written out, as `\u{202e}`: for whoever looks for it. */
export function showHidden(text: string): string {
  if (!ANY_HIDDEN.test(text)) return text;
  return text.replace(
    KEPT_OR_HIDDEN,
    (hidden: string, kept: string | undefined) =>
      kept ?? `\\u{${(hidden.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}}`,
  );
}

/** Whether nothing hides in the text. */
export const isClean = (text: string): boolean => cleanText(text) === text;

/** A value whose texts, the names of its fields among them, hide nothing. Throws where two fields come to one name. */
export function cleanJson<T extends Json>(value: T): T {
  return cleaned(value) as T;
}

function cleaned(value: Json): Json {
  if (typeof value === "string") return cleanText(value);
  if (Array.isArray(value)) return value.map((item: Json) => cleaned(item));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, item]) => [cleanText(key), cleaned(item)] as const);
  if (new Set(entries.map(([key]) => key)).size < entries.length) throw new Error("two of its fields hide one name");
  return Object.fromEntries(entries);
}

/** The text without what hides in it; the very same string if nothing does. */
export function cleanText(text: string): string {
  if (!ANY_HIDDEN.test(text)) return text;
  return text.replace(KEPT_OR_HIDDEN, (_, kept: string | undefined) => kept ?? "");
}

// The ways in which a character of a value may stand in what a server says: as it is, percent-encoded (twice at most), with backslashes as JSON
// and its kin write it, or as a reference of HTML.
//
// Boundary: characters are bytes, and those of values are visible ASCII or space. Read by hand: it is done for each byte that may begin an escape.

/** Results in place of an end: another character is there; or more has to come before that can be told. */
export const NONE = 0;
export const UNDECIDED = -1;

const codeOf = (character: string): number => character.charCodeAt(0);
const PERCENT = codeOf("%");
const BACKSLASH = codeOf("\\");
const AMPERSAND = codeOf("&");
const HASH = codeOf("#");
const SEMICOLON = codeOf(";");
const SPACE = codeOf(" ");
const PLUS = codeOf("+");
const LETTER_U = codeOf("u");
const LETTER_X = codeOf("x");

const NAMES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" } as const;
/** Escapes of what escapes begin with: with what comes after them they may look like another one. */
const OWN: Readonly<Record<number, string>> = { [PERCENT]: "%25", [BACKSLASH]: "\\\\", [AMPERSAND]: "&amp;" };
const BACKSLASHES_MAX = 4;
const REFERENCES_MAX = 3;
const NUMBER_CHARS_MAX = 8;

/** What may go on to be an escape, and how long such may be. Characters. */
const UNFINISHED = /^(?:%[0-9a-f]{0,3}|\\{1,4}(?:u[0-9a-f]{0,3}|x[0-9a-f]?)?|&(?:amp;){0,2}#?[0-9a-z]{0,8})$/i;
const UNFINISHED_CHARS_MAX = 20;

/** A character and where it ends, in one number. */
const escapeOf = (code: number, end: number): number => end * 256 + code;
export const codeIn = (escape: number): number => escape % 256;
const endIn = (escape: number): number => Math.floor(escape / 256);

/** By code; -1 for what is no digit. */
const HEX_DIGITS = Array.from({ length: 256 }, (_, code) =>
  "0123456789abcdef".indexOf(String.fromCharCode(code).toLowerCase()),
);

function hexAt(text: string, at: number): number {
  const high = HEX_DIGITS[text.charCodeAt(at)] ?? -1;
  const low = HEX_DIGITS[text.charCodeAt(at + 1)] ?? -1;
  return high < 0 || low < 0 ? NONE : high * 16 + low;
}

function percentAt(text: string, at: number): number {
  const code = hexAt(text, at + 1);
  const twice = code === PERCENT ? hexAt(text, at + 3) : NONE;
  if (twice !== NONE) return escapeOf(twice, at + 5);
  return code === NONE ? NONE : escapeOf(code, at + 3);
}

function backslashAt(text: string, at: number): number {
  let next = at + 1;
  while (next < at + BACKSLASHES_MAX && text.charCodeAt(next) === BACKSLASH) next += 1;
  const code = text.charCodeAt(next);
  const isNumbered = code === LETTER_X || (code === LETTER_U && text.startsWith("00", next + 1));
  if (isNumbered) {
    const digits = code === LETTER_X ? next + 1 : next + 3;
    const found = hexAt(text, digits);
    return found === NONE ? NONE : escapeOf(found, digits + 2);
  }
  // Before a letter or a digit a backslash means something else.
  return isWord(code) || !(code < 128) ? NONE : escapeOf(code, next + 1);
}

const isWord = (code: number): boolean => /[A-Za-z0-9]/.test(String.fromCharCode(code));

function referenceAt(text: string, at: number): number {
  let [next, found] = [at + 1, NONE];
  for (let depth = 0; depth < REFERENCES_MAX; depth += 1) {
    const inner = text.charCodeAt(next) === HASH ? numberAt(text, next + 1) : nameAt(text, next);
    if (inner === NONE) break;
    found = inner;
    next = endIn(inner);
    // What is referred to may be the beginning of a reference.
    if (codeIn(inner) !== AMPERSAND) break;
  }
  return found;
}

function numberAt(text: string, at: number): number {
  const near = text.slice(at, at + NUMBER_CHARS_MAX + 1);
  const digits = near.slice(0, Math.max(0, near.indexOf(";")));
  const end = at + digits.length;
  const code = /^[xX][0-9a-fA-F]+$/.test(digits) ? Number.parseInt(digits.slice(1), 16) : Number(digits);
  return code > 0 && code < 128 ? escapeOf(code, end + 1) : NONE;
}

function nameAt(text: string, at: number): number {
  for (const [name, character] of Object.entries(NAMES))
    if (text.startsWith(name, at) && text.charCodeAt(at + name.length) === SEMICOLON)
      return escapeOf(codeOf(character), at + name.length + 1);
  return NONE;
}

/** The character that an escape at `at` stands for; none, or undecided where more may come. */
export function escapeAt(text: string, at: number, last: boolean): number {
  const first = text.charCodeAt(at);
  if (first !== PERCENT && first !== BACKSLASH && first !== AMPERSAND) return NONE;
  const isNearEnd = !last && text.length - at < UNFINISHED_CHARS_MAX;
  if (isNearEnd && UNFINISHED.test(text.slice(at))) return UNDECIDED;
  if (first === PERCENT) return percentAt(text, at);
  return first === BACKSLASH ? backslashAt(text, at) : referenceAt(text, at);
}

/** Where the character ends that begins at `at`, in whichever way it is written; `last` says that nothing comes after the text. */
export function characterEnd(text: string, at: number, code: number, last: boolean): number {
  const first = text.charCodeAt(at);
  const escape = escapeAt(text, at, last);
  if (escape === UNDECIDED) return UNDECIDED;
  if (escape !== NONE && codeIn(escape) === code) return endIn(escape);
  const own = OWN[code];
  if (own !== undefined && text.startsWith(own, at)) return at + own.length;
  return first === code || (code === SPACE && first === PLUS) ? at + 1 : NONE;
}

const hexDigit = (code: number): string => (code >> 4).toString(16);

/** What may stand second where the character is escaped: pairs of first and second. */
export function escapedBeginnings(code: number): readonly string[] {
  const character = String.fromCharCode(code);
  const named = Object.entries(NAMES).filter(([, each]) => each === character);
  return [
    `%${hexDigit(code)}`,
    `%${hexDigit(code).toUpperCase()}`,
    "%2",
    "\\\\",
    "\\u",
    "\\x",
    `\\${character}`,
    "&#",
    "&a",
    ...named.map(([name]) => `&${name[0]}`),
  ];
}

/** What may stand where the character stands, as it is or escaped. */
export const beginningsOf = (code: number): readonly string[] => [
  ...new Set([String.fromCharCode(code), "%", "\\", "&", ...(code === SPACE ? ["+"] : [])]),
];

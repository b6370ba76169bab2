// What a model seeks by a pattern: a text, a regular expression, a glob.
//
// Matching happens in Reeve's own process, where everybody waits while it lasts. All patterns are therefore RE2's (package
// `re2js`), which takes time in proportion to the text and to the pattern, and both are bounded.
//
// Invariants:
//   P1. Whatever the pattern and the text, one match takes at most `STEPS_MAX` steps, and others get their turn after that.
import { RE2JS } from "re2js";
import { OsError } from "../../abi/errors.ts";

/** Characters of text times parts of a pattern: less than a tenth of a second at the worst. */
const STEPS_MAX = 500_000;
/** Parts of a compiled pattern. */
const PARTS_MAX = 2_500;
/** What the repetitions of a pattern (`{n}`) may come to: each is a copy of what it repeats. */
const COPIES_MAX = 2_000;

export type Pattern = {
  /** Characters that may be looked at in one go. */
  readonly charactersMax: number;
  readonly fits: (text: string) => boolean;
};

/** Gives others their turn when enough was matched. */
export class Turns {
  #characters = 0;

  async after(characters: number, { charactersMax }: Pattern): Promise<void> {
    this.#characters += characters;
    if (this.#characters < charactersMax) return;
    this.#characters = 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Rejects with `invalid_argument` what is no regular expression, or a larger one than may be used. */
export function linePattern(
  text: string,
  { regex, ignoreCase }: { readonly regex: boolean; readonly ignoreCase: boolean },
): Pattern {
  if (!regex && !ignoreCase) return { charactersMax: 128 * STEPS_MAX, fits: (line) => line.includes(text) };
  const compiled = compile(regex ? text : RE2JS.quote(text), ignoreCase);
  return { charactersMax: charactersOf(compiled), fits: (line) => compiled.matcher(line).find() };
}

/** A path fits as a whole. Throws `invalid_argument` for what is not closed. */
export function globPattern(glob: string): Pattern {
  const compiled = compile(new Glob(glob).expression(), false);
  return { charactersMax: charactersOf(compiled), fits: (path) => compiled.matcher(path).matches() };
}

const charactersOf = (compiled: RE2JS): number => Math.floor(STEPS_MAX / compiled.programSize());

function compile(expression: string, ignoreCase: boolean): RE2JS {
  let copies = 0;
  for (const [, least, most] of expression.matchAll(/\{(\d{1,9})(?:,(\d{0,9}))?\}/g)) copies += Number(most || least);
  try {
    if (copies > COPIES_MAX) throw new Error(`its repetitions come to ${copies}, and ${COPIES_MAX} are taken`);
    const compiled = RE2JS.compile(expression, RE2JS.MULTILINE | (ignoreCase ? RE2JS.CASE_INSENSITIVE : 0));
    if (compiled.programSize() > PARTS_MAX) throw new Error("it is larger than what is taken");
    return compiled;
  } catch (error) {
    throw new OsError(
      "invalid_argument",
      `That is no pattern that can be used here: ${error instanceof Error ? error.message : String(error)}. Regular expressions are of RE2's form: no look-around, no back-references.`,
      { cause: error },
    );
  }
}

/** A glob (`*`, `**`, `?`, `[…]`, `{a,b}`) as a regular expression. Wildcards pass over names that begin with a dot. */
class Glob {
  readonly #glob: string;
  #at = 0;
  /** Whether a name begins here. */
  #first = true;

  constructor(glob: string) {
    this.#glob = glob;
  }

  expression(): string {
    const text = this.#alternative();
    if (this.#at < this.#glob.length) throw unclosed(this.#glob, this.#glob[this.#at] ?? "");
    return text;
  }

  /** Up to the end, or to what ends it within braces. */
  #alternative(inBraces = false): string {
    let text = "";
    for (;;) {
      const char = this.#glob[this.#at];
      if (char === undefined || (inBraces && (char === "," || char === "}"))) return text;
      this.#at += 1;
      text += this.#part(char);
    }
  }

  #part(char: string): string {
    const first = this.#first;
    const any = first ? "[^./]" : "[^/]";
    if (char === "{") return this.#braces();
    this.#first = char === "/";
    switch (char) {
      case "*":
        return first ? this.#star() : "[^/]*";
      case "?":
        return any;
      case "[":
        return this.#set();
      case "\\":
        return RE2JS.quote(this.#glob[this.#at++] ?? "\\");
      default:
        return RE2JS.quote(char);
    }
  }

  /** At the beginning of a name. */
  #star(): string {
    const next = this.#glob[this.#at];
    if (next === "*") return this.#folders();
    // Passing over nothing would leave a name that begins with the dot.
    return next === "." ? "[^./][^/]*" : "(?:[^./][^/]*)?";
  }

  /** `**`: any folders, none among them; at the end, all that stands below. */
  #folders(): string {
    const name = "[^./][^/]*";
    while (this.#glob[this.#at] === "*") this.#at += 1;
    if (this.#glob[this.#at] !== "/") return `(?:${name}(?:/${name})*)?`;
    this.#at += 1;
    this.#first = true;
    return `(?:${name}/)*`;
  }

  #set(): string {
    const end = this.#glob.indexOf("]", this.#at + 1);
    if (end === -1) throw unclosed(this.#glob, "[");
    const inside = this.#glob.slice(this.#at, end);
    this.#at = end + 1;
    const denied = /^[!^]/.test(inside);
    const members = inside.slice(denied ? 1 : 0).replaceAll(/[^\p{L}\p{N}-]/gu, (char) => `\\x{${hex(char)}}`);
    return denied ? `[^/${members}]` : `[${members}]`;
  }

  #braces(): string {
    const first = this.#first;
    const alternatives: string[] = [];
    do {
      this.#first = first;
      alternatives.push(this.#alternative(true));
    } while (this.#glob[this.#at++] === ",");
    if (this.#glob[this.#at - 1] !== "}") throw unclosed(this.#glob, "{");
    return `(?:${alternatives.join("|")})`;
  }
}

const hex = (char: string): string => (char.codePointAt(0) ?? 0).toString(16);

const unclosed = (glob: string, what: string): OsError =>
  new OsError("invalid_argument", `"${what}" is not closed in the glob "${glob}". Close it, or write \\${what}.`);

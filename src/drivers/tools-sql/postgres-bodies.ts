// What stands in the body of a function that somebody wrote in SQL or PL/pgSQL, as far as its words tell.
//
// A body is looked through and not understood: every word may be a table, a type or a function, and every sign an operator. That is
// more than it uses. What it makes up while it runs cannot be seen, so that a body which runs text as SQL is refused.

export type Body = {
  /** Why it cannot be told what it does; undefined where it can. */
  readonly refused: string | undefined;
  /** Words before a parenthesis. */
  readonly calls: readonly string[];
  readonly words: readonly string[];
  /** Without comments and strings. */
  readonly bare: string;
};

/** Comments, and strings of all kinds; a quoted name stands last, since it is kept. */
const SKIPPED =
  /--[^\n]*|\/\*(?:[^*]|\*(?!\/))*\*\/|[eE]'(?:[^'\\]|\\[^]|'')*'|'(?:[^']|'')*'|\$([\p{L}_][\p{L}\p{N}_]*)?\$[^]*?\$\1\$|"(?:[^"]|"")*"/gu;
const WORD = /"((?:[^"]|"")+)"|([\p{L}_][\p{L}\p{N}_$]*)/gu;
const CALL = /(?:"((?:[^"]|"")+)"|([\p{L}_][\p{L}\p{N}_$]*))\s*\(/gu;

const REFUSED: readonly (readonly [pattern: RegExp, why: string])[] = [
  [/\bexecute\b/iu, "it runs text as SQL (EXECUTE)"],
  [
    /(?:^|;|\b(?:begin|then|else|loop))\s*(?:copy|notify|listen|load|do|alter\s+system)\b/iu,
    "it has a statement that acts beside the transaction (COPY, NOTIFY, LOAD, DO)",
  ],
  // What a body changes of the session holds for what follows in the statement.
  [/(?:^|;|\b(?:begin|then|else|loop))\s*(?:set|reset)\s+(?!constraints)/iu, "it changes settings"],
];

export function bodyOf(source: string): Body {
  const bare = source.replace(SKIPPED, (part) => (part.startsWith('"') ? part : " '' "));
  return {
    bare,
    refused: REFUSED.find(([pattern]) => pattern.test(bare))?.[1],
    calls: namesBy(CALL, bare),
    words: namesBy(WORD, bare),
  };
}

const namesBy = (pattern: RegExp, bare: string): string[] => [
  ...new Set(
    [...bare.matchAll(pattern)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain?.toLowerCase() ?? ""),
  ),
];

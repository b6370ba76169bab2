// Text of programs and files: whether bytes are any, and what is shown of a long one.

/** How far it is looked for a zero byte, which no text has. */
const LOOKED_AT_BYTES = 8192;

/** UTF-8 text, or undefined for what is none. */
export function textOf(bytes: Uint8Array): string | undefined {
  if (bytes.subarray(0, LOOKED_AT_BYTES).includes(0)) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    // It is not UTF-8: that is what was asked.
    return undefined;
  }
}

/** What is shown of one stream of a program. With two of them, each as text and as data, an answer stays within what a tool may give. Characters. */
const SHOWN_CHARACTERS_MAX = 64 * 1024;

/** A text, or its beginning and its end, with what is left out between them said there. */
export function shortened(text: string): string {
  const left = text.length - SHOWN_CHARACTERS_MAX;
  if (left <= 0) return text;
  const half = SHOWN_CHARACTERS_MAX / 2;
  const said = `[${left} characters are left out here: write long output to a file, and look at parts of it]`;
  // A character of two halves may be cut in the middle.
  return `${text.slice(0, half).toWellFormed()}\n${said}\n${text.slice(-half).toWellFormed()}`;
}

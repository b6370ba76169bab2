// Whether bytes are text.

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

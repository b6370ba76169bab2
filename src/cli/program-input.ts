// What comes in by standard input, for a program in a sandbox: read to its end, within the limit, byte for byte.
import { PROGRAM_INPUT_BYTES_MAX } from "../abi/limits.ts";
import { OsError } from "../abi/errors.ts";
import { type ProgramInput, programInputTooLarge } from "../abi/program-input.ts";
import { misuse } from "./command.ts";
import type { Context } from "./context.ts";

/**
 * Undefined if nothing comes: from /dev/null, say, or where standard input is closed. Throws `invalid_argument` for a terminal and for what
 * cannot be read, `limit_exceeded` as soon as more has come than may be given.
 */
export async function programInput({ host, screen }: Context): Promise<ProgramInput | undefined> {
  if (host.stdin.isTTY === true)
    throw misuse(
      `--stdin passes on what comes from a file or a pipe, and standard input is a terminal. Give it one, as in \`reeve exec --stdin -- CMD < FILE\`, or leave --stdin out.`,
    );
  screen.progress("reading standard input");
  const bytes = await bytesOf(host.stdin);
  screen.progress(null);
  return bytes.length === 0 ? undefined : inputOf(bytes);
}

async function bytesOf(stream: AsyncIterable<Uint8Array | string>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of stream) {
      chunks.push(Buffer.from(chunk));
      length += chunk.length;
      if (length > PROGRAM_INPUT_BYTES_MAX) throw programInputTooLarge(`more than ${PROGRAM_INPUT_BYTES_MAX} bytes`);
    }
  } catch (error) {
    if (OsError.is(error)) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw misuse(`Standard input cannot be read: ${why}. Give a file or a pipe, or leave --stdin out.`);
  }
  return Buffer.concat(chunks);
}

/** What text may grow to as JSON, beyond what base64 takes: then it still fits into a request. */
const TEXT_GROWTH_MAX = 1.4;

/** Text where it is text, which people can read in the journal; else, or where JSON would need an escape for every other character, as base64. */
function inputOf(bytes: Buffer): ProgramInput {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const grown = Buffer.byteLength(JSON.stringify(text));
    if (grown <= Math.max(1024, bytes.length * TEXT_GROWTH_MAX)) return text;
  } catch {
    // It is not UTF-8: that is what was asked.
  }
  return { base64: bytes.toString("base64") };
}

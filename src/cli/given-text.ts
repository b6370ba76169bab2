// What a command is given as text: words of the command line, a file, or standard input.
import { readFile } from "node:fs/promises";
import { text as readText } from "node:stream/consumers";
import { OsError } from "../abi/errors.ts";
import type { Json } from "../abi/json.ts";
import { misuse } from "./command.ts";
import type { Context } from "./context.ts";

export type Given = {
  /** What it is called in messages: `task`. */
  readonly what: string;
  readonly words: readonly string[];
  /** The file named, `-` for standard input, and the option that named it. */
  readonly file: string | undefined;
  readonly option: string;
};

/**
 * The words as one text, or the content of the file: a value if it is a .json file, else text.
 * Throws `invalid_argument` for both at once and for a file that is not JSON, `not_found` for one that cannot be read.
 */
export async function givenText({ host }: Context, { what, words, file, option }: Given): Promise<Json> {
  if (file === undefined) return words.join(" ");
  if (words.length > 0) throw misuse(`The ${what} stands on the command line and in ${option}: give one of them.`);
  const text = file === "-" ? await readText(host.stdin) : await contentOf(file, what);
  if (!file.endsWith(".json")) return text;
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw new OsError(
      "invalid_argument",
      `The ${what} file ${file} is not JSON: ${error instanceof Error ? error.message : String(error)}. Correct it, or name it otherwise than .json to give it as text.`,
      { data: { file }, cause: error },
    );
  }
}

async function contentOf(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const why = code === "ENOENT" ? "it is not there" : code === "EISDIR" ? "it is a folder" : (error as Error).message;
    throw new OsError(
      "not_found",
      `The ${what} file ${file} cannot be read: ${why}. Name another, or give the ${what} on the command line.`,
      { data: { what: "file", id: file }, cause: error },
    );
  }
}

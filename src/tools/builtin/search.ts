// Walking through a workspace, and finding lines in it.
//
// Regular expressions are RE2's (package `re2js`): whatever a model writes takes time in proportion to the text, and
// holds nobody up.
import { matchesGlob } from "node:path/posix";
import { RE2JS } from "re2js";
import { OsError } from "../../abi/errors.ts";
import type { FileEntry, Workspace } from "../../ports/workspace.ts";
import { textOf } from "./text.ts";

const DEPTH_MAX = 64;
/** What is looked through in one search. */
const FILES_MAX = 20_000;
const BYTES_MAX = 256 * 1024 * 1024;
const FILE_BYTES_MAX = 2 * 1024 * 1024;
const MATCHES_MAX = 500;
const LINE_CHARACTERS_MAX = 400;

type Walk = { readonly folder: string; readonly deep: boolean; readonly glob?: string | undefined };

/** What stands in a folder, in the order of names, a folder before what it holds. Links are shown and not followed. */
export async function* walk(workspace: Workspace, { folder, deep, glob }: Walk, depth = 0): AsyncGenerator<FileEntry> {
  const entries = await workspace.list(folder);
  for (const entry of entries) {
    if (glob === undefined || matchesGlob(entry.path, glob)) yield entry;
    if (!deep || entry.kind !== "folder" || depth >= DEPTH_MAX) continue;
    try {
      yield* walk(workspace, { folder: entry.path, deep, glob }, depth + 1);
    } catch (error) {
      // A program at work may have taken it away meanwhile.
      if (!OsError.is(error, "not_found") && !OsError.is(error, "invalid_argument")) throw error;
    }
  }
}

export type Match = { readonly path: string; readonly line: number; readonly text: string };
export type Search = {
  readonly text: string;
  readonly regex: boolean;
  readonly ignoreCase: boolean;
  readonly folder: string;
  readonly glob?: string | undefined;
  readonly signal: AbortSignal;
};
export type Found = {
  readonly lines: readonly Match[];
  /** Files looked through. */
  readonly files: number;
  /** Why the search ended early, in words. */
  readonly cut?: string;
};

/** Rejects with `invalid_argument` for what is no regular expression. */
export async function searchFiles(workspace: Workspace, search: Search): Promise<Found> {
  const fits = matcherOf(search);
  const lines: Match[] = [];
  let files = 0;
  let bytes = 0;
  for await (const entry of walk(workspace, { folder: search.folder, deep: true, glob: search.glob })) {
    if (search.signal.aborted) return { lines, files, cut: "the time was up" };
    if (entry.kind !== "file" || entry.sizeBytes > FILE_BYTES_MAX) continue;
    if (files >= FILES_MAX || bytes >= BYTES_MAX)
      return { lines, files, cut: `only ${files} files were looked through` };
    files += 1;
    bytes += entry.sizeBytes;
    const text = await readText(workspace, entry.path);
    if (text === undefined || !fits(text)) continue;
    for (const [at, line] of text.split("\n").entries()) {
      if (!fits(line)) continue;
      if (lines.length >= MATCHES_MAX) return { lines, files, cut: `more than ${MATCHES_MAX} lines: narrow it down` };
      lines.push({ path: entry.path, line: at + 1, text: line.slice(0, LINE_CHARACTERS_MAX) });
    }
  }
  return { lines, files };
}

async function readText(workspace: Workspace, path: string): Promise<string | undefined> {
  try {
    return textOf(await workspace.read(path, { bytesMax: FILE_BYTES_MAX }));
  } catch (error) {
    // It was taken away, or grew, while the search was under way.
    if (OsError.is(error)) return undefined;
    throw error;
  }
}

/** Whether a text holds what is sought, in any of its lines. */
function matcherOf({ text, regex, ignoreCase }: Search): (line: string) => boolean {
  const flags = RE2JS.MULTILINE | (ignoreCase ? RE2JS.CASE_INSENSITIVE : 0);
  if (!regex && !ignoreCase) return (line) => line.includes(text);
  try {
    const compiled = RE2JS.compile(regex ? text : RE2JS.quote(text), flags);
    return (line) => compiled.matcher(line).find();
  } catch (error) {
    throw new OsError(
      "invalid_argument",
      `That is no regular expression that can be used here: ${error instanceof Error ? error.message : String(error)}. It is RE2's form: no look-around, no back-references.`,
      { cause: error },
    );
  }
}

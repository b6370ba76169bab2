// Walking through a workspace, and finding lines in it, while others get their turn.
import { OsError } from "../../abi/errors.ts";
import type { FileEntry, Workspace } from "../../ports/workspace.ts";
import { globPattern, linePattern, type Pattern, Turns } from "./pattern.ts";
import { textOf } from "./text.ts";

const DEPTH_MAX = 64;
/** What is looked through in one search. */
const FILES_MAX = 20_000;
const BYTES_MAX = 256 * 1024 * 1024;
const FILE_BYTES_MAX = 2 * 1024 * 1024;
const MATCHES_MAX = 500;
const LINE_CHARACTERS_MAX = 400;
/** What the lines that were found may come to; they stand in an answer twice. Characters. */
const FOUND_CHARACTERS_MAX = 128 * 1024;

/** A folder of this name is not walked into: what Git keeps of other times is nobody's text. */
const PASSED_OVER = ".git";

export type Walk = {
  readonly folder: string;
  readonly deep: boolean;
  readonly glob?: string | undefined;
  /** Nothing more comes once it has fired. */
  readonly signal: AbortSignal;
};

/** What stands in a folder, in the order of names, a folder before what it holds. Links are shown and not followed. */
export async function* walk(workspace: Workspace, { folder, deep, glob, signal }: Walk): AsyncGenerator<FileEntry> {
  const wanted = glob === undefined ? undefined : globPattern(glob);
  const turns = new Turns();
  async function* below(place: string, depth: number): AsyncGenerator<FileEntry> {
    for (const entry of await workspace.list(place)) {
      if (signal.aborted) return;
      if (wanted !== undefined) await turns.after(entry.path.length, wanted);
      if (wanted?.fits(entry.path) !== false) yield entry;
      if (!deep || entry.kind !== "folder" || depth >= DEPTH_MAX || isPassedOver(entry.path)) continue;
      try {
        yield* below(entry.path, depth + 1);
      } catch (error) {
        // A program at work may have taken it away meanwhile.
        if (!OsError.is(error, "not_found") && !OsError.is(error, "invalid_argument")) throw error;
      }
    }
  }
  yield* below(folder, 0);
}

const isPassedOver = (path: string): boolean => path.slice(path.lastIndexOf("/") + 1) === PASSED_OVER;

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
  /** Why there may be more than was found, in words. */
  readonly cut?: string;
};

/** Rejects with `invalid_argument` for what is no pattern. */
export async function searchFiles(workspace: Workspace, search: Search): Promise<Found> {
  const { signal } = search;
  const sought = linePattern(search.text, search);
  const turns = new Turns();
  const lines: Match[] = [];
  let files = 0;
  let bytes = 0;
  let characters = 0;
  let shortened = false;
  for await (const entry of walk(workspace, { ...search, deep: true })) {
    if (entry.kind !== "file" || entry.sizeBytes > FILE_BYTES_MAX) continue;
    if (files >= FILES_MAX || bytes >= BYTES_MAX)
      return { lines, files, cut: `only ${files} files were looked through` };
    files += 1;
    bytes += entry.sizeBytes;
    for (const { from, text } of blocksOf((await readText(workspace, entry.path)) ?? "", sought)) {
      if (signal.aborted) break;
      await turns.after(text.length, sought);
      shortened ||= text.length > sought.charactersMax;
      if (!sought.fits(text.slice(0, sought.charactersMax))) continue;
      for (const [at, line] of text.split("\n").entries()) {
        if (!sought.fits(line.slice(0, sought.charactersMax))) continue;
        const match = { path: entry.path, line: from + at, text: line.slice(0, LINE_CHARACTERS_MAX) };
        characters += match.path.length + match.text.length;
        if (lines.length >= MATCHES_MAX || characters > FOUND_CHARACTERS_MAX)
          return { lines, files, cut: `more than these ${lines.length} lines: narrow it down` };
        lines.push(match);
      }
    }
  }
  if (signal.aborted) return { lines, files, cut: "the time was up" };
  const { charactersMax } = sought;
  return shortened
    ? { lines, files, cut: `of lines longer than ${charactersMax} characters only so many were looked at` }
    : { lines, files };
}

/** Whole lines, as many as may be looked at in one go, or one that is longer. `from` is the number of the first. */
function* blocksOf(text: string, { charactersMax }: Pattern): Generator<{ from: number; text: string }> {
  let from = 1;
  for (let start = 0; start < text.length;) {
    const last = text.length - start <= charactersMax ? text.length : text.lastIndexOf("\n", start + charactersMax);
    const next = last > start ? last : text.indexOf("\n", start + 1);
    const end = next === -1 ? text.length : next;
    const block = text.slice(start, end);
    yield { from, text: block };
    from += block.split("\n").length;
    start = end + 1;
  }
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

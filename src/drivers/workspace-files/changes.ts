// Differences as people are told of them.
import { createTwoFilesPatch } from "diff";
import { WORKSPACE_CHANGES_MAX, WORKSPACE_DIFF_BYTES_MAX } from "../../abi/limits.ts";
import type { Change, Differences } from "../../abi/reports.ts";
import { shownPath } from "./beneath.ts";
import type { Objects } from "./objects.ts";
import type { Difference, Entry } from "./tree.ts";

/** Lines that differ, beyond which no shortest difference is sought. */
const EDITS_MAX = 4_000;
/** Text of all differences together. Characters. */
const DIFFS_CHARACTERS_MAX = 2 * 1024 * 1024;
/** Paths of all differences together: one alone may have fifty thousand. Characters. */
const PATHS_CHARACTERS_MAX = 2 * 1024 * 1024;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The differences without the folders that say nothing by themselves: an added one is seen by what is in it. Those that are too
 * many to be listed are counted. `texts` has the lines shown as well.
 */
export function changesOf(
  all: readonly Difference[],
  objects: Objects,
  { texts }: { readonly texts: boolean },
): Omit<Differences, "leftOut"> {
  const told = all.filter((one, index) => tells(one, all[index + 1]));
  const changes: Change[] = [];
  let pathsLeft = PATHS_CHARACTERS_MAX;
  let textsLeft = texts ? DIFFS_CHARACTERS_MAX : 0;
  for (const one of told) {
    const change = changeOf(one);
    pathsLeft -= change.path.length;
    if (changes.length >= WORKSPACE_CHANGES_MAX || pathsLeft < 0) break;
    const diff = textsLeft > 0 ? diffOf(one, objects) : undefined;
    textsLeft -= diff?.length ?? 0;
    changes.push(diff !== undefined && textsLeft >= 0 ? { ...change, diff } : change);
  }
  return { changes, more: told.length - changes.length };
}

const tells = ({ path, before, after }: Difference, next: Difference | undefined): boolean =>
  (before ?? after)?.kind !== "folder" ||
  (before !== undefined && after !== undefined) ||
  next?.path.startsWith(`${path}/`) !== true;

const modeOf = (entry: Entry | undefined): number | undefined =>
  entry === undefined || entry.kind === "link" ? undefined : entry.mode;

function changeOf({ path, before, after }: Difference): Change {
  const entry = after ?? before;
  const [from, to] = [modeOf(before), modeOf(after)];
  const mode = from !== undefined && to !== undefined && from !== to ? { from: octal(from), to: octal(to) } : undefined;
  return {
    path: shownPath(path),
    change: before === undefined ? "added" : after === undefined ? "removed" : "changed",
    kind: entry?.kind ?? "file",
    sizeBytes: entry?.kind === "file" ? entry.size : 0,
    ...(mode && { mode }),
  };
}

const octal = (mode: number): string => mode.toString(8).padStart(3, "0");

function diffOf({ path, before, after }: Difference, objects: Objects): string | undefined {
  const [from, to] = [textOf(before, objects), textOf(after, objects)];
  if (from === undefined || to === undefined || from === to) return undefined;
  const shown = shownPath(path).replaceAll("\n", "\\n");
  const [one, other] = [
    before === undefined ? "/dev/null" : `a/${shown}`,
    after === undefined ? "/dev/null" : `b/${shown}`,
  ];
  const patch = createTwoFilesPatch(one, other, from, to, undefined, undefined, {
    context: 3,
    maxEditLength: EDITS_MAX,
  });
  // Without the line of equals signs that stands above it.
  return patch?.replace(/^=+\n/, "");
}

/** The text of one side: empty where there is nothing, the target of a link; undefined for what is no text of moderate size. */
function textOf(entry: Entry | undefined, objects: Objects): string | undefined {
  if (entry === undefined) return "";
  if (entry.kind === "folder") return undefined;
  if (entry.kind === "link") return `${shownPath(entry.target)}\n`;
  if (entry.size > WORKSPACE_DIFF_BYTES_MAX) return undefined;
  const bytes = objects.read(entry.hash);
  if (bytes.includes(0)) return undefined;
  try {
    return utf8.decode(bytes);
  } catch {
    // Not UTF-8: no text that lines could be shown of.
    return undefined;
  }
}

// Differences as people are told of them.
import { createTwoFilesPatch } from "diff";
import { WORKSPACE_CHANGES_MAX, WORKSPACE_DIFF_BYTES_MAX } from "../../abi/limits.ts";
import type { Change, Differences } from "../../abi/reports.ts";
import { type Name, shownPath } from "./beneath.ts";
import { staysInside } from "./links.ts";
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
  const moves = movesIn(told);
  const changes: Change[] = [];
  let pathsLeft = PATHS_CHARACTERS_MAX;
  let textsLeft = texts ? DIFFS_CHARACTERS_MAX : 0;
  for (const one of told) {
    const moved = moves.get(one);
    const change = { ...changeOf(one), ...(moved === undefined ? {} : { moved: shownPath(moved) }) };
    pathsLeft -= change.path.length;
    if (changes.length >= WORKSPACE_CHANGES_MAX || pathsLeft < 0) break;
    const shown = texts && moved === undefined ? shownOf(one, { objects, room: textsLeft }) : {};
    textsLeft -= shown.diff?.length ?? 0;
    changes.push({ ...change, ...shown });
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
  const target = entry?.kind === "link" ? entry.target : undefined;
  return {
    path: shownPath(path),
    change: before === undefined ? "added" : after === undefined ? "removed" : "changed",
    ...sideOf(entry),
    ...(before !== undefined && after !== undefined && { before: sideOf(before) }),
    ...(mode && { mode }),
    ...(after !== undefined && target !== undefined && !staysInside(path, target) && { leadsOut: true }),
  };
}

const sideOf = (entry: Entry | undefined): Pick<Change, "kind" | "sizeBytes" | "target"> => ({
  kind: entry?.kind ?? "file",
  sizeBytes: entry?.kind === "file" ? entry.size : 0,
  ...(entry?.kind === "link" ? { target: shownPath(entry.target) } : {}),
});

/** Files that were only moved: for each that was removed or added, where its content is now, or was. Each is paired once. */
function movesIn(all: readonly Difference[]): ReadonlyMap<Difference, Name> {
  const gone = new Map<string, Difference[]>();
  for (const one of all)
    if (one.before?.kind === "file" && one.after === undefined && one.before.size > 0)
      gone.set(one.before.hash, [...(gone.get(one.before.hash) ?? []), one]);
  const moves = new Map<Difference, Name>();
  for (const one of all) {
    if (one.before !== undefined || one.after?.kind !== "file") continue;
    const from = gone.get(one.after.hash)?.shift();
    if (from === undefined) continue;
    moves.set(one, from.path).set(from, one.path);
  }
  return moves;
}

const octal = (mode: number): string => mode.toString(8).padStart(3, "0");

type Shown = Pick<Change, "diff" | "unshown">;

/** The lines that differ, or why they are not shown; nothing where no contents of files do. */
function shownOf({ path, before, after }: Difference, { objects, room }: { objects: Objects; room: number }): Shown {
  if (before?.kind !== "file" && after?.kind !== "file") return {};
  if (before?.kind === "file" && after?.kind === "file" && before.hash === after.hash) return {};
  if (room <= 0) return { unshown: "room" };
  const [from, to] = [textOf(before, objects), textOf(after, objects)];
  if ("unshown" in from) return from;
  if ("unshown" in to) return to;
  if (from.text === to.text) return {};
  const name = shownPath(path).replaceAll("\n", "\\n");
  const [one, other] = [
    before === undefined ? "/dev/null" : `a/${name}`,
    after === undefined ? "/dev/null" : `b/${name}`,
  ];
  const patch = createTwoFilesPatch(one, other, from.text, to.text, undefined, undefined, {
    context: 3,
    maxEditLength: EDITS_MAX,
  });
  // Without the line of equals signs that stands above it.
  const diff = patch?.replace(/^=+\n/, "");
  if (diff === undefined) return { unshown: "long" };
  return diff.length > room ? { unshown: "room" } : { diff };
}

type Text = { readonly text: string } | { readonly unshown: "binary" | "long" };

/** The text of one side: empty where there is no file. */
function textOf(entry: Entry | undefined, objects: Objects): Text {
  if (entry?.kind !== "file") return { text: "" };
  if (entry.size > WORKSPACE_DIFF_BYTES_MAX) return { unshown: "long" };
  const bytes = objects.read(entry.hash);
  if (bytes.includes(0)) return { unshown: "binary" };
  try {
    return { text: utf8.decode(bytes) };
  } catch {
    // Not UTF-8: no text that lines could be shown of.
    return { unshown: "binary" };
  }
}

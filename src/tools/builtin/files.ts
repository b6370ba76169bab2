// The built-in tools for files of the workspace: read, write, edit, list, search.
//
// They work in Reeve's own process, on a folder in which a program may be at work at the same time: whatever stands there is
// hostile, and the workspace's own operations see to it that nothing leads out.
import { z } from "zod";
import { errorRecord, OsError } from "../../abi/errors.ts";
import type { ToolContent } from "../../abi/tools.ts";
import type { CallOptions, ToolOutcome } from "../../ports/tools.ts";
import type { FileEntry, Workspace } from "../../ports/workspace.ts";
import { isClean, cleanText, showHidden } from "../clean.ts";
import { inWorkspace, keepOrPutBack, OTHERS_SINCE, type WorkspacePorts } from "./call-workspace.ts";
import { searchFiles, walk } from "./search.ts";
import { textOf } from "./text.ts";
import { type BuiltinTool, builtinTool } from "./tool.ts";

/** The largest file that is read or edited. */
const FILE_BYTES_MAX = 8 * 1024 * 1024;
/** What one answer shows of a file. */
const SHOWN_CHARACTERS_MAX = 200_000;
const LINES_DEFAULT = 2_000;
const ENTRIES_MAX = 2_000;
/** What the entries of a listing may come to; they stand in an answer twice. Characters. */
const ENTRIES_CHARACTERS_MAX = 128 * 1024;
/** Lines that are named in a message. */
const LINES_NAMED = 10;

const path = z
  .string()
  .min(1)
  .max(4096)
  .describe("A path in the workspace, relative to its root (or beginning with /ws, as programs see it).");
const GLOB =
  "Only what fits, from the root of the workspace: such as `**/*.ts`, with `*`, `**`, `?`, `[…]` and `{a,b}`. Names that begin with a dot fit only where the dot is written.";
const reads = { effect: "read", idempotency: "natural" } as const;
const writes = { effect: "write", idempotency: "key" } as const;

export const filesTools = (ports: WorkspacePorts): readonly BuiltinTool[] => [
  readTool(ports),
  writeTool(ports),
  editTool(ports),
  listTool(ports),
  searchTool(ports),
];

const done = (text: string, data?: ToolContent["data"]): ToolOutcome => ({
  kind: "done",
  content: data === undefined ? { text } : { text, data },
});

/** What is wrong with a file is the tool's answer; that there is no workspace is not. */
async function answering(
  ports: WorkspacePorts,
  options: CallOptions,
  work: (workspace: Workspace) => Promise<ToolOutcome>,
): Promise<ToolOutcome> {
  let opened = false;
  try {
    return await inWorkspace(ports, options, (workspace) => {
      opened = true;
      return work(workspace);
    });
  } catch (error) {
    if (opened && OsError.is(error)) return { kind: "failed", content: { text: error.message } };
    return { kind: "not_performed", error: errorRecord(error, "tool_unavailable") };
  }
}

const readTool = (ports: WorkspacePorts): BuiltinTool =>
  builtinTool({
    name: "read",
    description: "Reads a text file of the workspace, with the numbers of its lines.",
    input: z.strictObject({
      path,
      from: z.int().positive().default(1).describe("The first line to read."),
      lines: z.int().positive().max(100_000).default(LINES_DEFAULT).describe("How many lines."),
    }),
    declared: { ...reads, summary: "read {path}" },
    run: ({ path: file, from, lines }, options) =>
      answering(ports, options, async (workspace) => {
        const bytes = await workspace.read(file, { bytesMax: FILE_BYTES_MAX });
        const text = textOf(bytes);
        if (text === undefined) return done(`${file} is no text: ${bytes.length} bytes.`, { bytes: bytes.length });
        return done(numbered(text, from, lines), { bytes: bytes.length, lines: linesOf(text).length });
      }),
  });

/** A last line that ends is not followed by another. */
const linesOf = (text: string): string[] => (text === "" ? [] : text.replace(/\n$/, "").split("\n"));

function numbered(text: string, from: number, count: number): string {
  const all = linesOf(text);
  if (all.length === 0) return "(the file is empty)";
  if (from > all.length) return `(the file has ${all.length} lines)`;
  const shown = all.slice(from - 1, from - 1 + count).map((line) => line.replace(/\r$/, ""));
  const body = shown.map((line, at) => `${from + at}\t${line}`).join("\n");
  const hiding = shown.flatMap((line, at) => (isClean(line) ? [] : [from + at]));
  const notes = hiding.length === 0 ? "" : `\n(characters that are not shown stand in ${linesText(hiding)})`;
  if (body.length > SHOWN_CHARACTERS_MAX) {
    const why =
      shown.length === 1 ? "the line is longer than is shown; take it apart with a program" : "ask for fewer lines";
    return `${body.slice(0, SHOWN_CHARACTERS_MAX)}\n(cut: ${why})${notes}`;
  }
  const left = all.length - (from - 1 + shown.length);
  return `${body}${left > 0 ? `\n(${left} more lines: from ${from + shown.length})` : ""}${notes}`;
}

function linesText(numbers: readonly number[]): string {
  const named = numbers.slice(0, LINES_NAMED).join(", ");
  const more = numbers.length > LINES_NAMED ? ` and ${numbers.length - LINES_NAMED} more` : "";
  return `${numbers.length === 1 ? "line" : "lines"} ${named}${more}`;
}

const writeTool = (ports: WorkspacePorts): BuiltinTool =>
  builtinTool({
    name: "write",
    description:
      "Writes a text file of the workspace, whole. What stood there is replaced; folders that are missing are made.",
    input: z.strictObject({ path, content: z.string().max(FILE_BYTES_MAX) }),
    declared: { ...writes, summary: "write {path}" },
    run: ({ path: file, content }, options) =>
      answering(ports, options, async (workspace) => {
        const bytes = new TextEncoder().encode(content);
        // Begun again after others, it does the same once more.
        await keepOrPutBack(workspace, options);
        await workspace.write(file, bytes);
        return done(`Wrote ${file}: ${bytes.length} bytes.`, { bytes: bytes.length });
      }),
  });

const editTool = (ports: WorkspacePorts): BuiltinTool =>
  builtinTool({
    name: "edit",
    description:
      "Replaces a piece of text in a file of the workspace. The old text must stand there exactly, and once, unless all of it is to be replaced.",
    input: z.strictObject({
      path,
      old: z.string().min(1).describe("The text as it stands in the file, without numbers of lines."),
      new: z.string().describe("What is put in its place."),
      all: z.boolean().default(false).describe("Replace it wherever it stands."),
    }),
    declared: { ...writes, summary: "edit {path}" },
    run: ({ path: file, old, new: replacement, all }, options) =>
      answering(ports, options, async (workspace) => {
        if (!(await keepOrPutBack(workspace, options))) return { kind: "unknown", reason: `${OTHERS_SINCE}.` };
        const text = textOf(await workspace.read(file, { bytesMax: FILE_BYTES_MAX }));
        if (text === undefined) return failed(`${file} is no text, so it cannot be edited.`);
        const ends = lineEndsOf(text, old + replacement);
        const parts = text.split(ends(old));
        const times = parts.length - 1;
        if (times === 0) return failed(`The text does not stand in ${file}. ${whyNowhere(text, old)}`);
        if (times > 1 && !all)
          return failed(
            `The text stands in ${file} ${times} times, from ${linesText(startsOf(parts, ends(old)))} on. Give more of what is around it, or say \`all\`.`,
          );
        const characters = text.length + times * (ends(replacement).length - ends(old).length);
        if (characters > FILE_BYTES_MAX)
          return failed(`${file} would become ${characters} characters long, and ${FILE_BYTES_MAX} are written.`);
        await workspace.write(file, new TextEncoder().encode(parts.join(ends(replacement))));
        return done(`Edited ${file}: ${times === 1 ? "one place" : `${times} places`}.`, { places: times });
      }),
  });

/** In a file whose lines all end in the manner of Windows, so do those that a model gives, which does not see it. */
function lineEndsOf(text: string, given: string): (part: string) => string {
  const windows = text.includes("\r\n") && !/(?<!\r)\n/.test(text) && !given.includes("\r");
  return windows ? (part) => part.replaceAll("\n", "\r\n") : (part) => part;
}

/** The lines at which it begins. */
function startsOf(parts: readonly string[], between: string): number[] {
  const breaks = (text: string): number => text.split("\n").length - 1;
  let line = 1;
  return parts.slice(0, -1).map((part) => {
    const start = line + breaks(part);
    line = start + breaks(between);
    return start;
  });
}

function whyNowhere(text: string, old: string): string {
  if (cleanText(text).includes(cleanText(old)))
    return "Among its characters are some that are not shown to you, and that you did not give. Choose a piece without them, or replace them with a program.";
  if (/^\d+\t/.test(old)) return "Give it without the numbers of lines.";
  return "Read it again: it must match exactly, blanks too.";
}

const failed = (text: string): ToolOutcome => ({ kind: "failed", content: { text } });

const listTool = (ports: WorkspacePorts): BuiltinTool =>
  builtinTool({
    name: "list",
    description:
      "Lists a folder of the workspace; with `deep`, all that stands below it, but for what is in folders named .git.",
    input: z.strictObject({
      path: path.default("."),
      deep: z.boolean().default(false),
      glob: z.string().max(200).optional().describe(GLOB),
    }),
    declared: { ...reads, summary: "list {path}" },
    run: ({ path: folder, deep, glob }, options) =>
      answering(ports, options, async (workspace) => {
        const { entries, cut } = await gathered(
          walk(workspace, { folder, deep: deep || glob !== undefined, glob, signal: options.signal }),
        );
        const text = entries.map(
          ({ path: at, kind, sizeBytes }) => `${at}${SUFFIX[kind]}${kind === "file" ? `\t${sizeBytes}` : ""}`,
        );
        if (text.length === 0) text.push(glob === undefined ? "(empty)" : "(nothing fits)");
        if (cut) text.push(`(these are the first ${entries.length}: narrow it down)`);
        return done(text.join("\n"), { entries });
      }),
  });

async function gathered(found: AsyncIterable<FileEntry>): Promise<{ entries: FileEntry[]; cut: boolean }> {
  const entries: FileEntry[] = [];
  let characters = 0;
  for await (const entry of found) {
    const shown = shownName(entry.path);
    characters += shown.length;
    if (entries.length >= ENTRIES_MAX || characters > ENTRIES_CHARACTERS_MAX) return { entries, cut: true };
    entries.push({ ...entry, path: shown });
  }
  return { entries, cut: false };
}

/** A name on one line, and with what hides in it written out: it may be anybody's. */
const shownName = (name: string): string =>
  showHidden(name).replaceAll("\n", "\\u{000a}").replaceAll("\t", "\\u{0009}");

const SUFFIX: { readonly [K in FileEntry["kind"]]: string } = { file: "", folder: "/", link: "@", other: "?" };

const searchTool = (ports: WorkspacePorts): BuiltinTool =>
  builtinTool({
    name: "search",
    description:
      "Finds lines in the text files of the workspace: a literal text, or a regular expression (RE2, without look-around).",
    input: z.strictObject({
      text: z.string().min(1).max(1_000).describe("What to find."),
      regex: z.boolean().default(false).describe("It is a regular expression."),
      ignoreCase: z.boolean().default(false),
      path: path.default("."),
      glob: z.string().max(200).optional().describe(GLOB),
    }),
    declared: { ...reads, timeoutMs: 30_000, summary: "search {text}" },
    run: (asked, options) =>
      answering(ports, options, async (workspace) => {
        const { lines, files, cut } = await searchFiles(workspace, {
          ...asked,
          folder: asked.path,
          signal: options.signal,
        });
        const matches = lines.map((match) => ({ ...match, path: shownName(match.path) }));
        const text = matches.map(({ path: file, line, text: found }) => `${file}:${line}: ${found}`);
        if (matches.length === 0) text.push(`Nothing found in ${files} files.`);
        if (cut !== undefined) text.push(`(${cut})`);
        return done(text.join("\n"), { matches });
      }),
  });

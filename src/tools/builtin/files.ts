// The built-in tools for files of the workspace: read, write, edit, list, search.
//
// They work in Reeve's own process, on a folder in which a program may be at work at the same time: whatever stands there is
// hostile, and the workspace's own operations see to it that nothing leads out.
import { z } from "zod";
import { errorRecord, OsError } from "../../abi/errors.ts";
import type { ToolContent } from "../../abi/tools.ts";
import type { CallOptions, ToolOutcome } from "../../ports/tools.ts";
import type { FileEntry, Workspace } from "../../ports/workspace.ts";
import { inWorkspace, keepOrPutBack, type WorkspacePorts } from "./call-workspace.ts";
import { searchFiles, walk } from "./search.ts";
import { textOf } from "./text.ts";
import { type BuiltinTool, builtinTool } from "./tool.ts";

/** The largest file that is read or edited. */
const FILE_BYTES_MAX = 8 * 1024 * 1024;
/** What one answer shows of a file. */
const SHOWN_CHARACTERS_MAX = 200_000;
const LINES_DEFAULT = 2_000;
const ENTRIES_MAX = 2_000;

const path = z
  .string()
  .min(1)
  .max(4096)
  .describe("A path in the workspace, relative to its root (or beginning with /ws, as programs see it).");
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
  const shown = all.slice(from - 1, from - 1 + count);
  let body = shown.map((line, at) => `${from + at}\t${line}`).join("\n");
  const cut = body.length > SHOWN_CHARACTERS_MAX;
  if (cut) body = body.slice(0, SHOWN_CHARACTERS_MAX);
  const left = all.length - (from - 1 + shown.length);
  if (cut) return `${body}\n(cut: ask for fewer lines)`;
  return left > 0 ? `${body}\n(${left} more lines: from ${from + shown.length})` : body;
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
        await keepOrPutBack(ports, workspace, options);
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
        await keepOrPutBack(ports, workspace, options);
        const text = textOf(await workspace.read(file, { bytesMax: FILE_BYTES_MAX }));
        if (text === undefined) return failed(`${file} is no text, so it cannot be edited.`);
        const parts = text.split(old);
        const times = parts.length - 1;
        if (times === 0)
          return failed(`The text does not stand in ${file}. Read it again: it must match exactly, blanks too.`);
        if (times > 1 && !all)
          return failed(`The text stands in ${file} ${times} times. Give more of what is around it, or say \`all\`.`);
        await workspace.write(file, new TextEncoder().encode(parts.join(replacement)));
        return done(`Edited ${file}: ${times === 1 ? "one place" : `${times} places`}.`, { places: times });
      }),
  });

const failed = (text: string): ToolOutcome => ({ kind: "failed", content: { text } });

const listTool = (ports: WorkspacePorts): BuiltinTool =>
  builtinTool({
    name: "list",
    description: "Lists a folder of the workspace; with `deep`, all that stands below it.",
    input: z.strictObject({
      path: path.default("."),
      deep: z.boolean().default(false),
      glob: z.string().max(200).optional().describe("Only what fits, such as `**/*.ts`."),
    }),
    declared: { ...reads, summary: "list {path}" },
    run: ({ path: folder, deep, glob }, options) =>
      answering(ports, options, async (workspace) => {
        const found: FileEntry[] = [];
        let more = false;
        for await (const entry of walk(workspace, { folder, deep: deep || glob !== undefined, glob })) {
          if (found.length >= ENTRIES_MAX) {
            more = true;
            break;
          }
          found.push(entry);
        }
        const text = found.map(
          ({ path: at, kind, sizeBytes }) => `${at}${SUFFIX[kind]}${kind === "file" ? `\t${sizeBytes}` : ""}`,
        );
        if (found.length === 0) return done(glob === undefined ? "(empty)" : "(nothing fits)", { entries: [] });
        return done(`${text.join("\n")}${more ? `\n(more than ${ENTRIES_MAX}: narrow it down)` : ""}`, {
          entries: found,
        });
      }),
  });

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
      glob: z.string().max(200).optional().describe("Only files that fit, such as `**/*.ts`."),
    }),
    declared: { ...reads, timeoutMs: 30_000, summary: "search {text}" },
    run: (asked, options) =>
      answering(ports, options, async (workspace) => {
        const { lines, files, cut } = await searchFiles(workspace, {
          ...asked,
          folder: asked.path,
          signal: options.signal,
        });
        if (lines.length === 0) return done(`Nothing found in ${files} files.`, { matches: [] });
        const text = lines.map(({ path: file, line, text: found }) => `${file}:${line}: ${found}`).join("\n");
        return done(cut === undefined ? text : `${text}\n(${cut})`, { matches: lines });
      }),
  });

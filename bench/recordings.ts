// Recorded conversations of a model with a user and tools, and the programs that play the model's and the tools' side.
//
// A data file holds one conversation a line, in the form of Chat Completions. The two programs, upstream.mjs and
// world.mjs, belong to the recordings and not to this repository; they are looked for where the user says.
import canonicalize from "canonicalize";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Missing, type Context } from "./benchmark.ts";

/** Looked in last: where the recordings lie beside a checkout of this repository. */
const USUAL_FOLDER = fileURLToPath(new URL("../../shared/recorded/", import.meta.url));

export type UpstreamStats = {
  readonly requests: number;
  readonly statuses: Readonly<Record<string, number>>;
  /** By recording and turn. */
  readonly asked: Readonly<Record<string, Readonly<Record<string, number>>>>;
};
export type Upstream = { readonly url: string; readonly stats: UpstreamStats; close(): Promise<void> };

export type WriteEffect = {
  readonly recording: string;
  readonly tool: string;
  readonly args: string;
  readonly idempotencyKey: string | null;
  readonly outcome: string;
};
export type World = {
  /** Throws when the recording has no such call. */
  call(
    recording: string,
    name: string,
    args: unknown,
    options: { readonly idempotencyKey?: string },
  ): { readonly text: string; readonly isError: boolean };
};
export type RecordedTool = {
  readonly name: string;
  readonly description: string;
  readonly parameters: Record<string, unknown>;
  readonly effect: "read" | "write";
};

export type Harness = {
  readonly worldFile: string;
  readonly tools: readonly RecordedTool[];
  startUpstream(options: {
    readonly data: string;
    readonly endText: string;
    readonly compareResults: boolean;
    readonly latencyMs?: number;
  }): Promise<Upstream>;
  createWorld(data: string, options: { readonly onEffect: (effect: WriteEffect) => void }): World;
};

/** One thing that was said or done, in order; `args` in canonical form. */
export type Line =
  | { readonly kind: "user" | "say" | "result"; readonly text: string }
  | { readonly kind: "call"; readonly name: string; readonly args: string };

export type Recording = {
  readonly id: string;
  readonly system: string;
  /** What the user says, in order; the first is the task. What comes after the model's last turn is not said. */
  readonly says: readonly string[];
  readonly lines: readonly Line[];
  /** Turns of the model. */
  readonly turns: number;
};

type ChatMessage = {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string | null;
  readonly tool_calls?: readonly { readonly function: { readonly name: string; readonly arguments: string } }[];
};

/** Arguments, given as JSON text, in one comparable form; text that is no JSON stands for itself. */
function canonicalArgs(text: string): string {
  try {
    return canonicalize(JSON.parse(text === "" ? "{}" : text)) ?? "";
  } catch {
    return text;
  }
}

function linesOf(message: ChatMessage): Line[] {
  const text = message.content ?? "";
  if (message.role === "user") return [{ kind: "user", text }];
  if (message.role === "tool") return [{ kind: "result", text }];
  if (message.role !== "assistant") return [];
  const calls = (message.tool_calls ?? []).map((call): Line => ({
    kind: "call",
    name: call.function.name,
    args: canonicalArgs(call.function.arguments),
  }));
  return [...(text === "" ? [] : [{ kind: "say", text } as const]), ...calls];
}

function recordingOf(line: string): Recording {
  const { id, messages } = JSON.parse(line) as { id: string; messages: readonly ChatMessage[] };
  const lastTurn = messages.findLastIndex(({ role }) => role === "assistant");
  const played = messages.filter(({ role }, index) => index <= lastTurn || role === "tool");
  return {
    id,
    system: messages
      .filter(({ role }) => role === "system")
      .map(({ content }) => content ?? "")
      .join("\n\n"),
    says: played.filter(({ role }) => role === "user").map(({ content }) => content ?? ""),
    lines: played.flatMap(linesOf),
    turns: played.filter(({ role }) => role === "assistant").length,
  };
}

/** The file that --data names. Throws `Missing` if none is named or it is not there. */
export function dataFile(context: Context): string {
  const named = context.options["data"];
  const wanted = "a file of recorded conversations, one a line (form: { id, messages })";
  if (named === undefined)
    throw new Missing(`This benchmark plays recorded conversations. Name ${wanted} with --data FILE.`);
  const file = resolve(named);
  if (!existsSync(file)) throw new Missing(`There is no ${file}. Name ${wanted} with --data FILE.`);
  return file;
}

export function readRecordings(file: string): Recording[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map(recordingOf);
}

/** Loads upstream.mjs and world.mjs from --harness, from beside the data, or from the usual place. Throws `Missing`. */
export async function loadHarness(context: Context, data: string): Promise<Harness> {
  const named = context.options["harness"];
  const folders = named === undefined ? [dirname(data), USUAL_FOLDER] : [resolve(named)];
  const folder = folders.find(
    (candidate) => existsSync(join(candidate, "upstream.mjs")) && existsSync(join(candidate, "world.mjs")),
  );
  if (folder === undefined)
    throw new Missing(
      `upstream.mjs and world.mjs, which play the model and the tools of the recordings, are not in ${folders.join(" or ")}. Name their folder with --harness DIR.`,
    );
  const worldFile = join(folder, "world.mjs");
  const { startUpstream } = (await import(pathToFileURL(join(folder, "upstream.mjs")).href)) as Pick<
    Harness,
    "startUpstream"
  >;
  const { createWorld, tools } = (await import(pathToFileURL(worldFile).href)) as Pick<
    Harness,
    "createWorld" | "tools"
  >;
  return { worldFile, tools, startUpstream, createWorld };
}

/** The writes that a recording holds, as they should be done. */
export function writesOf(recording: Recording, tools: readonly RecordedTool[]): WriteEffect[] {
  const writers = new Set(tools.filter(({ effect }) => effect === "write").map(({ name }) => name));
  return recording.lines.flatMap((line) =>
    line.kind === "call" && writers.has(line.name)
      ? [{ recording: recording.id, tool: line.name, args: line.args, idempotencyKey: null, outcome: "ok" }]
      : [],
  );
}

// What stands in an `.mcp.json`: its servers, as the different assistants write them, with the variables put in.
//
// Invariants:
//   F1. Values of variables and of files stand in no message.
//   F2. What is no JSON is said to be none, and nothing of it is repeated: it may hold secrets.
import { readFileSync } from "node:fs";
import { basename, resolve, sep } from "node:path";
import { parseEnv } from "node:util";
import { z } from "zod";
import { issueLines } from "../../abi/errors.ts";

const value = z.union([z.string(), z.number().transform(String), z.boolean().transform(String)]);

/** What somebody else put there stays without meaning here; assistants have settings of their own. */
const entrySchema = z.looseObject({
  type: z.string().optional(),
  transport: z.string().optional(),
  command: z.string().min(1).optional(),
  args: z.array(value).default([]),
  env: z.record(z.string(), value.nullable()).default({}),
  envFile: z.string().optional(),
  cwd: z.string().optional(),
  url: z.string().min(1).optional(),
  serverUrl: z.string().min(1).optional(),
  httpUrl: z.string().min(1).optional(),
  headers: z.record(z.string(), value).default({}),
  disabled: z.boolean().default(false),
  enabled: z.boolean().default(true),
});

export type Kind = "stdio" | "http" | "sse";
export type Entry = {
  readonly kind: Kind | undefined;
  /** As it is written, where it is none of the kinds. */
  readonly type: string;
  readonly command: string | undefined;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string | undefined;
  readonly url: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
};

export type Servers = {
  readonly servers: Readonly<Record<string, unknown>>;
  /** What VS Code asks a person for, by id. */
  readonly inputs: ReadonlyMap<string, { readonly default?: string | undefined }>;
};

export type Surroundings = {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Where the servers run. */
  readonly folder: string;
  readonly inputs: Servers["inputs"];
};

const inputSchema = z.looseObject({ id: z.string(), default: z.string().optional() });
const named = z.record(z.string(), z.unknown());
const fileSchema = z
  .looseObject({
    mcpServers: named.optional(),
    servers: named.optional(),
    inputs: z.array(inputSchema).default([]),
  })
  .refine(({ mcpServers, servers }) => mcpServers !== undefined || servers !== undefined);

const KINDS: Readonly<Record<string, Kind>> = {
  stdio: "stdio",
  local: "stdio",
  http: "http",
  streamablehttp: "http",
  remote: "http",
  sse: "sse",
};

/** Throws an error that says what is wrong with the file as a whole. */
export function serversOf(file: string): Servers {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(
      `${file} cannot be read: ${reasonOf(error)}. Write it, or name another as \`file\` in the configuration.`,
      { cause: error },
    );
  }
  let found: unknown;
  try {
    found = JSON.parse(withoutComments(text));
  } catch {
    // What the parser says repeats a piece of the file, which may hold secrets.
    throw new Error(`${file} is no JSON. Correct it.`);
  }
  const parsed = fileSchema.safeParse(found);
  if (!parsed.success)
    throw new Error(
      `${file} names no servers: it should hold { "mcpServers": { NAME: { … } } }, or "servers" as VS Code writes it. Correct it.`,
    );
  const { servers, mcpServers, inputs } = parsed.data;
  return { servers: { ...servers, ...mcpServers }, inputs: new Map(inputs.map((input) => [input.id, input])) };
}

const reasonOf = (error: unknown): string =>
  (error as NodeJS.ErrnoException).code === "ENOENT" ? "it is not there" : (error as Error).message;

/** JSON as editors keep it: without the comments, the commas before a closing bracket, and the mark at its start. */
const withoutComments = (text: string): string =>
  text
    .replace(/^\uFEFF/, "")
    .replaceAll(/("(?:\\.|[^"\\])*")|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (_, string: string | undefined) => string ?? " ")
    .replaceAll(/("(?:\\.|[^"\\])*")|,(?=\s*[}\]])/g, (_, string: string | undefined) => string ?? "");

/** One server; undefined if it is switched off. Throws an error that says what is wrong with it. */
export function entryOf(given: unknown, surroundings: Surroundings): Entry | undefined {
  const parsed = entrySchema.safeParse(given);
  if (!parsed.success) throw new Error(`${issueLines(parsed.error.issues).join("; ")}. Correct that.`);
  if (parsed.data.disabled || !parsed.data.enabled) return undefined;
  const put = (text: string): string => expanded(text, surroundings);
  const each = (texts: Readonly<Record<string, string | null>>): Record<string, string> =>
    Object.fromEntries(Object.entries(texts).flatMap(([key, text]) => (text === null ? [] : [[key, put(text)]])));
  const { type, transport, command, args, env, envFile, cwd, url, serverUrl, httpUrl, headers } = parsed.data;
  const written = type ?? transport ?? (command === undefined ? "http" : "stdio");
  const address = url ?? serverUrl ?? httpUrl;
  return {
    kind: KINDS[written.toLowerCase().replaceAll(/[-_]/g, "")],
    type: written,
    command: command && put(command),
    args: args.map(put),
    env: { ...(envFile === undefined ? {} : variablesIn(resolve(surroundings.folder, put(envFile)))), ...each(env) },
    cwd: cwd && put(cwd),
    url: address && put(address),
    headers: each(headers),
  };
}

function variablesIn(file: string): Record<string, string> {
  try {
    return parseEnv(readFileSync(file, "utf8")) as Record<string, string>;
  } catch (error) {
    throw new Error(`its envFile ${file} cannot be read: ${reasonOf(error)}. Write it, or take \`envFile\` out.`, {
      cause: error,
    });
  }
}

/** Puts in `${VAR}`, `${VAR:-default}`, and what VS Code and Cursor put in. What has none of these forms stays as it is. */
function expanded(text: string, surroundings: Surroundings): string {
  return text.replaceAll(
    /\$\{(?:(env|input|config|command):)?([^}:]+)(?::-([^}]*))?\}/g,
    (whole: string, kind: string | undefined, name: string, other: string | undefined) => {
      if (kind === "input") return inputOf(name, surroundings);
      if (kind === "config" || kind === "command")
        throw new Error(`only an editor knows what ${whole} is. Write a value, or the variable of an environment.`);
      const place = kind === undefined ? placeOf(name, surroundings) : undefined;
      if (place !== undefined) return place;
      return /^[A-Za-z_]\w*$/.test(name) ? variableOf(name, other, surroundings) : whole;
    },
  );
}

function variableOf(name: string, other: string | undefined, { environment }: Surroundings): string {
  const set = environment[name];
  if (set !== undefined && (set !== "" || other === undefined)) return set;
  if (other !== undefined) return other;
  throw new Error(`the environment variable ${name} is not set. Set it, or write \${${name}:-DEFAULT}.`);
}

function placeOf(name: string, { folder, environment }: Surroundings): string | undefined {
  switch (name) {
    case "workspaceFolder":
      return folder;
    case "workspaceFolderBasename":
      return basename(folder);
    case "userHome":
      return environment["HOME"];
    case "pathSeparator":
    case "/":
      return sep;
  }
  return undefined;
}

/** What an editor would ask a person for: the environment says it, or the file itself. */
function inputOf(id: string, { environment, inputs }: Surroundings): string {
  const name = `INPUT_${id.toUpperCase().replaceAll(/\W/g, "_")}`;
  const given = environment[name] ?? inputs.get(id)?.default;
  if (given !== undefined) return given;
  throw new Error(
    `it asks whoever starts it for "${id}", and nobody is asked here. Set the environment variable ${name}.`,
  );
}

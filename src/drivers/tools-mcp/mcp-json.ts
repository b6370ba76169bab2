// `.mcp.json`, as coding assistants write it: which servers it names, and how they are reached.
//
// Invariants:
//   J1. A server that cannot be used is a source that says why and what to do; the others are used all the same.
//   J2. Nothing of the file is run for being there: somebody names it in the configuration.
//   J3. Values of variables stand in no message.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import type { SourceConfig } from "../../abi/config.ts";
import { issueLines, OsError } from "../../abi/errors.ts";
import { sandboxGrantSchema } from "../../abi/isolation.ts";
import type { ToolManifest } from "../../abi/tools.ts";
import type { ToolSource } from "../../ports/tools.ts";
import type { McpConfig, McpDeps } from "./connection.ts";
import { plain } from "./faults.ts";
import { keysInJson } from "./keys.ts";
import { createMcpSource } from "./source.ts";

type JsonConfig = Extract<SourceConfig, { type: "mcp-json" }>;
type Overrides = Readonly<Record<string, Partial<ToolManifest>>>;
export type NamedSource = { readonly name: string; readonly source: ToolSource; readonly overrides: Overrides };

/** What somebody else put there stays without meaning here; assistants have settings of their own. */
const entrySchema = z.looseObject({
  type: z.string().optional(),
  transport: z.string().optional(),
  command: z.string().min(1).optional(),
  args: z.array(z.string()).default([]),
  env: z.record(z.string(), z.string()).default({}),
  cwd: z.string().optional(),
  url: z.string().min(1).optional(),
  headers: z.record(z.string(), z.string()).default({}),
  disabled: z.boolean().default(false),
});
type Entry = z.output<typeof entrySchema>;
const fileSchema = z.looseObject({ mcpServers: z.record(z.string(), z.unknown()) });

const NAME_LENGTH_MAX = 32;
const HTTP = new Set(["http", "streamable-http", "streamableHttp"]);

/** The name of a server in the form that names of sources have. */
export const sourceNameOf = (server: string): string =>
  server
    .replaceAll(/[^a-zA-Z0-9_-]+/g, "-")
    .replaceAll(/^[^a-zA-Z0-9]+|-+$/g, "")
    .slice(0, NAME_LENGTH_MAX);

/** What a project should say where the file is there and nobody names it. */
export function noticeOfMcpJson(folder: string): readonly string[] {
  if (!existsSync(join(folder, ".mcp.json"))) return [];
  return [
    'There is an .mcp.json here, and its servers are not used: add `mcp: { type: "mcp-json" }` to `tools` in reeve.config.ts to use them.',
  ];
}

/** The servers of the file that the configuration calls `name`, each a source under its own name. `taken`: names that others have. */
export function createMcpJsonSources(
  name: string,
  config: JsonConfig,
  { taken, ...deps }: McpDeps & { readonly taken: ReadonlySet<string> },
): readonly NamedSource[] {
  const file = resolve(deps.folder, config.file);
  let servers: Readonly<Record<string, unknown>>;
  try {
    servers = serversOf(file);
  } catch (error) {
    return [unusable(name, error instanceof Error ? error.message : String(error))];
  }
  const used = new Set(taken);
  const sources = Object.entries(servers).flatMap(([server, value]): NamedSource[] => {
    const own = sourceNameOf(server);
    const isFree = own !== "" && !used.has(own);
    try {
      if (!isFree) throw new Error(clash(server, own));
      const entry = entryOf(value, deps.environment);
      if (entry.disabled) return [];
      used.add(own);
      const source = createMcpSource(
        own,
        configOf(entry, { config, server, own, file }),
        deps,
        keysInJson(name, server),
      );
      return [{ name: own, source, overrides: overridesOf(config.tools, [own, server]) }];
    } catch (error) {
      const free = isFree ? own : freeName(name, used);
      used.add(free);
      const why = error instanceof Error ? error.message : String(error);
      return [unusable(free, `The server "${plain(server, 64)}" in ${file} cannot be used: ${why}`)];
    }
  });
  const strays = strayKeys(config, servers);
  return strays.length === 0 ? sources : [...sources, unusable(freeName(name, used), strayText(name, strays, file))];
}

function serversOf(file: string): Readonly<Record<string, unknown>> {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code === "ENOENT" ? "it is not there" : (error as Error).message;
    throw new Error(`${file} cannot be read: ${why}. Write it, or name another as \`file\` in the configuration.`, {
      cause: error,
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // What the parser says repeats a piece of the file, which may hold secrets.
    throw new Error(`${file} is no JSON. Correct it.`);
  }
  const parsed = fileSchema.safeParse(value);
  if (parsed.success) return parsed.data.mcpServers;
  throw new Error(`${file} names no servers: it should hold { "mcpServers": { NAME: { … } } }. Correct it.`);
}

function entryOf(value: unknown, environment: McpDeps["environment"]): Entry {
  const parsed = entrySchema.safeParse(value);
  if (!parsed.success) throw new Error(`${issueLines(parsed.error.issues).join("; ")}. Correct that.`);
  return expanded(parsed.data, environment) as Entry;
}

/** Puts in `${VAR}` and `${VAR:-default}` wherever text stands. */
function expanded(value: unknown, environment: McpDeps["environment"]): unknown {
  if (Array.isArray(value)) return value.map((item) => expanded(item, environment));
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, expanded(item, environment)]));
  if (typeof value !== "string") return value;
  return value.replaceAll(/\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}/g, (_, name: string, other: string | undefined) => {
    const set = environment[name];
    if (set !== undefined && (set !== "" || other === undefined)) return set;
    if (other !== undefined) return other;
    throw new Error(`the environment variable ${name} is not set. Set it, or write \${${name}:-DEFAULT}.`);
  });
}

type Place = { readonly config: JsonConfig; readonly server: string; readonly own: string; readonly file: string };

function configOf(entry: Entry, { config, server, own, file }: Place): McpConfig {
  const common = { trustAnnotations: config.trustAnnotations, startTimeoutMs: config.startTimeoutMs, tools: {} };
  const type = entry.type ?? entry.transport ?? (entry.command === undefined ? "http" : "stdio");
  if (type === "sse")
    throw new Error(
      "it speaks the old transport over server-sent events alone, which Reeve does not. Many servers answer to Streamable HTTP as well: try its other address with type http.",
    );
  const grant = config.sandbox[server] ?? config.sandbox[own] ?? sandboxGrantSchema.parse({});
  if (type === "stdio") {
    const isolation = config.isolation[server] ?? config.isolation[own] ?? "process";
    if (entry.command === undefined) throw new Error("it names no command. Add `command`.");
    const { command, args, env } = entry;
    const cwd = resolve(dirname(file), entry.cwd ?? ".");
    return { type: "mcp-stdio", command, args, env, cwd, isolation, sandbox: grant, ...common };
  }
  if (!HTTP.has(type)) throw new Error(`its type "${plain(type, 40)}" is none that Reeve knows (stdio, http).`);
  if (entry.url === undefined || !URL.canParse(entry.url) || !/^https?:$/.test(new URL(entry.url).protocol))
    throw new Error("it names neither a command nor an http address. Add `command`, or `url`.");
  if ((config.isolation[server] ?? config.isolation[own]) !== undefined)
    throw new Error("it is reached over HTTP and runs wherever it is. Take its name out of `isolation`.");
  const { url, headers } = entry;
  const { egress, secrets } = grant;
  return { type: "mcp-http", url, headers, oauth: { grant: "authorization_code" }, secrets, egress, ...common };
}

/** Those of the overrides that stand under `SERVER.TOOL`, by tool. */
function overridesOf(tools: JsonConfig["tools"], names: readonly string[]): Overrides {
  return Object.fromEntries(
    Object.entries(tools).flatMap(([key, manifest]) => {
      const name = names.find((each) => key.startsWith(`${each}.`));
      return name === undefined ? [] : [[key.slice(name.length + 1), manifest] as const];
    }),
  );
}

/** Keys of the configuration that speak of no server in the file. */
function strayKeys({ tools, sandbox, isolation }: JsonConfig, servers: Readonly<Record<string, unknown>>): string[] {
  const names = Object.keys(servers).flatMap((server) => [server, sourceNameOf(server)]);
  return [
    ...Object.keys(sandbox).flatMap((key) => (names.includes(key) ? [] : [`sandbox.${key}`])),
    ...Object.keys(isolation).flatMap((key) => (names.includes(key) ? [] : [`isolation.${key}`])),
    ...Object.keys(tools).flatMap((key) => (names.some((name) => key.startsWith(`${name}.`)) ? [] : [`tools.${key}`])),
  ];
}

const strayText = (name: string, keys: readonly string[], file: string): string =>
  `In the configuration, ${keys.map((key) => `tools.${name}.${key}`).join(", ")} ${keys.length === 1 ? "speaks" : "speak"} of no server in ${file}. Name a server (sandbox.SERVER, tools["SERVER.TOOL"]).`;

const clash = (server: string, own: string): string =>
  own === ""
    ? `"${plain(server, 64)}" has no letters or digits to make a source's name of. Rename it.`
    : `there is another source called "${own}". Rename one of them.`;

function freeName(name: string, used: ReadonlySet<string>): string {
  for (let at = 1; ; at += 1) {
    const free = `${name.slice(0, NAME_LENGTH_MAX - 4)}-${at}`;
    if (!used.has(free)) return free;
  }
}

/** A source without tools, which says why. */
function unusable(name: string, message: string): NamedSource {
  const refuse = (): OsError => new OsError("tool_unavailable", message, { data: { tool: name }, retryable: false });
  const source: ToolSource = {
    isolation: "none",
    tools: () => Promise.reject(refuse()),
    call: async () => ({ kind: "not_performed", error: refuse().toJSON() }),
    close: async () => {},
  };
  return { name, source, overrides: {} };
}

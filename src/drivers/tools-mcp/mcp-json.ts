// The servers of an `.mcp.json` (mcp-json-file.ts) as sources of tools: how each is reached, and what the configuration grants it.
//
// Invariants:
//   J1. A server that cannot be used is a source that says why and what to do; the others are used all the same.
//   J2. Nothing of the file is run for being there: somebody names it in the configuration.
import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { SourceConfig } from "../../abi/config.ts";
import { OsError } from "../../abi/errors.ts";
import { sandboxGrantSchema } from "../../abi/isolation.ts";
import type { ToolManifest } from "../../abi/tools.ts";
import type { ToolSource } from "../../ports/tools.ts";
import type { McpConfig, McpDeps } from "./connection.ts";
import { plain } from "./faults.ts";
import { keysInJson } from "./keys.ts";
import { type Entry, entryOf, type Servers, serversOf } from "./mcp-json-file.ts";
import { createMcpSource } from "./source.ts";

type JsonConfig = Extract<SourceConfig, { type: "mcp-json" }>;
type Overrides = Readonly<Record<string, Partial<ToolManifest>>>;
export type NamedSource = { readonly name: string; readonly source: ToolSource; readonly overrides: Overrides };

const NAME_LENGTH_MAX = 32;

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
  let read: Servers;
  try {
    read = serversOf(file);
  } catch (error) {
    return [unusable(name, error instanceof Error ? error.message : String(error))];
  }
  const { servers, inputs } = read;
  const folder = folderOf(file, deps.folder);
  const used = new Set(taken);
  const sources = Object.entries(servers).flatMap(([server, value]): NamedSource[] => {
    const own = sourceNameOf(server);
    const isFree = own !== "" && !used.has(own);
    try {
      if (!isFree) throw new Error(clash(server, own));
      const entry = entryOf(value, { environment: deps.environment, folder, inputs });
      if (entry === undefined) return [];
      used.add(own);
      const source = createMcpSource(
        own,
        configOf(entry, { config, server, own, folder }),
        deps,
        keysInJson(name, server, config.file),
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

/** Servers run where the file is, and those of a file in a dot folder of the project, such as `.vscode`, in the project. */
function folderOf(file: string, project: string): string {
  const own = dirname(file);
  return dirname(own) === resolve(project) && basename(own).startsWith(".") ? dirname(own) : own;
}

type Place = { readonly config: JsonConfig; readonly server: string; readonly own: string; readonly folder: string };

function configOf(entry: Entry, { config, server, own, folder }: Place): McpConfig {
  const common = { trustAnnotations: config.trustAnnotations, startTimeoutMs: config.startTimeoutMs, tools: {} };
  const { kind } = entry;
  if (kind === "sse")
    throw new Error(
      "it speaks the old transport over server-sent events alone, which Reeve does not. Many servers answer to Streamable HTTP as well: try its other address with type http.",
    );
  const grant = config.sandbox[server] ?? config.sandbox[own] ?? sandboxGrantSchema.parse({});
  if (kind === "stdio") {
    const isolation = config.isolation[server] ?? config.isolation[own] ?? "process";
    if (entry.command === undefined) throw new Error("it names no command. Add `command`.");
    const { command, args, env } = entry;
    const cwd = resolve(folder, entry.cwd ?? ".");
    return { type: "mcp-stdio", command, args: [...args], env, cwd, isolation, sandbox: grant, ...common };
  }
  if (kind === undefined)
    throw new Error(`its type "${plain(entry.type, 40)}" is none that Reeve knows (stdio, http).`);
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

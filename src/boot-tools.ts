// A part of the boot list: where tools come from.
import { join, resolve } from "node:path";
import { EXEC_TOOL } from "./abi/agents.ts";
import type { SourceConfig } from "./abi/config.ts";
import { OsError } from "./abi/errors.ts";
import type { Isolation, Surroundings } from "./boot-isolation.ts";
import { openEntries } from "./drivers/program-module/grants.ts";
import { systemClock } from "./drivers/system/clock.ts";
import type { McpDeps } from "./drivers/tools-mcp/connection.ts";
import { createMcpJsonSources } from "./drivers/tools-mcp/mcp-json.ts";
import { createMcpSource } from "./drivers/tools-mcp/source.ts";
import { createOpenApiSource } from "./drivers/tools-openapi/source.ts";
import { createSqlSource, type SqlPlace } from "./drivers/tools-sql/source.ts";
import { createModuleSource } from "./drivers/tools-module/source.ts";
import type { Store } from "./ports/store.ts";
import type { Tools, ToolSource } from "./ports/tools.ts";
import { filesTools } from "./tools/builtin/files.ts";
import { httpTools } from "./tools/builtin/http.ts";
import { javascriptTool } from "./tools/builtin/javascript.ts";
import { execTool } from "./tools/builtin/exec.ts";
import { pythonTool, shellTool } from "./tools/builtin/programs.ts";
import { createBuiltinSource } from "./tools/builtin/source.ts";
import type { BuiltinTool } from "./tools/builtin/tool.ts";
import { type ConfiguredSource, createTools } from "./tools/registry.ts";

/** What others say of their tools: it is pinned, and a change is held back. */
const OUTSIDE: ReadonlySet<SourceConfig["type"]> = new Set(["mcp-stdio", "mcp-http", "openapi"]);

export function toolsOf(surroundings: Surroundings, isolation: Isolation, store: Store): Tools {
  const { project, onNotice } = surroundings;
  const { config } = project;
  const sources = new Map<string, ConfiguredSource>();
  const parts = { surroundings, isolation };
  const configured = Object.entries(config.tools);
  for (const [name, source] of configured)
    if (source.type !== "mcp-json")
      sources.set(name, {
        source: sourceOf(name, source, parts),
        overrides: source.tools,
        outside: OUTSIDE.has(source.type),
      });
  for (const [name, source] of configured) {
    if (source.type !== "mcp-json") continue;
    const taken = new Set([...configured.map(([other]) => other), ...sources.keys()]);
    taken.delete(name);
    for (const found of createMcpJsonSources(name, source, { ...mcpDeps(parts), taken }))
      sources.set(found.name, { source: found.source, overrides: found.overrides, outside: true });
  }
  const [system = ""] = EXEC_TOOL.split(".");
  sources.set(system, {
    source: createBuiltinSource([execTool({ ...isolation, limits: config.sandbox.limits })], "process"),
    overrides: {},
    outside: false,
  });
  return createTools({ sources, store, clock: systemClock, onNotice });
}

type Parts = { readonly surroundings: Surroundings; readonly isolation: Isolation };

/** What every driver of MCP servers is given. */
function mcpDeps({ surroundings, isolation }: Parts): McpDeps {
  const { project, folder, version, environment, onNotice } = surroundings;
  return {
    environment,
    version,
    folder: project.folder,
    sandboxing: {
      sandboxes: isolation.sandboxes,
      limits: project.config.sandbox.limits,
      openEntries: (at) => openEntries(at, [folder]),
      keptFolder: join(folder, "servers"),
    },
    egress: isolation.egress,
    log: isolation.log,
    serverBytesMax: project.config.egress.serverBytesMax,
    loginFolder: join(folder, "oauth"),
    onNotice,
  };
}

function sourceOf(
  name: string,
  config: Exclude<SourceConfig, { type: "mcp-json" }>,
  { surroundings, isolation }: Parts,
): ToolSource {
  const { project, onNotice } = surroundings;
  switch (config.type) {
    case "module":
      return createModuleSource(name, resolve(project.folder, config.file));
    case "mcp-stdio":
    case "mcp-http":
      return createMcpSource(name, config, mcpDeps({ surroundings, isolation }));
    case "openapi":
      return createOpenApiSource(
        name,
        { ...config, document: documentOf(config.document, project.folder) },
        { egress: isolation.egress, log: isolation.log, onNotice },
      );
    case "sql":
      return createSqlSource(name, placeOf(name, config.database, surroundings), config);
    case "builtin":
      return builtinsOf(config.use, { surroundings, isolation });
  }
}

/** A document by its address, or the absolute path of its file. */
const documentOf = (document: string, folder: string): string =>
  document.startsWith("https://") ? document : resolve(folder, document);

/** `sqlite:PATH`, or the name of the environment variable with the address. */
function placeOf(name: string, database: string, { project, environment }: Surroundings): SqlPlace {
  if (database.startsWith("sqlite:"))
    return { kind: "sqlite", file: resolve(project.folder, database.slice("sqlite:".length)) };
  const url = environment[database];
  if (url !== undefined && url !== "") return { kind: "postgres", url };
  throw new OsError(
    "config_invalid",
    `The database of tools.${name} cannot be found: the environment variable ${database} is not set. Set it to the address (postgres://…), or write sqlite:PATH.`,
    { data: { issues: [`tools.${name}.database: ${database} is not set`] } },
  );
}

function builtinsOf(use: Extract<SourceConfig, { type: "builtin" }>["use"], parts: Parts): ToolSource {
  const { isolation, surroundings } = parts;
  const ports = { ...isolation, limits: surroundings.project.config.sandbox.limits };
  const all: { readonly [Name in (typeof use)[number]]: () => readonly BuiltinTool[] } = {
    shell: () => [shellTool(ports)],
    python: () => [pythonTool(ports)],
    javascript: () => [javascriptTool(ports)],
    files: () => filesTools(ports),
    http: () => httpTools(ports),
  };
  const tools = [...new Set(use)].flatMap((name) => all[name]());
  // A tool that runs programs says itself what it needs, and gets it from the sandbox that it is run in.
  return createBuiltinSource(tools, "process");
}

// From what a source says of its tools to the definitions that processes are given and pin.
//
// Invariants:
//   D1. A manifest is the defaults, which are the worst, under what the source declares, under what the operator sets.
//   D2. The hash covers all that the model and the kernel go by: name, description, schema, manifest. Equal hash, equal tool.
//   D3. What the model reads of a tool holds no hidden characters. They are taken out of prose (name, description, descriptions in
//       the schema); in all else of a schema (names of properties, values of an enum, patterns) they would be part of what is
//       asked for, so a tool that has them there is refused.
//   D4. One bad tool makes its whole source unusable, loudly: a tool left out would be a tool missed in silence.
import { createHash } from "node:crypto";
import canonicalize from "canonicalize";
import { OsError, issueLines } from "../abi/errors.ts";
import type { Json, JsonObject } from "../abi/json.ts";
import { toolManifestSchema, type ToolDefinition, type ToolManifest } from "../abi/tools.ts";
import type { SourceTool } from "../ports/tools.ts";
import { cleanText, isClean, showHidden } from "./clean.ts";
import { didYouMean, nearest } from "./nearest.ts";

/** A definition and the name by which its source knows the tool. */
export type Entry = { readonly definition: ToolDefinition; readonly local: string };
/** The tools of one source by full name, in order of name. */
export type Catalogue = ReadonlyMap<string, Entry>;
export type Overrides = Readonly<Record<string, Partial<ToolManifest>>>;

const NAME = /^[^\s*]{1,128}$/u;
// In a schema only these are prose for the model; other strings are data, and changing them would change the tool.
const PROSE = new Set(["description", "title", "$comment"]);
const SCHEMA_DEPTH_MAX = 64;

const unusable = (source: string, why: string): OsError =>
  new OsError("tool_unavailable", `The tools of "${source}" cannot be used: ${why} Have the source corrected.`, {
    data: { tool: source },
    retryable: false,
  });

const misconfigured = (source: string, tool: string, why: string): OsError =>
  new OsError("config_invalid", `tools.${source}.tools.${tool}: ${why}`, {
    data: { issues: [`tools.${source}.tools.${tool}: ${why}`] },
  });

function cleanSchema(value: Json, depth = 0): Json {
  if (typeof value === "string" && !isClean(value))
    throw new Error(`hidden characters stand in its schema, in the text "${showHidden(value).slice(0, 200)}"`);
  if (depth > SCHEMA_DEPTH_MAX) throw new Error(`its schema is nested deeper than ${SCHEMA_DEPTH_MAX} levels`);
  if (Array.isArray(value)) return value.map((item: Json) => cleanSchema(item, depth + 1));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      if (!isClean(key))
        throw new Error(`hidden characters stand in its schema, in the name "${showHidden(key).slice(0, 200)}"`);
      return [key, PROSE.has(key) && typeof item === "string" ? cleanText(item) : cleanSchema(item, depth + 1)];
    }),
  );
}

/** SHA-256 over the RFC 8785 form, hex. */
function hashOf(definition: Omit<ToolDefinition, "hash">): string {
  const { name, description, inputSchema, manifest } = definition;
  return createHash("sha256")
    .update(canonicalize({ name, description, inputSchema, manifest }) ?? "")
    .digest("hex");
}

function manifestOf(source: string, tool: SourceTool, override: Partial<ToolManifest> | undefined): ToolManifest {
  const parsed = toolManifestSchema.safeParse({ ...tool.declared, ...override });
  if (parsed.success) return parsed.data;
  throw unusable(
    source,
    `the manifest of "${tool.name}" does not hold (${issueLines(parsed.error.issues).map(String).join("; ")}).`,
  );
}

function entryOf(source: string, tool: SourceTool, override: Partial<ToolManifest> | undefined): Entry {
  const local = cleanText(tool.name);
  if (!NAME.test(local))
    throw unusable(source, `"${local.slice(0, 128)}" is no name for a tool (1 to 128 characters, no blanks, no *).`);
  const manifest = manifestOf(source, tool, override);
  try {
    const parts = {
      name: `${source}.${local}`,
      description: cleanText(tool.description),
      inputSchema: cleanSchema(tool.inputSchema) as JsonObject,
      manifest,
    };
    return { definition: { ...parts, hash: hashOf(parts) }, local: tool.name };
  } catch (error) {
    throw unusable(
      source,
      `"${local}" cannot be described: ${error instanceof Error ? error.message : String(error)}.`,
    );
  }
}

function checkOverrides(source: string, overrides: Overrides, names: ReadonlySet<string>): void {
  for (const name of Object.keys(overrides)) {
    if (!names.has(name))
      throw misconfigured(source, name, `"${source}" has no tool "${name}".${didYouMean(nearest(name, names))}`);
  }
}

/** The tools that a manifest names, for settling a call and for taking it back, are there. */
function checkCompanions(source: string, local: string, entry: Entry, names: ReadonlySet<string>): void {
  const { manifest } = entry.definition;
  for (const role of ["reconcile", "undo"] as const) {
    const named = manifest[role];
    if (named === undefined || names.has(named)) continue;
    const near = didYouMean(nearest(named, names));
    throw misconfigured(source, local, `${role} names "${named}", and "${source}" has no such tool.${near}`);
  }
}

/**
 * The definitions of a source's tools. Throws `tool_unavailable` for tools that cannot be used, `config_invalid` for an
 * override, a `reconcile` or an `undo` that names a tool that is not there; both name it.
 */
export function catalogueOf(source: string, tools: readonly SourceTool[], overrides: Overrides): Catalogue {
  const entries = new Map<string, Entry>();
  for (const tool of tools) {
    const entry = entryOf(
      source,
      tool,
      Object.hasOwn(overrides, cleanText(tool.name)) ? overrides[cleanText(tool.name)] : undefined,
    );
    if (entries.has(entry.definition.name))
      throw unusable(source, `it has two tools called "${entry.definition.name}".`);
    entries.set(entry.definition.name, entry);
  }
  const ordered = [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
  const names = new Set(ordered.map(([name]) => name.slice(source.length + 1)));
  checkOverrides(source, overrides, names);
  for (const [name, entry] of ordered) checkCompanions(source, name.slice(source.length + 1), entry, names);
  return new Map(ordered);
}

// The tools primitive: all sources under one set of names, and the one road on which a tool is called.
//
// Boundary: knows sources only by their port. It keeps no state of its own but a memory of definitions already made
// from a listing, which ends with that listing.
//
// Invariants:
//   T1. A tool is called only under the very definition that the caller has pinned.
//   T2. A call ends within its manifest's time, whether or not its source gives up in time.
//   T3. Nothing that a source says can make `call` or `reconcile` reject.
import { errorRecord, OsError } from "../abi/errors.ts";
import type { JsonObject } from "../abi/json.ts";
import type { ToolDefinition } from "../abi/tools.ts";
import type { Clock } from "../ports/clock.ts";
import type { Resource } from "../ports/scheduler.ts";
import type { Invocation, Settlement, SourceTool, ToolOutcome, Tools, ToolSource } from "../ports/tools.ts";
import { cleanText } from "./clean.ts";
import { catalogueOf, type Catalogue, type Entry, type Overrides } from "./definition.ts";
import { didYouMean, nearest } from "./nearest.ts";
import { GIVEN_UP, Limit } from "./limit.ts";
import { judge, lost, notPerformed, unanswered } from "./outcome.ts";
import { settlementOf } from "./settlement.ts";

export type ConfiguredSource = { readonly source: ToolSource; readonly overrides: Overrides };
/** Sources by name, in the order in which they are listed. */
export type ToolsOptions = { readonly sources: ReadonlyMap<string, ConfiguredSource>; readonly clock: Clock };

const sourceOf = (toolName: string): string => toolName.slice(0, Math.max(0, toolName.indexOf(".")));

type Options = Parameters<ToolSource["call"]>[2];

/** What a source is told beside the arguments. Its signal is made when somebody looks at it. */
class CallOptions implements Options {
  readonly key: string;
  readonly #limit: Limit;

  constructor(key: string, limit: Limit) {
    this.key = key;
    this.#limit = limit;
  }

  get signal(): AbortSignal {
    return this.#limit.signal;
  }
}

/** A source that throws has broken its contract after it was called: nothing is certain. */
async function answerOf(source: ToolSource, local: string, args: JsonObject, options: Options): Promise<ToolOutcome> {
  try {
    return await source.call(local, args, options);
  } catch (error) {
    return { kind: "unknown", reason: `its source failed: ${error instanceof Error ? error.message : String(error)}` };
  }
}

export function createTools(options: ToolsOptions): Tools {
  return new Registry(options);
}

class Registry implements Tools {
  readonly #sources: ReadonlyMap<string, ConfiguredSource>;
  readonly #clock: Clock;
  /** A source gives the same array for as long as its listing stands, so definitions are made once for each listing. */
  readonly #catalogues = new WeakMap<readonly SourceTool[], Catalogue>();

  constructor({ sources, clock }: ToolsOptions) {
    this.#sources = sources;
    this.#clock = clock;
  }

  async resolve(patterns: readonly string[]): Promise<readonly ToolDefinition[]> {
    const names = new Set(patterns.map((pattern) => this.#sourceNamed(pattern)));
    const asked = [...this.#sources.keys()].filter((name) => names.has(name));
    const catalogues = new Map(
      await Promise.all(asked.map(async (name) => [name, await this.#catalogue(name)] as const)),
    );
    const wanted = new Set<string>();
    for (const pattern of patterns) this.#match(pattern, catalogues, wanted);
    return [...catalogues.values()].flatMap((catalogue) =>
      [...catalogue.values()].flatMap(({ definition }) => (wanted.has(definition.name) ? [definition] : [])),
    );
  }

  resource(tool: ToolDefinition): Resource {
    return { name: `tool:${tool.name}`, concurrency: tool.manifest.concurrency };
  }

  async call(invocation: Invocation, { signal }: { readonly signal: AbortSignal }): Promise<ToolOutcome> {
    return this.#timed(invocation.tool, signal, async (limit) => {
      const found = await limit.race(this.#pinned(invocation.tool));
      if (found === GIVEN_UP) return unanswered(invocation.tool, limit.reason());
      if ("kind" in found) return found;
      return this.#perform(found, invocation, limit);
    });
  }

  async reconcile({ tool, args, key }: Invocation): Promise<Settlement> {
    const { reconcile } = tool.manifest;
    if (reconcile === undefined) return { status: "unknown", reason: `${tool.name} has no reconcile` };
    const name = sourceOf(tool.name);
    const asked = `${name}.${reconcile}`;
    const entry = await this.#entry(asked).catch((error: unknown) =>
      errorRecord(error, "tool_unavailable", { tool: asked }),
    );
    if (entry === undefined) return { status: "unknown", reason: `${asked}, which could tell, is not there any more` };
    if ("code" in entry) return { status: "unknown", reason: entry.message };
    const question: Invocation = {
      tool: entry.definition,
      args: { key, tool: tool.name.slice(name.length + 1), args },
      key: `${key}:reconcile`,
    };
    const outcome = await this.#timed(entry.definition, new AbortController().signal, (limit) =>
      this.#perform(entry, question, limit),
    );
    return settlementOf(outcome, asked);
  }

  async list(): ReturnType<Tools["list"]> {
    const found = await Promise.all(
      [...this.#sources.keys()].map(async (source) => ({
        source,
        tools: await this.#catalogue(source).catch((error: unknown) => errorRecord(error, "tool_unavailable").message),
      })),
    );
    return {
      tools: found.flatMap(({ tools }) =>
        typeof tools === "string" ? [] : [...tools.values()].map(({ definition }) => definition),
      ),
      unavailable: found.flatMap(({ source, tools }) =>
        typeof tools === "string" ? [{ source, message: tools }] : [],
      ),
    };
  }

  async close(): Promise<void> {
    const ends = await Promise.allSettled([...this.#sources.values()].map(async ({ source }) => source.close()));
    const failed = ends.find((end) => end.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /** The name of the pattern's source, which exists. */
  #sourceNamed(pattern: string): string {
    const name = sourceOf(pattern);
    if (this.#sources.has(name) && pattern.length > name.length + 1) return name;
    const sources = [...this.#sources.keys()];
    const meant = this.#sources.has(pattern)
      ? [`${pattern}.*`]
      : nearest(name || pattern, sources).map(
          (source) => `${source}.${name === "" ? "*" : pattern.slice(name.length + 1)}`,
        );
    const known = sources.length === 0 ? "No sources of tools are configured" : `The sources are ${sources.join(", ")}`;
    throw new OsError(
      "not_found",
      `"${cleanText(pattern)}" is no tool: tools are named source.tool or source.*.${didYouMean(meant)} ${known}.`,
      { data: { what: "tool", id: pattern } },
    );
  }

  #match(pattern: string, catalogues: ReadonlyMap<string, Catalogue>, wanted: Set<string>): void {
    const name = sourceOf(pattern);
    const catalogue: Catalogue = catalogues.get(name) ?? new Map<string, Entry>();
    if (pattern === `${name}.*`) {
      for (const tool of catalogue.keys()) wanted.add(tool);
      return;
    }
    if (!catalogue.has(pattern)) {
      const near = didYouMean(
        nearest(
          pattern.slice(name.length + 1),
          [...catalogue.keys()].map((tool) => tool.slice(name.length + 1)),
        ).map((tool) => `${name}.${tool}`),
      );
      const sources = [...this.#sources.keys()].join(", ");
      throw new OsError(
        "not_found",
        `"${name}" has no tool "${cleanText(pattern.slice(name.length + 1))}".${near} It has ${catalogue.size === 1 ? "1 tool" : `${catalogue.size} tools`}; the sources are ${sources}.`,
        { data: { what: "tool", id: pattern } },
      );
    }
    wanted.add(pattern);
  }

  async #catalogue(name: string): Promise<Catalogue> {
    const configured = this.#sources.get(name);
    if (configured === undefined)
      throw new OsError("not_found", `There is no source of tools called "${name}".`, {
        data: { what: "source", id: name },
      });
    const tools = await configured.source.tools();
    const known = this.#catalogues.get(tools);
    if (known !== undefined) return known;
    const catalogue = catalogueOf(name, tools, configured.overrides);
    this.#catalogues.set(tools, catalogue);
    return catalogue;
  }

  async #entry(toolName: string): Promise<Entry | undefined> {
    return (await this.#catalogue(sourceOf(toolName))).get(toolName);
  }

  /** The tool under the pinned definition, or why it cannot be called under it. */
  async #pinned(tool: ToolDefinition): Promise<Entry | ToolOutcome> {
    try {
      const entry = await this.#entry(tool.name);
      if (entry?.definition.hash === tool.hash) return entry;
      const found = entry?.definition.hash ?? null;
      const what =
        found === null
          ? "is not there any more"
          : "is not the tool that this process started with: its description, schema or manifest has changed";
      return notPerformed(
        "tool_changed",
        `${tool.name} ${what}. Start a new process to use the tools as they are now.`,
        { tool: tool.name, pinned: tool.hash, found },
      );
    } catch (error) {
      return { kind: "not_performed", error: errorRecord(error, "tool_unavailable", { tool: tool.name }) };
    }
  }

  async #perform(entry: Entry, { tool, args, key }: Invocation, limit: Limit): Promise<ToolOutcome> {
    const configured = this.#sources.get(sourceOf(tool.name));
    if (configured === undefined || limit.givenUp !== undefined) return unanswered(tool, limit.reason());
    const outcome = await limit.raceWithGrace(
      answerOf(configured.source, entry.local, args, new CallOptions(key, limit)),
    );
    return outcome === GIVEN_UP ? lost(tool, limit.reason()) : judge(tool, outcome, limit.givenUp);
  }

  async #timed(
    tool: ToolDefinition,
    signal: AbortSignal,
    run: (limit: Limit) => Promise<ToolOutcome>,
  ): Promise<ToolOutcome> {
    const limit = new Limit(tool.manifest.timeoutMs, signal, this.#clock);
    try {
      return await run(limit);
    } finally {
      limit.end();
    }
  }
}

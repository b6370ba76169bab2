// The tools primitive: all sources under one set of names, and the one road on which a tool is called.
//
// Boundary: knows sources only by their port. It keeps no state of its own but a memory of definitions already made
// from a listing, which ends with that listing, and what was taken of sources outside (pins.ts).
//
// Invariants:
//   T1. A tool is called only under the very definition that the caller has pinned.
//   T2. A call ends within its manifest's time, whether or not its source gives up in time.
//   T3. Nothing that a source says can make `call` or `reconcile` reject.
//   T4. What is held back is not offered, not called, and not asked what became of a call.
import { errorRecord, OsError } from "../abi/errors.ts";
import { isAtLeast } from "../abi/isolation.ts";
import type { JsonObject } from "../abi/json.ts";
import type { ToolDefinition } from "../abi/tools.ts";
import type { Clock } from "../ports/clock.ts";
import type { Resource } from "../ports/scheduler.ts";
import type {
  CallOptions,
  HeldTool,
  Invocation,
  Login,
  LoginStep,
  Preview,
  Settlement,
  SourceTool,
  ToolDiff,
  ToolOutcome,
  Tools,
  ToolSource,
} from "../ports/tools.ts";
import { cleanJson, cleanText } from "./clean.ts";
import { catalogueOf, type Catalogue, type Entry, type Overrides } from "./definition.ts";
import { didYouMean, nearest } from "./nearest.ts";
import { GIVEN_UP, Limit } from "./limit.ts";
import { cleanError, judge, lost, notPerformed, refused, unanswered, unpreviewed } from "./outcome.ts";
import { diffOf } from "./pin-diff.ts";
import { Pins, type PinsOptions, type Standing } from "./pins.ts";
import { settlementOf } from "./settlement.ts";

export type ConfiguredSource = {
  readonly source: ToolSource;
  readonly overrides: Overrides;
  /** Somebody else says what its tools are: they are pinned, and a change is held back. */
  readonly outside: boolean;
};
/** Sources by name, in the order in which they are listed. */
export type ToolsOptions = PinsOptions & { readonly sources: ReadonlyMap<string, ConfiguredSource> };

/** What there is of a source: `offered` leaves out what is held back. */
type Known = { readonly all: Catalogue; readonly offered: Catalogue; readonly standing: Standing | undefined };

/** What is not offered of a source, or not there any more. */
const heldOf = (source: string, { standing }: Known): HeldTool[] =>
  standing === undefined
    ? []
    : [...standing.states].flatMap(([tool, pin]) =>
        pin === "pinned"
          ? []
          : [{ name: `${source}.${cleanText(tool)}`, pin, hash: standing.found.get(tool)?.hash ?? null }],
      );

/** The name by which the source knows a tool that is there, or was. */
function localOf(source: string, tool: string, { states }: Standing): string {
  const local = [...states.keys()].find((each) => `${source}.${cleanText(each)}` === tool);
  if (local !== undefined) return local;
  const near = didYouMean(nearest(tool.slice(source.length + 1), states.keys()).map((each) => `${source}.${each}`));
  throw new OsError("not_found", `"${source}" has no tool "${cleanText(tool.slice(source.length + 1))}".${near}`, {
    data: { what: "tool", id: tool },
  });
}

const notPinned = (source: string): OsError =>
  new OsError(
    "not_found",
    `Nothing is held against the tools of "${source}": they are Reeve's, or yours, and are used as they are.`,
    { data: { what: "pin", id: source } },
  );

function heldBack(tool: string, { all, standing }: Known): OsError {
  const entry = all.get(tool);
  const pin = standing?.pins.get(entry?.local ?? "");
  const what = pin === undefined ? "came after its source was first seen" : "is not the tool that was taken";
  const name = cleanText(tool);
  return new OsError(
    "tool_changed",
    `${name} ${what}, and is held back. \`reeve tools diff ${name}\` shows the change, \`reeve tools accept ${name}\` takes it.`,
    { data: { tool, pinned: pin?.hash ?? null, found: standing?.found.get(entry?.local ?? "")?.hash ?? null } },
  );
}

const sourceOf = (toolName: string): string => toolName.slice(0, Math.max(0, toolName.indexOf(".")));

/** What a source is told beside the arguments. Its signal is made when somebody looks at it. */
class Told implements CallOptions {
  readonly process: CallOptions["process"];
  readonly call: number;
  readonly key: string;
  readonly notes: CallOptions["notes"];
  readonly output: CallOptions["output"];
  readonly previewed: string | undefined;
  readonly #limit: Limit;

  constructor({ process, call, key, notes, output, previewed }: Omit<Invocation, "tool" | "args">, limit: Limit) {
    this.process = process;
    this.call = call;
    this.key = key;
    this.notes = notes;
    this.output = output;
    this.previewed = previewed;
    this.#limit = limit;
  }

  get signal(): AbortSignal {
    return this.#limit.signal;
  }
}

/** A source that throws has broken its contract after it was called: nothing is certain. */
async function answerOf(
  source: ToolSource,
  local: string,
  args: JsonObject,
  options: CallOptions,
): Promise<ToolOutcome> {
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
  readonly #offers = new WeakMap<Standing, Known>();
  readonly #pins: Pins;

  constructor(options: ToolsOptions) {
    this.#sources = options.sources;
    this.#clock = options.clock;
    this.#pins = new Pins(options);
  }

  async resolve(patterns: readonly string[]): Promise<readonly ToolDefinition[]> {
    const names = new Set(patterns.map((pattern) => this.#sourceNamed(pattern)));
    const asked = [...this.#sources.keys()].filter((name) => names.has(name));
    const known = new Map(await Promise.all(asked.map(async (name) => [name, await this.#known(name)] as const)));
    const wanted = new Set<string>();
    for (const pattern of patterns) this.#match(pattern, known, wanted);
    return [...known.values()].flatMap(({ offered }) =>
      [...offered.values()].flatMap(({ definition }) => (wanted.has(definition.name) ? [definition] : [])),
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

  async preview(
    { tool, args, key, process, call }: Omit<Invocation, "notes" | "output" | "previewed">,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<Preview | undefined> {
    if (tool.manifest.preview !== true) return undefined;
    const limit = new Limit(tool.manifest.timeoutMs, signal, this.#clock);
    try {
      const found = await limit.race(this.#pinned(tool));
      if (found === GIVEN_UP || "kind" in found)
        throw refused(found === GIVEN_UP ? unanswered(tool, limit.reason()) : found);
      const source = this.#sources.get(sourceOf(tool.name))?.source;
      const asked = source?.preview?.(found.local, args, {
        process,
        call,
        key,
        get signal() {
          return limit.signal;
        },
      });
      if (asked === undefined) throw refused(unpreviewed(tool));
      const preview = await limit.raceWithGrace(asked);
      if (preview === GIVEN_UP) throw refused(unanswered(tool, limit.reason()));
      const { text, data, digest } = preview;
      return { text: cleanText(text), digest, ...(data && { data: cleanJson(data) }) };
    } catch (error) {
      throw OsError.from(cleanError(errorRecord(error, "tool_unavailable", { tool: tool.name })));
    } finally {
      limit.end();
    }
  }

  async reconcile(invocation: Invocation): Promise<Settlement> {
    const { tool, args, key } = invocation;
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
      ...invocation,
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
      [...this.#sources].map(async ([name, { source, outside }]) => {
        const known = await this.#known(name).catch((error: unknown) => errorRecord(error, "tool_unavailable").message);
        return { name, outside, isolation: source.isolation, known };
      }),
    );
    return {
      tools: found.flatMap(({ known, isolation, outside }) =>
        typeof known === "string"
          ? []
          : [...known.offered.values()].map(({ definition }) => ({
              ...definition,
              isolation,
              pin: outside ? ("pinned" as const) : ("own" as const),
            })),
      ),
      held: found.flatMap(({ name, known }) => (typeof known === "string" ? [] : heldOf(name, known))),
      sources: found.map(({ name, isolation, known }) => ({
        name,
        isolation,
        firstSeenMs: typeof known === "string" ? null : (known.standing?.firstSeenMs ?? null),
      })),
      unavailable: found.flatMap(({ name, known }) =>
        typeof known === "string" ? [{ source: name, message: known }] : [],
      ),
    };
  }

  async diff(tool: string): Promise<ToolDiff> {
    const name = this.#sourceNamed(tool);
    const { standing } = await this.#known(name);
    if (standing === undefined) throw notPinned(name);
    const local = localOf(name, tool, standing);
    const [pin, found] = [standing.pins.get(local), standing.found.get(local)];
    const [before, after] = [pin?.said ?? null, found?.said ?? null];
    return {
      name: tool,
      pin: standing.states.get(local) ?? "gone",
      hash: found?.hash ?? null,
      before,
      after,
      by: pin?.by ?? null,
      atMs: pin?.atMs ?? null,
      diff: diffOf(cleanText(tool), before, after),
    };
  }

  async accept(what: Parameters<Tools["accept"]>[0], by: string): Promise<readonly string[]> {
    const bySource = new Map<string, { readonly tool: string; readonly hash?: string | undefined }[]>();
    const wanted = "source" in what ? [] : what.tools;
    if ("source" in what) bySource.set(what.source, []);
    for (const { tool, hash } of wanted) {
      const name = this.#sourceNamed(tool);
      bySource.set(name, [...(bySource.get(name) ?? []), { tool, hash }]);
    }
    // All are found before any is taken.
    const acceptances = await Promise.all(
      [...bySource].map(async ([name, tools]) => {
        const { standing } = await this.#known(name);
        if (standing === undefined) throw notPinned(name);
        const named = tools.map(({ tool, hash }) => ({ tool: localOf(name, tool, standing), hash }));
        const all = [...standing.states.keys()].map((tool) => ({ tool, hash: standing.found.get(tool)?.hash }));
        return { name, tools: "source" in what ? all : named };
      }),
    );
    const accepted: string[] = [];
    for (const { name, tools } of acceptances) {
      const listing = (await this.#sources.get(name)?.source.tools()) ?? [];
      const taken = await this.#pins.accept(name, listing, { tools, by });
      accepted.push(...taken.map((tool) => `${name}.${cleanText(tool)}`));
    }
    return accepted.toSorted((a, b) => (a < b ? -1 : 1));
  }

  async login(source: string, login: Login): Promise<LoginStep> {
    const asked = this.#configured(source).source.login?.(login);
    if (asked !== undefined) return asked;
    throw new OsError("unsupported", `The source of tools "${source}" knows no login: only MCP servers over HTTP do.`);
  }

  async logout(source: string): Promise<boolean> {
    return (await this.#configured(source).source.logout?.()) ?? false;
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

  #match(pattern: string, sources: ReadonlyMap<string, Known>, wanted: Set<string>): void {
    const name = sourceOf(pattern);
    const known = sources.get(name);
    const offered = known?.offered ?? new Map<string, Entry>();
    if (pattern === `${name}.*`) {
      for (const tool of offered.keys()) wanted.add(tool);
      return;
    }
    if (offered.has(pattern)) {
      wanted.add(pattern);
      return;
    }
    if (known?.all.has(pattern) === true) throw heldBack(pattern, known);
    const near = didYouMean(
      nearest(
        pattern.slice(name.length + 1),
        [...offered.keys()].map((tool) => tool.slice(name.length + 1)),
      ).map((tool) => `${name}.${tool}`),
    );
    const others = [...this.#sources.keys()].join(", ");
    throw new OsError(
      "not_found",
      `"${name}" has no tool "${cleanText(pattern.slice(name.length + 1))}".${near} It has ${offered.size === 1 ? "1 tool" : `${offered.size} tools`}; the sources are ${others}.`,
      { data: { what: "tool", id: pattern } },
    );
  }

  #configured(name: string): ConfiguredSource {
    const configured = this.#sources.get(name);
    if (configured !== undefined) return configured;
    const near = didYouMean(nearest(name, this.#sources.keys()));
    throw new OsError("not_found", `There is no source of tools called "${cleanText(name)}".${near}`, {
      data: { what: "source", id: name },
    });
  }

  async #known(name: string): Promise<Known> {
    const configured = this.#configured(name);
    const tools = await configured.source.tools();
    const all = this.#catalogues.get(tools) ?? catalogueOf(name, tools, configured.overrides);
    this.#catalogues.set(tools, all);
    if (!configured.outside) return { all, offered: all, standing: undefined };
    const standing = await this.#pins.judge(name, tools);
    const known = this.#offers.get(standing);
    if (known !== undefined) return known;
    const offered = new Map([...all].filter(([, { local }]) => standing.states.get(local) === "pinned"));
    const fresh = { all, offered, standing };
    this.#offers.set(standing, fresh);
    return fresh;
  }

  async #entry(toolName: string): Promise<Entry | undefined> {
    return (await this.#known(sourceOf(toolName))).offered.get(toolName);
  }

  /** The tool under the pinned definition, or why it cannot be called under it. */
  async #pinned(tool: ToolDefinition): Promise<Entry | ToolOutcome> {
    try {
      const known = await this.#known(sourceOf(tool.name));
      const entry = known.offered.get(tool.name);
      if (entry?.definition.hash === tool.hash) return this.#isolated(entry);
      const found = known.all.get(tool.name)?.definition.hash ?? null;
      const remedy =
        entry === undefined && found !== null
          ? `It is held back: \`reeve tools diff ${cleanText(tool.name)}\` shows the change.`
          : "Start a new process to use the tools as they are now.";
      const what =
        found === null
          ? "is not there any more"
          : "is not the tool that this process started with: its description, schema or manifest has changed";
      return notPerformed("tool_changed", `${tool.name} ${what}. ${remedy}`, {
        tool: tool.name,
        pinned: tool.hash,
        found,
      });
    } catch (error) {
      return { kind: "not_performed", error: errorRecord(error, "tool_unavailable", { tool: tool.name }) };
    }
  }

  /** The tool, or the refusal of one that may only run under stronger isolation than its source gives. */
  #isolated(entry: Entry): Entry | ToolOutcome {
    const { name, manifest } = entry.definition;
    const given = this.#sources.get(sourceOf(name))?.source.isolation ?? "none";
    if (manifest.isolation === undefined || isAtLeast(given, manifest.isolation)) return entry;
    return notPerformed(
      "isolation_unavailable",
      `${name} may only run under isolation of the level "${manifest.isolation}", and its source runs under "${given}". Nothing was run. Have the source run under more, or change what the tool declares.`,
      { tool: name, level: manifest.isolation, given },
    );
  }

  async #perform(entry: Entry, invocation: Invocation, limit: Limit): Promise<ToolOutcome> {
    const { tool, args } = invocation;
    const configured = this.#sources.get(sourceOf(tool.name));
    if (configured === undefined || limit.givenUp !== undefined) return unanswered(tool, limit.reason());
    const outcome = await limit.raceWithGrace(
      answerOf(configured.source, entry.local, args, new Told(invocation, limit)),
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

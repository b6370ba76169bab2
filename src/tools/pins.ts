// What was taken from sources outside, and what is held back because they now say otherwise.
//
// Boundary: keeps what a source itself says of its tools; what the configuration adds or overrides is no part of it.
//
// Invariants:
//   N1. Of a source outside nothing is offered but what it said when it was first seen, and what somebody has accepted since.
//   N2. What was first seen, and what was accepted, is durable before it counts.
//   N3. What is accepted is what was shown: a definition that has changed meanwhile is not taken.
import { createHash } from "node:crypto";
import canonicalize from "canonicalize";
import { OsError } from "../abi/errors.ts";
import { wellFormed } from "../abi/json.ts";
import type { PinState, ToolPin, ToolSaid } from "../abi/tools.ts";
import type { Clock } from "../ports/clock.ts";
import type { SourceRecord, Store } from "../ports/store.ts";
import type { SourceTool } from "../ports/tools.ts";

export type PinsOptions = {
  readonly store: Pick<Store, "append" | "source">;
  readonly clock: Clock;
  /** What an operator should know and no caller waits for. */
  readonly onNotice: (message: string) => void;
};

/** What a source says of a tool now. */
export type Found = { readonly said: ToolSaid; readonly hash: string };

/** How a source's tools stand, by the names under which it knows them; those that are gone included. */
export type Standing = {
  readonly states: ReadonlyMap<string, PinState>;
  readonly found: ReadonlyMap<string, Found>;
  readonly pins: ReadonlyMap<string, ToolPin>;
  readonly firstSeenMs: number;
};

export type Acceptance = {
  /** As the source knows them. `hash`: what was looked at; anything else is refused. */
  readonly tools: readonly { readonly tool: string; readonly hash?: string | undefined }[];
  readonly by: string;
};

function saidOf({ description, inputSchema, annotations, declared }: SourceTool): ToolSaid {
  return { description, inputSchema, annotations: annotations ?? (declared as ToolSaid["annotations"]) };
}

function foundOf(tool: SourceTool): Found {
  const said = saidOf(tool);
  // RFC 8785 has no form for half a character, and none is offered to anybody: cleaning takes it out, or refuses its tool.
  const hash = createHash("sha256")
    .update(canonicalize(wellFormed({ name: tool.name, ...said })) ?? "")
    .digest("hex");
  return { said, hash };
}

export class Pins {
  readonly #options: PinsOptions;
  readonly #records = new Map<string, SourceRecord>();
  /** The last thing under way for a source: one at a time, so that none undoes another. */
  readonly #turns = new Map<string, Promise<unknown>>();
  /** A source gives the same array for as long as its listing stands. */
  readonly #found = new WeakMap<readonly SourceTool[], ReadonlyMap<string, Found>>();
  readonly #standings = new WeakMap<SourceRecord, { tools: readonly SourceTool[]; standing: Standing }>();
  readonly #told = new Set<string>();

  constructor(options: PinsOptions) {
    this.#options = options;
  }

  /** How the tools stand. Those of a source that was never seen are taken as they are, and that is told. Rejects with `store_failed`. */
  async judge(source: string, tools: readonly SourceTool[]): Promise<Standing> {
    const record = this.#records.get(source) ?? (await this.#alone(source, () => this.#recordOf(source, tools)));
    const known = this.#standings.get(record);
    if (known?.tools === tools) return known.standing;
    const standing = standingOf(record, this.#foundIn(tools));
    this.#standings.set(record, { tools, standing });
    this.#tell(source, standing);
    return standing;
  }

  /**
   * Takes tools as they are now, and forgets those that are gone. Answers with those that it changed something for. Rejects with
   * `conflict` for what is not as it was looked at; nothing is then taken.
   */
  async accept(source: string, tools: readonly SourceTool[], acceptance: Acceptance): Promise<readonly string[]> {
    await this.judge(source, tools);
    return this.#alone(source, async () => {
      const record = await this.#recordOf(source, tools);
      const { states, found } = standingOf(record, this.#foundIn(tools));
      const wanted = acceptance.tools.filter(({ tool }) => states.get(tool) !== "pinned");
      for (const { tool, hash } of acceptance.tools) {
        if (hash !== undefined && found.get(tool)?.hash !== hash) throw movedOn(source, tool);
      }
      const names = new Set(wanted.map(({ tool }) => tool));
      const kept = record.tools.filter(({ tool }) => !names.has(tool));
      const taken = [...names].flatMap((tool) => this.#pin(tool, found.get(tool), acceptance.by));
      if (names.size > 0) await this.#keep({ ...record, tools: [...kept, ...taken] });
      return [...names];
    });
  }

  #pin(tool: string, found: Found | undefined, by: string | null): ToolPin[] {
    return found === undefined ? [] : [{ tool, ...found, by, atMs: this.#options.clock.nowMs() }];
  }

  async #recordOf(source: string, tools: readonly SourceTool[]): Promise<SourceRecord> {
    const known = this.#records.get(source) ?? (await this.#options.store.source(source));
    if (known !== undefined) {
      this.#records.set(source, known);
      return known;
    }
    const pins = [...this.#foundIn(tools)].flatMap(([tool, found]) => this.#pin(tool, found, null));
    const record = { name: source, firstSeenMs: this.#options.clock.nowMs(), tools: pins };
    await this.#keep(record);
    this.#options.onNotice(
      `The source of tools "${source}" was seen for the first time, and ${pins.length === 1 ? "its tool was taken as it is" : `its ${pins.length} tools were taken as they are`}. What changes from now on is held back until you accept it (\`reeve tools\`).`,
    );
    return record;
  }

  async #keep(record: SourceRecord): Promise<void> {
    await this.#options.store.append({ journals: [], sources: [record] });
    this.#records.set(record.name, record);
  }

  #foundIn(tools: readonly SourceTool[]): ReadonlyMap<string, Found> {
    const known = this.#found.get(tools) ?? new Map(tools.map((tool) => [tool.name, foundOf(tool)]));
    this.#found.set(tools, known);
    return known;
  }

  /** Once for each definition that is held back. */
  #tell(source: string, { states, found }: Standing): void {
    for (const state of ["changed", "new"] as const) {
      const names = [...states].flatMap(([tool, is]) => (is === state ? [tool] : []));
      const fresh = names.filter((tool) => !this.#told.has(`${source} ${found.get(tool)?.hash}`));
      for (const tool of names) this.#told.add(`${source} ${found.get(tool)?.hash}`);
      if (fresh.length === 0) continue;
      const listed = fresh
        .slice(0, SHOWN_MAX)
        .map((tool) => `${source}.${tool}`)
        .join(", ");
      const more = fresh.length > SHOWN_MAX ? ` and ${fresh.length - SHOWN_MAX} more` : "";
      const what = state === "new" ? "came after their source was first seen" : "are not what was taken";
      this.#options.onNotice(
        `Tools that ${what} are held back: ${listed}${more}. \`reeve tools diff NAME\` shows the change, \`reeve tools accept NAME\` takes it.`,
      );
    }
  }

  async #alone<T>(source: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(source) ?? Promise.resolve();
    const turn = before.then(work, work);
    this.#turns.set(source, turn);
    return turn;
  }
}

const SHOWN_MAX = 5;

const movedOn = (source: string, tool: string): OsError =>
  new OsError(
    "conflict",
    `${source}.${tool} has changed since you looked at it, and was not accepted. Look again with \`reeve tools diff\`.`,
    { data: { what: "tool", id: `${source}.${tool}` } },
  );

function standingOf({ tools, firstSeenMs }: SourceRecord, found: ReadonlyMap<string, Found>): Standing {
  const pins = new Map(tools.map((pin) => [pin.tool, pin]));
  const states = new Map<string, PinState>();
  for (const [tool, { hash }] of found) {
    const pin = pins.get(tool);
    states.set(tool, pin === undefined ? "new" : pin.hash === hash ? "pinned" : "changed");
  }
  for (const tool of pins.keys()) if (!found.has(tool)) states.set(tool, "gone");
  return { states, found, pins, firstSeenMs };
}

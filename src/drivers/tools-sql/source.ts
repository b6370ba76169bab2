// A source of tools that is one database: `query`, `change`, `destroy` and `schema`. Each takes one statement, which is read
// by the database's own grammar before anything is run, and refused where it belongs to another tool.
//
// Invariants:
//   S1. A statement is run only by the tool that it fits; one that is not understood, by none.
//   S2. What a preview ran is rolled back, always.
//   S3. A call that was approved on a preview commits only if it touches what was shown; otherwise it is rolled back.
//   S4. `done` is said only after the commit was answered; `unknown` only where a commit was sent and not answered.
//   S5. Where a table is kept of what was done, a change and its row in it are one transaction, and no statement writes to it.
import { randomUUID } from "node:crypto";
import { errorRecord, OsError } from "../../abi/errors.ts";
import type { Json, JsonObject } from "../../abi/json.ts";
import type { ToolContent } from "../../abi/tools.ts";
import type { CallOptions, Preview, SourceTool, ToolOutcome, ToolSource } from "../../ports/tools.ts";
import { type Bounds, type Claim, type Database, SqlFault, type Touched } from "./database.ts";
import { differing, digestOf, volatileOf } from "./digest.ts";
import { createPostgres } from "./postgres.ts";
import { createSqlite } from "./sqlite.ts";
import { checkFit, type Fit, refusal, type Statement } from "./statement.ts";
import { ANSWER_BYTES_MAX } from "./values.ts";
import { answerData, answerText, doneData, doneText, previewData, previewText, schemaText } from "./wording.ts";

export type SqlConfig = {
  readonly rowsMax: number;
  readonly timeoutMs: number;
  /** The table in which each change leaves the key of its call, so that afterwards it can be told whether it was committed. */
  readonly reconcile?: { readonly table: string } | undefined;
  /** PostgreSQL: extensions, foreign-data wrappers and functions (`schema.name`) that may be called although nothing is known of them. */
  readonly vouchedFor?: readonly string[] | undefined;
};

/** A database by what the configuration calls it: a file of SQLite's (an absolute path), or PostgreSQL by its address. */
export type SqlPlace =
  | { readonly kind: "sqlite"; readonly file: string }
  | { readonly kind: "postgres"; readonly url: string };

/** The tools of the database at `place`, as the source `name`. It is opened at first use. */
export function createSqlSource(name: string, place: SqlPlace, config: SqlConfig): ToolSource {
  const database = place.kind === "sqlite" ? createSqlite(place.file) : createPostgres(place.url, config.vouchedFor);
  return new SqlSource({ name, database, config });
}

type Order = {
  readonly statement: Statement;
  readonly params: readonly Json[];
  readonly tool: Fit;
};

const inputSchema = (what: string): JsonObject => ({
  type: "object",
  properties: {
    statement: { type: "string", description: what },
    params: {
      type: "array",
      description: 'Values for the placeholders, in their order. Bytes are { "base64": "…" }.',
      items: {},
    },
  },
  required: ["statement"],
  additionalProperties: false,
});

class SqlSource implements ToolSource {
  readonly isolation = "none";
  readonly #name: string;
  readonly #database: Database;
  readonly #config: SqlConfig;
  readonly #tools: readonly SourceTool[];

  constructor({ name, database, config }: { name: string; database: Database; config: SqlConfig }) {
    this.#name = name;
    this.#database = database;
    this.#config = config;
    this.#tools = toolsOf(database.dialect, config);
  }

  async tools(): Promise<readonly SourceTool[]> {
    return this.#tools;
  }

  async call(name: string, args: JsonObject, options: CallOptions): Promise<ToolOutcome> {
    try {
      if (name === "schema") return await this.#schema(args, options.signal);
      if (name === SETTLED) return await this.#settled(args, options.signal);
      const order = await this.#order(name, args);
      return order.tool === "query" ? await this.#query(order, options) : await this.#perform(order, options);
    } catch (error) {
      return this.#outcomeOf(error);
    }
  }

  async preview(name: string, args: JsonObject, { signal }: Pick<CallOptions, "signal">): Promise<Preview> {
    try {
      const order = await this.#order(name, args);
      const { statement } = order;
      const first = await this.#rehearse(order, signal);
      // A definition changes no rows that could differ, and holds locks that are not to be taken twice.
      const volatile =
        statement.does.kind === "definition"
          ? new Set<string>()
          : differing(first, await this.#rehearse(order, signal));
      if (volatile === undefined)
        throw new SqlFault(
          "failed",
          "It touches other rows each time it runs, so that nobody can approve what it will do. Say which rows by their keys.",
        );
      return {
        text: previewText(statement, first, volatile),
        data: previewData(first),
        digest: digestOf(this.#subject(order), first, volatile),
      };
    } catch (error) {
      throw error instanceof SqlFault ? this.#errorOf(error) : error;
    }
  }

  async close(): Promise<void> {
    await this.#database.close();
  }

  async #order(name: string, args: JsonObject): Promise<Order> {
    const { statement, params = [] } = args;
    if (name !== "query" && name !== "change" && name !== "destroy")
      throw new OsError("not_found", `${this.#name} has no tool "${name}".`, { data: { what: "tool", id: name } });
    if (typeof statement !== "string" || !Array.isArray(params))
      throw new OsError("invalid_argument", "statement is one SQL statement, and params a list of values.", {
        data: { issues: [typeof statement === "string" ? "params: is no list" : "statement: is no text"] },
      });
    const read = await this.#database.classify(statement);
    checkFit(name, read);
    this.#checkKept(name, read);
    return { statement: read, params: params as readonly Json[], tool: name };
  }

  /** What Reeve will believe later must be Reeve's own word. In doubt a statement that only mentions the table is refused. */
  #checkKept(tool: Fit, { text, does }: Statement): void {
    const [kept, schema = "public"] = (this.#config.reconcile?.table.toLowerCase().split(".") ?? []).reverse();
    if (kept === undefined || tool === "query") return;
    // A name may be written with escapes that only the parser has read.
    const parsed = does.kind === "rows" ? [does.table] : does.kind === "definition" ? does.loses : [];
    const names = parsed.map(({ name }) => name.toLowerCase());
    const holds = does.kind === "definition" && does.also === "schema" && names.includes(schema);
    if (!holds && ![text.toLowerCase(), ...names].some((each) => each.includes(kept))) return;
    throw refusal(`${kept} is the table in which Reeve keeps what was done, and is changed by nobody else.`);
  }

  /** For the kernel, which asks after a crash. */
  async #settled({ key }: JsonObject, signal: AbortSignal): Promise<ToolOutcome> {
    const table = this.#config.reconcile?.table.split(".");
    if (table === undefined || typeof key !== "string") throw refusal("there is no key.");
    const found = await this.#database.claimed({ table, key }, this.#bounds(signal));
    if (found === null) return { kind: "done", content: { text: "not done", data: { status: "not_done" } } };
    return { kind: "done", content: { text: "done", data: { status: "done", result: JSON.parse(found) as Json } } };
  }

  async #schema({ table }: JsonObject, signal: AbortSignal): Promise<ToolOutcome> {
    const all = await this.#database.schema(this.#bounds(signal));
    const tables = table === undefined ? all : all.filter(({ name }) => name === table);
    const data = { tables: tables as unknown as Json };
    const fits = JSON.stringify(data).length <= ANSWER_BYTES_MAX;
    return {
      kind: "done",
      content: { text: schemaText(tables), ...(fits ? { data } : {}) },
    };
  }

  async #query({ statement, params }: Order, { signal }: CallOptions): Promise<ToolOutcome> {
    const answer = await this.#database.query(statement, params, this.#bounds(signal));
    return { kind: "done", content: { text: answerText(answer), data: answerData(answer) } };
  }

  async #perform(order: Order, { signal, previewed, key }: CallOptions): Promise<ToolOutcome> {
    const { statement, params } = order;
    const expected = previewed === undefined ? undefined : { digest: previewed, volatile: volatileOf(previewed) };
    const seen: { touched?: Touched } = {};
    const agree = (touched: Touched): boolean => {
      this.#checkSize(order, touched);
      seen.touched = touched;
      return expected === undefined || digestOf(this.#subject(order), touched, expected.volatile) === expected.digest;
    };
    const contentOf = (touched: Touched): ToolContent => {
      const { answer } = touched;
      const text = [doneText(statement, touched), ...(answer === null ? [] : [answerText(answer)])].join("\n");
      return { text, data: { ...doneData(touched), ...(answer === null ? {} : { answer: answerData(answer) }) } };
    };
    const claim = this.#claim(key, () => JSON.stringify(seen.touched === undefined ? "done" : contentOf(seen.touched)));
    const committed = await this.#database.perform(statement, params, { ...this.#bounds(signal), agree, claim });
    const { touched } = seen;
    if (!committed || touched === undefined)
      return failed(
        "The data has changed since this was approved: it would touch other rows, or rows that hold something else. It was rolled back, and nothing was changed. Look at the data again and ask anew.",
      );
    return { kind: "done", content: contentOf(touched) };
  }

  #claim(key: string, content: () => string): Claim | undefined {
    const table = this.#config.reconcile?.table.split(".");
    return table === undefined ? undefined : { table, key, content };
  }

  /** Performs it and rolls it back. */
  async #rehearse(order: Order, signal: AbortSignal): Promise<Touched> {
    const seen: { touched?: Touched } = {};
    const agree = (touched: Touched): boolean => {
      this.#checkSize(order, touched);
      seen.touched = touched;
      return false;
    };
    // With a row that goes again: a table that takes none is told before anybody is asked.
    const claim = this.#claim(`preview:${randomUUID()}`, () => "");
    await this.#database.perform(order.statement, order.params, { ...this.#bounds(signal), agree, claim });
    if (seen.touched === undefined) throw new SqlFault("failed", "The database did not say what it would do.");
    return seen.touched;
  }

  #checkSize({ tool, statement: { does } }: Order, { total, followed, whole, sweeps }: Touched): void {
    const { rowsMax } = this.#config;
    if (tool !== "change") return;
    const all = total + followed;
    if (all > rowsMax || !whole)
      throw new SqlFault(
        "failed",
        `It touches ${all > rowsMax ? all : "too large"} rows, what follows from it included, and a change may touch ${rowsMax}, and hold no more than can be shown. It was rolled back. The tool that fits is "destroy", for what changes or deletes rows; or do it in parts.`,
      );
    if (sweeps !== null && does.kind === "rows" && !does.named)
      throw new SqlFault(
        "failed",
        `It reaches ${sweeps} row of ${does.table.name}, and names none of them by its values. It was rolled back. The tool that fits is "destroy"; or name the rows, as in id = 5 or id IN (5, 6).`,
      );
  }

  readonly #subject = ({ statement, params }: Order): Parameters<typeof digestOf>[0] => ({
    dialect: this.#database.dialect,
    statement,
    params,
  });

  #bounds(signal: AbortSignal): Bounds {
    return { ...this.#config, signal };
  }

  #outcomeOf(error: unknown): ToolOutcome {
    if (error instanceof SqlFault && error.kind === "unknown")
      return { kind: "unknown", reason: `${this.#name}: ${error.message}` };
    if (error instanceof SqlFault && error.kind === "failed") return failed(error.message);
    const known = error instanceof SqlFault ? this.#errorOf(error) : error;
    // What was refused before it was run was not performed; anything else here is a fault of this driver.
    if (OsError.is(known)) return { kind: "not_performed", error: errorRecord(known) };
    throw error;
  }

  #errorOf(fault: SqlFault): OsError {
    const data = { tool: this.#name };
    return fault.kind === "not_performed"
      ? new OsError("tool_unavailable", fault.message, { data, cause: fault })
      : new OsError("tool_failed", fault.message, {
          data: { ...data, content: { text: fault.message } },
          cause: fault,
        });
  }
}

const failed = (text: string): ToolOutcome => ({ kind: "failed", content: { text } });

/** The tool that tells what became of a change. */
const SETTLED = "settled";

function toolsOf(dialect: string, { rowsMax, timeoutMs, reconcile }: SqlConfig): readonly SourceTool[] {
  const placeholders = dialect === "SQLite" ? "?" : "$1, $2, …";
  // Starting, connecting and the two runs of a preview come on top of what a statement may take.
  const whole = timeoutMs * 2 + 30_000;
  const lists = dialect === "SQLite" ? "" : " A list in them is an array; give the value of a JSON column as its text.";
  const one = `One ${dialect} statement, with ${placeholders} for values that stand in params.${lists}`;
  const declared = { timeoutMs: Math.min(whole, 24 * 3_600_000), idempotency: "none", summary: "{statement}" } as const;
  const settling = reconcile === undefined ? {} : { reconcile: SETTLED };
  return [
    {
      name: "query",
      description: `Reads from the database: SELECT, or EXPLAIN. At most ${rowsMax} rows come back; nothing can be changed.`,
      inputSchema: inputSchema(one),
      declared: { ...declared, effect: "read" },
    },
    {
      name: "change",
      description: `Changes at most ${rowsMax} rows (INSERT, UPDATE or DELETE with a condition that bounds it, upserts, MERGE), or adds to the database's definition (CREATE, ALTER … ADD).`,
      inputSchema: inputSchema(one),
      declared: { ...declared, ...settling, effect: "write", preview: true },
    },
    {
      name: "destroy",
      description:
        "Takes away without bound: DROP, TRUNCATE, ALTER … DROP, CREATE OR REPLACE, DELETE or UPDATE without a condition, of every row, or of very many.",
      inputSchema: inputSchema(one),
      declared: { ...declared, ...settling, effect: "destroy", preview: true },
    },
    {
      name: "schema",
      description: "Lists the database's tables: columns, keys, and about how many rows.",
      inputSchema: {
        type: "object",
        properties: { table: { type: "string", description: "Only this one." } },
        additionalProperties: false,
      },
      declared: {
        timeoutMs: Math.min(whole, 24 * 3_600_000),
        effect: "read",
        idempotency: "none",
        summary: "the tables",
      },
    },
    ...(reconcile === undefined ? [] : [settledTool(declared.timeoutMs)]),
  ];
}

const settledTool = (timeoutMs: number): SourceTool => ({
  name: SETTLED,
  description: "Tells whether the change of a call was committed, by the call's key. For Reeve, after a crash.",
  inputSchema: { type: "object", properties: { key: { type: "string" } }, required: ["key"] },
  declared: { timeoutMs, effect: "read", idempotency: "none", summary: "whether {key} was done" },
});

// An SQLite file as a database of the tools. What is said here runs in a child process (sqlite-child.ts).
import { existsSync } from "node:fs";
import type { Json, JsonObject } from "../../abi/json.ts";
import { rowsOfChangeset } from "./changeset.ts";
import { classifySqlite } from "./classify-sqlite.ts";
import {
  type Answer,
  type Bounds,
  type Claim,
  type Database,
  type Lost,
  LOST_ROWS_COUNTED,
  quotedName,
  type RowChange,
  SAMPLE_ROWS,
  SqlFault,
  type Table,
  type Touched,
} from "./database.ts";
import { type Order, type Ran, SqliteLink } from "./sqlite-link.ts";
import type { Statement, TableName } from "./statement.ts";
import { countsOf, definitionTouched } from "./touched.ts";
import { paramOfSqlite } from "./values.ts";

/** Children that wait for their next use. */
const RESTING_MAX = 2;
/** How long another program's lock is waited for, within the time of the call. Milliseconds. */
const BUSY_MS_MAX = 5_000;

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
/** A text of the catalogue. */
const wordOf = (value: Json | undefined): string => (typeof value === "string" ? value : "");
const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** `file` is an absolute path. Nothing is opened before the first use. */
export const createSqlite = (file: string): Database => new Sqlite(file);

class Sqlite implements Database {
  readonly dialect = "SQLite";
  readonly #file: string;
  readonly #resting: SqliteLink[] = [];
  readonly #busy = new Set<SqliteLink>();
  #closed = false;

  constructor(file: string) {
    this.#file = file;
  }

  async classify(text: string): Promise<Statement> {
    return classifySqlite(text);
  }

  async query(statement: Statement, params: readonly Json[], bounds: Bounds): Promise<Answer> {
    return this.#connected(false, bounds, async (connection) => {
      const sql = statement.does.kind === "explain" ? planOf(statement.text) : statement.text;
      const { columns, rows, cut } = await connection.run(sql, {
        params: params.map(paramOfSqlite),
        rowsMax: bounds.rowsMax,
      });
      return { columns, rows, cut };
    });
  }

  async perform(
    statement: Statement,
    params: readonly Json[],
    bounds: Bounds & { readonly agree: (touched: Touched) => boolean; readonly claim?: Claim | undefined },
  ): Promise<boolean> {
    const { claim } = bounds;
    return this.#connected(true, bounds, async (connection) => {
      await connection.order({ op: "BEGIN IMMEDIATE" });
      if (claim !== undefined)
        await connection.run(`INSERT INTO ${quotedName(claim.table)} (key, content) VALUES (?, '')`, {
          params: [claim.key],
          allow: "rows",
        });
      const bound = params.map(paramOfSqlite);
      const touched =
        statement.does.kind === "definition"
          ? await define(connection, statement, bound)
          : await changeRows(connection, statement, bound);
      const agreed = bounds.agree(touched);
      if (agreed && claim !== undefined)
        await connection.run(`UPDATE ${quotedName(claim.table)} SET content = ? WHERE key = ?`, {
          params: [claim.content(), claim.key],
          allow: "rows",
        });
      await connection.order({ op: agreed ? "COMMIT" : "ROLLBACK" });
      return agreed;
    });
  }

  /** Whoever has the file for writing is alone with it: what was under way has ended one way or the other. */
  async claimed({ table, key }: Pick<Claim, "table" | "key">, bounds: Bounds): Promise<string | null> {
    return this.#connected(true, bounds, async (connection) => {
      await connection.order({ op: "BEGIN IMMEDIATE" });
      const { rows } = await connection.run(`SELECT content FROM ${quotedName(table)} WHERE key = ?`, {
        params: [key],
      });
      await connection.order({ op: "ROLLBACK" });
      const [row] = rows;
      return row === undefined ? null : wordOf(row[0]);
    });
  }

  async schema(bounds: Bounds): Promise<readonly Table[]> {
    return this.#connected(false, bounds, async (connection) => {
      const list = await connection.objects(
        "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite^_%' ESCAPE '^' ORDER BY name",
      );
      const tables: Table[] = [];
      for (const { name, type } of list)
        tables.push(await tableOf(connection, wordOf(name), type === "view" ? "view" : "table"));
      return tables;
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#busy, ...this.#resting.splice(0)].map((link) => link.end()));
  }

  /** A connection for one call, closed after it; whatever is not committed is rolled back by that. */
  async #connected<T>(write: boolean, bounds: Bounds, use: (connection: Connection) => Promise<T>): Promise<T> {
    if (this.#closed) throw new SqlFault("not_performed", "Reeve is shutting down.");
    if (!existsSync(this.#file))
      throw new SqlFault(
        "not_performed",
        `There is no file ${this.#file}. Name the database's file as database in the configuration.`,
      );
    const link = this.#resting.pop() ?? new SqliteLink();
    this.#busy.add(link);
    link.rest(false);
    const late = AbortSignal.timeout(bounds.timeoutMs);
    const connection = new Connection(link, {
      signal: AbortSignal.any([bounds.signal, late]),
      rowsMax: bounds.rowsMax,
    });
    try {
      const busyMs = Math.min(BUSY_MS_MAX, bounds.timeoutMs);
      await connection.order({ op: "open", file: this.#file, write, busyMs });
      const result = await use(connection);
      return result;
    } catch (error) {
      if (late.aborted && error instanceof SqlFault && error.kind === "not_performed")
        throw new SqlFault(
          "failed",
          `It took longer than ${bounds.timeoutMs} ms and was ended; nothing was changed.`,
          error,
        );
      throw error;
    } finally {
      await this.#release(link);
    }
  }

  async #release(link: SqliteLink): Promise<void> {
    // What was not committed ends with the connection; a link that is gone has ended it already.
    if (link.isOpen) await link.order({ op: "close" }).catch(() => link.end());
    this.#busy.delete(link);
    if (link.isOpen && !this.#closed && this.#resting.length < RESTING_MAX) {
      link.rest(true);
      this.#resting.push(link);
    } else await link.end();
  }
}

/** Its plan as people read it, and not as a program of the engine's machine. */
const planOf = (text: string): string => text.replace(/^EXPLAIN\s+(?!QUERY\s+PLAN\b)/i, "EXPLAIN QUERY PLAN ");

type RunOptions = {
  readonly params?: readonly unknown[];
  readonly allow?: "read" | "rows" | "define";
  readonly rowsMax?: number;
  readonly record?: boolean;
};

/** One open connection, under the bounds of its call. */
class Connection {
  readonly rowsMax: number;
  readonly #link: SqliteLink;
  readonly #signal: AbortSignal;

  constructor(link: SqliteLink, { signal, rowsMax }: { readonly signal: AbortSignal; readonly rowsMax: number }) {
    this.#link = link;
    this.#signal = signal;
    this.rowsMax = rowsMax;
  }

  async order(order: Order): Promise<Ran | null> {
    return this.#link.order(order, this.#signal);
  }

  async run(
    sql: string,
    { params = [], allow = "read", rowsMax = this.rowsMax, record = false }: RunOptions = {},
  ): Promise<Ran> {
    const ran = await this.order({ op: "run", sql, params, allow, rowsMax, record });
    if (ran === null) throw new SqlFault("failed", "SQLite's process gave no answer.");
    return ran;
  }

  async objects(sql: string, rowsMax = 10_000): Promise<JsonObject[]> {
    const { columns, rows } = await this.run(sql, { rowsMax });
    return rows.map((row) => Object.fromEntries(columns.map((column, at) => [column, row[at] ?? null])));
  }

  /** Columns as `*` gives them, and which of them are the primary key. */
  async columns(table: string): Promise<Table["columns"]> {
    const found = await this.objects(
      `SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(${literal(table)})`,
    );
    return found
      .filter(({ hidden }) => hidden !== 1)
      .map(({ name, type, notnull, pk }) => ({
        name: wordOf(name),
        type: wordOf(type),
        nullable: notnull === 0,
        key: pk !== 0,
      }));
  }

  /** Its rows, counted up to a bound. */
  async count(table: string, max: number): Promise<number> {
    const { rows } = await this.run(`SELECT count(*) FROM (SELECT 1 FROM ${quoted(table)} LIMIT ${max})`);
    return Number(rows[0]?.[0] ?? 0);
  }

  async sample(table: string): Promise<JsonObject[]> {
    return this.objects(`SELECT * FROM ${quoted(table)} LIMIT ${SAMPLE_ROWS}`);
  }
}

async function changeRows(connection: Connection, statement: Statement, params: readonly unknown[]): Promise<Touched> {
  const { does } = statement;
  if (does.kind !== "rows") throw new SqlFault("failed", "The statement changes no rows.");
  const { table, operation } = does;
  const columns = await connection.columns(table.name);
  const keyed = columns.some(({ key }) => key);
  // More rows than may be gathered: a sample from before, and counts.
  const many =
    statement.fits === "destroy" && (await connection.count(table.name, connection.rowsMax + 1)) > connection.rowsMax;
  const sample = many ? await connection.sample(table.name) : [];
  const own = !keyed && !many;
  const sql = own ? `${statement.text}\n${does.returning ? ", *" : "RETURNING *"}` : statement.text;
  const ran = await connection.run(sql, { params, allow: "rows", record: !many });
  const names = new Map<string, Table["columns"]>([[table.name, columns]]);
  const recorded = await rowsRecorded(connection, ran.changeset, names);
  const seen = own ? ran.rows.map((row) => rowOf(columns, row, operation)) : [];
  const rows = many
    ? sample.map((row) => ({ table: table.name, before: row, after: null }))
    : [...recorded, ...seen.map((row) => ({ table: table.name, ...row }))];
  const width = ran.columns.length - (own ? columns.length : 0);
  const shown = does.returning
    ? { columns: ran.columns.slice(0, width), rows: ran.rows.map((row) => row.slice(0, width)), cut: ran.cut }
    : null;
  return {
    rows,
    whole: !many && ran.cut === null,
    counts: many
      ? [
          {
            table: table.name,
            inserted: 0,
            updated: operation === "update" ? ran.changes : 0,
            deleted: operation === "delete" ? ran.changes : 0,
          },
        ]
      : countsOf(rows),
    total: ran.changes,
    keys: new Map([...names].map(([name, list]) => [name, list.filter(({ key }) => key).map((column) => column.name)])),
    lost: [],
    notes: notesOf(ran, { keyed, table, many, operation, recorded: recorded.length }),
    answer: shown,
  };
}

const rowOf = (columns: Table["columns"], row: readonly Json[], operation: string): Omit<RowChange, "table"> => {
  const values = row.slice(row.length - columns.length);
  const named = Object.fromEntries(columns.map(({ name }, at) => [name, values[at] ?? null]));
  return operation === "delete" ? { before: named, after: null } : { before: null, after: named };
};

async function rowsRecorded(
  connection: Connection,
  changeset: Uint8Array | null,
  names: Map<string, Table["columns"]>,
): Promise<RowChange[]> {
  if (changeset === null) return [];
  // The first walk finds the tables; what the columns of each are called is asked for between.
  const tables = new Set<string>();
  rowsOfChangeset(changeset, (table) => (tables.add(table), []));
  for (const table of tables) if (!names.has(table)) names.set(table, await connection.columns(table));
  return rowsOfChangeset(changeset, (table) => (names.get(table) ?? []).map(({ name }) => name));
}

function notesOf(
  ran: Ran,
  about: { keyed: boolean; table: TableName; many: boolean; operation: string; recorded: number },
): string[] {
  const notes: string[] = [];
  const { keyed, table, many, operation, recorded } = about;
  if (ran.followed > 0) notes.push(`${ran.followed} more rows are touched by triggers and cascades.`);
  if (!keyed && !many && operation === "update")
    notes.push(`${table.name} has no primary key, so its rows are shown only as they are afterwards.`);
  if (keyed && !many && recorded < ran.changes)
    notes.push(`${ran.changes} rows are met; of these some stay as they are.`);
  return notes;
}

async function define(connection: Connection, statement: Statement, params: readonly unknown[]): Promise<Touched> {
  const loses = statement.does.kind === "definition" ? statement.does.loses : [];
  const lost: Lost[] = [];
  for (const { name } of loses) lost.push(await lostOf(connection, name));
  const ran = await connection.run(statement.text, { params, allow: "define" });
  const mayCascade = ran.followed + ran.changes > 0 && lost.length > 0;
  return definitionTouched(
    lost,
    mayCascade ? ["Rows of other tables that refer to it may be touched by cascades."] : [],
  );
}

async function lostOf(connection: Connection, table: string): Promise<Lost> {
  const there = await connection.objects(
    `SELECT 1 FROM sqlite_schema WHERE type = 'table' AND lower(name) = lower(${literal(table)})`,
  );
  if (there.length === 0) return { table, rows: 0, sample: [], dependents: [] };
  const hanging = await connection.objects(
    `SELECT type, name FROM sqlite_schema WHERE lower(tbl_name) = lower(${literal(table)}) AND type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY name`,
  );
  const referring = await connection.objects(
    `SELECT DISTINCT s.name FROM sqlite_schema s, pragma_foreign_key_list(s.name) f WHERE s.type = 'table' AND lower(f."table") = lower(${literal(table)}) ORDER BY s.name`,
  );
  return {
    table,
    rows: await connection.count(table, LOST_ROWS_COUNTED),
    sample: await connection.sample(table),
    dependents: [
      ...hanging.map(({ type, name }) => `${wordOf(type)} ${wordOf(name)}`),
      ...referring.map(({ name }) => `references from ${wordOf(name)}`),
    ],
  };
}

async function tableOf(connection: Connection, name: string, kind: Table["kind"]): Promise<Table> {
  const columns = await connection.columns(name);
  const references =
    kind === "view"
      ? []
      : await connection.objects(`SELECT "from", "table", "to" FROM pragma_foreign_key_list(${literal(name)})`);
  // The file knows of no estimate; a bounded count is one.
  const rows = kind === "view" ? null : await connection.count(name, 10_000);
  return {
    name,
    kind,
    rows,
    columns,
    references: references.map(
      ({ from, table, to }) => `${wordOf(from)} → ${wordOf(table)}${to === null ? "" : `.${wordOf(to)}`}`,
    ),
  };
}

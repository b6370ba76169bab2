// An SQLite file as a database of the tools. What is said here runs in a child process (sqlite-child.ts).
import { existsSync } from "node:fs";
import type { Json } from "../../abi/json.ts";
import { classifySqlite } from "./classify-sqlite.ts";
import {
  type Answer,
  type Bounds,
  type Claim,
  type Database,
  claiming,
  quotedName,
  SqlFault,
  type Table,
  type Touched,
} from "./database.ts";
import { Connection, literal, wordOf } from "./sqlite-connection.ts";
import { SqliteLink } from "./sqlite-link.ts";
import { changeRows, define } from "./sqlite-touched.ts";
import type { Statement } from "./statement.ts";
import { paramOfSqlite } from "./values.ts";

/** Children that wait for their next use. */
const RESTING_MAX = 2;
/** How long another program's lock is waited for, within the time of the call. Milliseconds. */
const BUSY_MS_MAX = 5_000;

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
      // Nothing of what is explained is performed, and the connection only reads.
      const allow = statement.does.kind === "explain" ? "rows" : "read";
      const { columns, rows, cut } = await connection.run(statement.text, {
        allow,
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
        await claiming(
          claim,
          connection.run(`INSERT INTO ${quotedName(claim.table)} (key, content) VALUES (?, '')`, {
            params: [claim.key],
            allow: "rows",
          }),
        );
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

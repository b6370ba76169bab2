// A PostgreSQL database as a database of the tools.
//
// Invariants:
//   G1. Each call has a connection of its own, closed after it: no setting, lock or temporary table is left for another.
//   G2. The server bounds each statement itself: its time, how long it waits for locks, and how long a transaction may lie idle.
//   G3. A statement that is given up is cancelled at the server; a commit that was begun is waited for.
import { Socket } from "node:net";
import pg from "pg";
import Cursor from "pg-cursor";
import type { Json } from "../../abi/json.ts";
import { classifyPostgres } from "./classify-postgres.ts";
import {
  type Answer,
  type Bounds,
  type Claim,
  type Count,
  type Database,
  claiming,
  quotedName,
  SqlFault,
  type Table,
  type Touched,
} from "./database.ts";
import { checkReach, type Vouched } from "./postgres-reach.ts";
import { schemaOfPostgres } from "./postgres-schema.ts";
import { define } from "./postgres-lost.ts";
import { changeRows } from "./postgres-touched.ts";
import type { Statement } from "./statement.ts";
import type { Fetched, Transaction } from "./transaction.ts";
import { Gathered, jsonOfPostgres, paramOfPostgres } from "./values.ts";

const CONNECT_MS = 10_000;
const LOCK_MS_MAX = 5_000;
/** What one call may receive: a single row comes whole, however long it is. Bytes. */
const RECEIVED_BYTES_MAX = 64 * 1024 * 1024;
/** Rows that are fetched at once. */
const BATCH_ROWS = 200;
/** How long a cancelled statement has to end before its connection is cut. Milliseconds. */
const CANCEL_MS = 2_000;

/** `url` is a connection string. Nothing is opened before the first use. */
export const createPostgres = (url: string, vouchedFor: readonly string[] = []): Database =>
  new Postgres(url, new Set(vouchedFor));

class Postgres implements Database {
  readonly dialect = "PostgreSQL";
  readonly #url: string;
  readonly #vouched: Vouched;
  readonly #open = new Set<Connection>();
  #closed = false;

  constructor(url: string, vouched: Vouched) {
    this.#url = url;
    this.#vouched = vouched;
  }

  async classify(text: string): Promise<Statement> {
    return classifyPostgres(text);
  }

  async query(statement: Statement, params: readonly Json[], bounds: Bounds): Promise<Answer> {
    return this.#connected(bounds, async (connection) => {
      await connection.begin("READ ONLY");
      await checkReach(connection, statement, this.#vouched);
      const { columns, rows, cut } = await connection.fetch(statement.text, params, bounds.rowsMax);
      await connection.run("ROLLBACK");
      return { columns, rows, cut };
    });
  }

  async perform(
    statement: Statement,
    params: readonly Json[],
    bounds: Bounds & { readonly agree: (touched: Touched) => boolean; readonly claim?: Claim | undefined },
  ): Promise<boolean> {
    const { claim } = bounds;
    return this.#connected(bounds, async (connection) => {
      await connection.begin("READ WRITE");
      await checkReach(connection, statement, this.#vouched);
      // First of all: while this transaction can still commit, nobody else can have the key.
      if (claim !== undefined)
        await claiming(
          claim,
          connection.run(`INSERT INTO ${quotedName(claim.table)} (key, content) VALUES ($1, '')`, [claim.key]),
        );
      const beside = <T>(use: (transaction: Transaction) => Promise<T>): Promise<T> =>
        this.#connected(bounds, async (other) => {
          await other.begin("READ ONLY");
          return use(other);
        });
      const touched =
        statement.does.kind === "definition"
          ? await define(connection, statement, params)
          : await changeRows(connection, statement, { params, rowsMax: bounds.rowsMax, beside });
      const agreed = bounds.agree(claim === undefined ? touched : without(touched, claim));
      if (agreed && claim !== undefined)
        await connection.run(`UPDATE ${quotedName(claim.table)} SET content = $1 WHERE key = $2`, [
          claim.content(),
          claim.key,
        ]);
      await (agreed ? connection.commit() : connection.run("ROLLBACK"));
      return agreed;
    });
  }

  /** Takes the key itself, for which it waits until whoever has it commits or ends; and gives it back. */
  async claimed({ table, key }: Pick<Claim, "table" | "key">, bounds: Bounds): Promise<string | null> {
    return this.#connected(bounds, async (connection) => {
      await connection.begin("READ WRITE");
      const name = quotedName(table);
      const taken = await connection.run(
        `INSERT INTO ${name} (key, content) VALUES ($1, '') ON CONFLICT (key) DO NOTHING`,
        [key],
      );
      const { rows } =
        taken.affected > 0 ? { rows: [] } : await connection.run(`SELECT content FROM ${name} WHERE key = $1`, [key]);
      await connection.run("ROLLBACK");
      const [row] = rows;
      if (taken.affected === 0 && row === undefined) throw new SqlFault("failed", `${key} was there and is gone.`);
      return row?.[0] ?? null;
    });
  }

  async schema(bounds: Bounds): Promise<readonly Table[]> {
    return this.#connected(bounds, async (connection) => {
      await connection.begin("READ ONLY");
      return schemaOfPostgres(connection);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#open].map((connection) => connection.end()));
  }

  async #connected<T>(bounds: Bounds, use: (connection: Connection) => Promise<T>): Promise<T> {
    if (this.#closed) throw new SqlFault("not_performed", "Reeve is shutting down.");
    if (bounds.signal.aborted) throw new SqlFault("not_performed", "It was given up before it began.");
    const connection = new Connection(this.#url, bounds);
    this.#open.add(connection);
    try {
      await connection.connect();
      const result = await use(connection);
      return result;
    } finally {
      // Whatever was not committed is rolled back by the server with the connection.
      await connection.end();
      this.#open.delete(connection);
    }
  }
}

class Connection implements Transaction {
  readonly notices: string[] = [];
  readonly #client: pg.Client;
  readonly #bounds: Bounds;
  readonly #config: pg.ClientConfig;
  readonly #socket = new Socket();
  #committing = false;
  #lost: string | undefined;
  #ended = false;

  constructor(url: string, bounds: Bounds) {
    this.#bounds = bounds;
    this.#config = { connectionString: url, connectionTimeoutMillis: CONNECT_MS, application_name: "reeve" };
    this.#client = new pg.Client({ ...this.#config, stream: () => this.#socket });
    this.#client.on("error", (error) => (this.#lost ??= error.message));
    this.#client.on("notice", ({ message, detail }) => {
      if (message !== undefined)
        this.notices.push(detail === undefined ? message : `${message}: ${detail.replaceAll("\n", ", ")}`);
    });
  }

  async connect(): Promise<void> {
    try {
      await this.#client.connect();
    } catch (error) {
      throw new SqlFault("not_performed", `The database cannot be reached: ${textOf(error)}. Nothing was run.`, error);
    }
    let received = 0;
    this.#socket.on("data", (chunk: Buffer) => {
      received += chunk.length;
      if (received <= RECEIVED_BYTES_MAX) return;
      this.#lost = `its answer is longer than ${RECEIVED_BYTES_MAX} bytes`;
      this.#socket.destroy();
    });
  }

  async begin(mode: "READ ONLY" | "READ WRITE"): Promise<void> {
    const { timeoutMs } = this.#bounds;
    await this.run(`BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED ${mode}`);
    // The grammar that reads statements reads strings in the standard way, whatever the database is set to.
    await this.#client.query(
      `SET LOCAL standard_conforming_strings = on; SET LOCAL statement_timeout = ${timeoutMs}; SET LOCAL lock_timeout = ${Math.min(LOCK_MS_MAX, timeoutMs)};` +
        ` SET LOCAL idle_in_transaction_session_timeout = ${timeoutMs + CONNECT_MS}; SET LOCAL datestyle = 'ISO';` +
        // What is shown of a large table is the same each time.
        " SET LOCAL synchronize_seqscans = off; SET LOCAL client_min_messages = notice; SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1",
    );
  }

  async fetch(text: string, params: readonly Json[] = [], rowsMax = this.#bounds.rowsMax): Promise<Fetched> {
    const cursor = this.#client.query(
      new Cursor<(string | null)[]>(text, params.map(paramOfPostgres), { rowMode: "array", types: AS_TEXT }),
    );
    const gathered = new Gathered(rowsMax);
    const fields = (): readonly { name: string; dataTypeID: number }[] =>
      (cursor as unknown as { _result: { fields: { name: string; dataTypeID: number }[] } })._result.fields;
    await this.#during(async () => {
      for (let more = true; more;) {
        const rows = await cursor.read(Math.min(BATCH_ROWS, rowsMax + 1));
        if (rows.length === 0) break;
        const types = fields().map(({ dataTypeID }) => dataTypeID);
        for (const row of rows)
          if (more)
            more = gathered.add(
              row.map((value, at) => (value === null ? null : jsonOfPostgres(value, types[at] ?? 0))),
            );
      }
      await cursor.close();
    });
    const { rows, cut } = gathered;
    return {
      columns: fields().map(({ name }) => name),
      types: fields().map(({ dataTypeID }) => dataTypeID),
      rows,
      cut,
    };
  }

  async run(text: string, params: readonly unknown[] = []): Promise<{ affected: number; rows: (string | null)[][] }> {
    // The extended protocol takes one statement, whatever is in the text.
    const config = { text, values: [...params], rowMode: "array" as const, types: AS_TEXT, queryMode: "extended" };
    const result = await this.#during(() => this.#client.query<(string | null)[]>(config));
    return { affected: result.rowCount ?? 0, rows: result.rows };
  }

  async commit(): Promise<void> {
    if (this.#bounds.signal.aborted) throw new SqlFault("not_performed", "It was given up before it was committed.");
    this.#committing = true;
    const { command } = await this.#during(() => this.#client.query("COMMIT"));
    // A transaction that had failed is rolled back by its commit, and only the answer's name says so.
    if (command !== "COMMIT") throw new SqlFault("failed", "PostgreSQL rolled it back; nothing was changed.");
  }

  async end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    const late = setTimeout(() => this.#socket.destroy(), CANCEL_MS);
    // One that is lost has ended.
    await this.#client.end().catch(() => {});
    clearTimeout(late);
    this.#socket.destroy();
  }

  /** Waits for the server, and cancels there when the call is given up. */
  async #during<T>(work: () => Promise<T>): Promise<T> {
    const { signal } = this.#bounds;
    let cut: NodeJS.Timeout | undefined;
    const cancel = (): void => {
      if (this.#committing) return;
      cut = setTimeout(() => this.#socket.destroy(), CANCEL_MS);
      // Where the server takes no second connection, the first one is cut.
      void this.#cancel().catch(() => this.#socket.destroy());
    };
    if (signal.aborted) cancel();
    else signal.addEventListener("abort", cancel, { once: true });
    try {
      return await work();
    } catch (error) {
      throw this.#fault(error);
    } finally {
      clearTimeout(cut);
      signal.removeEventListener("abort", cancel);
    }
  }

  async #cancel(): Promise<void> {
    const { processID } = this.#client as unknown as { processID: number };
    const other = new pg.Client({ ...this.#config, connectionTimeoutMillis: CANCEL_MS });
    other.on("error", () => {});
    try {
      await other.connect();
      await other.query("SELECT pg_cancel_backend($1)", [processID]);
    } finally {
      await other.end();
    }
  }

  #fault(error: unknown): SqlFault {
    if (error instanceof SqlFault) return error;
    const { code, detail, hint } = error as { code?: string; detail?: string; hint?: string };
    const answered = error instanceof pg.DatabaseError;
    if (!answered && this.#committing)
      return new SqlFault(
        "unknown",
        `the connection was lost while it committed (${this.#lost ?? textOf(error)})`,
        error,
      );
    if (this.#bounds.signal.aborted)
      return new SqlFault("not_performed", "It was given up; the server rolled it back.", error);
    if (!answered)
      return new SqlFault(
        "failed",
        `The connection was lost: ${this.#lost ?? textOf(error)}. The server rolls it back.`,
        error,
      );
    if (code === "57014")
      return new SqlFault(
        "failed",
        `It took longer than ${this.#bounds.timeoutMs} ms and was ended; nothing was changed.`,
        error,
      );
    const more = [detail, hint].filter((line) => line !== undefined && line !== "").join(" ");
    return new SqlFault("failed", `${textOf(error)} (SQLSTATE ${code ?? "?"})${more === "" ? "" : `. ${more}`}`, error);
  }
}

/** Of all that the server counts in the transaction, what the statement did: no statement touches the table of claims. */
function without(touched: Touched, { table }: Claim): Touched {
  const name = table.at(-1) ?? "";
  const isClaim = (count: Count): boolean => count.table === name || count.table.endsWith(`.${name}`);
  const own = touched.counts.filter(isClaim).reduce((sum, { inserted, updated }) => sum + inserted + updated, 0);
  return {
    ...touched,
    counts: touched.counts.filter((count) => !isClaim(count)),
    followed: Math.max(0, touched.followed - own),
  };
}

const AS_TEXT = { getTypeParser: () => (text: unknown) => text } as unknown as pg.CustomTypesConfig;
const textOf = (error: unknown): string => {
  if (error instanceof AggregateError) return error.errors.map(textOf).join("; ");
  return error instanceof Error ? error.message || error.name : String(error);
};

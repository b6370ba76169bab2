// One open connection to an SQLite file, under the bounds of its call.
import type { Json, JsonObject } from "../../abi/json.ts";
import { SAMPLE_ROWS, SqlFault, type Table } from "./database.ts";
import type { Order, Ran, SqliteLink } from "./sqlite-link.ts";

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
/** A text of the catalogue. */
export const wordOf = (value: Json | undefined): string => (typeof value === "string" ? value : "");
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

type RunOptions = {
  readonly params?: readonly unknown[];
  readonly allow?: "read" | "rows" | "define";
  readonly rowsMax?: number;
  readonly record?: boolean;
};

export class Connection {
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

  /** Whether rows of it may give way to others: that needs more than a primary key. */
  async hasUnique(table: string): Promise<boolean> {
    return (await this.objects(`SELECT 1 FROM pragma_index_list(${literal(table)}) WHERE "unique" LIMIT 1`)).length > 0;
  }

  /** Whether any row has none of a value in one of the columns. */
  async hasNull(table: string, columns: readonly string[]): Promise<boolean> {
    const empty = columns.map((column) => `${quoted(column)} IS NULL`).join(" OR ");
    return (await this.objects(`SELECT 1 FROM ${quoted(table)} WHERE ${empty} LIMIT 1`)).length > 0;
  }

  async sample(table: string): Promise<JsonObject[]> {
    return this.objects(`SELECT * FROM ${quoted(table)} LIMIT ${SAMPLE_ROWS}`);
  }
}

// What a statement touches in SQLite: each row as the session extension recorded it, or, in a table whose rows have no key, as
// RETURNING gives it.
import type { Json, JsonObject } from "../../abi/json.ts";
import { rowsOfChangeset } from "./changeset.ts";
import {
  type Count,
  type Lost,
  LOST_ROWS_COUNTED,
  type RowChange,
  SAMPLE_ROWS,
  SqlFault,
  type Table,
  type Touched,
} from "./database.ts";
import { type Connection, literal, wordOf } from "./sqlite-connection.ts";
import type { Ran } from "./sqlite-link.ts";
import type { Statement } from "./statement.ts";
import { countsOf, definitionTouched, sweepOf } from "./touched.ts";

type Columns = Table["columns"];
type Rows = Extract<Statement["does"], { kind: "rows" }>;
/** How the rows are seen that a statement touches. */
type Way = {
  /** Each row has a key, by which the session extension tells it. */
  readonly keyed: boolean;
  /** More rows than may be gathered: counts, and a sample from before. */
  readonly many: boolean;
  readonly sample: readonly JsonObject[];
  /** How many rows there are, where some may give way to others without being seen. */
  readonly rowsBefore: number | null;
};

export async function changeRows(
  connection: Connection,
  statement: Statement,
  params: readonly unknown[],
): Promise<Touched> {
  const { does } = statement;
  if (does.kind !== "rows") throw new SqlFault("failed", "The statement changes no rows.");
  const { table, operation } = does;
  const columns = await connection.columns(table.name);
  const way = await wayOf(connection, statement, { does, columns });
  const { keyed, many } = way;
  const own = !keyed && !many;
  const sql = own ? `${statement.text}\n${does.returning ? ", *" : "RETURNING *"}` : statement.text;
  const ran = await connection.run(sql, { params, allow: "rows", record: !many });
  const after = way.rowsBefore === null ? 0 : await connection.count(table.name, Number.MAX_SAFE_INTEGER);
  const gaveWay = way.rowsBefore === null ? 0 : way.rowsBefore + (operation === "insert" ? ran.changes : 0) - after;
  const followed = ran.followed + gaveWay;
  const names = new Map<string, Columns>([[table.name, columns]]);
  const recorded = await rowsRecorded(connection, ran, names);
  const beside = own ? recorded.filter((row) => row.table !== table.name) : recorded;
  const seen = own ? ran.rows.map((row) => ({ table: table.name, ...rowOf(columns, row, operation) })) : [];
  const whole = !many && ran.cut === null && !ran.changesetCut && ran.changes + followed <= connection.rowsMax;
  const all = many ? way.sample.map((row) => ({ table: table.name, before: row, after: null })) : [...beside, ...seen];
  const rows = whole ? all : all.slice(0, SAMPLE_ROWS);
  const width = ran.columns.length - (own ? columns.length : 0);
  return {
    rows,
    whole,
    counts: [
      // Without what was before, an update looks like an insertion.
      ...(own || !whole ? [countOf(table.name, operation, ran.changes)] : []),
      ...(whole ? countsOf(own ? beside : rows) : []),
    ],
    total: ran.changes,
    followed,
    sweeps: await sweepOf({ rows, total: ran.changes, operation }, (max) => connection.count(table.name, max)),
    keys: new Map([...names].map(([name, list]) => [name, list.filter(({ key }) => key).map((column) => column.name)])),
    lost: [],
    notes: notesOf({ ran, way, does, gaveWay, recorded: whole ? recorded : null }),
    answer: does.returning
      ? { columns: ran.columns.slice(0, width), rows: ran.rows.map((row) => row.slice(0, width)), cut: ran.cut }
      : null,
  };
}

async function wayOf(
  connection: Connection,
  statement: Statement,
  { does, columns }: { readonly does: Rows; readonly columns: Columns },
): Promise<Way> {
  const { name } = does.table;
  const keyed = await isKeyed(connection, does, columns);
  const large =
    statement.fits === "destroy" && (await connection.count(name, connection.rowsMax + 1)) > connection.rowsMax;
  const mayGiveWay = !keyed && does.operation !== "delete" && (await connection.hasUnique(name));
  return {
    keyed,
    many: large,
    sample: large ? await connection.sample(name) : [],
    rowsBefore: mayGiveWay ? await connection.count(name, Number.MAX_SAFE_INTEGER) : null,
  };
}

/** Whether each row that is touched has a key. SQLite lets keys be NULL unless they are declared otherwise, or are the row's number. */
async function isKeyed(connection: Connection, { table, operation, upsert }: Rows, columns: Columns): Promise<boolean> {
  const keys = columns.filter(({ key }) => key);
  if (keys.length === 0) return false;
  const isNumber = keys.length === 1 && keys[0]?.type.toUpperCase() === "INTEGER";
  const loose = isNumber ? [] : keys.filter(({ nullable }) => nullable);
  if (loose.length === 0) return true;
  // What is added may have none.
  if (operation === "insert" && !upsert) return false;
  return !(await connection.hasNull(
    table.name,
    loose.map((column) => column.name),
  ));
}

const countOf = (table: string, operation: Rows["operation"], changes: number): Count => ({
  table,
  inserted: operation === "insert" ? changes : 0,
  updated: operation === "update" ? changes : 0,
  deleted: operation === "delete" ? changes : 0,
});

const rowOf = (columns: Columns, row: readonly Json[], operation: string): Omit<RowChange, "table"> => {
  const values = row.slice(row.length - columns.length);
  const named = Object.fromEntries(columns.map(({ name }, at) => [name, values[at] ?? null]));
  return operation === "delete" ? { before: named, after: null } : { before: null, after: named };
};

async function rowsRecorded(connection: Connection, ran: Ran, names: Map<string, Columns>): Promise<RowChange[]> {
  const { changeset } = ran;
  if (changeset === null) return [];
  const rowsMax = ran.changesetCut ? SAMPLE_ROWS : connection.rowsMax;
  // The first walk finds the tables; what the columns of each are called is asked for between.
  const tables = new Set<string>();
  rowsOfChangeset(changeset, (table) => (tables.add(table), []), rowsMax);
  for (const table of tables) if (!names.has(table)) names.set(table, await connection.columns(table));
  return rowsOfChangeset(changeset, (table) => (names.get(table) ?? []).map(({ name }) => name), rowsMax);
}

type Notable = {
  readonly ran: Ran;
  readonly way: Way;
  readonly does: Rows;
  readonly gaveWay: number;
  /** Null where not all were gathered. */
  readonly recorded: readonly RowChange[] | null;
};

function notesOf({ ran, way, does, gaveWay, recorded }: Notable): string[] {
  const notes: string[] = [];
  const { name } = does.table;
  if (ran.followed > 0) notes.push(`${ran.followed} more rows are touched by triggers and cascades.`);
  if (gaveWay > 0)
    notes.push(
      `${gaveWay} of the rows that are there give way to others or become them; what they hold now is not shown.`,
    );
  if (!way.keyed && !way.many && does.operation === "update")
    notes.push(`Rows of ${name} have no primary key, so they are shown only as they are afterwards.`);
  if (way.keyed && recorded !== null && recorded.filter(({ table }) => table === name).length < ran.changes)
    notes.push(`${ran.changes} rows are met; of these some stay as they are.`);
  return notes;
}

export async function define(
  connection: Connection,
  statement: Statement,
  params: readonly unknown[],
): Promise<Touched> {
  const loses = statement.does.kind === "definition" ? statement.does.loses : [];
  const lost: Lost[] = [];
  for (const { name } of loses) lost.push(await lostOf(connection, name));
  const ran = await connection.run(statement.text, { params, allow: "define" });
  const mayCascade = ran.followed + ran.changes > 0 && lost.length > 0;
  return definitionTouched(
    lost,
    mayCascade ? ["Rows of other tables that refer to it may be touched by cascades."] : [],
    mayCascade ? ran.followed + ran.changes : 0,
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

// What a statement touches in PostgreSQL, seen from within its transaction.
//
// The rows as they stand come from the statement itself, by RETURNING. The rows as they stood come from a second connection:
// it sees what was committed last, and what the statement touched is locked until its transaction ends, so that is how they
// stood. MERGE has no RETURNING before PostgreSQL 17; its rows are found by the number of the transaction that wrote them.
import type { Json, JsonObject } from "../../abi/json.ts";
import { type Answer, type Count, type RowChange, SAMPLE_ROWS, SqlFault, type Touched } from "./database.ts";
import { quoted, type Target, targetOf } from "./postgres-target.ts";
import type { Statement } from "./statement.ts";
import { countsOf, sweepOf } from "./touched.ts";
import type { Transaction } from "./transaction.ts";
import { documentOf, paramOfPostgres } from "./values.ts";

type Rows = Extract<Statement["does"], { kind: "rows" }>;
type Beside = <T>(use: (transaction: Transaction) => Promise<T>) => Promise<T>;

export async function changeRows(
  transaction: Transaction,
  statement: Statement,
  { params, rowsMax, beside }: { readonly params: readonly Json[]; readonly rowsMax: number; readonly beside: Beside },
): Promise<Touched> {
  const { does } = statement;
  if (does.kind !== "rows") throw new SqlFault("failed", "The statement changes no rows.");
  const target = await targetOf(transaction, does.table);
  const sink: Gather = { transaction, statement, does, target, params, rowsMax, beside };
  const found = does.operation === "merge" ? await merged(sink) : await returned(sink);
  const counts = countedSince(await countsAtServer(transaction), found.before);
  const whole = found.whole;
  const total = found.total ?? totalOf(counts, target, found.rows.length);
  const counted = counts.reduce((sum, { inserted, updated, deleted }) => sum + inserted + updated + deleted, 0);
  return {
    ...found,
    rows: whole ? found.rows : found.rows.slice(0, SAMPLE_ROWS),
    // Where the server does not count (a foreign table, a setting): what was seen.
    counts: counts.length > 0 ? counts : countsOf(found.rows),
    total,
    followed: Math.max(0, counted - total),
    sweeps: await sweepOf({ rows: found.rows, total, operation: does.operation }, async (max) => {
      const { rows } = await transaction.run(`SELECT count(*) FROM (SELECT 1 FROM ${target.sql} LIMIT ${max}) s`);
      return Number(rows[0]?.[0] ?? 0);
    }),
    keys: new Map([[target.shown, target.key]]),
    lost: [],
    notes: [...found.notes, ...transaction.notices],
  };
}

type Gather = {
  readonly transaction: Transaction;
  readonly statement: Statement;
  readonly does: Rows;
  readonly target: Target;
  readonly params: readonly Json[];
  readonly rowsMax: number;
  readonly beside: Beside;
};
type Found = {
  readonly rows: RowChange[];
  readonly whole: boolean;
  readonly total: number | undefined;
  readonly notes: string[];
  readonly answer: Answer | null;
  /** What the server had counted before the statement was run for good. */
  readonly before: readonly Count[];
};

/** Of more than are gathered the server's own count is what there is. */
const totalOf = (counts: readonly Count[], { shown }: Target, seen: number): number => {
  const own = counts.find(({ table }) => table === shown);
  return Math.max(seen, own === undefined ? 0 : own.inserted + own.updated + own.deleted);
};

async function returned({ transaction, statement, does, target, params, rowsMax, beside }: Gather): Promise<Found> {
  const row = `row_to_json(${quoted(does.alias)}.*)::text AS "reeve row"`;
  const text = `${statement.text}\n${does.returning ? `, ${row}` : `RETURNING ${row}`}`;
  await transaction.run("SAVEPOINT reeve");
  const fetched = await transaction.fetch(text, params, rowsMax);
  const whole = fetched.cut === null;
  // Of a statement whose rows are left unread the server does not say how many they are; without them it does.
  const again = whole || does.returning ? undefined : await runAgain(transaction, statement.text, params);
  const seen = fetched.rows.map((values) => rowIn(values));
  const shown = whole ? seen : seen.slice(0, SAMPLE_ROWS);
  const width = fetched.columns.length - 1;
  const answer = does.returning
    ? {
        columns: fetched.columns.slice(0, width),
        rows: fetched.rows.map((values) => values.slice(0, width)),
        cut: fetched.cut,
      }
    : null;
  const { rows, notes } = await paired(shown, { does, target, beside });
  return { rows, whole, total: whole ? seen.length : again?.affected, notes, answer, before: again?.before ?? [] };
}

async function runAgain(
  transaction: Transaction,
  text: string,
  params: readonly Json[],
): Promise<{ readonly affected: number; readonly before: readonly Count[] }> {
  await transaction.run("ROLLBACK TO SAVEPOINT reeve");
  // What was taken back stays counted.
  const before = await countsAtServer(transaction);
  const { affected } = await transaction.run(text, params.map(paramOfPostgres));
  return { affected, before };
}

/** The row that stands last, as text. */
function rowIn(values: readonly Json[]): JsonObject {
  const text = values.at(-1);
  return documentOf(typeof text === "string" ? text : "{}") as JsonObject;
}

/** The rows, each with what it was before. */
async function paired(
  seen: readonly JsonObject[],
  { does, target, beside }: Pick<Gather, "does" | "target" | "beside">,
): Promise<{ readonly rows: RowChange[]; readonly notes: string[] }> {
  const table = target.shown;
  if (does.operation === "delete") return { rows: seen.map((before) => ({ table, before, after: null })), notes: [] };
  const alone = { rows: seen.map((after) => ({ table, before: null, after })), notes: [] as string[] };
  if ((does.operation === "insert" && !does.upsert) || seen.length === 0) return alone;
  const moved = does.sets.some((column) => target.key.includes(column));
  if (target.key.length === 0 || moved) {
    const why = moved ? "its primary key changes" : "it has no primary key";
    return {
      ...alone,
      notes: [`How the rows of ${table} are now is not shown, since ${why}; only how they are afterwards.`],
    };
  }
  const keys = seen.map((after) => Object.fromEntries(target.key.map((column) => [column, after[column] ?? null])));
  const found = await beside((other) =>
    other.run(
      `SELECT row_to_json(t.*)::text FROM json_populate_recordset(NULL::${target.sql}, $1::json) k JOIN ${target.sql} t ON ${target.key.map((column) => `t.${quoted(column)} = k.${quoted(column)}`).join(" AND ")}`,
      [JSON.stringify(keys)],
    ),
  );
  const before = new Map(
    found.rows.map(([text]) => documentOf(text ?? "null") as JsonObject).map((was) => [keyText(was, target.key), was]),
  );
  return {
    rows: seen.map((after) => ({ table, before: before.get(keyText(after, target.key)) ?? null, after })),
    notes: [],
  };
}

const keyText = (row: JsonObject, key: readonly string[]): string =>
  JSON.stringify(key.map((column) => row[column] ?? null));

async function merged({ transaction, statement, does, target, params, rowsMax, beside }: Gather): Promise<Found> {
  if (!target.isTable || target.key.length === 0)
    throw new SqlFault(
      "failed",
      `What MERGE does to ${target.shown} cannot be shown, since it has no primary key. Use INSERT … ON CONFLICT, UPDATE or DELETE. Nothing was changed.`,
    );
  const { affected } = await transaction.run(statement.text, params.map(paramOfPostgres));
  const [[xid] = []] = (await transaction.run("SELECT pg_current_xact_id()::xid::text")).rows;
  const rowsBy = (system: "xmin" | "xmax", reader: Transaction): ReturnType<Transaction["run"]> =>
    reader.run(`SELECT row_to_json(t.*)::text FROM ${target.sql} t WHERE t.${system}::text = $1 LIMIT ${rowsMax + 1}`, [
      xid,
    ]);
  const after = await rowsBy("xmin", transaction);
  const before = await beside((other) => rowsBy("xmax", other));
  const whole = affected <= rowsMax;
  const documents = ({ rows }: typeof after): JsonObject[] =>
    rows.map(([text]) => documentOf(text ?? "null") as JsonObject);
  const was = new Map(documents(before).map((row) => [keyText(row, target.key), row]));
  const rows: RowChange[] = documents(after).map((row) => {
    const key = keyText(row, target.key);
    const old = was.get(key) ?? null;
    was.delete(key);
    return { table: target.shown, before: old, after: row };
  });
  rows.push(...[...was.values()].map((row) => ({ table: target.shown, before: row, after: null })));
  // A row that others hold as well carries another mark than this transaction's, and is not found by it.
  const complete = !whole || rows.length === affected;
  if (!complete)
    throw new SqlFault(
      "failed",
      `Not all rows that MERGE touches in ${does.alias} can be shown while others hold them. Nothing was changed; try again.`,
    );
  return { rows, whole, total: affected, notes: [], answer: null, before: [] };
}

/** What the server counts of this transaction, triggers and cascades included. Each call has its own connection, so nothing else is among it. */
async function countsAtServer(transaction: Transaction): Promise<Count[]> {
  const { rows } = await transaction.run(
    `SELECT schemaname, relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_xact_user_tables
     WHERE n_tup_ins + n_tup_upd + n_tup_del > 0 ORDER BY 1, 2`,
  );
  return rows.map(([schema, name, inserted, updated, deleted]) => ({
    table: schema === "public" ? (name ?? "") : `${schema ?? ""}.${name ?? ""}`,
    inserted: Number(inserted),
    updated: Number(updated),
    deleted: Number(deleted),
  }));
}

/** The counts less those before. */
function countedSince(counts: readonly Count[], before: readonly Count[]): Count[] {
  const less = new Map(before.map((count) => [count.table, count]));
  return counts.flatMap((count) => {
    const was = less.get(count.table) ?? { inserted: 0, updated: 0, deleted: 0 };
    const [inserted, updated, deleted] = [
      count.inserted - was.inserted,
      count.updated - was.updated,
      count.deleted - was.deleted,
    ];
    return inserted + updated + deleted === 0 ? [] : [{ table: count.table, inserted, updated, deleted }];
  });
}

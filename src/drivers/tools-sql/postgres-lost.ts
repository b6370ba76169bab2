// What goes with a definition that changes in PostgreSQL, looked at before it goes.
import type { Json, JsonObject } from "../../abi/json.ts";
import { type Lost, LOST_ROWS_COUNTED, SAMPLE_ROWS, SqlFault, type Touched } from "./database.ts";
import { named, type Target, targetOf } from "./postgres-target.ts";
import type { Statement, TableName } from "./statement.ts";
import { definitionTouched } from "./touched.ts";
import type { Transaction } from "./transaction.ts";
import { documentOf, paramOfPostgres } from "./values.ts";

/** Tables that may go at once: nobody looks at more. */
const LOST_TABLES_MAX = 100;

/** Runs a change of definition, after a look at what goes with it. */
export async function define(
  transaction: Transaction,
  statement: Statement,
  params: readonly Json[],
): Promise<Touched> {
  const lost: Lost[] = [];
  for (const table of await losing(transaction, statement)) {
    const target = await targetOf(transaction, table);
    if (target.isTable) lost.push(await lostOf(transaction, target));
  }
  await transaction.run(statement.text, params.map(paramOfPostgres));
  return definitionTouched(lost, [...transaction.notices]);
}

/** All tables whose content goes, those that the statement does not name included. */
async function losing(transaction: Transaction, { does }: Statement): Promise<readonly TableName[]> {
  if (does.kind !== "definition") return [];
  if (does.also === null) return does.loses;
  const { rows } =
    does.also === "referring"
      ? await transaction.run(
          `WITH RECURSIVE going (oid) AS (SELECT to_regclass(name)::oid FROM unnest($1::text[]) name
             UNION SELECT k.conrelid FROM pg_constraint k JOIN going g ON k.confrelid = g.oid AND k.contype = 'f')
           SELECT n.nspname, c.relname FROM going g JOIN pg_class c ON c.oid = g.oid JOIN pg_namespace n ON n.oid = c.relnamespace
           ORDER BY 1, 2 LIMIT ${LOST_TABLES_MAX + 1}`,
          [does.loses.map(named)],
        )
      : await transaction.run(
          `SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition ORDER BY 1, 2 LIMIT ${LOST_TABLES_MAX + 1}`,
          [does.loses.map(({ name }) => name)],
        );
  if (rows.length > LOST_TABLES_MAX)
    throw new SqlFault(
      "failed",
      `It takes away what more than ${LOST_TABLES_MAX} tables hold, and nobody can look at these at once. Nothing was changed. Take away some of the tables first.`,
    );
  return rows.map(([schema, name]) => ({ schema: schema ?? undefined, name: name ?? "" }));
}

async function lostOf(transaction: Transaction, { sql, shown }: Target): Promise<Lost> {
  const { rows: counted } = await transaction.run(
    `SELECT count(*) FROM (SELECT 1 FROM ${sql} LIMIT ${LOST_ROWS_COUNTED}) s`,
  );
  const { rows: sample } = await transaction.run(`SELECT row_to_json(t.*)::text FROM ${sql} t LIMIT ${SAMPLE_ROWS}`);
  const { rows: dependents } = await transaction.run(
    `SELECT DISTINCT pg_describe_object(d.classid, CASE WHEN r.oid IS NULL THEN d.objid ELSE r.ev_class END, 0) FROM pg_depend d
       LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
     WHERE d.refobjid = $1::regclass AND d.deptype = 'n' AND r.oid IS NULL
     UNION SELECT DISTINCT 'view ' || r.ev_class::regclass::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
     WHERE d.refobjid = $1::regclass AND r.ev_class <> d.refobjid
     ORDER BY 1 LIMIT 50`,
    [sql],
  );
  return {
    table: shown,
    rows: Number(counted[0]?.[0] ?? 0),
    sample: sample.map(([text]) => documentOf(text ?? "null") as JsonObject),
    dependents: dependents.map(([what]) => what ?? ""),
  };
}

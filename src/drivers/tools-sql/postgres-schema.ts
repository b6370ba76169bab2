// What a PostgreSQL database holds, as its catalogue says.
import type { Table } from "./database.ts";
import type { Transaction } from "./transaction.ts";

/** Tables that are listed at most. */
const TABLES_MAX = 500;

/** Tables and views that are not the system's, with estimates of their rows. */
export async function schemaOfPostgres(transaction: Transaction): Promise<readonly Table[]> {
  const { rows } = await transaction.run(
    `SELECT json_build_object(
       'name', CASE WHEN n.nspname = 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END,
       'kind', CASE WHEN c.relkind IN ('v', 'm') THEN 'view' ELSE 'table' END,
       'rows', CASE WHEN c.relkind IN ('v', 'f') OR c.reltuples < 0 THEN NULL ELSE c.reltuples::bigint END,
       'columns', (SELECT coalesce(json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'nullable', NOT a.attnotnull,
           'key', EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey))) ORDER BY a.attnum), '[]')
         FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       'references', (SELECT coalesce(json_agg(pg_get_constraintdef(k.oid) ORDER BY k.conname), '[]') FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'))::text
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
       AND has_schema_privilege(n.oid, 'USAGE')
     ORDER BY n.nspname <> 'public', n.nspname, c.relname LIMIT ${TABLES_MAX}`,
  );
  return rows.map(([text]) => JSON.parse(text ?? "{}") as Table);
}

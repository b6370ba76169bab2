// A table as PostgreSQL's catalogue knows it.
import { SqlFault } from "./database.ts";
import type { TableName } from "./statement.ts";
import type { Transaction } from "./transaction.ts";

export type Target = {
  readonly sql: string;
  readonly shown: string;
  readonly key: readonly string[];
  readonly isTable: boolean;
};

export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
export const named = ({ schema, name }: TableName): string =>
  schema === undefined ? quoted(name) : `${quoted(schema)}.${quoted(name)}`;

/** The table that a statement means by a name. Rejects for what is the system's own. */
export async function targetOf(transaction: Transaction, table: TableName): Promise<Target> {
  const { rows } = await transaction.run(
    `SELECT n.nspname, c.relname, c.relkind, coalesce((SELECT json_agg(a.attname ORDER BY array_position(i.indkey::int[], a.attnum::int))
       FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) WHERE i.indrelid = c.oid AND i.indisprimary), '[]')::text
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)`,
    [named(table)],
  );
  const [schema, name, kind, key] = rows[0] ?? [];
  if (name === undefined || name === null) return { sql: named(table), shown: table.name, key: [], isTable: false };
  if (schema === "pg_catalog" || schema === "information_schema" || schema === "pg_toast")
    throw new SqlFault(
      "failed",
      `${name} is PostgreSQL's own: what it holds are roles, rights, settings and definitions, and these are an operator's affair. Nothing was changed.`,
    );
  return {
    sql: named({ schema: schema ?? undefined, name }),
    shown: schema === "public" ? name : `${schema ?? ""}.${name}`,
    key: JSON.parse(key ?? "[]") as string[],
    isTable: kind === "r" || kind === "p",
  };
}

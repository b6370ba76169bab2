// A database as the tools see it, whichever engine it is: one statement a call, each in a transaction and on a connection of
// its own, so that nothing of one call is left for the next.
import type { Json, JsonObject } from "../../abi/json.ts";
import type { Statement } from "./statement.ts";

export type Bounds = {
  /** Rows that are answered with, or gathered of those that are touched. */
  readonly rowsMax: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
};

/** Rows that came back. `cut` says which bound left out what followed. */
export type Answer = {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Json[])[];
  readonly cut: "rows" | "bytes" | null;
};

/** One row, as it stood and as it stands; of columns that stayed the same an engine may leave out all but the key. */
export type RowChange = {
  readonly table: string;
  readonly before: JsonObject | null;
  readonly after: JsonObject | null;
};
export type Count = {
  readonly table: string;
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
};
/** A table whose content goes: how many rows it has (at most `LOST_ROWS_COUNTED` are counted), some of them, and what hangs on it. */
export type Lost = {
  readonly table: string;
  readonly rows: number;
  readonly sample: readonly JsonObject[];
  readonly dependents: readonly string[];
};
export const LOST_ROWS_COUNTED = 1_000_000;
/** Rows of a sample. */
export const SAMPLE_ROWS = 10;

/** What a statement did, before it is committed. */
export type Touched = {
  readonly rows: readonly RowChange[];
  /** Whether `rows` holds every row that the statement touched; a sample otherwise. */
  readonly whole: boolean;
  readonly counts: readonly Count[];
  /** Rows that the statement itself touched. */
  readonly total: number;
  /** Rows that were touched by what follows from it: triggers, cascades, rows that give way to others. */
  readonly followed: number;
  /** Whether it changed or deleted every row that its table had, and these were several, or nearly every one. */
  readonly sweeps: "every" | "nearly every" | null;
  /** Of each table, the columns that tell its rows apart. */
  readonly keys: ReadonlyMap<string, readonly string[]>;
  readonly lost: readonly Lost[];
  /** What the engine said, and what could not be shown. */
  readonly notes: readonly string[];
  readonly answer: Answer | null;
};

export type Column = {
  readonly name: string;
  readonly type: string;
  readonly nullable: boolean;
  readonly key: boolean;
};
export type Table = {
  readonly name: string;
  readonly kind: "table" | "view";
  /** An estimate; null where there is none. */
  readonly rows: number | null;
  readonly columns: readonly Column[];
  readonly references: readonly string[];
};

/** Why a statement has no result, and what became of it: `failed` and `not_performed` have changed nothing. */
export class SqlFault extends Error {
  readonly kind: "failed" | "not_performed" | "unknown";

  constructor(kind: SqlFault["kind"], message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "SqlFault";
    this.kind = kind;
  }
}

/** A row in a table of the database's own, written in the transaction of a change: whoever finds it knows that the change was committed. */
export type Claim = {
  /** By name, or by schema and name. */
  readonly table: readonly string[];
  readonly key: string;
  /** What is kept in it; asked for before the commit. */
  readonly content: () => string;
};

/** Whoever asked for a change knows nothing of the table of claims: where its row cannot be written, it is said what table that is. */
export async function claiming<T>({ table }: Claim, insertion: Promise<T>): Promise<T> {
  try {
    return await insertion;
  } catch (error) {
    if (!(error instanceof SqlFault) || error.kind !== "failed") throw error;
    const name = table.join(".");
    throw new SqlFault(
      "failed",
      `Nothing was run: the table ${name}, which this source keeps what was done in (\`reconcile\` in the configuration), cannot be written to: ${error.message.replace(/\.$/, "")}. Whoever runs Reeve makes it with \`CREATE TABLE ${name} (key text PRIMARY KEY, content text NOT NULL, at timestamp DEFAULT CURRENT_TIMESTAMP)\`, gives the role of the address INSERT, UPDATE and SELECT on it, or takes \`reconcile\` out.`,
      error,
    );
  }
}

export const quotedName = (table: readonly string[]): string =>
  table.map((name) => `"${name.replaceAll('"', '""')}"`).join(".");

export interface Database {
  readonly dialect: "PostgreSQL" | "SQLite";
  classify(text: string): Promise<Statement>;
  /** Rejects with `SqlFault`. */
  query(statement: Statement, params: readonly Json[], bounds: Bounds): Promise<Answer>;
  /** Performs it, and commits if `agree` does; whether it was committed. Rejects with `SqlFault`, or with what `agree` throws; it is rolled back then. */
  perform(
    statement: Statement,
    params: readonly Json[],
    bounds: Bounds & { readonly agree: (touched: Touched) => boolean; readonly claim?: Claim | undefined },
  ): Promise<boolean>;
  /**
   * What is kept under a claim; null if there is none, and then no transaction that began with it can commit any more. Rejects with
   * `SqlFault` also where one still might.
   */
  claimed(claim: Pick<Claim, "table" | "key">, bounds: Bounds): Promise<string | null>;
  schema(bounds: Bounds): Promise<readonly Table[]>;
  close(): Promise<void>;
}

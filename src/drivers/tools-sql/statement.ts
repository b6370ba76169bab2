// A statement as it was understood: which tool it fits, and what it works on. What was not understood is never one.
import { OsError } from "../../abi/errors.ts";

/** The tools that take a statement, from harmless to dangerous. */
export type Fit = "query" | "change" | "destroy";

/** A table as the statement names it. */
export type TableName = { readonly schema?: string | undefined; readonly name: string };

export type Operation = "insert" | "update" | "delete" | "merge";

export type Statement = {
  /** Without what stands behind its end: no semicolon, and nothing that a semicolon would part from it. */
  readonly text: string;
  readonly fits: Fit;
  /** Why it fits no milder tool; empty for a query. */
  readonly why: string;
  readonly does:
    | { readonly kind: "read" }
    /** Only its plan is asked for. */
    | { readonly kind: "explain" }
    | {
        readonly kind: "rows";
        readonly operation: Operation;
        readonly table: TableName;
        /** What the statement calls the table. */
        readonly alias: string;
        readonly returning: boolean;
        /** Columns that it sets, in rows that are there. */
        readonly sets: readonly string[];
        /** An insertion that may meet a row that is there, and change it. */
        readonly upsert: boolean;
        /** Whether the rows that it reaches are named by values that stand in it. */
        readonly named: boolean;
      }
    | {
        /** A definition changes. */
        readonly kind: "definition";
        readonly what: string;
        /** The tables whose content goes with it, or that of some columns. */
        readonly loses: readonly TableName[];
        /** What goes with these as well: tables that refer to them; or tables of the schemas that are named in their place. */
        readonly also: "referring" | "schema" | null;
      };
};

/** The longest statement that is read. Characters. */
const STATEMENT_CHARS_MAX = 64 * 1024;

/** The refusal of a statement that no tool takes. */
export const refusal = (why: string): OsError =>
  new OsError("invalid_argument", `The statement was not run: ${why}`, { data: { issues: [`statement: ${why}`] } });

const NONE = "there is none. Give one SQL statement.";

/** Throws `invalid_argument` for a text that no parser is given. */
export function checkText(text: string): void {
  if (text.trim() === "") throw refusal(NONE);
  if (text.includes("\0")) throw refusal("it has a character that no statement has.");
  if (text.length > STATEMENT_CHARS_MAX)
    throw refusal(
      `it is ${text.length} characters long, and ${STATEMENT_CHARS_MAX} are read. Pass long values as params.`,
    );
}

/** The one statement of a text. */
export function onlyOf<T>(statements: readonly T[]): T {
  const [only] = statements;
  if (only === undefined) throw refusal(NONE);
  if (statements.length > 1) throw refusal(`these are ${statements.length} statements; give one a call.`);
  return only;
}

/** What is found of a statement beside its text. */
export type Classified = Omit<Statement, "text">;

export const READ: Classified = { fits: "query", why: "", does: { kind: "read" } };
export const EXPLAIN: Classified = { fits: "query", why: "", does: { kind: "explain" } };

type Defined = {
  readonly what: string;
  readonly loses?: readonly TableName[];
  readonly also?: "referring" | "schema" | null;
};

export const definition = (fits: Fit, why: string, { what, loses = [], also = null }: Defined): Classified => ({
  ...{ fits, why },
  does: { kind: "definition", what, loses, also },
});
export const changesDefinition = (what: string): Classified =>
  definition("change", "it changes the database's definition", { what });
export const dropped = (loses: readonly TableName[] = [], also: "schema" | null = null): Classified =>
  definition("destroy", "DROP takes away what it names", { what: "DROP", loses, also });
/** Nothing of it would be there for the next call. */
export const temporary = (): OsError => refusal("what is temporary ends with this call; leave out TEMP.");

/** A statement that changes or deletes the rows that its condition on `alias` bounds; without a bound it may be all of them. */
export const boundedFit = (
  bound: boolean,
  { alias, verb }: { readonly alias: string; readonly verb: "changes" | "deletes" },
): Pick<Statement, "fits" | "why"> =>
  bound
    ? { fits: "change", why: `it ${verb} rows` }
    : { fits: "destroy", why: `no condition on ${alias} bounds which rows it ${verb}` };

export const refusedFunction = (name: string): OsError =>
  refusal(`the function ${name} acts beside the statement, and is called by no tool here.`);

/** Runs what walks a tree. One that is nested deeper than can be walked is refused like one that cannot be read. */
export function walked<T>(walk: () => T): T {
  try {
    return walk();
  } catch (error) {
    if (error instanceof RangeError) throw refusal("it is nested too deeply to be understood.");
    throw error;
  }
}

const ORDER: readonly Fit[] = ["query", "change", "destroy"];
/** Whether `tool` takes it. `destroy` also takes what changes or deletes rows that are bounded, where `change` does not: of too many, or of all. */
function takes(tool: Fit, { fits, does }: Statement): boolean {
  if (tool === fits) return true;
  const reaches = does.kind === "rows" && (does.operation !== "insert" || does.upsert);
  return tool === "destroy" && fits === "change" && reaches;
}

/** Throws `invalid_argument`, naming the tool that fits, where the statement is not for `tool`. */
export function checkFit(tool: Fit, statement: Statement): void {
  if (takes(tool, statement)) return;
  const { fits, why } = statement;
  const reason = ORDER.indexOf(fits) > ORDER.indexOf(tool) ? why : "it is milder than that";
  throw refusal(`it is not for the tool "${tool}": ${reason}. The tool that fits is "${fits}".`);
}

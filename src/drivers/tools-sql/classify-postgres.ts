// PostgreSQL's statements, by PostgreSQL's own grammar.
//
// Invariants:
//   P1. What the grammar does not take, or no rule here names, is refused: nothing is guessed.
//   P2. A part of a statement that changes rows inside one that reads or changes others is refused, wherever it stands.
import { loadModule, parseSync } from "libpg-query";
import { binds, type ColumnName, type Condition, namesRows } from "./binding.ts";
import {
  ALTERATIONS_CHANGE,
  ALTERATIONS_DESTROY,
  DEFINITIONS,
  DROPS,
  isRefusedFunction,
  REFUSED_STATEMENTS,
  RENAMES,
} from "./postgres-rules.ts";
import {
  boundedFit,
  checkText,
  type Classified,
  definition,
  dropped,
  EXPLAIN,
  type Fit,
  changesDefinition,
  onlyOf,
  type Operation,
  READ,
  refusal,
  refusedFunction,
  type Statement,
  type TableName,
  temporary,
  walked,
} from "./statement.ts";
import { isTree, list, text, tree, type Tree } from "./tree.ts";

/** Reads one statement. Throws `invalid_argument` for what no tool takes. */
export async function classifyPostgres(given: string): Promise<Statement> {
  checkText(given);
  await loadModule();
  const { kind, node, statement } = parsed(given);
  // What is explained may change rows; it is looked through from within.
  checkInside(kind === "ExplainStmt" ? tree(Object.values(tree(node.query))[0]) : node);
  return { text: statement, ...walked(() => classified(kind, node)) };
}

function parsed(given: string): { readonly kind: string; readonly node: Tree; readonly statement: string } {
  let statements: readonly unknown[];
  try {
    statements = list(tree(parseSync(given)).stmts);
  } catch (error) {
    throw refusal(`PostgreSQL's grammar does not take it: ${error instanceof Error ? error.message : String(error)}.`);
  }
  const raw = tree(onlyOf(statements));
  const [[kind, node] = ["", {}]] = Object.entries(tree(raw.stmt));
  // Places are counted in bytes of UTF-8.
  const bytes = Buffer.from(given, "utf8");
  const from = typeof raw.stmt_location === "number" ? raw.stmt_location : 0;
  const to = typeof raw.stmt_len === "number" && raw.stmt_len > 0 ? from + raw.stmt_len : bytes.length;
  return { kind, node: tree(node), statement: bytes.subarray(from, to).toString("utf8").trim() };
}

function classified(kind: string, node: Tree): Classified {
  switch (kind) {
    case "SelectStmt":
      return select(node);
    case "VariableShowStmt":
      return READ;
    case "ExplainStmt":
      return explain(node);
    case "InsertStmt":
      return insert(node);
    case "UpdateStmt":
    case "DeleteStmt":
      return updateOrDelete(kind, node);
    case "MergeStmt":
      return merge(node);
    case "CreateTableAsStmt":
      return createAs(node);
    case "IndexStmt":
      if (node.concurrent === true) throw refusal("CONCURRENTLY does not run in a transaction; leave it out.");
      return changesDefinition("CREATE INDEX");
    case "AlterTableStmt":
      return alter(node);
    case "DropStmt":
      return drop(node);
    case "TruncateStmt":
      return definition("destroy", "TRUNCATE empties tables", {
        what: "TRUNCATE",
        loses: list(node.relations).map((relation) => tableOf(tree(tree(relation).RangeVar))),
        also: node.behavior === "DROP_CASCADE" ? "referring" : null,
      });
    case "ViewStmt":
      return node.replace === true
        ? definition("destroy", "the view that it may replace is gone then", { what: "CREATE OR REPLACE VIEW" })
        : changesDefinition("CREATE VIEW");
    case "CreateSchemaStmt":
      if (node.authrole !== undefined) throw refusal("rights are an operator's affair; leave out AUTHORIZATION.");
      if (list(node.schemaElts).length > 0)
        throw refusal("it makes more than the schema; make each of these in a call of its own.");
      return changesDefinition("CREATE SCHEMA");
    case "RenameStmt":
      return rename(node);
    default:
      return otherwise(kind);
  }
}

function otherwise(kind: string): Classified {
  const made = DEFINITIONS[kind];
  if (made !== undefined) return changesDefinition(made);
  const why = REFUSED_STATEMENTS[kind];
  throw refusal(
    why === undefined ? `statements of its kind (${kind.replace(/Stmt$/, "")}) are run by no tool here.` : `${why}.`,
  );
}

function select(node: Tree): Classified {
  if (node.intoClause !== undefined)
    throw refusal('SELECT INTO makes a table; write CREATE TABLE … AS with the tool "change".');
  return READ;
}

function explain(node: Tree): Classified {
  const [[kind, inner] = ["", {}]] = Object.entries(tree(node.query));
  const analyzes = list(node.options)
    .map((option) => tree(tree(option).DefElem))
    .some(({ defname }) => text(defname).toLowerCase() === "analyze");
  const { fits, does } = classified(kind, tree(inner));
  if (fits !== "query" && analyzes) throw refusal("EXPLAIN ANALYZE performs what it explains; leave out ANALYZE.");
  if (does.kind === "definition")
    throw refusal("only the plans of SELECT, INSERT, UPDATE, DELETE and MERGE are shown.");
  return analyzes ? READ : EXPLAIN;
}

const tableOf = ({ schemaname, relname }: Tree): TableName => ({
  schema: typeof schemaname === "string" ? schemaname : undefined,
  name: text(relname),
});
const aliasOf = (relation: Tree): string => text(tree(relation.alias).aliasname) || text(relation.relname);

function rows(
  operation: Operation,
  node: Tree,
  more: {
    readonly fits: Fit;
    readonly why: string;
    readonly sets?: readonly string[];
    readonly upsert?: boolean;
    readonly named?: boolean;
  },
): Classified {
  const relation = tree(node.relation);
  const { fits, why, sets = [], upsert = false, named = false } = more;
  return {
    fits,
    why,
    does: {
      kind: "rows",
      operation,
      table: tableOf(relation),
      alias: aliasOf(relation),
      returning: node.returningClause !== undefined || list(node.returningList).length > 0,
      sets,
      upsert,
      named,
    },
  };
}

const setsOf = (targets: unknown): string[] => list(targets).map((target) => text(tree(tree(target).ResTarget).name));

function insert(node: Tree): Classified {
  const conflict = tree(node.onConflictClause);
  const upsert = conflict.action === "ONCONFLICT_UPDATE";
  const source = tree(tree(node.selectStmt).SelectStmt);
  return rows("insert", node, {
    ...{ fits: "change", why: "it adds rows", sets: setsOf(conflict.targetList), upsert },
    named: list(source.valuesLists).length > 0,
  });
}

function updateOrDelete(kind: "UpdateStmt" | "DeleteStmt", node: Tree): Classified {
  const update = kind === "UpdateStmt";
  const others = list(update ? node.fromClause : node.usingClause);
  const alias = aliasOf(tree(node.relation));
  if (Object.hasOwn(tree(node.whereClause), "CurrentOfExpr")) throw refusal("there is no cursor that it could go by.");
  const condition = conditionOf(node.whereClause);
  const scope = { alias, mixed: others.length > 0 };
  return rows(update ? "update" : "delete", node, {
    ...boundedFit(binds(condition, scope), { alias, verb: update ? "changes" : "deletes" }),
    sets: update ? setsOf(node.targetList) : [],
    named: namesRows(condition, scope),
  });
}

function merge(node: Tree): Classified {
  const clauses = list(node.mergeWhenClauses).map((clause) => tree(tree(clause).MergeWhenClause));
  const alias = aliasOf(tree(node.relation));
  const joined = binds(conditionOf(node.joinCondition), { alias, mixed: true });
  // Rows of the target that the source knows nothing of are all the others.
  const sweeping = clauses.some(
    ({ matchKind, commandType, condition }) =>
      matchKind === "MERGE_WHEN_NOT_MATCHED_BY_SOURCE" &&
      commandType !== "CMD_NOTHING" &&
      !binds(conditionOf(condition), { alias, mixed: true }),
  );
  const bound = joined && !sweeping;
  return rows("merge", node, {
    ...boundedFit(bound, { alias, verb: "changes" }),
    sets: clauses.flatMap(({ targetList, commandType }) => (commandType === "CMD_UPDATE" ? setsOf(targetList) : [])),
  });
}

function createAs(node: Tree): Classified {
  if (!Object.hasOwn(tree(node.query), "SelectStmt")) throw refusal("CREATE … AS takes a SELECT here.");
  return changesDefinition(node.objtype === "OBJECT_MATVIEW" ? "CREATE MATERIALIZED VIEW" : "CREATE TABLE");
}

function alter(node: Tree): Classified {
  const commands = list(node.cmds).map((command) => text(tree(tree(command).AlterTableCmd).subtype));
  const strange = commands.find((subtype) => !ALTERATIONS_CHANGE.has(subtype) && !ALTERATIONS_DESTROY.has(subtype));
  if (strange !== undefined) throw refusal(`this form of ALTER (${strange.slice(3)}) is an operator's affair.`);
  const loses = commands.some((subtype) => ALTERATIONS_DESTROY.has(subtype));
  const what = "ALTER TABLE";
  return loses
    ? definition("destroy", "it takes something away, or writes every row anew", {
        what,
        loses: [tableOf(tree(node.relation))],
      })
    : changesDefinition(what);
}

function rename(node: Tree): Classified {
  const type = text(node.renameType);
  if (!RENAMES.has(type))
    throw refusal(`to rename this (${type.replace("OBJECT_", "").toLowerCase()}) is an operator's affair.`);
  return changesDefinition("ALTER … RENAME");
}

function drop(node: Tree): Classified {
  const type = text(node.removeType);
  if (!DROPS.has(type))
    throw refusal(`to drop this (${type.replace("OBJECT_", "").toLowerCase()}) is an operator's affair.`);
  if (node.concurrent === true) throw refusal("CONCURRENTLY does not run in a transaction; leave it out.");
  if (type === "OBJECT_SCHEMA")
    return dropped(
      list(node.objects).map((object) => ({ name: text(tree(tree(object).String).sval) })),
      "schema",
    );
  const tables = type === "OBJECT_TABLE" || type === "OBJECT_MATVIEW" ? list(node.objects) : [];
  return dropped(
    tables.map((object) => {
      const names = list(tree(tree(object).List).items).map((item) => text(tree(tree(item).String).sval));
      return { schema: names.at(-2), name: names.at(-1) ?? "" };
    }),
  );
}

const CHANGES_ROWS = new Set(["InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"]);

/** Looks through the whole tree for what no statement may hold. */
function checkInside(node: Tree): void {
  const open: unknown[] = [node];
  while (open.length > 0) {
    const value = open.pop();
    if (Array.isArray(value)) for (const each of value as unknown[]) open.push(each);
    if (!isTree(value)) continue;
    for (const [field, inner] of Object.entries(value)) {
      checkField(field, inner);
      open.push(inner);
    }
  }
}

function checkField(field: string, inner: unknown): void {
  if (CHANGES_ROWS.has(field))
    throw refusal("it changes rows within another statement; make each change a call of its own.");
  if (field === "lockingClause") throw refusal("FOR UPDATE and FOR SHARE hold rows for nothing here; leave it out.");
  if (field === "intoClause" && isTree(inner))
    throw refusal('SELECT INTO makes a table; write CREATE TABLE … AS with the tool "change".');
  // Of a relation: `t` is what is temporary.
  if (field === "relpersistence" && inner === "t") throw temporary();
  if (field === "schemaname" && inner === "pg_temp") throw temporary();
  if (field !== "FuncCall") return;
  const [schema = "", name = ""] = [
    "",
    ...list(tree(inner).funcname).map((part) => text(tree(tree(part).String).sval)),
  ].slice(-2);
  if (isRefusedFunction({ schema, name })) throw refusedFunction(name);
}

/** A condition in the form that is judged. */
function conditionOf(value: unknown): Condition | undefined {
  if (value === undefined) return undefined;
  const [[kind, inner] = ["", {}]] = Object.entries(tree(value));
  const node = tree(inner);
  if (kind === "BoolExpr") {
    const parts = list(node.args).map((part) => conditionOf(part) ?? NOTHING);
    if (node.boolop === "NOT_EXPR") return { kind: "not", part: parts[0] ?? NOTHING };
    return { kind: node.boolop === "AND_EXPR" ? "and" : "or", parts };
  }
  return leafOf(value);
}

const NOTHING: Condition = { kind: "leaf", columns: [], other: true };

function leafOf(value: unknown): Condition {
  const columns: { table?: string; column: string }[] = [];
  let other = false;
  const look = (inner: unknown): void => {
    if (Array.isArray(inner)) {
      for (const each of inner as unknown[]) look(each);
      return;
    }
    for (const [kind, node] of Object.entries(tree(inner))) {
      if (kind === "ColumnRef") {
        const names = list(tree(node).fields).map((field) => text(tree(tree(field).String).sval));
        columns.push({ ...(names.length > 1 ? { table: names.at(-2) ?? "" } : {}), column: names.at(-1) ?? "" });
        continue;
      }
      if (kind === "A_Const" || kind === "ParamRef" || kind === "SubLink" || kind === "FuncCall") other = true;
      // What a subquery reads is its own, but for what it is compared with.
      if (kind === "SubLink") look(tree(node).testexpr);
      else if (kind !== "name") look(node);
    }
  };
  look(value);
  return { kind: "leaf", columns, other, named: namedBy(value) };
}

const columnOf = (value: unknown): ColumnName | undefined => {
  const fields = list(tree(tree(value).ColumnRef).fields).map((field) => text(tree(tree(field).String).sval));
  const column = fields.at(-1);
  return column === undefined || column === "" ? undefined : { table: fields.at(-2), column };
};

/** Whether it is a value that stands in the statement or in its parameters, or a list of these. */
function isValue(value: unknown): boolean {
  const [[kind, inner] = ["", {}]] = Object.entries(tree(value));
  const node = tree(inner);
  if (kind === "TypeCast") return isValue(node.arg);
  if (kind === "List" || kind === "A_ArrayExpr")
    return list(kind === "List" ? node.items : node.elements).every((item) => isValue(item));
  return kind === "A_Const" || kind === "ParamRef";
}

const EQUALITIES = new Set(["AEXPR_OP", "AEXPR_IN", "AEXPR_OP_ANY", "AEXPR_NOT_DISTINCT"]);

/** The column that is held to values. */
function namedBy(value: unknown): ColumnName | undefined {
  const { kind, name, lexpr, rexpr } = tree(tree(value).A_Expr);
  const operator = list(name).map((part) => text(tree(tree(part).String).sval));
  if (!EQUALITIES.has(text(kind)) || operator.join(".") !== "=") return undefined;
  if (isValue(rexpr)) return columnOf(lexpr);
  return isValue(lexpr) ? columnOf(rexpr) : undefined;
}

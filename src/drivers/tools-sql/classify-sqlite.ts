// SQLite's statements, by a parser that is made from SQLite's own grammar.
//
// Invariants:
//   L1. What the grammar does not take, or no rule here names, is refused: nothing is guessed.
//   L2. What this says of a statement is enforced by the engine's authoriser, which knows nothing of this.
import { parse } from "sqlite3-parser";
import { binds, type ColumnName, type Condition, namesRows } from "./binding.ts";
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
  READ,
  refusal,
  refusedFunction,
  type Statement,
  type TableName,
  temporary,
  walked,
} from "./statement.ts";
import { isTree, list, text, tree, type Tree } from "./tree.ts";

/** PRAGMAs that only look, as the authoriser lets them through too. */
export const PRAGMAS_READ: ReadonlySet<string> = new Set([
  "table_info",
  "table_xinfo",
  "table_list",
  "index_list",
  "index_info",
  "index_xinfo",
  "foreign_key_list",
]);

/** Functions that act beside the statement. */
export const FUNCTIONS_REFUSED: ReadonlySet<string> = new Set([
  "load_extension",
  "readfile",
  "writefile",
  "edit",
  "fts3_tokenizer",
  "sqlite_log",
]);

const REFUSED: Readonly<Record<string, string>> = {
  AttachStmt: "ATTACH opens another database",
  DetachStmt: "DETACH is for databases that were attached, and none is",
  BeginStmt: "each call is a transaction of its own already",
  CommitStmt: "each call is a transaction of its own already",
  RollbackStmt: "each call is a transaction of its own already",
  SavepointStmt: "each call is a transaction of its own already",
  ReleaseStmt: "each call is a transaction of its own already",
  CreateTriggerStmt: "triggers are programs; an operator creates them",
  CreateVirtualTableStmt: "virtual tables are programs; an operator creates them",
  VacuumStmt: "upkeep is an operator's affair, and runs outside a transaction",
  AnalyzeStmt: "upkeep is an operator's affair",
  ReindexStmt: "upkeep is an operator's affair",
};

/** Reads one statement. Throws `invalid_argument` for what no tool takes. */
export function classifySqlite(given: string): Statement {
  checkText(given);
  const node = onlyOf(parsed(given));
  checkInside(node);
  const found = walked(() => classified(node));
  // Its plan as people read it, and not as a program of the engine's machine.
  if (found.does.kind === "explain")
    return { text: `EXPLAIN QUERY PLAN ${given.slice(...placeOf(node.stmt, given))}`, ...found };
  return { text: given.slice(0, placeOf(node, given)[1]).trim(), ...found };
}

function placeOf(node: unknown, given: string): readonly [from: number, to: number] {
  const { offset, length } = tree(tree(node).span);
  return typeof offset === "number" && typeof length === "number" ? [offset, offset + length] : [0, given.length];
}

function parsed(given: string): readonly Tree[] {
  let result: ReturnType<typeof parse>;
  try {
    result = parse(given);
  } catch (error) {
    throw refusal(`it is too deeply nested or too long to be read (${error instanceof Error ? error.message : "?"}).`);
  }
  if (result.status !== "ok") {
    const why = result.errors.map(({ message }) => message).join("; ");
    throw refusal(`SQLite's grammar does not take it: ${why}.`);
  }
  return result.root.cmds as unknown as readonly Tree[];
}

function classified(node: Tree): Classified {
  const kind = text(node.type);
  switch (kind) {
    case "SelectStmt":
      return READ;
    case "PragmaStmt":
      return pragma(node);
    case "ExplainStmt": {
      // SQLite never performs what it explains.
      const { does } = classified(tree(node.stmt));
      if (does.kind === "definition") throw refusal("only the plans of SELECT, INSERT, UPDATE and DELETE are shown.");
      return EXPLAIN;
    }
    case "InsertStmt":
      return rows("insert", node, {
        ...{ fits: "change", why: "it adds rows" },
        named: tree(tree(tree(node.body).select).select).type === "SelectValues",
      });
    case "UpdateStmt":
    case "DeleteStmt":
      return updateOrDelete(kind, node);
    case "CreateTableStmt":
    case "CreateViewStmt":
      if (node.temporary === true) throw temporary();
      return changesDefinition(kind === "CreateTableStmt" ? "CREATE TABLE" : "CREATE VIEW");
    case "CreateIndexStmt":
      return changesDefinition("CREATE INDEX");
    case "AlterTableStmt":
      return alter(node);
    case "DropTableStmt":
      return dropped([tableOf(node.tblName)]);
    case "DropViewStmt":
    case "DropIndexStmt":
    case "DropTriggerStmt":
      return dropped();
    default: {
      const why = REFUSED[kind];
      throw refusal(why === undefined ? `statements of its kind (${kind}) are run by no tool here.` : `${why}.`);
    }
  }
}

const nameOf = (value: unknown): string => text(tree(value).text) || text(tree(value).name);

function tableOf(value: unknown): TableName {
  const { dbName, objName } = tree(value);
  const schema = nameOf(dbName);
  if (schema !== "" && schema.toLowerCase() !== "main") throw refusal(`there is no database "${schema}" but main.`);
  return { name: nameOf(objName) };
}

function pragma(node: Tree): Classified {
  const name = nameOf(tree(node.name).objName).toLowerCase();
  if (!PRAGMAS_READ.has(name))
    throw refusal(
      `PRAGMA ${name} may change how the database works. These only look: ${[...PRAGMAS_READ].join(", ")}.`,
    );
  return READ;
}

function rows(
  operation: "insert" | "update" | "delete",
  node: Tree,
  { fits, why, named }: { readonly fits: Fit; readonly why: string; readonly named: boolean },
): Classified {
  const table = tableOf(node.tblName);
  const sets = list(node.sets).flatMap((set) => list(tree(set).colNames).map(nameOf));
  return {
    fits,
    why,
    does: {
      kind: "rows",
      operation,
      table,
      alias: nameOf(tree(node.tblName).alias) || table.name,
      returning: list(node.returning).length > 0 || list(tree(node.body).returning).length > 0,
      sets,
      upsert: tree(node.body).upsert !== undefined || node.orConflict === "Replace",
      named,
    },
  };
}

function updateOrDelete(kind: "UpdateStmt" | "DeleteStmt", node: Tree): Classified {
  const alias = nameOf(tree(node.tblName).alias) || tableOf(node.tblName).name;
  const condition = conditionOf(node.whereClause);
  const scope = { alias, mixed: node.from !== undefined };
  const isUpdate = kind === "UpdateStmt";
  const fit = boundedFit(binds(condition, scope), { alias, verb: isUpdate ? "changes" : "deletes" });
  return rows(isUpdate ? "update" : "delete", node, { ...fit, named: namesRows(condition, scope) });
}

const ALTERATIONS: Readonly<Record<string, Fit>> = {
  RenameToAlterTableBody: "change",
  RenameColumnAlterTableBody: "change",
  AddColumnAlterTableBody: "change",
  AddConstraintAlterTableBody: "change",
  SetColumnNotNullAlterTableBody: "change",
  DropColumnNotNullAlterTableBody: "change",
  DropColumnAlterTableBody: "destroy",
  DropConstraintAlterTableBody: "destroy",
};

function alter(node: Tree): Classified {
  const fits = ALTERATIONS[text(tree(node.body).type)];
  if (fits === undefined) throw refusal("this form of ALTER is run by no tool here.");
  return fits === "change"
    ? changesDefinition("ALTER TABLE")
    : definition(fits, "it takes something away", { what: "ALTER TABLE", loses: [tableOf(node.tblName)] });
}

/** Looks through the whole tree for what no statement may hold. */
function checkInside(root: Tree): void {
  const open: unknown[] = [root];
  while (open.length > 0) {
    const value = open.pop();
    if (Array.isArray(value)) for (const each of value as unknown[]) open.push(each);
    if (!isTree(value)) continue;
    const name = text(value.type).startsWith("FunctionCall")
      ? nameOf(value.name)
      : value.type === "TableCallSelectTable"
        ? tableOf(value.tblName).name
        : "";
    if (FUNCTIONS_REFUSED.has(name.toLowerCase())) throw refusedFunction(name);
    for (const inner of Object.values(value)) open.push(inner);
  }
}

const CONSTANTS = new Set(["true", "false"]);

/** A condition in the form that is judged. */
function conditionOf(value: unknown): Condition | undefined {
  if (!isTree(value)) return undefined;
  const part = (inner: unknown): Condition => conditionOf(inner) ?? { kind: "leaf", columns: [], other: true };
  if (value.type === "BinaryExpr" && (value.op === "And" || value.op === "Or"))
    return { kind: value.op === "And" ? "and" : "or", parts: [part(value.left), part(value.right)] };
  if (value.type === "UnaryExpr" && value.op === "Not") return { kind: "not", part: part(value.expr) };
  const exprs = list(value.exprs);
  if (value.type === "ParenthesizedExpr" && exprs.length === 1) return part(exprs[0]);
  return leafOf(value);
}

function leafOf(root: Tree): Condition {
  const columns: { table?: string; column: string }[] = [];
  let other = false;
  const look = (value: unknown): void => {
    if (Array.isArray(value)) {
      for (const each of value as unknown[]) look(each);
      return;
    }
    if (!isTree(value)) return;
    const type = text(value.type);
    if (type === "QualifiedExpr") {
      columns.push({ table: nameOf(value.table), column: nameOf(value.column) });
      return;
    }
    if (type === "Id" || type === "NameExpr") {
      const column = type === "Id" ? nameOf(value) : nameOf(value.name);
      if (CONSTANTS.has(column.toLowerCase())) other = true;
      else columns.push({ column });
      return;
    }
    if (type.endsWith("Literal") || type === "VariableExpr") other = true;
    // What a subquery reads is its own, but for what it is compared with.
    if (type === "ExistsExpr" || type === "SubqueryExpr") other = true;
    else if (type === "InSelectExpr" || type === "InTableExpr") {
      other = true;
      look(value.lhs);
    } else if (type.startsWith("FunctionCall")) {
      other = true;
      look(value.args);
    } else for (const inner of Object.values(value)) look(inner);
  };
  look(root);
  return { kind: "leaf", columns, other, named: namedBy(root) };
}

/** Without parentheses around it. */
function bare(value: unknown): unknown {
  const { type, exprs } = tree(value);
  const inner = list(exprs);
  return type === "ParenthesizedExpr" && inner.length === 1 ? bare(inner[0]) : value;
}

function columnOf(given: unknown): ColumnName | undefined {
  const value = bare(given);
  const { type, table, column } = tree(value);
  if (type === "QualifiedExpr") return { table: nameOf(table), column: nameOf(column) };
  const name = type === "Id" ? nameOf(value) : "";
  return name === "" || CONSTANTS.has(name.toLowerCase()) ? undefined : { column: name };
}

/** Whether it is a value that stands in the statement or in its parameters. */
function isValue(value: unknown): boolean {
  const { type, expr } = tree(bare(value));
  if (type === "UnaryExpr") return isValue(expr);
  return type === "VariableExpr" || text(type).endsWith("Literal");
}

/** The column that is held to values. */
function namedBy({ type, op, left, right, not, lhs, rhs }: Tree): ColumnName | undefined {
  if (type === "InListExpr") return not === false && list(rhs).every(isValue) ? columnOf(lhs) : undefined;
  if (type !== "BinaryExpr" || (op !== "Equals" && op !== "Is")) return undefined;
  if (isValue(right)) return columnOf(left);
  return isValue(left) ? columnOf(right) : undefined;
}

// The names by which a statement of PostgreSQL's calls what it uses, gathered from its tree: functions, operators, types, relations.
//
// More may be gathered than is used (a name of a common table expression is taken for a table), and nothing less: whoever looks
// them up in the catalogue then sees at least what the server will see.
import { loadModule, parseSync } from "libpg-query";
import { isTree, list, text, tree, type Tree } from "./tree.ts";

/** `attribute`: what stands behind a dot, and may be a function of what stands before it. `access`: how a table or an index is kept. */
export type NameKind = "function" | "operator" | "type" | "relation" | "attribute" | "access";
export type Name = { readonly kind: NameKind; readonly schema: string | null; readonly name: string };

/** Operators that are meant where none is written: by CASE, JOIN USING, GROUP BY, ORDER BY, BETWEEN and the like. */
const IMPLIED = ["=", "<>", "<", ">", "<=", ">="];
/** Fields that hold the parts of a name. */
const PARTS: Readonly<Record<string, Readonly<Record<string, NameKind>>>> = {
  FuncCall: { funcname: "function" },
  A_Expr: { name: "operator" },
  SubLink: { operName: "operator" },
  SortBy: { useOp: "operator" },
  TypeName: { names: "type" },
  RangeTableSample: { method: "function" },
  ColumnRef: { fields: "attribute" },
  A_Indirection: { indirection: "attribute" },
};

/** Of a statement that the grammar takes. */
export async function namesOf(statement: string): Promise<readonly Name[]> {
  await loadModule();
  const found = new Map<string, Name>();
  const add = (kind: NameKind, parts: readonly string[]): void => {
    const [schema = null, name = ""] = [parts.at(-2), parts.at(-1)];
    if (name !== "") found.set(JSON.stringify([kind, schema, name]), { kind, schema, name });
  };
  for (const name of IMPLIED) add("operator", [name]);
  const open: unknown[] = [parseSync(statement)];
  while (open.length > 0) {
    const value = open.pop();
    if (Array.isArray(value)) for (const each of value as unknown[]) open.push(each);
    if (!isTree(value)) continue;
    fromNode(value, add);
    for (const inner of Object.values(value)) open.push(inner);
  }
  return [...found.values()];
}

function fromNode(node: Tree, add: (kind: NameKind, parts: readonly string[]) => void): void {
  // A relation stands in its own node, or as the field of a statement that takes nothing else.
  if (typeof node.relname === "string")
    add("relation", [...(text(node.schemaname) === "" ? [] : [text(node.schemaname)]), node.relname]);
  // A type likewise: `typeName` of a cast, of a column, of what JSON becomes.
  if (Array.isArray(node.names) && !Object.hasOwn(node, "TypeName")) add("type", wordsOf(node.names));
  if (typeof node.accessMethod === "string") add("access", [node.accessMethod]);
  for (const [kind, fields] of Object.entries(PARTS)) {
    const inner = tree(node[kind]);
    for (const [field, what] of Object.entries(fields)) {
      const parts = wordsOf(inner[field]);
      if (what === "attribute") for (const part of parts) add(what, [part]);
      else add(what, parts);
    }
  }
}

const wordsOf = (parts: unknown): string[] =>
  list(parts)
    .map((part) => text(tree(tree(part).String).sval))
    .filter((part) => part !== "");

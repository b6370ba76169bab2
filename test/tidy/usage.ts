// How names and words are used in code: read as a field, compared, or written. By name and not by type, so that
// a field of the same name elsewhere counts as well; what it finds unused is surely unused.
import type { Node } from "oxc-parser";
import { nameOf, parse, walk } from "./source.ts";
import type { SourceFile } from "./source.ts";

export type Usage = {
  /** Members read, fields taken apart, keys looked up. */
  readonly fieldsRead: ReadonlySet<string>;
  /** Strings compared with, switched on, or used as a key. */
  readonly wordsRead: ReadonlySet<string>;
  /** Strings used as a value. */
  readonly wordsWritten: ReadonlySet<string>;
  /** Identifiers used outside import statements. */
  readonly identifiers: ReadonlySet<string>;
};

type Found = { readonly [Kind in keyof Usage]: Set<string> };

export function usageOf(files: readonly SourceFile[]): Usage {
  const found: Found = { fieldsRead: new Set(), wordsRead: new Set(), wordsWritten: new Set(), identifiers: new Set() };
  for (const file of files)
    walk(parse(file).program, (node, ancestors) => {
      const parent = ancestors[ancestors.length - 1];
      const name = nameOf(node);
      if (parent === undefined || name === undefined || parent.type.startsWith("Import")) return;
      if (node.type === "Literal") noteWord(found, name, { node, parent });
      else noteIdentifier(found, name, { node, parent, ancestors });
    });
  return found;
}

function noteIdentifier(
  found: Found,
  name: string,
  { node, parent, ancestors }: { readonly node: Node; readonly parent: Node; readonly ancestors: readonly Node[] },
): void {
  found.identifiers.add(name);
  const holder = ancestors[ancestors.length - 2];
  if (parent.type === "MemberExpression" && parent.property === node && !isAssigned(parent, holder))
    found.fieldsRead.add(name);
  if (parent.type === "Property" && parent.key === node && holder?.type === "ObjectPattern") found.fieldsRead.add(name);
}

const isAssigned = (member: Node, holder: Node | undefined): boolean =>
  holder?.type === "AssignmentExpression" && holder.operator === "=" && holder.left === member;

const COMPARES = ["===", "!==", "==", "!=", "in"];

function noteWord(found: Found, word: string, { node, parent }: { readonly node: Node; readonly parent: Node }): void {
  if (parent.type.startsWith("TS") && parent.type !== "TSAsExpression" && parent.type !== "TSSatisfiesExpression")
    return;
  const compared = parent.type === "BinaryExpression" && COMPARES.includes(parent.operator);
  const looksUp = parent.type === "MemberExpression" || parent.type === "ArrayExpression";
  const isKey = parent.type === "Property" && parent.key === node;
  if (compared || parent.type === "SwitchCase" || looksUp || isKey) found.wordsRead.add(word);
  else found.wordsWritten.add(word);
  if (looksUp || (compared && parent.operator === "in")) found.fieldsRead.add(word);
}

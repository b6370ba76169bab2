// An OpenAPI document as a tree that nobody has checked, and references within it.
//
// Invariants:
//   R1. References lead nowhere but within the document, and a chain of them has an end.
import { OsError } from "../../abi/errors.ts";

export type Tree = { readonly [field: string]: unknown };

export const isTree = (value: unknown): value is Tree =>
  typeof value === "object" && value !== null && !Array.isArray(value);
export const tree = (value: unknown): Tree => (isTree(value) ? value : {});
export const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);
export const text = (value: unknown): string => (typeof value === "string" ? value : "");

/** References to references. */
const CHAIN_MAX = 16;

export const invalid = (what: string): OsError => new OsError("invalid_argument", what, { data: { issues: [what] } });

/** What a JSON pointer in a fragment leads to. */
export function at(document: Tree, reference: string): unknown {
  if (!reference.startsWith("#/"))
    throw invalid(
      `The reference ${reference} leads out of the document, and only what is within it is read. Bundle the document into one file.`,
    );
  let value: unknown = document;
  for (const part of reference.slice(2).split("/")) {
    const key = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
    const inside = Array.isArray(value)
      ? (value as unknown[])[Number(key)]
      : Object.hasOwn(tree(value), key)
        ? tree(value)[key]
        : undefined;
    if (inside === undefined) throw invalid(`The reference ${reference} leads to nothing.`);
    value = inside;
  }
  return value;
}

/** The object itself, where it is a reference. */
export function resolved(document: Tree, value: unknown): Tree {
  let found = value;
  for (let links = 0; isTree(found) && typeof found.$ref === "string"; links += 1) {
    if (links === CHAIN_MAX) throw invalid(`The reference ${found.$ref} is part of a chain without an end.`);
    found = at(document, found.$ref);
  }
  return tree(found);
}

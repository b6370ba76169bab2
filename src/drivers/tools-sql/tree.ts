// Trees as the parsers of both engines make them: objects of fields, read with care, since nothing says what a field holds.
export type Tree = { readonly [field: string]: unknown };

export const isTree = (value: unknown): value is Tree =>
  typeof value === "object" && value !== null && !Array.isArray(value);
/** What is no tree is an empty one. */
export const tree = (value: unknown): Tree => (isTree(value) ? value : {});
/** What is no list is an empty one. */
export const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);
/** What is no text is an empty one. */
export const text = (value: unknown): string => (typeof value === "string" ? value : "");

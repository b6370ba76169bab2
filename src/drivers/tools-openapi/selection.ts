// Which operations of a document are wanted: a model cannot be given thousands of tools.
//
// Invariants:
//   S1. Words of the selection that speak of no operation are an error: a tool left out would be missed in silence.
import { invalid, isTree, list, resolved, text, tree, type Tree } from "./tree.ts";

export type Selection = {
  readonly tags?: readonly string[] | undefined;
  /** With `*` for any characters, and a method before it if wanted: `GET /orders*`. */
  readonly paths?: readonly string[] | undefined;
  /** By `operationId`, with `*` for any characters. */
  readonly operations?: readonly string[] | undefined;
};

export const METHODS = ["get", "head", "post", "put", "patch", "delete", "options"] as const;
/** An operation where it stands in the document. */
export type Spot = {
  readonly path: string;
  readonly item: Tree;
  readonly method: (typeof METHODS)[number];
  readonly operation: Tree;
};

const OPERATIONS_MAX = 500;
const TAGS_SHOWN = 40;

/** Those that any word of the selection speaks of; all without one. Throws `invalid_argument` for too many. */
export function selected(document: Tree, selection: Selection | undefined): readonly Spot[] {
  const all = spotsOf(document);
  const wanted = selection === undefined ? all : chosen(all, selection);
  if (wanted.length <= OPERATIONS_MAX) return wanted;
  throw invalid(
    `it has ${wanted.length} operations, and at most ${OPERATIONS_MAX} can be tools: choose some with \`only: { tags, paths, operations }\` beside it. Its tags are: ${tagsOf(all)}`,
  );
}

const spotsOf = (document: Tree): Spot[] =>
  Object.entries(tree(document.paths)).flatMap(([path, entry]) => {
    if (!path.startsWith("/")) return [];
    const item = resolved(document, entry);
    return METHODS.flatMap((method) => {
      const operation = item[method];
      return isTree(operation) ? [{ path, item, method, operation }] : [];
    });
  });

function chosen(all: readonly Spot[], { tags = [], paths = [], operations = [] }: Selection): readonly Spot[] {
  const words = [
    ...tags.map((tag) => ({ word: `tags: "${tag}"`, fits: (spot: Spot) => list(spot.operation.tags).includes(tag) })),
    ...paths.map((path) => ({ word: `paths: "${path}"`, fits: byPath(path) })),
    ...operations.map((id) => ({ word: `operations: "${id}"`, fits: byId(id) })),
  ];
  const idle = words.filter(({ fits }) => !all.some(fits)).map(({ word }) => word);
  if (idle.length > 0)
    throw invalid(`no operation of it is meant by ${idle.join(", ")} of \`only\`. Its tags are: ${tagsOf(all)}`);
  return all.filter((spot) => words.some(({ fits }) => fits(spot)));
}

function byPath(pattern: string): (spot: Spot) => boolean {
  const [, method, path = ""] = /^(?:([A-Za-z]+) +)?(.*)$/s.exec(pattern) ?? [];
  const fits = matching(path);
  return (spot) => fits(spot.path) && (method === undefined || method.toLowerCase() === spot.method);
}

function byId(pattern: string): (spot: Spot) => boolean {
  const fits = matching(pattern);
  return ({ operation }) => fits(text(operation.operationId));
}

/** Whether a text is the pattern, with `*` for any characters. */
function matching(pattern: string): (given: string) => boolean {
  const [first = "", ...rest] = pattern.split("*");
  const last = rest.pop();
  return (given) => {
    if (last === undefined) return given === pattern;
    if (!given.startsWith(first) || !given.slice(first.length).endsWith(last)) return false;
    let left = given.slice(first.length, given.length - last.length);
    return rest.every((part) => {
      const at = left.indexOf(part);
      left = left.slice(at + part.length);
      return at !== -1;
    });
  };
}

/** Those with the most operations first. */
function tagsOf(all: readonly Spot[]): string {
  const counts = new Map<string, number>();
  for (const { operation } of all)
    for (const tag of list(operation.tags).map(text)) counts.set(tag, (counts.get(tag) ?? 0) + 1);
  const names = [...counts].toSorted((a, b) => b[1] - a[1]).map(([tag, count]) => `${tag} (${count})`);
  const more = names.length > TAGS_SHOWN ? `, and ${names.length - TAGS_SHOWN} more` : "";
  return names.length === 0 ? "none" : `${names.slice(0, TAGS_SHOWN).join(", ")}${more}`;
}

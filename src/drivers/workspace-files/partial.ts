// A state of which a part is as it was in another.
import { OsError } from "../../abi/errors.ts";
import { type Name, shownPath } from "./beneath.ts";
import type { Objects } from "./objects.ts";
import { differences, EMPTY_TEXT, encodeTree, type Entry, hashOf, isAtOrBelow, type Tree } from "./tree.ts";

type Part = { readonly to: string; readonly names: readonly Name[]; readonly objects: Objects };

/**
 * The tree, but with what stands at the path, and below it, as in the tree `to`. The new trees are kept as objects. Rejects with
 * `invalid_argument` where that cannot be: a file stands where a folder would have to.
 */
export function putBack(tree: string, { to, names, objects }: Part): string {
  const put = graft({ now: tree, was: to }, names, objects);
  const path = names.join("/");
  const left = differences(to, put, (hash) => objects.tree(hash)).some((one) => isAtOrBelow(one.path, path));
  if (!left) return put;
  throw new OsError(
    "invalid_argument",
    `${shownPath(path)} cannot be left out: what stands above it has become something else. Leave that out instead. Nothing was written.`,
    { data: { issues: [`except: ${shownPath(path)} cannot be left out`] } },
  );
}

type Sides = { readonly now: string | undefined; readonly was: string | undefined };

function graft({ now, was }: Sides, [name = "", ...rest]: readonly Name[], objects: Objects): string {
  const [present, past] = [treeOf(now, objects), treeOf(was, objects)];
  const entries = new Map(present);
  const [one, other] = [present.get(name), past.get(name)];
  const next = rest.length === 0 ? other : grafted(one, other, (sides) => graft(sides, rest, objects));
  if (next === undefined) entries.delete(name);
  else entries.set(name, next);
  const sorted = [...entries].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return objects.put(encodeTree(new Map(sorted)));
}

/** A folder on the way; one that is there for what is put back alone is what it was, with nothing else in it. */
function grafted(one: Entry | undefined, other: Entry | undefined, below: (sides: Sides) => string): Entry | undefined {
  const now = one?.kind === "folder" ? one : undefined;
  const was = other?.kind === "folder" ? other : undefined;
  const folder = now ?? (one === undefined ? was : undefined);
  if (folder === undefined) return one;
  const hash = below({ now: now?.hash, was: was?.hash });
  return now === undefined && hash === EMPTY_HASH ? undefined : { ...folder, hash };
}

const EMPTY_HASH = hashOf(EMPTY_TEXT);
const NOTHING: Tree = new Map();
const treeOf = (hash: string | undefined, objects: Objects): Tree =>
  hash === undefined ? NOTHING : objects.tree(hash);

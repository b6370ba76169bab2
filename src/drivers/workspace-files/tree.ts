// A folder as it stood: its entries by name, each with what is needed to make it again. Pure data, without the outside.
//
// A tree is kept as text under the hash of that text, and names the trees below it by theirs: what did not change is kept once.
import { hash } from "node:crypto";
import type { Name } from "./beneath.ts";

export type Entry =
  | { readonly kind: "file"; readonly mode: number; readonly size: number; readonly hash: string }
  /** `hash` is that of its own tree. */
  | { readonly kind: "folder"; readonly mode: number; readonly hash: string }
  | { readonly kind: "link"; readonly target: Name };
/** In the order of names. */
export type Tree = ReadonlyMap<Name, Entry>;

type Row =
  | readonly [Name, "f", number, number, string]
  | readonly [Name, "d", number, string]
  | readonly [Name, "l", Name];

export function encodeTree(tree: Tree): string {
  const rows = [...tree].map(([name, entry]): Row => {
    switch (entry.kind) {
      case "file":
        return [name, "f", entry.mode, entry.size, entry.hash];
      case "folder":
        return [name, "d", entry.mode, entry.hash];
      case "link":
        return [name, "l", entry.target];
    }
  });
  return JSON.stringify(rows);
}

export function decodeTree(text: string): Tree {
  const entryOf = (row: Row): Entry => {
    if (row[1] === "f") return { kind: "file", mode: row[2], size: row[3], hash: row[4] };
    if (row[1] === "d") return { kind: "folder", mode: row[2], hash: row[3] };
    return { kind: "link", target: row[2] };
  };
  return new Map((JSON.parse(text) as Row[]).map((row) => [row[0], entryOf(row)]));
}

export const hashOf = (content: string | Uint8Array): string => hash("sha256", content, "hex");

const EMPTY: Tree = new Map();
export const EMPTY_TEXT = encodeTree(EMPTY);

export type Difference = {
  /** From the root, with slashes. */
  readonly path: Name;
  readonly before: Entry | undefined;
  readonly after: Entry | undefined;
};

const isSame = (a: Entry | undefined, b: Entry | undefined): boolean => {
  if (a === undefined || b === undefined) return a === b;
  if (a.kind === "link" || b.kind === "link") return a.kind === "link" && b.kind === "link" && a.target === b.target;
  return a.kind === b.kind && a.mode === b.mode && a.hash === b.hash;
};

export const isAtOrBelow = (path: Name, above: Name): boolean => path === above || path.startsWith(`${above}/`);

/** What differs, in the order of paths, a folder before what is in it. Folders whose contents alone differ are not named themselves. */
export function differences(before: string, after: string, load: (hash: string) => Tree): Difference[] {
  const found: Difference[] = [];
  const compare = (a: string | undefined, b: string | undefined, above: Name): void => {
    if (a === b) return;
    const [from, to] = [a === undefined ? EMPTY : load(a), b === undefined ? EMPTY : load(b)];
    for (const name of [...new Set([...from.keys(), ...to.keys()])].sort()) {
      const [one, other] = [from.get(name), to.get(name)];
      if (isSame(one, other)) continue;
      const path = above + name;
      const inner = [one, other].map((entry) => (entry?.kind === "folder" ? entry : undefined));
      const both = inner[0] !== undefined && inner[1] !== undefined;
      if (!both || inner[0]?.mode !== inner[1]?.mode) found.push({ path, before: one, after: other });
      compare(inner[0]?.hash, inner[1]?.hash, `${path}/`);
    }
  };
  compare(before, after, "");
  return found;
}

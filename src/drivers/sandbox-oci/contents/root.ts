// The root of a container's file system: a folder with nothing in it but places to mount at, and links.
//
// Invariants:
//   B1. Each place is there before a runtime starts, which is nobody in the container, and never has to make one.
//   B2. No link of the machine is followed where a place is made.
import { chmodSync, lstatSync, mkdirSync, readdirSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Mount } from "../../../ports/sandbox.ts";

/** How the machine finds its programs: /usr, and what stands beside it. */
const SYSTEM = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/** What every sandbox has of its own. */
const OWN_FOLDERS = ["proc", "sys", "dev", "tmp", "ws", "run", "run/reeve", "run/sandbox"];
const OWN: ReadonlySet<string> = new Set(OWN_FOLDERS);
/** Open to all; a runtime gives what it mounts the mode of the place. */
const OPEN_MODE = 0o1777;
const CLOSED_MODE = 0o755;

/** One entry of the root: a link, or something of the machine at the same name. */
export type RootEntry = { readonly name: string } & ({ readonly link: string } | { readonly from: string });

/** `etc`: the prepared one, where there is no image with its own. */
export type RootSource = { readonly image: string | undefined; readonly etc: string };

export function rootEntries({ image, etc }: RootSource): readonly RootEntry[] {
  const base = image ?? "/";
  const names = image === undefined ? SYSTEM : readdirSync(image).filter((name) => !OWN.has(name));
  const entries = names.flatMap((name): RootEntry[] => {
    const path = join(base, name);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats?.isSymbolicLink() === true) return [{ name, link: readlinkSync(path) }];
    return stats?.isDirectory() === true ? [{ name, from: path }] : [];
  });
  return image === undefined ? [...entries, { name: "etc", from: etc }] : entries;
}

/** What stands in a root: folders with their modes, files without anything in them, links. Parents come first. */
export type RootPart =
  | { readonly path: string; readonly kind: "folder"; readonly mode: number }
  | { readonly path: string; readonly kind: "link"; readonly to: string };

export function rootParts(entries: readonly RootEntry[]): readonly RootPart[] {
  const folder = (path: string): RootPart => ({
    path,
    kind: "folder",
    mode: path === "tmp" ? OPEN_MODE : CLOSED_MODE,
  });
  return [
    ...OWN_FOLDERS.map(folder),
    ...entries.map((entry): RootPart =>
      "link" in entry ? { path: entry.name, kind: "link", to: entry.link } : folder(entry.name),
    ),
    ...(entries.some(({ name }) => name === "var")
      ? []
      : [folder("var"), { path: "var/tmp", kind: "link", to: "../tmp" } as const]),
  ];
}

/** Makes a root at `folder`, which must not be there, with a place for each mount. */
export function makeRoot(folder: string, entries: readonly RootEntry[], mounts: readonly Mount[]): void {
  mkdirSync(folder, { recursive: true });
  for (const part of rootParts(entries)) {
    const path = join(folder, part.path);
    if (part.kind === "link") symlinkSync(part.to, path);
    else {
      mkdirSync(path);
      chmodSync(path, part.mode);
    }
  }
  for (const { to, from } of mounts) makePlace(folder, to, lstatSync(from).isDirectory());
}

/** What lies below a mount, or beyond a link, is not made here: it is there, or the runtime says that it is not. */
export function makePlace(root: string, to: string, isFolder: boolean): void {
  const parent = dirname(to);
  if (parent !== "/") makePlace(root, parent, true);
  if (lstatSync(join(root, parent), { throwIfNoEntry: false })?.isDirectory() !== true) return;
  if (lstatSync(join(root, to), { throwIfNoEntry: false }) !== undefined) return;
  if (isFolder) mkdirSync(join(root, to));
  else writeFileSync(join(root, to), "");
}

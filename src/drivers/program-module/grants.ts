// Which files a child may read while it imports its agent: the project's source and the packages, and nothing that is
// likely to hold secrets or other processes' data.
//
// Node's permission model knows no exceptions from a folder, so folders of source are granted entry by entry: all but
// names that begin with a dot (.env, .git, the data folder .reeve) and the private folders that the host is told of.
import { existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve, sep } from "node:path";

export type GrantOptions = {
  readonly projectFolder: string;
  /** Further folders that agents may be imported from; they need not exist. */
  readonly readableFolders: readonly string[];
  /** Folders that no agent may read. */
  readonly privateFolders: readonly string[];
};

/** This package's code: src/ here, dist/ when built. */
const CODE_FOLDER = resolve(import.meta.dirname, "../..");

/** Absolute paths, each of a file or of a folder with everything in it; in the order of their names. */
export function grantedPaths({ projectFolder, readableFolders, privateFolders }: GrantOptions): string[] {
  const hidden = privateFolders.map(real);
  const project = real(projectFolder);
  const paths = new Set<string>([
    ...[project, ...readableFolders.map(real)].flatMap((folder) => openEntries(folder, hidden)),
    CODE_FOLDER,
    join(dirname(CODE_FOLDER), "package.json"),
    ...packageFolders(project),
    ...packageFolders(CODE_FOLDER),
  ]);
  return [...paths].filter((path) => existsSync(path)).sort();
}

const real = (path: string): string => (existsSync(path) ? realpathSync(path) : resolve(path));

const within = (path: string, folder: string): boolean => path === folder || path.startsWith(folder + sep);

/** What stands in a folder, without dot files and what is hidden; a folder that holds something hidden by what stands in it. */
export function openEntries(folder: string, hidden: readonly string[]): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (name.startsWith(".") || hidden.some((secret) => within(path, secret))) return [];
    const holdsSecret =
      hidden.some((secret) => within(secret, path)) &&
      statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
    return holdsSecret ? openEntries(path, hidden) : [path];
  });
}

/** Every node_modules in which Node looks for packages from this folder; one that is a link under both of its names. */
function packageFolders(folder: string): string[] {
  const found: string[] = [];
  for (let at = folder; ; at = dirname(at)) {
    const path = join(at, "node_modules");
    if (existsSync(path)) found.push(path, realpathSync(path));
    if (at === dirname(at)) return found;
  }
}

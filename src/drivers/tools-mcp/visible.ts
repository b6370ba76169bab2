// What a server in a sandbox sees of the machine beside the system's programs: the folder that it runs in, without dot files and the
// data folder; the packages found from there; its program with what runs that; and what its configuration grants.
//
// Invariants:
//   V1. Everything appears under its own path, and read-only unless the configuration says `write`.
//   V2. A link is followed only for a program, for node_modules, and where it stays within the folder that is shown.
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  lstatSync,
  openSync,
  readSync,
  realpathSync,
  statSync,
} from "node:fs";
import { basename, delimiter, dirname, join, resolve, sep } from "node:path";
import type { Mount } from "../../ports/sandbox.ts";
import { noFolder, notAProgram, notFound, type Program } from "./launch.ts";

export type Wishes = {
  readonly program: Program;
  /** Where commands are looked up. */
  readonly path: string;
  /** Absolute. */
  readonly read: readonly string[];
  readonly write: readonly string[];
  /** A folder's entries without those that nobody shall see. */
  readonly openEntries: (folder: string) => readonly string[];
};

export type Visible = {
  readonly command: string;
  readonly mounts: readonly Mount[];
  /** The PATH inside. */
  readonly path: string;
  /** Inside; undefined where nothing of the folder can be seen. */
  readonly cwd: string | undefined;
};

const SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin";
const SYSTEM = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
const FIRST_LINE_BYTES = 256;
/** A script that is run by a script that is run by … */
const INTERPRETERS_MAX = 4;

const within = (path: string, folder: string): boolean => path === folder || path.startsWith(folder + sep);
const isSystem = (path: string): boolean => SYSTEM.some((folder) => within(path, folder));
const shown = (path: string, access: Mount["access"] = "read"): Mount => ({
  from: realpathSync(path),
  to: path,
  access,
});

/** Throws an error whose message says what is not there. */
export function visibleTo({ program, path, read, write, openEntries }: Wishes): Visible {
  const { cwd, command } = program;
  if (!existsSync(cwd)) throw new Error(noFolder(cwd));
  const found = programsFor(command, { cwd, path });
  const inFolder = openEntries(cwd).flatMap((entry) => entryOf(entry, cwd));
  const granted = [...read.map((each) => grantedOf("read", each)), ...write.map((each) => grantedOf("write", each))];
  // The later of two that appear in one place counts.
  const mounts = new Map(
    [...inFolder, ...packagesFrom(cwd), ...found.mounts, ...granted].map((mount) => [mount.to, mount]),
  );
  const folders = found.commands.map((each) => dirname(each)).filter((folder) => !isSystem(folder));
  return {
    command: found.commands[0] ?? command,
    mounts: [...mounts.values()],
    path: [...new Set([...folders, ...SYSTEM_PATH.split(":")])].join(":"),
    cwd: [...mounts.keys()].some((to) => within(to, cwd)) ? cwd : undefined,
  };
}

/** Where sandboxes run under user ids of their own, what is closed to others can be shown to nobody. */
const isClosed = (mode: number): boolean => process.getuid?.() === 0 && (mode & 0o4) === 0;

function entryOf(path: string, folder: string): Mount[] {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return [];
  if (!stats.isSymbolicLink()) {
    if (!(stats.isDirectory() || stats.isFile()) || isClosed(stats.mode)) return [];
    return [shown(path)];
  }
  if (!existsSync(path)) return [];
  const target = realpathSync(path);
  const inside = target.slice(realpathSync(folder).length);
  const stays = within(target, realpathSync(folder)) && !inside.includes(`${sep}.`);
  return stays && !isClosed(statSync(path).mode) ? [shown(path)] : [];
}

/** Every node_modules in which Node looks for packages from this folder. */
function packagesFrom(folder: string): Mount[] {
  const found: Mount[] = [];
  for (let at = folder; ; at = dirname(at)) {
    const path = join(at, "node_modules");
    if (existsSync(path)) found.push(...both(path));
    if (at === dirname(at)) return found;
  }
}

/** Under the path that it is known by, and under the one that it has. */
const both = (path: string): Mount[] => [shown(path), shown(realpathSync(path))];

function grantedOf(access: Mount["access"], path: string): Mount {
  if (!existsSync(path)) throw new Error(`sandbox.${access} names ${path}, which is not there`);
  return shown(path, access);
}

type Lookup = { readonly cwd: string; readonly path: string };
type Programs = { readonly commands: readonly string[]; readonly mounts: readonly Mount[] };

/** The program, what runs it if it is a script, what runs that; each with its package. */
function programsFor(command: string, lookup: Lookup, depth = 0): Programs {
  const path = located(command, lookup);
  const real = realpathSync(path);
  const venv = dirname(dirname(path));
  // Python finds its packages by the path that it is called by.
  const isVenv = existsSync(join(venv, "pyvenv.cfg"));
  const own = { commands: [isVenv ? path : real], mounts: [...packageOf(real), ...(isVenv ? [shown(venv)] : [])] };
  const interpreter = depth < INTERPRETERS_MAX ? interpreterOf(real) : undefined;
  if (interpreter === undefined) return own;
  const runner = programsFor(interpreter, lookup, depth + 1);
  return { commands: [...own.commands, ...runner.commands], mounts: [...own.mounts, ...runner.mounts] };
}

function located(command: string, { cwd, path }: Lookup): string {
  const candidates = /[/\\]/.test(command)
    ? [resolve(cwd, command)]
    : path
        .split(delimiter)
        .filter((folder) => folder !== "")
        .map((folder) => resolve(cwd, folder, command));
  const there = candidates.filter((candidate) => existsSync(candidate));
  const found = there.find((candidate) => statSync(candidate).isFile() && mayRun(candidate));
  if (found !== undefined) return found;
  throw new Error(there.length > 0 ? notAProgram(command) : notFound(command));
}

function mayRun(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    // Whatever the reason is: it is not to be run.
    return false;
  }
}

/** What belongs to a program: all packages beside it, or its `bin` with the `lib` beside that, or its folder. */
function packageOf(real: string): Mount[] {
  if (isSystem(real)) return [];
  const modules = real.indexOf(`${sep}node_modules${sep}`);
  if (modules !== -1) return [shown(real.slice(0, modules + `${sep}node_modules`.length))];
  const folder = dirname(real);
  if (basename(folder) !== "bin") return [shown(real)];
  const library = join(dirname(folder), "lib");
  return existsSync(library) ? [shown(folder), shown(library)] : [shown(folder)];
}

/** What the first line of a script says it is run by, as a path or a name. */
function interpreterOf(path: string): string | undefined {
  const line = /^#!\s*(\S+)(.*)/.exec(firstLineOf(path));
  if (line === null) return undefined;
  const [, program = "", rest = ""] = line;
  if (basename(program) !== "env") return program;
  return rest.split(/\s+/).find((word) => word !== "" && !word.startsWith("-") && !word.includes("="));
}

function firstLineOf(path: string): string {
  const file = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(FIRST_LINE_BYTES);
    return bytes.toString("latin1", 0, readSync(file, bytes)).split("\n")[0] ?? "";
  } finally {
    closeSync(file);
  }
}

/** Those of the arguments that are paths of this machine and cannot be seen inside. */
export function unseenPaths({ args, cwd }: Program, mounts: readonly Mount[]): string[] {
  return args.filter((arg) => {
    if (!arg.startsWith(sep) && !arg.startsWith(`..${sep}`) && arg !== "..") return false;
    const path = resolve(cwd, arg);
    return existsSync(path) && !isSystem(path) && !mounts.some(({ to }) => within(path, to));
  });
}

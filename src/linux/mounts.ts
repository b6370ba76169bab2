// What of the machine appears inside: sources are opened and looked at here, before anything of them is bound.
//
// Invariants:
//   M1. What is bound is what was checked: the descriptor that was looked at is the one that is bound.
//   M2. No link stands anywhere in a source's path, and nothing but files and folders is bound.
//   M3. No folder is bound below which a program of the machine listens on a socket, however it names that.
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
  type Stats,
} from "node:fs";
import { readdir } from "node:fs/promises";
import { posix } from "node:path";
import { OsError } from "../abi/errors.ts";
import type { Mount } from "../ports/sandbox.ts";

/** An open source. Its descriptor only stands for a place: nothing can be read through it. `found`: by every user, on its path. */
export type Source = {
  readonly descriptor: number;
  readonly path: string;
  readonly stats: Stats;
  readonly found: boolean;
};

const O_PATH = 0o10000000;
/** Folders of the machine that show the machine itself. */
const MACHINE = ["/proc", "/sys", "/dev"];
/** Places inside that hold what every sandbox needs. Below the scratch folder there is room. */
const OWN = ["/ws", "/proc", "/dev", "/etc", "/var/tmp", "/run/reeve"];
const SCRATCH = "/tmp";

const isWithin = (path: string, folder: string): boolean => path === folder || path.startsWith(`${folder}/`);

const refused = (what: string, path: string, why: string): OsError =>
  new OsError("invalid_argument", `The ${what} ${path} cannot be used in a sandbox: ${why}`, {
    data: { issues: [`${path}: ${why}`] },
  });

/** Rejects with `invalid_argument`. The caller closes it. */
export function openSource(what: string, path: string): Source {
  const wanted = posix.resolve(path);
  if (wanted !== path.replace(/(?<=.)\/+$/, ""))
    throw refused(what, path, "it is not an absolute path without . and ..");
  if (wanted === "/" || MACHINE.some((folder) => isWithin(wanted, folder)))
    throw refused(what, path, "it shows the machine itself. Name a folder below it.");
  const descriptor = openPlace(what, wanted);
  try {
    const found = readlinkSync(`/proc/self/fd/${descriptor}`);
    if (found !== wanted) throw refused(what, path, `a link leads from it to ${found}. Name that.`);
    const stats = fstatSync(descriptor);
    if (!stats.isDirectory() && !stats.isFile()) throw refused(what, path, "it is neither a file nor a folder.");
    return { descriptor, path: wanted, stats, found: isFoundByAll(wanted) };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/** Whether every folder above lets all users through. */
export function isFoundByAll(path: string): boolean {
  const parent = posix.dirname(path);
  return (statSync(parent).mode & 0o1) !== 0 && (parent === "/" || isFoundByAll(parent));
}

function openPlace(what: string, path: string): number {
  try {
    return openSync(path, O_PATH | constants.O_NOFOLLOW);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw refused(what, path, code === "ENOENT" ? "it is not there." : message);
  }
}

/** Checks where a mount appears. Rejects with `invalid_argument`. */
export function checkTarget(to: string): void {
  if (posix.resolve(to) !== to || to === "/") throw refused("place", to, "it is not an absolute path without . and ..");
  if (OWN.some((folder) => isWithin(to, folder)) || to === SCRATCH)
    throw refused("place", to, "the sandbox has something of its own there.");
}

/** Rejects with `invalid_argument` if something listens below one of the sources. */
export async function checkSockets(mounts: readonly Mount[]): Promise<void> {
  // A name by way of a descriptor (Reeve's own are bound so, to keep their folders unknown) says nothing here: the number is another's.
  const bound = boundSockets().filter((path) => !path.startsWith("/proc/"));
  const known = new Set(bound.filter((path) => path.startsWith("/")).map(whereItIs));
  // The system does not tell in which folder a name was bound that began with none.
  const names = new Set(bound.filter((path) => !path.startsWith("/")).map((path) => posix.basename(path)));
  for (const { from } of mounts) {
    const socket =
      [...known].find((path) => isWithin(path, from)) ??
      (names.size === 0 ? undefined : (await socketsBelow(from)).find((path) => names.has(posix.basename(path))));
    if (socket !== undefined)
      throw refused("mount", from, `a program of this machine listens on ${socket}. Name a folder without it.`);
  }
}

/** As they were bound: paths of all sockets that programs of this machine listen on, or send from. */
const boundSockets = (): string[] =>
  readFileSync("/proc/net/unix", "utf8")
    .split("\n")
    .flatMap((line) => /^\S+:\s+(?:\S+\s+){6}([^@].*)$/.exec(line)?.[1] ?? []);

/** Without the links that may have led to it. */
function whereItIs(path: string): string {
  try {
    return posix.join(realpathSync(posix.dirname(path)), posix.basename(path));
  } catch {
    // Its folder is gone, or of another world: then nobody comes to it from here.
    return path;
  }
}

/** For so long a folder is not gone through again: many agents are shown the same ones, and a socket may come after any look. */
const LOOK_MS = 5_000;
const looks = new Map<string, Promise<readonly string[]>>();

function socketsBelow(folder: string): Promise<readonly string[]> {
  const known = looks.get(folder);
  if (known !== undefined) return known;
  const look = goThrough(folder);
  looks.set(folder, look);
  void look.then(() => setTimeout(() => looks.delete(folder), LOOK_MS).unref());
  return look;
}

async function goThrough(folder: string): Promise<readonly string[]> {
  const found: string[] = [];
  // What may not be looked into, or goes meanwhile, shows nothing inside either.
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = posix.join(folder, entry.name);
    if (entry.isSocket()) found.push(path);
    if (entry.isDirectory()) found.push(...(await goThrough(path)));
  }
  return found;
}

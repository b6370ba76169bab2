// What bubblewrap is told: the world inside, as arguments. Later mounts cover earlier ones, so their order is part of the profile.
//
// Invariants:
//   P1. Arguments that keep the job in stand on the command line; only its environment comes by a pipe, where other users of the
//       machine do not see it, and which may break off without letting anything out.
//   P2. Nothing inside is writable but the workspace, the sized scratch folders and what the spec names.
import { lstatSync, readlinkSync } from "node:fs";
import type { Mount } from "../../ports/sandbox.ts";

/** Where a source is: an open descriptor, or a path that bubblewrap finds. */
export type Place = number | string;

/** What is open in bubblewrap under these numbers. */
export type Given = {
  readonly filter: number;
  /** The prepared /etc. */
  readonly etc: number;
  /** Read to its end and closed when all mounts stand; see launch.ts. */
  readonly ready: number;
  /** Further arguments. */
  readonly env?: number | undefined;
  readonly workspace?: Place | undefined;
  readonly door?: Place | undefined;
  readonly mounts: readonly (Pick<Mount, "to" | "access"> & { readonly place: Place })[];
};

export type World = {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly diskBytes: number;
  /** Links and folders beside /usr that programs of this machine are found by. */
  readonly root: readonly string[];
};

const MEBIBYTE = 1024 * 1024;
const TEMPORARY_BYTES = 64 * MEBIBYTE;
const SHARED_MEMORY_BYTES = 16 * MEBIBYTE;

export const HOME: Readonly<Record<string, string>> = {
  PATH: "/usr/local/bin:/usr/bin:/bin",
  HOME: "/tmp",
  TMPDIR: "/tmp",
  LANG: "C.UTF-8",
};

const FIXED = [
  ...["--unshare-all", "--unshare-user", "--disable-userns"],
  ...["--uid", "1000", "--gid", "1000", "--cap-drop", "ALL", "--hostname", "sandbox"],
  ...["--new-session", "--die-with-parent"],
];
const KERNEL_VIEWS = [
  ...["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"],
  ...["--dev", "/dev", "--perms", "1777", "--size", String(SHARED_MEMORY_BYTES), "--tmpfs", "/dev/shm"],
  ...["--remount-ro", "/dev"],
];
const SCRATCH = [
  ...["--perms", "1777", "--size", String(TEMPORARY_BYTES), "--tmpfs", "/tmp"],
  ...["--dir", "/var", "--symlink", "../tmp", "/var/tmp", "--dir", "/run"],
];

/** The arguments of bubblewrap, its own name not included. */
export function profileOf(world: World, given: Given): string[] {
  const mounts = given.mounts.toSorted((a, b) => a.to.length - b.to.length);
  return [
    ...FIXED,
    ...["--seccomp", String(given.filter)],
    ...world.root,
    ...["--ro-bind-fd", String(given.etc), "/etc"],
    ...KERNEL_VIEWS,
    ...SCRATCH,
    ...(given.workspace === undefined
      ? ["--size", String(world.diskBytes), "--tmpfs", "/ws"]
      : bind("write", given.workspace, "/ws")),
    ...(given.door === undefined ? [] : bind("read", given.door, "/run/reeve")),
    ...mounts.flatMap(({ to, access, place }) => bind(access, place, to)),
    ...["--perms", "0444", "--file", String(given.ready), "/.sandbox"],
    ...["--remount-ro", "/", "--chdir", world.cwd, "--clearenv"],
    ...setenv(HOME),
    ...(given.env === undefined ? [] : ["--args", String(given.env)]),
    "--",
    ...world.command,
  ];
}

const bind = (access: Mount["access"], place: Place, to: string): string[] => [
  `${access === "read" ? "--ro-bind" : "--bind"}${typeof place === "number" ? "-fd" : ""}`,
  String(place),
  to,
];

export const setenv = (env: Readonly<Record<string, string>>): string[] =>
  Object.entries(env).flatMap(([name, value]) => ["--setenv", name, value]);

/** How this machine finds its programs: /usr, and the links or folders beside it. */
export function rootOf(): string[] {
  return ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"].flatMap((path) => {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats?.isSymbolicLink() === true) return ["--symlink", readlinkSync(path), path];
    return stats?.isDirectory() === true ? ["--ro-bind", path, path] : [];
  });
}

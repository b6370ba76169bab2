// What a spec names of the machine, opened and checked, and the user id that it is used under.
import { chownSync, closeSync, lchownSync, lstatSync, readdirSync, type Stats } from "node:fs";
import { lchown, readdir } from "node:fs/promises";
import { join } from "node:path";
import { OsError } from "../abi/errors.ts";
import type { Mount, SandboxSpec } from "../ports/sandbox.ts";
import { checkSockets, checkTarget, openSource, type Source } from "./mounts.ts";
import type { Uids } from "./uids.ts";

export type Places = {
  /** Absent where Reeve's own is used. */
  readonly uid: number | undefined;
  readonly workspace: Source | undefined;
  readonly door: Source | undefined;
  readonly mounts: readonly (Pick<Mount, "to" | "access"> & { readonly bind: Source })[];
  /** Closes the descriptors, when the sandbox stands. */
  close(): void;
  /** Gives the user id back, when the sandbox is over. */
  giveBack(): void;
};

/** Rejects with `invalid_argument` for what cannot be used; nothing is then open. */
export async function openPlaces(spec: SandboxSpec, uids: Uids | undefined): Promise<Places> {
  const open: number[] = [];
  let uid: number | undefined;
  const close = (): void => open.splice(0).forEach(closeSync);
  const giveBack = (): void => {
    if (uid !== undefined) uids?.giveBack(uid);
    uid = undefined;
  };
  const take = (what: string, path: string): Source => {
    const source = openSource(what, path);
    open.push(source.descriptor);
    return source;
  };
  try {
    checkText(spec);
    const workspace = spec.workspace === undefined ? undefined : take("workspace", spec.workspace.folder);
    const door = spec.door === undefined ? undefined : take("door", spec.door.folder);
    const mounts = [...spec.mounts, ...(spec.door?.mounts ?? [])].map((mount) => {
      checkTarget(mount.to);
      return { ...mount, source: take("mount", mount.from) };
    });
    if (spec.mounts.length > 0) checkSockets(spec.mounts);
    if (uids !== undefined) {
      uid = workspace === undefined ? uids.take() : userOf(spec, workspace, uids);
      for (const { from, access, source } of mounts) checkRights(from, access, source.stats);
      if (workspace !== undefined && workspace.stats.uid !== uid) await giveTo(spec.workspace?.folder ?? "", uid);
      if (spec.door !== undefined) admit(spec.door.folder, uid);
    }
    return {
      uid,
      workspace,
      door,
      mounts: mounts.map(({ to, access, source }) => ({ to, access, bind: source })),
      close,
      giveBack,
    };
  } catch (error) {
    close();
    giveBack();
    throw error;
  }
}

/** The user that the workspace names, or the one that its folder keeps. Never root: what is root's is given away. */
function userOf({ workspace }: SandboxSpec, { path, stats }: Source, uids: Uids): number {
  const named = workspace?.uid ?? 0;
  return named === 0 ? uids.takeFor(path, stats.uid) : named;
}

const invalid = (what: string): OsError =>
  new OsError("invalid_argument", `The sandbox cannot be started: ${what}`, { data: { issues: [what] } });

function checkText({ command, env, cwd, door }: SandboxSpec): void {
  const texts = [...command, cwd ?? "", ...Object.entries({ ...door?.env, ...env }).flat()];
  if (texts.some((text) => text.includes("\0"))) throw invalid("its command, folder or environment holds a zero byte.");
  const name = Object.keys(env).find((key) => key === "" || key.includes("="));
  if (name !== undefined) throw invalid(`"${name}" is not the name of an environment variable.`);
  if (cwd !== undefined && !cwd.startsWith("/")) throw invalid(`its working folder ${cwd} is not an absolute path.`);
}

/** Sandboxes have user ids of their own, which belong to no group: what is not open to all is closed to them. */
function checkRights(from: string, access: Mount["access"], stats: Stats): void {
  const needed = (stats.isDirectory() ? 0o5 : 0o4) | (access === "write" ? 0o2 : 0);
  if ((stats.mode & needed) === needed) return;
  const letters = access === "write" ? "o+rwX" : "o+rX";
  throw invalid(
    `the mount ${from} is not open to other users, and sandboxes run under user ids of their own. Open it (\`chmod -R ${letters}\`), or run Reeve as the user that owns it.`,
  );
}

/** All of a folder that is used for the first time. Nothing runs in it yet, and links are not followed. */
async function giveTo(folder: string, uid: number): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await giveTo(path, uid);
    else await lchown(path, uid, uid);
  }
  await lchown(folder, uid, uid);
}

/** Lets a sandbox connect to its door, unless all may. */
function admit(folder: string, uid: number): void {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const stats = lstatSync(path);
    if (stats.isSocket() && (stats.mode & 0o2) === 0) lchownSync(path, uid, uid);
  }
  if ((lstatSync(folder).mode & 0o1) === 0) chownSync(folder, uid, uid);
}

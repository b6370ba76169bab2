// What a spec names of the machine, opened and checked, and the user id that it is used under.
import { chownSync, closeSync, lchownSync, lstatSync, readdirSync } from "node:fs";
import { lchown, readdir } from "node:fs/promises";
import { join } from "node:path";
import { OsError } from "../abi/errors.ts";
import type { Mount, SandboxSpec } from "../ports/sandbox.ts";
import { lastingUserOf, type LastingUsersOptions } from "./lasting-users.ts";
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

/** Where Reeve may give sandboxes users of their own. */
export type Users = {
  readonly uids: Uids;
  /** Absent where none of them lasts. */
  readonly lasting: LastingUsersOptions | undefined;
};

/** Rejects with `invalid_argument` for what cannot be used, and as `lastingUserOf` does; nothing is then open. */
export async function openPlaces(spec: SandboxSpec, users: Users | undefined): Promise<Places> {
  const open: number[] = [];
  let uid: number | undefined;
  const close = (): void => open.splice(0).forEach(closeSync);
  const giveBack = (): void => {
    if (uid !== undefined) users?.uids.giveBack(uid);
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
    if (spec.mounts.length > 0) await checkSockets(spec.mounts);
    if (users !== undefined) {
      uid = userOf(spec, workspace, users);
      for (const mount of mounts) checkRights(mount, spec.lastingUser === undefined ? undefined : uid);
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

/** The one that lasts, or that the workspace names, or that its folder keeps, or a new one. Never root: what is root's is given away. */
function userOf(spec: SandboxSpec, workspace: Source | undefined, { uids, lasting }: Users): number {
  if (spec.lastingUser !== undefined) {
    if (lasting === undefined) throw invalid(`nothing keeps the user id of ${spec.lastingUser} here.`);
    return lastingUserOf(spec.lastingUser, lasting);
  }
  if (workspace === undefined) return uids.take();
  const named = spec.workspace?.uid ?? 0;
  return named === 0 ? uids.takeFor(workspace.path, workspace.stats.uid) : named;
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

type Shown = Pick<Mount, "from" | "access"> & { readonly source: Source };

/** Sandboxes have user ids of their own, which belong to no group but that of the same number: what is not open to these, or to all, is closed to them. */
function checkRights({ from, access, source: { stats } }: Shown, lasting: number | undefined): void {
  const needed = (stats.isDirectory() ? 0o5 : 0o4) | (access === "write" ? 0o2 : 0);
  const place = stats.uid === lasting ? 6 : stats.gid === lasting ? 3 : 0;
  if (((stats.mode >> place) & needed) === needed) return;
  const letters = access === "write" ? "rwX" : "rX";
  const toAll = `Open it to all (\`chmod -R o+${letters} ${from}\`)`;
  const toOne = `Give it to the group that this one has at every start (\`chgrp -R ${lasting} ${from} && chmod -R g+${letters} ${from}\`), open it to all (\`chmod -R o+${letters} ${from}\`)`;
  throw invalid(
    `the mount ${from} is closed to it, since sandboxes run under user ids of their own. ${lasting === undefined ? toAll : toOne}, or run Reeve as the user that owns it.`,
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

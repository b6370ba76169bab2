// The workspace of the process that calls, for the length of one call.
import type { SandboxLimits } from "../../abi/isolation.ts";
import type { CallOptions } from "../../ports/tools.ts";
import type { Workspace, Workspaces } from "../../ports/workspace.ts";
import { tightest } from "./bounds.ts";

export type WorkspacePorts = {
  readonly workspaces: Workspaces;
  /** What the configuration allows; an agent's own limits can only be lower. */
  readonly limits: SandboxLimits;
};

/** Opens the workspace of the process that calls, and lets go of it after the work. */
export async function inWorkspace<T>(
  { workspaces, limits }: WorkspacePorts,
  { process }: Pick<CallOptions, "process">,
  work: (workspace: Workspace) => Promise<T>,
): Promise<T> {
  const { pid, manifest } = process;
  const { diskBytes } = tightest(limits, manifest.limits);
  const workspace = await workspaces.open(pid, { from: manifest.workspace.from, diskBytes });
  try {
    return await work(workspace);
  } finally {
    await workspace.close();
  }
}

/** Keeps the workspace as it stands before the call; answers whether that had been done before, for the same call. */
export async function keep(workspace: Workspace, { call, notes, process }: CallOptions): Promise<boolean> {
  if (!(await workspace.snapshot(call))) return true;
  await notes({ kind: "workspace.changed", what: "snapshot", before: call, by: process.pid });
  return false;
}

/** Puts the workspace back to how it stood before the call, which is begun again; false where other calls have worked in it since. */
export async function putBack(workspace: Workspace, { call, notes, process }: CallOptions): Promise<boolean> {
  if (!(await workspace.putBack(call))) return false;
  await notes({ kind: "workspace.changed", what: "rollback", before: call, by: process.pid });
  return true;
}

/**
 * Keeps the workspace before a call that changes nothing but that; or, where the call was begun before, puts it back. False where it was
 * begun before and other calls have worked there since: it stands as those left it.
 */
export const keepOrPutBack = async (workspace: Workspace, options: CallOptions): Promise<boolean> =>
  !(await keep(workspace, options)) || (await putBack(workspace, options));

/** Why such a call is not simply begun again. */
export const OTHERS_SINCE = "it was begun before, and other calls have worked in the workspace since";

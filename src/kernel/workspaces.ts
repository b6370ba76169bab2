// What operators do with the workspace of a process: look at it, write it back, put it back.
//
// Invariants:
//   W1. Nothing is put back under a process that goes on: it would act on what is no longer so.
//   W2. What was written back or put back stands in the journal, also of a process that is over.
import { errorRecord, OsError } from "../abi/errors.ts";
import type { Actor } from "../abi/events.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { JsonObject } from "../abi/json.ts";
import type { Differences, WorkspaceRow } from "../abi/reports.ts";
import type { Args, Output } from "../abi/syscalls.ts";
import type { Removal } from "../ports/workspace.ts";
import { assertIdle } from "./idle.ts";
import { entryOf, type Process } from "./process.ts";
import type { Services } from "./services.ts";
import { orRemoved } from "./workspace-removal.ts";

/** Paths that stand in the journal. Characters, all together. */
const PATHS_CHARACTERS_MAX = 256 * 1024;

export const diffWorkspace = (
  services: Services,
  { pid, from }: Args<"workspace.diff">,
): Promise<Output<"workspace.diff">> =>
  onWorkspace(services, pid, async () => {
    const { workspaces } = services.ports;
    const differences = await workspaces.diff(pid, from ?? null);
    return { ...differences, snapshots: [...(await workspaces.snapshots(pid))] };
  });

export const patchWorkspace = (
  services: Services,
  { pid, from }: Args<"workspace.patch">,
): Promise<Output<"workspace.patch">> =>
  onWorkspace(services, pid, async () => {
    const { patch, leftOut } = await services.ports.workspaces.patch(pid, from ?? null);
    return { patch, leftOut: [...leftOut] };
  });

export const commitWorkspace = (
  services: Services,
  { pid, except, to }: Args<"workspace.commit">,
  by: Actor,
): Promise<Output<"workspace.commit">> =>
  onWorkspace(services, pid, async (process) => {
    const written = await services.ports.workspaces.commit(pid, { except, to });
    await note(services, process, { what: "commit", before: null, by, differences: written });
    return written;
  });

export const rollBackWorkspace = (
  services: Services,
  { pid, to }: Args<"workspace.rollback">,
  by: Actor,
): Promise<Output<"workspace.rollback">> =>
  onWorkspace(services, pid, async (process) => {
    assertStill(services, process);
    const changed = await services.ports.workspaces.rollback(pid, to ?? null);
    await note(services, process, { what: "rollback", before: to ?? null, by, differences: changed });
    return changed;
  });

/** One that is not there may never have been, or have been removed. */
const onWorkspace = <T>(
  { table, ports }: Services,
  pid: ProcessId,
  work: (process: Process) => Promise<T>,
): Promise<T> => orRemoved(ports, pid, () => table.with(pid, work));

function assertStill(services: Services, { pid, record }: Process): void {
  if (record.state !== "exited" && record.state !== "stopped")
    throw new OsError(
      "conflict",
      `Process ${pid} goes on, and counts on its workspace as it is. Stop it first (\`reeve stop ${pid}\`), then put the workspace back, then let it go on.`,
      { data: { what: "process", id: pid } },
    );
  assertIdle(services, pid);
}

type Note = {
  readonly what: "commit" | "rollback" | "remove";
  readonly before: number | "replaced" | null;
  readonly by: Actor;
  readonly differences: Differences;
};

export const noteRemoval = (services: Services, { pid, by, lost }: Removal): Promise<void> =>
  services.table.with(pid, (process) =>
    note(services, process, { what: "remove", before: null, by, differences: lost }),
  );

async function note({ commits }: Services, process: Process, { differences, ...header }: Note): Promise<void> {
  const change = told(differences);
  await commits.commit(process.prepare([entryOf({ kind: "workspace.changed", ...header }, { change })]));
}

/** The paths, as many as the journal takes, and how many more there were. */
function told({ changes, more, leftOut }: Differences): JsonObject {
  const paths: JsonObject[] = [];
  let left = PATHS_CHARACTERS_MAX;
  for (const { path, change } of changes) {
    left -= path.length;
    if (left < 0) break;
    paths.push({ path, change });
  }
  return { paths, more: more + changes.length - paths.length, leftOut: leftOut.length };
}

export async function listWorkspaces(
  services: Services,
  { after, limit }: Args<"workspace.list">,
): Promise<Output<"workspace.list">> {
  await finishRemovals(services);
  const all = await services.ports.workspaces.list();
  const pids = all.filter((pid) => after === undefined || pid > after).slice(0, limit);
  const rows: WorkspaceRow[] = [];
  for (const pid of pids) rows.push(...(await rowsOf(services, pid)));
  return { workspaces: rows };
}

/** Ends what a crash has cut off. What cannot be ended now is told, and hinders nobody. */
export const finishRemovals = ({ removals, options }: Services): Promise<void> =>
  removals
    .finish()
    .catch((error: unknown) => options.onTrouble(`Old workspaces were not removed: ${errorRecord(error).message}`));

/** None where it went meanwhile. */
async function rowsOf({ ports, runs }: Services, pid: ProcessId): Promise<WorkspaceRow[]> {
  const record = await ports.store.process(pid);
  const running = record?.state === "ready" && runs.get(pid) !== undefined;
  const process = {
    pid,
    agent: record?.agent ?? null,
    state: running ? "running" : (record?.state ?? null),
    updatedMs: record?.updatedMs ?? null,
  } as const;
  try {
    return [{ ...process, ...(await ports.workspaces.look(pid)) }];
  } catch (error) {
    if (OsError.is(error, "not_found")) return [];
    const { message: trouble } = errorRecord(error);
    return [{ ...process, from: null, sizeBytes: null, changed: null, trouble }];
  }
}

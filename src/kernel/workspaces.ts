// What operators do with the workspace of a process: look at it, write it back, put it back.
//
// Invariants:
//   W1. Nothing is put back under a process that goes on: it would act on what is no longer so.
//   W2. What was written back or put back stands in the journal, also of a process that is over.
import { OsError } from "../abi/errors.ts";
import type { Actor } from "../abi/events.ts";
import type { JsonObject } from "../abi/json.ts";
import type { Differences } from "../abi/reports.ts";
import type { Args, Output } from "../abi/syscalls.ts";
import { entryOf, type Process } from "./process.ts";
import type { Services } from "./services.ts";

/** Paths that stand in the journal. Characters, all together. */
const PATHS_CHARACTERS_MAX = 256 * 1024;

export const diffWorkspace = (
  { ports, table }: Services,
  { pid, from }: Args<"workspace.diff">,
): Promise<Output<"workspace.diff">> =>
  table.with(pid, async () => {
    const differences = await ports.workspaces.diff(pid, from ?? null);
    return { ...differences, snapshots: [...(await ports.workspaces.snapshots(pid))] };
  });

export const commitWorkspace = (
  services: Services,
  { pid }: Args<"workspace.commit">,
  by: Actor,
): Promise<Output<"workspace.commit">> =>
  services.table.with(pid, async (process) => {
    const written = await services.ports.workspaces.commit(pid);
    await note(services, process, { what: "commit", before: null, by, differences: written });
    return written;
  });

export const rollBackWorkspace = (
  services: Services,
  { pid, to }: Args<"workspace.rollback">,
  by: Actor,
): Promise<Output<"workspace.rollback">> =>
  services.table.with(pid, async (process) => {
    assertStill(process);
    const changed = await services.ports.workspaces.rollback(pid, to ?? null);
    await note(services, process, { what: "rollback", before: to ?? null, by, differences: changed });
    return changed;
  });

function assertStill({ pid, record }: Process): void {
  if (record.state === "exited" || record.state === "stopped") return;
  throw new OsError(
    "conflict",
    `Process ${pid} goes on, and counts on its workspace as it is. Stop it first (\`reeve stop ${pid}\`), then put the workspace back, then let it go on.`,
    { data: { what: "process", id: pid } },
  );
}

type Note = {
  readonly what: "commit" | "rollback";
  readonly before: number | null;
  readonly by: Actor;
  readonly differences: Differences;
};

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

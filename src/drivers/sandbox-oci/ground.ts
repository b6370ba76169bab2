// What all containers of a run of Reeve with one runtime share: a folder, control groups, user ids, and a shell that outlives Reeve by a moment.
import { randomInt } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readLayout, type Layout } from "../../linux/cgroup-layout.ts";
import { Groups, isOver, runName } from "../../linux/cgroup.ts";
import { makeEtc } from "../../linux/etc-folder.ts";
import { isFoundByAll } from "../../linux/mounts.ts";
import { Uids, type UidRange } from "../../linux/uids.ts";
import { Watchdog } from "../../linux/watchdog.ts";
import type { World } from "./contents/plan.ts";
import { seccompFor } from "./contents/seccomp.ts";
import { architecture } from "./host.ts";
import type { Runtime } from "./runtimes/runtime.ts";

export type GroundOptions = {
  /** Reeve's own; what all sandboxes share is put there. Made if it is not there. */
  readonly folder: string;
  readonly uids: UidRange;
  /** A folder with an unpacked root; the machine's own programs if absent. */
  readonly image?: string | undefined;
};

export type Ground = {
  /** Of this run; names of containers begin with it. */
  readonly name: string;
  readonly runtime: Runtime;
  readonly world: World;
  readonly groups: Groups;
  readonly watchdog: Watchdog;
  /** Goes with this run. */
  readonly folder: string;
  /** None where containers have no users of their own. */
  readonly uids: Uids | undefined;
  containers: number;
};
/** Those of an engine stay where they are of no other use here: there its container is kept from devices. */
export function layoutFor({ hasGroups }: Runtime): Layout {
  const layout = readLayout({ whole: true });
  if (!hasGroups) return layout;
  return { ...layout, hierarchies: layout.hierarchies.filter(({ duties }) => duties.size > 0) };
}

/** What tells one image from another without reading all of it. */
export const imageOf = (image: string | undefined): unknown => {
  if (image === undefined) return null;
  const { ino, mtimeMs } = statSync(image);
  return { image, ino, mtimeMs };
};

export function layGround({ folder, uids, image }: GroundOptions, runtime: Runtime, layout: Layout): Ground {
  const name = runName();
  const own = publicFolder(folder, name);
  const etc = join(own, "etc");
  makeEtc(etc);
  writeFileSync(join(etc, "hostname"), "sandbox\n");
  const groups = new Groups(layout, name);
  return {
    name,
    runtime,
    world: { etc, image, seccomp: seccompFor(architecture()) },
    groups,
    watchdog: new Watchdog(groups.roots, own),
    folder: own,
    uids: runtime.ownUsers === 0 ? undefined : new Uids(uids, randomInt(2 ** 31)),
    containers: 0,
  };
}

/** A folder of this run below `folder`, or where users of sandboxes would not find that, another one. Those of runs that are over go. */
function publicFolder(folder: string, name: string): string {
  mkdirSync(folder, { recursive: true });
  for (const old of readdirSync(folder).filter(isOver)) rmSync(join(folder, old), { recursive: true, force: true });
  chmodSync(folder, 0o711);
  const own = isFoundByAll(join(folder, name)) ? join(folder, name) : mkdtempSync(join(tmpdir(), "reeve-"));
  mkdirSync(own, { recursive: true });
  chmodSync(own, 0o711);
  return own;
}

/** After the last container. */
export async function clear({ runtime, groups, watchdog, folder }: Ground): Promise<void> {
  groups.close();
  await runtime.close();
  rmSync(folder, { recursive: true, force: true });
  await watchdog.close();
}

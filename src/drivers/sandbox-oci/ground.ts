// What all containers of a run of Reeve with one runtime share: a folder, control groups, user ids, and a shell that outlives Reeve by a moment.
import { randomInt } from "node:crypto";
import { rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readLayout, type Layout } from "../../linux/cgroup-layout.ts";
import { Groups, runName } from "../../linux/cgroup.ts";
import { makeEtc } from "../../linux/etc-folder.ts";
import type { LastingUsersOptions } from "../../linux/lasting-users.ts";
import { isFoundByAll } from "../../linux/mounts.ts";
import type { Users } from "../../linux/places.ts";
import { makeRunFolder } from "../../linux/run-folder.ts";
import { Uids, type UidRange } from "../../linux/uids.ts";
import type { Survivor } from "../../linux/survivor.ts";
import { startWatchdog } from "../../linux/watchdog.ts";
import type { World } from "./contents/plan.ts";
import { seccompFor } from "./contents/seccomp.ts";
import { architecture } from "./host.ts";
import type { Runtime } from "./runtimes/runtime.ts";

export type GroundOptions = {
  /** Reeve's own; what all sandboxes share is put there. Made if it is not there. */
  readonly folder: string;
  readonly uids: UidRange;
  /** The users that last; without, none does. */
  readonly lasting?: LastingUsersOptions | undefined;
  /** A folder with an unpacked root; the machine's own programs if absent. */
  readonly image?: string | undefined;
};

export type Ground = {
  /** Of this run; names of containers begin with it. */
  readonly name: string;
  readonly runtime: Runtime;
  readonly world: World;
  readonly groups: Groups;
  readonly watchdog: Survivor;
  /** Goes with this run. */
  readonly folder: string;
  /** None where containers have no users of their own. */
  readonly users: Users | undefined;
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

/** Or why there is none to stand on, with the remedy. */
export function layGround(options: GroundOptions, runtime: Runtime, layout: Layout): Ground | string {
  const { folder, uids, lasting, image } = options;
  const name = runName();
  const own = makeRunFolder(folder, name, (made) => isFoundByAll(join(made, "etc")));
  if (own === undefined)
    return `Containers need a folder that all users find. Neither ${folder} nor ${tmpdir()} is one: a folder above is closed. Set TMPDIR to one that is.`;
  const etc = join(own, "etc");
  makeEtc(etc);
  writeFileSync(join(etc, "hostname"), "sandbox\n");
  const groups = new Groups(layout, name);
  return {
    name,
    runtime,
    world: { etc, image, seccomp: seccompFor(architecture()) },
    groups,
    watchdog: startWatchdog(groups, own),
    folder: own,
    users: runtime.ownUsers === 0 ? undefined : { uids: new Uids(uids, randomInt(2 ** 31)), lasting },
    containers: 0,
  };
}

/** After the last container. */
export async function clear({ runtime, groups, watchdog, folder }: Ground): Promise<void> {
  groups.close();
  await runtime.close();
  rmSync(folder, { recursive: true, force: true });
  await watchdog.close();
}

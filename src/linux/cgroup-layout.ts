// Where control groups are on this machine, and in which of them Reeve may make its own: version 1, version 2, or both at once
// (the controllers on version 1 beside a tree of version 2 that has none).
//
// Version 1 is taken where it has what is needed. To enter a group of version 2 a process waits for all processors of the machine to
// come by, some ten milliseconds after a calm; a process of one thread enters one of version 1 at once, by its `tasks`.
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { ASIDE, isRootOfAll, killsWhole, passOn, wordsOf } from "./cgroup-controllers.ts";

/**
 * What a hierarchy is used for. `usage`, and `kill` since Linux 5.14, come with every tree of version 2, whatever its controllers. Where nothing has `kill`, a
 * group is forbidden new processes (`pids`) and those that are in it are killed one by one.
 */
export type Duty = "memory" | "pids" | "cpu" | "usage" | "kill";

/** One tree of groups: the folder that Reeve's groups are made in. */
export type Hierarchy = { readonly version: 1 | 2; readonly folder: string; readonly duties: ReadonlySet<Duty> };

export type Layout = {
  readonly hierarchies: readonly Hierarchy[];
  /** Why a duty has no hierarchy. */
  readonly lacks: Readonly<Partial<Record<Duty, string>>>;
};

const CONTROLLERS = ["memory", "pids", "cpu"] as const;
const DUTIES: readonly Duty[] = ["memory", "pids", "cpu", "usage", "kill"];

type Mount = { readonly point: string; readonly root: string; readonly type: string; readonly options: string[] };

/** `whole`: hierarchies that are not needed here too, for a runtime that joins every one. */
export function readLayout({ whole = false }: { readonly whole?: boolean } = {}): Layout {
  const mounts = cgroupMounts(readFileSync("/proc/self/mountinfo", "utf8"));
  const own = ownGroups(readFileSync("/proc/self/cgroup", "utf8"));
  const layout = layoutOf(mounts, own);
  if (!whole) return layout;
  const more = spare(mounts, own, layout);
  const { kill, ...lacks } = layout.lacks;
  const isKilled = kill === undefined || more.some(({ duties }) => duties.has("kill"));
  return { hierarchies: [...layout.hierarchies, ...more], lacks: isKilled ? lacks : layout.lacks };
}

export function cgroupMounts(mountinfo: string): readonly Mount[] {
  return mountinfo.split("\n").flatMap((line) => {
    const [before, after] = line.split(" - ");
    const [, , , root, point] = before?.split(" ") ?? [];
    const [type, , options] = after?.split(" ") ?? [];
    if (root === undefined || point === undefined || (type !== "cgroup" && type !== "cgroup2")) return [];
    return [{ point, root, type, options: options?.split(",") ?? [] }];
  });
}

/** By controller of version 1; under the empty name that of version 2. */
export function ownGroups(text: string): ReadonlyMap<string, string> {
  const groups = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    for (const controller of controllers?.split(",") ?? []) groups.set(controller, path ?? "/");
  }
  return groups;
}

export function layoutOf(mounts: readonly Mount[], own: ReadonlyMap<string, string>): Layout {
  const lacks: Partial<Record<Duty, string>> = {};
  const hierarchies: Hierarchy[] = [];
  const taken = new Set<Duty>();
  const add = (hierarchy: Hierarchy | string, duties: readonly Duty[]): void => {
    if (typeof hierarchy === "string") for (const duty of duties) lacks[duty] = hierarchy;
    else {
      hierarchies.push(hierarchy);
      for (const duty of hierarchy.duties) taken.add(duty);
    }
  };
  for (const controller of [...CONTROLLERS, "cpuacct"] as const) {
    const duty = controller === "cpuacct" ? "usage" : controller;
    if (taken.has(duty)) continue;
    const mount = mounts.find(({ type, options }) => type === "cgroup" && options.includes(controller));
    if (mount === undefined) continue;
    const shared = CONTROLLERS.filter((name) => mount.options.includes(name));
    const duties: Duty[] = mount.options.includes("cpuacct") ? [...shared, "usage"] : shared;
    add(versionOne(mount, own.get(controller) ?? "/", duties), duties);
  }
  const second = mounts.find(({ type }) => type === "cgroup2");
  const isComplete = DUTIES.every((duty) => duty === "kill" || taken.has(duty));
  if (second !== undefined && !isComplete) {
    const found = versionTwo(second, own.get("") ?? "/", taken);
    Object.assign(lacks, { ...found.lacks, ...lacks });
    if (found.hierarchy !== undefined) add(found.hierarchy, []);
  }
  for (const duty of DUTIES) if (!taken.has(duty)) lacks[duty] ??= "no control group of that kind is mounted";
  return { hierarchies, lacks: Object.fromEntries(Object.entries(lacks).filter(([duty]) => !taken.has(duty as Duty))) };
}

/** Mounts that none of `layout` lies on. A tree of version 2 beside others is entered at its root, and kills whole groups. */
const spare = (mounts: readonly Mount[], own: ReadonlyMap<string, string>, { hierarchies }: Layout): Hierarchy[] =>
  mounts
    .filter(({ point }) => !hierarchies.some(({ folder }) => isWithin(folder, point)))
    .flatMap((mount): Hierarchy[] => {
      if (mount.type === "cgroup2")
        return mayMake(mount.point)
          ? [{ version: 2, folder: mount.point, duties: new Set(killsWhole(mount.point) ? ["kill"] : []) }]
          : [];
      const name = mount.options.find((option) => own.has(option));
      const hierarchy = name === undefined ? "" : versionOne(mount, own.get(name) ?? "/", []);
      return typeof hierarchy === "string" ? [] : [hierarchy];
    });

const isWithin = (path: string, folder: string): boolean => path === folder || path.startsWith(`${folder}/`);

/** A group's folder below a mount, which may show only a part of the tree. */
function folderOf({ point, root }: Mount, path: string): string {
  const below = root !== "/" && path.startsWith(root) ? path.slice(root.length) : path;
  const folder = join(point, below);
  return existsSync(folder) ? folder : point;
}

const mayMake = (folder: string): boolean => {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    // Not being allowed to is an answer here.
    return false;
  }
};

function versionOne(mount: Mount, path: string, duties: readonly Duty[]): Hierarchy | string {
  const folder = folderOf(mount, path);
  if (!mayMake(folder)) return `no group may be made in ${folder}`;
  return { version: 1, folder, duties: new Set(duties) };
}

/** Of version 2: what it is used for, and why not for the rest. */
type Second = { readonly hierarchy: Hierarchy | undefined; readonly lacks: Layout["lacks"] };

/**
 * Of version 2 a group with processes gives its children no controllers, but for the root of all. So the root is taken where it is
 * in sight; elsewhere Reeve steps aside into a group below, with whatever else is in its own.
 */
function versionTwo(mount: Mount, path: string, taken: ReadonlySet<Duty>): Second {
  const folder = isRootOfAll(mount.point) && mayMake(mount.point) ? mount.point : outOf(folderOf(mount, path));
  if (!mayMake(folder)) return { hierarchy: undefined, lacks: lacksFor(DUTIES, notHandedOver(folder)) };
  const offered = wordsOf(join(folder, "cgroup.controllers"));
  const wanted = CONTROLLERS.filter((controller) => offered.includes(controller));
  const refusal = passOn(folder, wanted);
  const given = refusal === undefined ? wanted : [];
  const kills = killsWhole(folder);
  const duties: readonly Duty[] = [...given, "usage", ...(kills ? (["kill"] as const) : [])];
  const notOffered = CONTROLLERS.filter((controller) => !offered.includes(controller));
  return {
    hierarchy: { version: 2, folder, duties: new Set(duties.filter((duty) => !taken.has(duty))) },
    lacks: {
      ...lacksFor(notOffered, withoutController(folder)),
      ...lacksFor(kills ? [] : ["kill"], "the kernel cannot end a whole group at once (cgroup.kill, since Linux 5.14)"),
      ...(refusal === undefined ? {} : lacksFor(wanted, `${refusal}: ${START_IN_OWN}`)),
    },
  };
}

const lacksFor = (duties: readonly Duty[], why: string): Layout["lacks"] =>
  Object.fromEntries(duties.map((duty) => [duty, why]));

const START_IN_OWN =
  "start Reeve by `systemd-run --user --scope -p Delegate=yes npx reeve …`, or as a service with `Delegate=yes`";
const notHandedOver = (folder: string): string =>
  process.geteuid?.() === 0
    ? `no group may be made in ${folder}: control groups are read-only here, as in a service with \`ProtectControlGroups=yes\` or in a container. Let Reeve write to them`
    : `no group may be made in ${folder}, which is not this user's: ${START_IN_OWN}`;
const withoutController = (folder: string): string =>
  `this controller is not passed on to ${folder}: ${START_IN_OWN}; for services of a user it must be passed on to \`user@.service\` as well`;

/** Where another Reeve, or an earlier look, has stepped aside to, the group above is the one that groups are made in. */
const outOf = (folder: string): string => (basename(folder) === ASIDE ? dirname(folder) : folder);

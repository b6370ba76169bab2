// What podman and docker have in common: the flags that both read alike, what they put into a container of themselves, and their books.
import { cpSync, lstatSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OsError } from "../../../abi/errors.ts";
import { isOver } from "../../../linux/cgroup.ts";
import { bind, rlimitsOf, type OciMount, type World } from "../contents/plan.ts";
import { rootEntries, type RootEntry } from "../contents/root.ts";
import type { Order } from "./runtime.ts";

/** What all containers of an engine share in a run of Reeve. */
export type EngineWorld = {
  readonly entries: readonly RootEntry[];
  /** The prepared /etc, whatever the image. */
  readonly etc: string;
  readonly hasImage: boolean;
  readonly seccompFile: string;
  /** An empty /sys, with a place for control groups: nothing of the machine is to be seen there. */
  readonly sys: string;
};

/** Files that an engine would put into /etc of itself: those of Reeve stand in their place. */
const ETC_FILES = ["hosts", "hostname", "resolv.conf"];

export function makeEngineWorld(world: World, folder: string): EngineWorld {
  const seccompFile = join(folder, "seccomp.json");
  writeFileSync(seccompFile, JSON.stringify(world.seccomp), { mode: 0o644 });
  const sys = join(folder, "sys");
  mkdirSync(join(sys, "fs/cgroup"), { recursive: true });
  const entries = rootEntries(world);
  const etc = world.image === undefined ? world.etc : copyEtc(entries, join(folder, "image-etc"));
  return {
    ...{ etc, seccompFile, sys, hasImage: world.image !== undefined },
    entries: [...entries.filter(({ name }) => name !== "etc"), { name: "etc", from: etc }],
  };
}

/** An image's own, with a place for each file that an engine mounts there: a place cannot be made where all is read-only. */
function copyEtc(entries: readonly RootEntry[], to: string): string {
  const own = entries.find(({ name }) => name === "etc");
  if (own !== undefined && "from" in own) cpSync(own.from, to, { recursive: true, verbatimSymlinks: true });
  else mkdirSync(to);
  for (const name of ETC_FILES) {
    const path = join(to, name);
    if (lstatSync(path, { throwIfNoEntry: false })?.isFile() === true) continue;
    rmSync(path, { recursive: true, force: true });
    writeFileSync(path, "", { mode: 0o644 });
  }
  return to;
}

/** Mounts that an engine needs to be told beside those of the plan. */
export const ownMounts = ({ etc, sys }: EngineWorld): readonly OciMount[] => [
  bind(sys, "/sys", "read"),
  bind(join(sys, "fs/cgroup"), "/sys/fs/cgroup", "read"),
  ...ETC_FILES.map((name) => bind(join(etc, name), `/etc/${name}`, "read")),
];

/** Fields of a record with commas in between, as RFC 4180 has it: so a path may hold any character. */
export const record = (fields: readonly string[]): string =>
  fields.map((field) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join(",");

/** `flags`: those that the engine knows of `nosuid` and `nodev`. */
export function bindArg({ source, destination, options }: OciMount, flags: readonly string[]): string[] {
  const access = options.includes("ro") ? ["readonly"] : [];
  const kept = options.filter((option) => flags.includes(option));
  return ["--mount", record(["type=bind", `source=${source}`, `target=${destination}`, ...access, ...kept])];
}

export function tmpfsArg({ destination, options }: OciMount): string[] {
  const execution = options.includes("noexec") ? [] : ["exec"];
  return ["--tmpfs", `${destination}:${["rw", ...execution, ...options].join(",")}`];
}

/** Up to the flags in which the engines differ. */
export const runArgs = ({ id, plan }: Pick<Order, "id" | "plan">, { seccompFile }: EngineWorld): string[] => [
  ...["run", "--rm", "--name", id, "--pull", "never", "--hostname", "sandbox", "--log-driver", "none"],
  ...["--network", "none", "--ipc", "private", "--cgroupns", "private"],
  ...["--read-only", "--init=false", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
  // Labels of SELinux would hide the machine's programs and the workspace; what they keep apart, user ids keep apart.
  ...["--security-opt", `seccomp=${seccompFile}`, "--security-opt", "label=disable"],
  ...rlimitsOf(plan.limits).flatMap(({ type, soft, hard }) => [
    "--ulimit",
    `${type.slice("RLIMIT_".length).toLowerCase()}=${soft}:${hard}`,
  ]),
];

/** Of the names of an engine's containers those whose run of Reeve is over. */
export const leftOver = (said: string): string[] =>
  said.split(/\s+/).filter((name) => isOver(name.slice(0, name.lastIndexOf("."))));

/** A program of an engine that ended with one of these may not have come to its container. */
const OWN_FAILURES: ReadonlySet<number | null> = new Set([125, 126, 127, 255, null]);
export const isOwnFailure = (code: number | null): boolean => OWN_FAILURES.has(code);

export const engineUnavailable = (what: string, why: string): OsError =>
  new OsError("isolation_unavailable", `${what}: ${why.replace(/\.$/, "")}.`, {
    data: { level: "container", drivers: [] },
  });

// The last look at a container, from outside, before its job begins: whether what is mounted is what was checked, and whether what holds
// the job is what was asked for.
//
// A runtime mounts by path, and a path may have come to stand for something else since it was looked at; the open descriptor has not.
import { constants, existsSync, fstatSync, openSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { OsError } from "../../abi/errors.ts";
import type { SandboxLimits } from "../../abi/isolation.ts";
import type { Source } from "../../linux/mounts.ts";
import type { Places } from "../../linux/places.ts";

const O_PATH = 0o10000000;

/** Of the processes of a group the one that is the first inside; a runtime that is in the group is in no namespace of the container's. */
export const firstInside = (pids: readonly number[]): number | undefined =>
  pids.find((pid) => {
    try {
      return /^NSpid:(?:\s+\d+)+\s+1$/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
    } catch {
      // It was ended meanwhile.
      return false;
    }
  });

/** `pid`: a process of the container. Rejects with `invalid_argument` if something was exchanged meanwhile. */
export function checkMounts(pid: number, { workspace, door, mounts }: Places): void {
  if (workspace !== undefined) check(pid, "/ws", workspace);
  if (door !== undefined) check(pid, "/run/reeve", door);
  for (const { to, bind } of mounts) check(pid, to, bind);
}

function check(pid: number, to: string, { descriptor }: Source): void {
  const wanted = fstatSync(descriptor, { bigint: true });
  const found = statSync(`/proc/${pid}/root${to}`, { bigint: true, throwIfNoEntry: false });
  if (found?.dev === wanted.dev && found.ino === wanted.ino) return;
  const what = `what was to be seen at ${to} was exchanged while the sandbox was started.`;
  throw new OsError("invalid_argument", `The sandbox was not started: ${what}`, { data: { issues: [what] } });
}

/** A descriptor of the workspace's file system. */
export function openDisk(pid: number): number | undefined {
  try {
    return openSync(join(`/proc/${pid}/root`, "ws"), O_PATH | constants.O_DIRECTORY);
  } catch (error) {
    // It was ended meanwhile, and its exit tells why.
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

/** What the system tells of a process that is held. */
const HELD: readonly (readonly [name: string, value: string, what: string])[] = [
  ["NoNewPrivs", "1", "programs may give new privileges"],
  ["Seccomp", "2", "there is no filter of system calls"],
  ...["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(
    (name) => [name, "0000000000000000", "it has capabilities"] as const,
  ),
];

/** What is put into the groups with the limits is this process: another one that an engine put beside it would be held by none. Rejects with `isolation_unavailable`. */
export function checkAlone(pid: number): void {
  const file = `/proc/${pid}/task/${pid}/children`;
  // A kernel without it leaves this to the self-test.
  if (existsSync(file) && readFileSync(file, "utf8").trim() !== "")
    throw notHeld("another program stands between its first process and its job, which no limit would hold");
}

export type Identity = { readonly uid: number; readonly gid: number };

/** `identity`: the user and the group of the machine that it is to be. Rejects with `isolation_unavailable` if the runtime left something out. */
export function checkHeld(pid: number, { uid, gid }: Identity): void {
  const lines = readFileSync(`/proc/${pid}/status`, "utf8").split("\n");
  const valueOf = (name: string): string[] =>
    lines
      .find((line) => line.startsWith(`${name}:`))
      ?.split(/\s+/)
      .slice(1) ?? [];
  for (const [name, what, wanted] of [
    ["Uid", "user", uid],
    ["Gid", "group", gid],
  ] as const)
    if (valueOf(name).some((id) => id !== String(wanted)))
      throw notHeld(`it runs as the ${what} ${valueOf(name).join(" ")}`);
  for (const [name, value, what] of HELD) if (valueOf(name)[0] !== value) throw notHeld(what);
}

const PERIOD_US = 100_000;
const QUOTA_US_MIN = 1_000;

type Bound = Pick<SandboxLimits, "cpus" | "memoryBytes" | "processes">;

/** Files of control groups, of both versions, with the most that may stand in them. */
const boundsOf = ({ cpus, memoryBytes, processes }: Bound): readonly (readonly [file: string, max: number])[] => {
  const quotaUs = Math.max(QUOTA_US_MIN, Math.round(cpus * PERIOD_US));
  return [
    ["memory.max", memoryBytes],
    ["memory.limit_in_bytes", memoryBytes],
    ["pids.max", processes],
    ["cpu.max", quotaUs],
    ["cpu.cfs_quota_us", quotaUs],
  ];
};

/** Whether the system has the limits that were set, and holds the process by them. Rejects with `isolation_unavailable`. */
export function checkLimits(pid: number, folders: readonly string[], bound: Bound): void {
  for (const folder of folders) {
    if (!readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n").includes(String(pid)))
      throw notHeld(`it is not in its control group ${folder}`);
    for (const [file, max] of boundsOf(bound)) {
      const found = existsSync(join(folder, file)) ? readFileSync(join(folder, file), "utf8").split(" ")[0] : "0";
      // Below nothing, as above all, no limit is meant.
      const value = Number(found);
      if (!(value >= 0 && value <= max)) throw notHeld(`${join(folder, file)} holds ${found?.trim()}, and not ${max}`);
    }
  }
}

const notHeld = (what: string): OsError =>
  new OsError("isolation_unavailable", `The sandbox was not started, since it would not have held its job: ${what}.`, {
    data: { level: "container", drivers: [{ name: "oci", reason: what }] },
  });

// What this machine offers to containers, what is in force with a runtime, and what a runtime means by what it says.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { release } from "node:os";
import type { Duty, Layout } from "../../linux/cgroup-layout.ts";
import type { Architecture } from "../../lib/system-calls.ts";
import type { Layer } from "../../ports/sandbox.ts";
import type { Runtime } from "./runtime.ts";

/** Why nothing here can run containers, or undefined. */
export function lackOfMachine(): string | undefined {
  if (process.platform !== "linux")
    return "Containers need Linux. Run Reeve on Linux, in a virtual machine for example.";
  if (process.arch !== "x64" && process.arch !== "arm64")
    return `The filter of system calls is not written for ${process.arch}. Run Reeve on x86-64 or arm64.`;
  return undefined;
}

export const architecture = (): Architecture => (process.arch === "arm64" ? "arm64" : "x64");

const DUTY_LAYERS: Readonly<Record<Duty, string>> = {
  memory: "memory limit",
  pids: "process limit",
  cpu: "processor share",
  usage: "computing time limit",
  kill: "whole kill",
};

const USERS: Readonly<Record<Runtime["ownUsers"], string>> = {
  0: "Reeve does not run as root, so containers have its own user id",
  1: "one of the machine for each job, which is nobody else's",
  2: "two for each container: its root, which is nobody, and its job",
};

/** What keeps a container in and within its limits, each by name. */
export function layersOf({ lacks }: Layout, { ownUsers }: Pick<Runtime, "ownUsers">): readonly Layer[] {
  const duties = Object.entries(DUTY_LAYERS).map(([duty, name]): Layer => {
    const lack = lacks[duty as Duty];
    // A runtime that is left alone ends its container by the first process inside, which takes all others with it.
    const byHand = duty === "kill" && (lacks.pids === undefined || ownUsers === 0);
    if (lack === undefined) return { name, inForce: true, detail: "control group" };
    // Without a tree of version 2 a group is emptied process by process, with new ones forbidden meanwhile.
    const detail = ownUsers === 0 ? "by the first process inside" : "one by one";
    return byHand ? { name, inForce: true, detail } : { name, inForce: false, detail: lack };
  });
  return [
    {
      name: "namespaces",
      inForce: true,
      detail:
        ownUsers === 1
          ? "process, network, mount, ipc, uts, control group; none of users, since no root is inside"
          : "user, process, network, mount, ipc, uts, control group",
    },
    { name: "system call filter", inForce: true, detail: `allow list for ${architecture()}, by libseccomp` },
    { name: "no new privileges", inForce: true, detail: "and no capabilities" },
    { name: "read-only root", inForce: true, detail: "scratch folders are sized, kernel views masked" },
    { name: "disk quota", inForce: true, detail: "a sized file system" },
    {
      name: "unique user ids",
      inForce: ownUsers > 0,
      detail: USERS[ownUsers],
    },
    ...duties,
  ];
}

/** Stands for all that a verdict of the self-test depends on. */
export const fingerprintOf = (facts: Readonly<Record<string, unknown>>): string =>
  createHash("sha256")
    .update(JSON.stringify({ ...facts, kernel: release(), arch: process.arch }))
    .digest("hex");

/** What runtimes say when they cannot, and what to do about it. */
const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [
    /hybrid mode not supported/,
    "Use runc, or boot with control groups of version 2 alone (`systemd.unified_cgroup_hierarchy=1`).",
  ],
  [
    /mounting "proc" to rootfs|mount_too_revealing|proc.*operation not permitted/,
    "A container hides parts of /proc here. Run it with an unmasked /proc, or Reeve outside of it.",
  ],
  [
    /newuidmap|newgidmap|subuid|subgid|intermediate/i,
    "podman without root needs subordinate user ids: the package `uidmap`, and `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`.",
  ],
  [
    /no space left on device|unshare.*(?:ENOSPC|No space)/i,
    "The machine's number of namespaces is used up. Raise `user.max_user_namespaces` (sysctl).",
  ],
  [
    /unshare.*Operation not permitted|user namespaces are not enabled/i,
    "This machine forbids user namespaces. Allow them, or run the container that Reeve is in with a profile that permits them.",
  ],
  [
    /exec: "\/bin\/sh"|\/bin\/sh: no such file/,
    "The image has no /bin/sh, which every sandbox begins with. Use one that has.",
  ],
  [
    /permission denied.*docker.sock|connect to the Docker daemon/i,
    "The engine must run, and Reeve be let to it: start it, or name it by DOCKER_HOST.",
  ],
  [/read-only file system|cgroup.*permission denied/i, "Control groups must be writable to the runtime here."],
];

/** Why a container did not start, from the runtime's log, with the remedy where one is known. */
export function explain({ kind }: Pick<Runtime, "kind">, log: string): string {
  const said = messagesOf(log).at(-1) ?? `${kind} ended without a word`;
  const remedy = REMEDIES.find(([pattern]) => pattern.test(log))?.[1];
  return remedy === undefined ? said : `${said}. ${remedy}`;
}

/** What docker says behind every refusal. */
const isAdvice = (line: string): boolean => /^(?:See|Run) 'docker\b/.test(line);

/** Lines of a log in JSON; what is not JSON stands for itself. */
const messagesOf = (log: string): string[] =>
  log
    .split("\n")
    .filter((line) => line !== "" && !isAdvice(line))
    .map((line) => /"msg": ?"((?:[^"\\]|\\.)*)"/.exec(line)?.[1]?.replaceAll('\\"', '"') ?? line);

/** Empty where the runtime did not get as far as to write one. */
export function readLog(file: string): string {
  try {
    return readFileSync(file, "utf8").slice(-4_000);
  } catch {
    // Its silence is told instead.
    return "";
  }
}

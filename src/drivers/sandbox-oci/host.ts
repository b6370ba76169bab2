// What this machine offers to containers, and what is in force with a runtime.
import type { Architecture } from "../../lib/system-calls.ts";
import type { Duty, Layout } from "../../linux/cgroup-layout.ts";
import type { Layer } from "../../ports/sandbox.ts";
import type { Runtime } from "./runtimes/runtime.ts";

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

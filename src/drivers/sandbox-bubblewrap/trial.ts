// The trial run of this driver: what must be seen before it is called a sandbox at all. What it then holds, the self-test shows.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import type { SandboxLimits } from "../../abi/isolation.ts";
import type { SandboxSpec } from "../../ports/sandbox.ts";
import type { Groups } from "../../linux/cgroup.ts";

const LIMITS: SandboxLimits = {
  cpus: 1,
  cpuMs: 10_000,
  memoryBytes: 128 * 1024 * 1024,
  processes: 16,
  diskBytes: 1024 * 1024,
  wallMs: 10_000,
  outputBytes: 64 * 1024,
};
export const TRIAL: SandboxSpec = {
  owner: "probe",
  level: "process",
  // Until its input ends, so that it can be looked at.
  command: ["cat"],
  env: {},
  mounts: [],
  limits: LIMITS,
};

/** Whether this process is where its limits are. */
export function isInGroups(pid: number, groups: Groups | undefined): boolean {
  if (groups === undefined) return true;
  const entered = readFileSync(`/proc/${pid}/cgroup`, "utf8").split("\n");
  return groups.roots.every((root) => entered.some((line) => line.includes(`/${basename(root)}/`)));
}

// A trial run: what a driver starts once before it calls itself a sandbox at all. What one then holds, the self-test shows.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import type { SandboxLimits } from "../abi/isolation.ts";
import type { SandboxSpec } from "../ports/sandbox.ts";
import type { Groups } from "./cgroup.ts";

const MEBIBYTE = 1024 * 1024;

/** What the least program needs; units as in `SandboxLimits`. */
export const TRIAL_LIMITS: SandboxLimits = {
  cpus: 1,
  cpuMs: 10_000,
  memoryBytes: 128 * MEBIBYTE,
  processes: 16,
  diskBytes: MEBIBYTE,
  wallMs: 10_000,
  outputBytes: 64 * 1024,
};

/** Of the user "probe", with nothing but a command. */
export const trialOf = (level: SandboxSpec["level"], command: SandboxSpec["command"]): SandboxSpec => ({
  owner: "probe",
  level,
  command,
  env: {},
  mounts: [],
  limits: TRIAL_LIMITS,
});

/** Whether this process is where its limits are. */
export function isInGroups(pid: number, groups: Groups | undefined): boolean {
  if (groups === undefined) return true;
  const entered = readFileSync(`/proc/${pid}/cgroup`, "utf8").split("\n");
  return groups.roots.every((root) => entered.some((line) => line.includes(`/${basename(root)}/`)));
}

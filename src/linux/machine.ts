// What of this machine the verdict on a sandbox depends on, whatever its driver.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { release, version } from "node:os";
import type { Layout } from "./cgroup-layout.ts";

/** Modules of the kernel that refuse what it would allow by itself; empty where that cannot be read. */
function securityModules(): string {
  try {
    return readFileSync("/sys/kernel/security/lsm", "utf8").trim();
  } catch {
    // Not mounted, as in a container.
    return "";
  }
}

/** Stands for all that a verdict of the self-test depends on. `facts`: the driver's own. */
export function fingerprintOf(facts: Readonly<Record<string, unknown>>, { hierarchies }: Layout): string {
  const groups = hierarchies.map(({ version: number, duties }) => [number, [...duties].toSorted()]);
  const machine = { kernel: [release(), version()], arch: process.arch, modules: securityModules(), groups };
  return createHash("sha256")
    .update(JSON.stringify({ ...facts, ...machine }))
    .digest("hex");
}

// The limits of what runs for a process.
import type { SandboxLimits, SandboxLimitsPart } from "../../abi/isolation.ts";

/** What keeping the workspace, starting and ending take beside a program's own time, at most. Milliseconds. */
const AROUND_MS = 60_000;

/** The time of a call whose program has a limit of its own: that ends it first, and tells what it had printed. Milliseconds. */
export const callMs = ({ wallMs }: SandboxLimits): number => Math.min(wallMs + AROUND_MS, 24 * 3600_000);

/** The lower of each pair. */
export function tightest(limits: SandboxLimits, own: SandboxLimitsPart): SandboxLimits {
  const least = (name: keyof SandboxLimits): number => Math.min(limits[name], own[name] ?? limits[name]);
  return {
    cpus: least("cpus"),
    cpuMs: least("cpuMs"),
    memoryBytes: least("memoryBytes"),
    processes: least("processes"),
    diskBytes: least("diskBytes"),
    wallMs: least("wallMs"),
    outputBytes: least("outputBytes"),
  };
}

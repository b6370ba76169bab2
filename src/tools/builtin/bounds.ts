// The limits of what runs for a process.
import type { SandboxLimits, SandboxLimitsPart } from "../../abi/isolation.ts";

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

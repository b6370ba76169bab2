// What one container is to be, whatever program starts it: its command, its users, its limits, and all that is mounted.
//
// Invariants:
//   P1. Nothing inside is writable but the workspace, the sized scratch folders and what the spec names.
import { readFileSync } from "node:fs";
import type { SandboxLimits } from "../../../abi/isolation.ts";
import type { Mount } from "../../../ports/sandbox.ts";
import type { Carrier } from "../inside/first-process.ts";
import type { RootEntry } from "./root.ts";
import type { Seccomp } from "./seccomp.ts";

/** A place inside, and what is seen there. */
export type OciMount = {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
};

/** Users of the machine: the container's root, where it has one of its own, and its job. */
export type Ids = { readonly root: number; readonly job: number };

export type Plan = {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly channel: boolean;
  readonly carrier: Carrier;
  readonly limits: SandboxLimits;
  readonly ids: Ids;
  readonly workspace: string | undefined;
  readonly door: string | undefined;
  readonly mounts: readonly Mount[];
};

/** What is the same for all sandboxes. */
export type World = {
  /** The prepared /etc; the image's own where there is an image. */
  readonly etc: string;
  readonly image: string | undefined;
  readonly seccomp: Seccomp;
};

const MEBIBYTE = 1024 * 1024;
const TEMPORARY_BYTES = 64 * MEBIBYTE;
const SHARED_MEMORY_BYTES = 16 * MEBIBYTE;
const DESCRIPTORS_MAX = 1024;
/** The job's user inside, where a container has users of its own. */
export const USER = 1000;

/** Of every job, unless its spec names others. */
export const HOME: Readonly<Record<string, string>> = {
  PATH: "/usr/local/bin:/usr/bin:/bin",
  HOME: "/tmp",
  TMPDIR: "/tmp",
  LANG: "C.UTF-8",
};

/** Each is covered by an empty folder or by /dev/null. What the kernel refuses by itself, such as kmsg, is better left to it. */
export const MASKED = [
  ...["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/latency_stats"],
  ...["/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/proc/kallsyms"],
];

export const bind = (from: string, to: string, access: Mount["access"]): OciMount => ({
  destination: to,
  type: "bind",
  source: from,
  options: ["rbind", access === "read" ? "ro" : "rw", "nosuid", "nodev"],
});

const scratch = (to: string, bytes: number, options: readonly string[]): OciMount => ({
  destination: to,
  type: "tmpfs",
  source: "tmpfs",
  options: ["nosuid", "nodev", `size=${bytes}`, ...options],
});

/** All but /proc and /dev, which every runtime lays out in its own way. `owner`: of the workspace, as it is called inside. */
export function mountsOf(plan: Plan, entries: readonly RootEntry[], owner: number): readonly OciMount[] {
  const { workspace, door, limits } = plan;
  const named = plan.mounts.toSorted((a, b) => a.to.length - b.to.length);
  return [
    ...entries.flatMap((entry) => ("from" in entry ? [bind(entry.from, `/${entry.name}`, "read")] : [])),
    scratch("/dev/shm", SHARED_MEMORY_BYTES, ["noexec", "mode=1777"]),
    scratch("/tmp", TEMPORARY_BYTES, ["mode=1777"]),
    workspace === undefined
      ? scratch("/ws", limits.diskBytes, ["mode=755", `uid=${owner}`, `gid=${owner}`])
      : bind(workspace, "/ws", "write"),
    ...(door === undefined ? [] : [bind(door, "/run/reeve", "read")]),
    ...named.flatMap(({ from, to, access }) => [
      bind(from, to, access),
      // The system makes only the uppermost of several mounts read-only at once.
      ...(access === "read" ? mountsBelow(from).map((path) => bind(path, to + path.slice(from.length), access)) : []),
    ]),
  ];
}

function mountsBelow(folder: string): string[] {
  const points = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) =>
      (line.split(" ")[4] ?? "").replace(/\\(\d{3})/g, (_, code: string) => String.fromCharCode(parseInt(code, 8))),
    );
  return [...new Set(points.filter((point) => point.startsWith(`${folder}/`)))].toSorted((a, b) => a.length - b.length);
}

/** In the language of OCI runtimes; engines call the same by the rest of the name, in small letters. */
export type Rlimit = { readonly type: `RLIMIT_${string}`; readonly soft: number; readonly hard: number };

/** Bounds of one process. Who may not raise them (without CAP_SYS_RESOURCE) keeps what it has, so none is above that. */
export function rlimitsOf(
  { diskBytes, cpuMs }: SandboxLimits,
  hard: ReadonlyMap<string, number> = hardLimits(),
): readonly Rlimit[] {
  const cpuSeconds = Math.ceil(cpuMs / 1_000) + 1;
  const wanted: readonly (readonly [Rlimit["type"], string, number, number])[] = [
    ["RLIMIT_NOFILE", "Max open files", DESCRIPTORS_MAX, DESCRIPTORS_MAX],
    // Processes are counted by the control group; this bound must only not be in its way.
    ["RLIMIT_NPROC", "Max processes", 32_768, 32_768],
    ["RLIMIT_FSIZE", "Max file size", diskBytes, diskBytes],
    // The first is a signal that tells which limit it was, the second an end.
    ["RLIMIT_CPU", "Max cpu time", cpuSeconds, cpuSeconds + 1],
    ["RLIMIT_CORE", "Max core file size", 0, 0],
    ["RLIMIT_RTPRIO", "Max realtime priority", 0, 0],
  ];
  return wanted.map(([type, name, soft, most]) => {
    const max = hard.get(name) ?? Infinity;
    return { type, soft: Math.min(soft, max), hard: Math.min(most, max) };
  });
}

/** Of this process, by the names in /proc; what is unlimited is absent. */
function hardLimits(): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const line of readFileSync("/proc/self/limits", "utf8").split("\n")) {
    const [, name, hard] = /^(\S.*?)\s{2,}\S+\s+(\d+)\b/.exec(line) ?? [];
    if (name !== undefined) found.set(name, Number(hard));
  }
  return found;
}

/** With stand-ins for what differs from start to start: what the self-test's verdict depends on. */
export const samplePlan = (limits: SandboxLimits, carrier: Carrier): Plan => ({
  ...{ command: ["true"], cwd: "/ws", channel: false, carrier, limits, ids: { root: 1, job: 2 } },
  ...{ workspace: undefined, door: undefined, mounts: [] },
});

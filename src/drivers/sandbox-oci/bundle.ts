// What a runtime is handed for one sandbox: a folder with the root of its file system and `config.json`.
//
// The root is a folder of this sandbox's own, with nothing in it but places to mount at; so each place is there before the runtime
// starts, and the runtime, which is nobody there, never has to make one.
//
// Invariants:
//   B1. Nothing inside is writable but the workspace, the sized scratch folders and what the spec names.
//   B2. No link of the machine is followed where a place is made.
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { SandboxLimits } from "../../abi/isolation.ts";
import type { Mount } from "../../ports/sandbox.ts";
import { insideScript } from "./inside.ts";
import type { Seccomp } from "./seccomp.ts";

/** A place inside, and what is seen there. */
export type OciMount = {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
};

export type Ids = { readonly root: number; readonly job: number };

export type BundleSpec = {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly channel: boolean;
  readonly limits: SandboxLimits;
  readonly ids: Ids;
  /** The name of its control group; none where the runtime is to leave these alone. */
  readonly group: string | undefined;
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
const DEVICES_BYTES = 64 * 1024;
const DESCRIPTORS_MAX = 1024;
const USER = 1000;

const HOME: Readonly<Record<string, string>> = {
  PATH: "/usr/local/bin:/usr/bin:/bin",
  HOME: "/tmp",
  TMPDIR: "/tmp",
  LANG: "C.UTF-8",
};

/** How the machine finds its programs: /usr, and what stands beside it. */
const SYSTEM = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/** What every sandbox has of its own. */
const OWN_FOLDERS = ["proc", "dev", "tmp", "ws", "run"];

/** One entry of the root: a link, or something of the machine at the same name. */
type RootEntry = { readonly name: string } & ({ readonly link: string } | { readonly from: string });

function rootEntries({ image, etc }: World): readonly RootEntry[] {
  const base = image ?? "/";
  const names = image === undefined ? SYSTEM : readdirSync(image).filter((name) => !OWN_FOLDERS.includes(name));
  const entries = names.flatMap((name): RootEntry[] => {
    const path = join(base, name);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats?.isSymbolicLink() === true) return [{ name, link: readlinkSync(path) }];
    return stats?.isDirectory() === true ? [{ name, from: path }] : [];
  });
  return image === undefined ? [...entries, { name: "etc", from: etc }] : entries;
}

/** Makes the bundle at `folder`, which must not be there. */
export function makeBundle(folder: string, world: World, spec: BundleSpec): void {
  const root = join(folder, "rootfs");
  const entries = rootEntries(world);
  mkdirSync(root, { recursive: true });
  for (const name of [...OWN_FOLDERS, "run/reeve"]) mkdirSync(join(root, name));
  // A runtime gives what it mounts the mode of the place.
  chmodSync(join(root, "tmp"), 0o1777);
  for (const entry of entries)
    if ("link" in entry) symlinkSync(entry.link, join(root, entry.name));
    else mkdirSync(join(root, entry.name));
  if (!entries.some(({ name }) => name === "var")) {
    mkdirSync(join(root, "var"));
    symlinkSync("../tmp", join(root, "var/tmp"));
  }
  for (const { to, from } of spec.mounts) makePlace(root, to, lstatSync(from).isDirectory());
  const config = configOf(world, spec, entries);
  writeFileSync(join(folder, "config.json"), JSON.stringify(config), { mode: 0o600, flag: "wx" });
}

/** What lies below a mount, or beyond a link, is not made here: it is there, or the runtime says that it is not. */
function makePlace(root: string, to: string, isFolder: boolean): void {
  const parent = dirname(to);
  if (parent !== "/") makePlace(root, parent, true);
  if (lstatSync(join(root, parent), { throwIfNoEntry: false })?.isDirectory() !== true) return;
  if (lstatSync(join(root, to), { throwIfNoEntry: false }) !== undefined) return;
  if (isFolder) mkdirSync(join(root, to));
  else writeFileSync(join(root, to), "");
}

const bind = (from: string, to: string, access: Mount["access"]): OciMount => ({
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

function mountsOf(spec: BundleSpec, entries: readonly RootEntry[]): readonly OciMount[] {
  const { workspace, door, limits } = spec;
  const named = spec.mounts.toSorted((a, b) => a.to.length - b.to.length);
  return [
    ...entries.flatMap((entry) => ("from" in entry ? [bind(entry.from, `/${entry.name}`, "read")] : [])),
    { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      // Read-only once the runtime has put the devices there.
      options: ["nosuid", "noexec", "strictatime", "mode=755", `size=${DEVICES_BYTES}`, "ro"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
    },
    scratch("/dev/shm", SHARED_MEMORY_BYTES, ["noexec", "mode=1777"]),
    scratch("/tmp", TEMPORARY_BYTES, ["mode=1777"]),
    workspace === undefined
      ? scratch("/ws", limits.diskBytes, ["mode=755", `uid=${USER}`, `gid=${USER}`])
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

/** Each is covered by an empty folder or by /dev/null. What the kernel refuses by itself, such as kmsg, is better left to it. */
const MASKED = [
  ...["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/latency_stats"],
  ...["/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/proc/kallsyms"],
];
const READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const NONE = { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] };

const mapping = ({ root, job }: Ids): readonly object[] => [
  { containerID: 0, hostID: root, size: 1 },
  { containerID: USER, hostID: job, size: 1 },
];

/** A configuration, with stand-ins for what differs from start to start: what the self-test's verdict depends on. */
export const sampleOf = (world: World, limits: SandboxLimits): object =>
  configOf(
    world,
    {
      command: ["true"],
      cwd: "/ws",
      env: {},
      channel: false,
      limits,
      ids: { root: 1, job: 2 },
      group: "1",
      workspace: undefined,
      door: undefined,
      mounts: [],
    },
    rootEntries({ ...world, etc: "/etc" }),
  );

function configOf(world: World, spec: BundleSpec, entries: readonly RootEntry[]): object {
  const { limits, ids, group } = spec;
  const env = { ...HOME, ...spec.env };
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: false,
      user: { uid: USER, gid: USER, umask: 0o022 },
      args: insideScript(spec.command, { cwd: spec.cwd, env, channel: spec.channel }),
      env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
      cwd: "/",
      capabilities: NONE,
      noNewPrivileges: true,
      rlimits: rlimitsOf(limits, hardLimits()),
    },
    root: { path: "rootfs", readonly: true },
    hostname: "sandbox",
    mounts: mountsOf(spec, entries),
    linux: {
      ...(group === undefined ? {} : { cgroupsPath: group }),
      namespaces: ["pid", "network", "ipc", "uts", "mount", "user", "cgroup"].map((type) => ({ type })),
      uidMappings: mapping(ids),
      gidMappings: mapping(ids),
      // The limits are in its control group already, before anything is.
      resources: { devices: [{ allow: false, access: "rwm" }] },
      seccomp: world.seccomp,
      maskedPaths: MASKED,
      readonlyPaths: READ_ONLY,
    },
  };
}

type Rlimit = { readonly type: string; readonly soft: number; readonly hard: number };

/** Bounds of one process. Who may not raise them (without CAP_SYS_RESOURCE) keeps what it has, so none is above that. */
export function rlimitsOf({ diskBytes, cpuMs }: SandboxLimits, hard: ReadonlyMap<string, number>): readonly Rlimit[] {
  const cpuSeconds = Math.ceil(cpuMs / 1_000) + 1;
  const wanted: readonly (readonly [string, string, number, number])[] = [
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

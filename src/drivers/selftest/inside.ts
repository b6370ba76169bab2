// Payloads that run inside of a sandbox as a script of Node: what files, devices and the views of the kernel must not give.
//
// `node inside.ts BAIT NAME…`: BAIT is JSON with what is looked for; a line of JSON for each name: { payload, verdict, detail }.
// It imports nothing of this project, since nothing of it is there.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";

type Found = { readonly verdict: "contained" | "surface" | "escaped"; readonly detail: string };
export type InsideBait = {
  readonly secret: string;
  readonly secretFile: string;
  readonly open: string;
  readonly port: number;
  readonly home: string;
  readonly namesAllowed: readonly string[];
};
type Script = (bait: InsideBait) => Found | Promise<Found>;

const contained = (detail: string): Found => ({ verdict: "contained", detail });
const escaped = (detail: string): Found => ({ verdict: "escaped", detail });

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);

/** The first attempt that succeeds is an escape; otherwise the reasons why none did. */
function allFail(attempts: Readonly<Record<string, () => unknown>>): Found {
  const reasons = new Set<string>();
  for (const [what, attempt] of Object.entries(attempts)) {
    try {
      const told = attempt();
      return escaped(`${what}${typeof told === "string" ? `: ${told}` : ""}`);
    } catch (error) {
      reasons.add(codeOf(error));
    }
  }
  return contained([...reasons].join(", "));
}

class Nothing extends Error {
  readonly code = "nothing found";
}
/** For attempts that come to an end without finding anything. */
const nothing = (): never => {
  throw new Nothing();
};

const openToWrite = (path: string) => () => fs.closeSync(fs.openSync(path, fs.constants.O_WRONLY));
/** The device that a runtime of containers lays over what it hides (1:3, as the kernel numbers it): whoever opens it has opened nothing. */
const NULL_DEVICE = 0x103;
const openToRead = (path: string) => () => {
  const descriptor = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  try {
    const stats = fs.fstatSync(descriptor);
    if (stats.isCharacterDevice() && stats.rdev === NULL_DEVICE) nothing();
    fs.readSync(descriptor, Buffer.alloc(16), 0, 16, 0);
  } finally {
    fs.closeSync(descriptor);
  }
};
const eachOf = (paths: readonly string[], attempt: (path: string) => () => unknown): Record<string, () => unknown> =>
  Object.fromEntries(paths.map((path) => [path, attempt(path)]));

function listOf(folder: string): string[] {
  try {
    return fs.readdirSync(folder);
  } catch {
    // What cannot be listed holds nothing for a payload.
    return [];
  }
}

const processes = (): string[] => listOf("/proc").filter((name) => /^\d+$/.test(name));

/** How a process is held: by which filter, with which rights. */
const held = (pid: string): string =>
  (fs.readFileSync(`/proc/${pid}/status`, "utf8").match(/^(?:Seccomp|NoNewPrivs|Uid|Cap\w+):.*$/gm) ?? []).join(", ");

/** Whether a file's beginning holds the secret. */
function holds(path: string, secret: string): boolean {
  const bytes = Buffer.alloc(65_536);
  const descriptor = fs.openSync(path, "r");
  try {
    return bytes.subarray(0, fs.readSync(descriptor, bytes)).includes(secret);
  } finally {
    fs.closeSync(descriptor);
  }
}

function lookThrough(paths: readonly string[], secret: string): Found {
  return allFail(
    eachOf(paths, (path) => () => {
      if (!holds(path, secret)) nothing();
    }),
  );
}

function createIn(folder: string): () => void {
  return () => {
    const path = join(folder, `reeve-selftest-${process.pid}`);
    fs.writeFileSync(path, "x", { flag: "wx" });
    fs.rmSync(path);
  };
}

const FILL_BYTES = 80 * 1024 * 1024;
/** Writes until it is refused; more than any scratch folder may hold is an escape. */
function fill(folder: string): Found {
  const path = join(folder, `reeve-fill-${process.pid}`);
  const block = Buffer.alloc(1024 * 1024, 1);
  let written = 0;
  let descriptor: number | undefined;
  try {
    descriptor = fs.openSync(path, "wx");
    while (written < FILL_BYTES) written += fs.writeSync(descriptor, block);
    return escaped(`${written} bytes were written into ${folder}`);
  } catch (error) {
    return contained(`${codeOf(error)} after ${written} bytes`);
  } finally {
    if (descriptor !== undefined) fs.closeSync(descriptor);
    fs.rmSync(path, { force: true });
  }
}

const worst = (found: readonly Found[]): Found =>
  found.find(({ verdict }) => verdict === "escaped") ??
  contained([...new Set(found.map(({ detail }) => detail))].join(", "));

function socketsBelow(folder: string, depth: number): string[] {
  return listOf(folder).flatMap((name) => {
    const path = join(folder, name);
    const stats = fs.lstatSync(path, { throwIfNoEntry: false });
    if (stats?.isSocket() === true) return [path];
    return stats?.isDirectory() === true && depth > 0 ? socketsBelow(path, depth - 1) : [];
  });
}

const DEVICES = new Set(
  [
    "core",
    "fd",
    "full",
    "null",
    "ptmx",
    "pts",
    "random",
    "shm",
    "stderr",
    "stdin",
    "stdout",
    "tty",
    "urandom",
    "zero",
  ].concat(
    // Empty, and its own: queues of messages; the console is the sandbox's own.
    ["mqueue", "console"],
  ),
);

const VIEWS_OF_KERNEL = ["/proc/kcore", "/proc/kmsg", "/proc/kpagecount", "/proc/kpageflags", "/dev/mem", "/dev/kmem"];
const SYSTEM_SETTINGS = [
  "/proc/sys/kernel/pid_max",
  "/proc/sys/kernel/hostname",
  "/proc/sys/kernel/modprobe",
  "/proc/sys/kernel/randomize_va_space",
  "/proc/sys/kernel/hotplug",
  "/proc/sys/vm/overcommit_memory",
  "/proc/sys/vm/drop_caches",
  "/proc/sys/net/ipv4/ip_forward",
  "/proc/sys/net/ipv4/conf/all/forwarding",
  "/proc/sys/fs/file-max",
  "/proc/sys/fs/binfmt_misc/register",
  "/proc/sys/user/max_user_namespaces",
];

/** As the kernel calls them; `unlimited` is above each. */
const PROCESS_LIMITS = [
  { name: "Max core file size", most: 0 },
  { name: "Max open files", most: 4_096 },
  { name: "Max file size", most: 2 ** 40 },
  { name: "Max cpu time", most: 10 ** 6 },
];

/** An answer that is the door's own refusal is none of who was asked. */
async function askAll(urls: readonly string[]): Promise<Found> {
  const told: string[] = [];
  for (const url of urls) {
    try {
      const { status } = await fetch(url, { signal: AbortSignal.timeout(4_000) });
      if (status < 400) return escaped(`${url} answered with ${status}`);
      told.push(String(status));
    } catch (error) {
      const { cause } = error as { readonly cause?: unknown };
      told.push(codeOf(cause ?? error));
    }
  }
  return contained(told.join(", "));
}

const SCRIPTS: Readonly<Record<string, Script>> = {
  shadow: () => lookThrough(["/etc/shadow", "/etc/gshadow", "/etc/sudoers"], "root"),
  "read-host": ({ secretFile, secret }) => lookThrough([secretFile], secret),
  "read-homes": ({ home }) =>
    allFail({
      "a home of the machine": () => (listOf(home).length > 0 ? listOf(home)[0] : nothing()),
      "the home of root": () => (listOf("/root").length > 0 ? listOf("/root")[0] : nothing()),
    }),
  writeout: ({ open }) =>
    allFail(eachOf([open, "/usr", "/usr/bin", "/etc", "/bin", "/lib", "/sys", "/proc", "/run", "/opt"], createIn)),
  symlink: ({ secretFile, secret, open }) => {
    const link = `/ws/link-${process.pid}`;
    const folder = `/ws/folder-${process.pid}`;
    fs.symlinkSync(secretFile, link);
    fs.symlinkSync(open, folder);
    return worst([lookThrough([link, `/proc/self/root${secretFile}`], secret), allFail({ write: createIn(folder) })]);
  },
  hardlink: ({ secretFile }) =>
    allFail({
      "a link to a file of the machine": () => fs.linkSync(secretFile, `/ws/hard-${process.pid}`),
      "a link to a program": () => fs.linkSync("/usr/bin/env", `/ws/hard-env-${process.pid}`),
    }),
  "proc-root": ({ secretFile, secret }) =>
    lookThrough(
      processes().flatMap((pid) => ["root", "cwd"].map((view) => `/proc/${pid}/${view}${secretFile}`)),
      secret,
    ),
  "proc-descriptors": ({ secret }) =>
    lookThrough(
      processes()
        .filter((pid) => pid !== String(process.pid))
        .flatMap((pid) => listOf(`/proc/${pid}/fd`).map((number) => `/proc/${pid}/fd/${number}`))
        .filter((path) => fs.statSync(path, { throwIfNoEntry: false })?.isFile() === true),
      secret,
    ),
  "proc-streams": () =>
    allFail(
      eachOf(
        processes()
          .filter((pid) => pid !== String(process.pid))
          .flatMap((pid) => listOf(`/proc/${pid}/fd`).map((number) => `/proc/${pid}/fd/${number}`))
          .filter((path) => fs.statSync(path, { throwIfNoEntry: false })?.isFile() === true),
        openToWrite,
      ),
    ),
  procenv: ({ secret }) =>
    lookThrough(
      processes().map((pid) => `/proc/${pid}/environ`),
      secret,
    ),
  envsecret: ({ namesAllowed }) => {
    const strange = Object.keys(process.env).filter((name) => !namesAllowed.includes(name));
    return strange.length === 0 ? contained("nothing but what was named") : escaped(`also ${strange.join(", ")}`);
  },
  "see-processes": () => {
    const seen = processes();
    // Its own, and those of whoever started it inside.
    return seen.length <= 4 ? contained(`${seen.length} processes, all its own`) : escaped(`${seen.length} processes`);
  },
  procsys: () => allFail(eachOf(SYSTEM_SETTINGS, openToWrite)),
  "core-pattern": () =>
    allFail(eachOf(["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/core_pipe_limit"], openToWrite)),
  sysrq: () => allFail(eachOf(["/proc/sysrq-trigger", "/proc/acpi/wakeup", "/proc/scsi/scsi"], openToWrite)),
  "sys-write": () =>
    allFail(
      eachOf(
        [
          "/sys/kernel/uevent_helper",
          "/sys/power/state",
          "/sys/kernel/mm/ksm/run",
          "/sys/module/kernel/parameters/panic",
        ]
          .concat(["/sys/kernel/debug/x", "/sys/kernel/tracing/trace_marker", "/sys/fs/selinux/enforce"])
          .concat(listOf("/sys/block").map((name) => `/sys/block/${name}/uevent`)),
        openToWrite,
      ),
    ),
  "kernel-memory": () => allFail(eachOf(VIEWS_OF_KERNEL, openToRead)),
  "kernel-log": () => allFail(eachOf(["/dev/kmsg", "/proc/kmsg"], openToRead)),
  device: () =>
    allFail({
      ...eachOf(
        ["/dev/kvm", "/dev/fuse", "/dev/net/tun", "/dev/loop-control", "/dev/vsock", "/dev/vhost-vsock"]
          .concat(["/dev/port", "/dev/input/event0", "/dev/tty0", "/dev/tty1", "/dev/hwrng", "/dev/userfaultfd"])
          .concat(["/dev/mapper/control", "/dev/snapshot", "/dev/cpu/0/msr", "/dev/nvram", "/dev/rtc0"]),
        (path) => () => fs.closeSync(fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)),
      ),
      "a device that no program needs": () => listOf("/dev").find((name) => !DEVICES.has(name)) ?? nothing(),
    }),
  cgroup: () =>
    allFail({
      ...eachOf(
        ["/sys/fs/cgroup", ...listOf("/sys/fs/cgroup").map((name) => `/sys/fs/cgroup/${name}`)].flatMap((folder) =>
          ["cgroup.procs", "tasks", "release_agent", "notify_on_release", "cgroup.subtree_control"].map((file) =>
            join(folder, file),
          ),
        ),
        openToWrite,
      ),
    }),
  "supervisor-program": () =>
    allFail(
      eachOf(["/proc/1/exe", `/proc/${process.ppid}/exe`, "/proc/self/exe"], (path) => () => {
        fs.closeSync(fs.openSync(path, fs.constants.O_RDWR));
      }),
    ),
  "supervisor-memory": () =>
    allFail(
      eachOf(processes(), (pid) => () => {
        fs.closeSync(fs.openSync(`/proc/${pid}/mem`, fs.constants.O_RDWR));
        // Whoever is held as this one is gives nothing away.
        if (held(pid) === held("self")) nothing();
        return held(pid);
      }),
    ),
  "process-limits": () => {
    const limits = fs.readFileSync("/proc/self/limits", "utf8");
    const mostOf = (name: string): string => new RegExp(`^${name}\\s+\\S+\\s+(\\S+)`, "m").exec(limits)?.[1] ?? "";
    const wide = PROCESS_LIMITS.filter(({ name, most }) => !(Number(mostOf(name)) <= most));
    if (wide.length === 0) return contained(PROCESS_LIMITS.map(({ name }) => `${name} ${mostOf(name)}`).join(", "));
    return escaped(wide.map(({ name }) => `${name}: ${mostOf(name)}`).join(", "));
  },
  "uid-map": () =>
    allFail({
      "the map of user ids": () => fs.writeFileSync("/proc/self/uid_map", "0 0 4294967295\n"),
      "the map of group ids": () => fs.writeFileSync("/proc/self/gid_map", "0 0 4294967295\n"),
      "a lower score for the killer of processes": () => fs.writeFileSync("/proc/self/oom_score_adj", "-1000"),
    }),
  "socket-files": () => {
    const found = ["/run", "/var", "/tmp", "/home", "/root", "/opt", "/srv", "/mnt", "/ws"].flatMap((folder) =>
      socketsBelow(folder, 4),
    );
    const strange = found.filter((path) => !path.startsWith("/run/reeve/"));
    return strange.length === 0 ? contained("none") : escaped(strange.join(", "));
  },
  rootfill: () => worst(["/", "/etc", "/run", "/var", "/home", "/usr", "/ws/.."].map(fill)),
  devfill: () => worst(["/dev", "/dev/pts", "/dev/mqueue", "/proc", "/sys"].map(fill)),
  "gateway-deny": ({ port }) => askAll(["http://denied.invalid/", `http://localhost:${port}/`]),
  "gateway-direct": ({ port }) => askAll([`http://127.0.0.1:${port}/`, "http://169.254.169.254/latest/meta-data/"]),
  exec: () => {
    const { status, stdout } = spawnSync("/bin/sh", ["-c", "echo started"], { encoding: "utf8" });
    return status === 0 && stdout === "started\n"
      ? { verdict: "surface", detail: "another program ran inside, as it may" }
      : contained("no other program can be started");
  },
};

export const SCRIPT_NAMES: readonly string[] = Object.keys(SCRIPTS);

if (import.meta.main) {
  const [baitJson = "{}", ...names] = process.argv.slice(2);
  const bait = JSON.parse(baitJson) as InsideBait;
  for (const payload of names) {
    let found: Found | undefined;
    try {
      found = await SCRIPTS[payload]?.(bait);
    } catch (error) {
      // No verdict: whoever reads this counts it as a failure.
      process.stderr.write(`${payload}: ${String(error)}\n`);
    }
    if (found !== undefined) process.stdout.write(`${JSON.stringify({ payload, ...found })}\n`);
  }
}

// What runc and crun are handed for one container: a folder with the root of its file system and `config.json`.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { MASKED, mountsOf, rlimitsOf, USER, type Ids, type OciMount, type Plan, type World } from "../contents/plan.ts";
import { makeRoot, rootEntries, type RootEntry } from "../contents/root.ts";
import { insideScript } from "../inside/first-process.ts";

const DEVICES_BYTES = 64 * 1024;

/** Makes the bundle at `folder`, which must not be there. `group`: the name of its control group; none where the runtime is to leave these alone. */
export function makeBundle(folder: string, world: World, plan: Plan, group: string | undefined): void {
  const entries = rootEntries(world);
  makeRoot(join(folder, "rootfs"), entries, plan.mounts);
  const config = configOf(world, plan, entries, group);
  writeFileSync(join(folder, "config.json"), JSON.stringify(config), { mode: 0o600, flag: "wx" });
}

const VIEWS: readonly OciMount[] = [
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
];

const READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const NONE = { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] };

const mapping = ({ root, job }: Ids): readonly object[] => [
  { containerID: 0, hostID: root, size: 1 },
  { containerID: USER, hostID: job, size: 1 },
];

/** What a verdict of the self-test depends on: a configuration with stand-ins for what differs from start to start. */
export const sampleConfig = (world: World, plan: Plan): object =>
  configOf(world, plan, rootEntries({ ...world, etc: "/etc" }), "1");

function configOf(world: World, plan: Plan, entries: readonly RootEntry[], group: string | undefined): object {
  const { limits, ids } = plan;
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: false,
      user: { uid: USER, gid: USER, umask: 0o022 },
      args: insideScript(plan.command, plan),
      env: [],
      cwd: "/",
      capabilities: NONE,
      noNewPrivileges: true,
      rlimits: rlimitsOf(limits),
    },
    root: { path: "rootfs", readonly: true },
    hostname: "sandbox",
    mounts: [...VIEWS, ...mountsOf(plan, entries, USER)],
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

// The payloads of inside.ts, as the test knows them.
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { escaped, type ScriptPayload } from "./payload.ts";

const script = (name: string, tries: string, more: Partial<ScriptPayload> = {}): ScriptPayload => ({
  kind: "script",
  name,
  tries,
  ...more,
});

export const SCRIPTS: readonly ScriptPayload[] = [
  script("shadow", "read the machine's passwords"),
  script("read-host", "read a file of the machine by its path", { control: true }),
  script("read-homes", "look into the homes of the machine's users"),
  script("writeout", "create files in folders of the machine and of the system", {
    control: true,
    outside: async ({ open }) => {
      const left = await readdir(open);
      return left.length === 0 ? undefined : escaped(`there are files in a folder of the machine: ${left.join(", ")}`);
    },
  }),
  script("symlink", "read and write files of the machine through links in its workspace"),
  script("hardlink", "give files of the machine a second name in its workspace"),
  script("proc-root", "read files of the machine by the roots of other processes"),
  script("proc-descriptors", "read what other processes have open"),
  script("proc-streams", "write past its limits into files that other processes have open"),
  script("procenv", "find a secret in the environment of any process", { control: true }),
  script("envsecret", "find more in its own environment than it was given", { control: true }),
  script("see-processes", "see processes that are not its own"),
  script("procsys", "change settings of the kernel"),
  script("core-pattern", "have the kernel start a program of its choice when one crashes"),
  script("sysrq", "give the kernel orders by sysrq-trigger"),
  script("sys-write", "write to /sys"),
  script("kernel-memory", "read the memory of the kernel and of the machine"),
  script("kernel-log", "read the log of the kernel"),
  script("device", "open devices of the machine"),
  script("cgroup", "join another control group, or have one start a program"),
  script("supervisor-program", "overwrite the program of whoever started it"),
  script("supervisor-memory", "write into the memory of a process that is held less than itself"),
  script("process-limits", "leave a core file, or open files, write and compute beyond what one process may"),
  script("uid-map", "map itself to other users, and be the last to be killed for want of memory"),
  script("socket-files", "find sockets of the machine"),
  script("rootfill", "fill the root and its folders"),
  script("devfill", "fill /dev, /proc and /sys"),
  script("gateway-deny", "ask its door for a host that no rule names", { door: true }),
  script("gateway-direct", "dial the machine's loopback and a cloud's metadata through its door", { door: true }),
  script("exec", "start another program", { expected: "surface", control: true }),
];

/** Whether something below a folder would run with the rights of root, or is a device. */
export async function traps(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true });
  const found = await Promise.all(
    entries.map(async (name) => {
      const stats = await lstat(join(folder, name));
      const isDevice = stats.isCharacterDevice() || stats.isBlockDevice();
      const isRoots = stats.isFile() && (stats.mode & 0o6000) !== 0 && (stats.uid === 0 || stats.gid === 0);
      return isDevice || isRoots ? [name] : [];
    }),
  );
  return found.flat();
}

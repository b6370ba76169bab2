// What this machine offers to bubblewrap: found once, before the first start.
import { execFile } from "node:child_process";
import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { promisify } from "node:util";
import type { Layer } from "../../ports/sandbox.ts";
import type { Duty, Layout } from "../../linux/cgroup-layout.ts";
import type { Architecture } from "../../lib/system-calls.ts";

/** The program, what it says of itself, and what tells it from another that says the same. */
export type Bubblewrap = { readonly path: string; readonly version: string; readonly file: readonly number[] };

const PLACES = ["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"];
/** Options that the profile is made of. */
const OPTIONS = ["--disable-userns", "--size", "--perms", "--bind-fd", "--ro-bind-fd", "--file", "--seccomp"];
const INSTALL = "Install it (Debian, Ubuntu: `apt install bubblewrap`; Fedora: `dnf install bubblewrap`).";

const run = promisify(execFile);

/** The program, or why it will not do, with the remedy. */
export async function findBubblewrap(): Promise<Bubblewrap | string> {
  if (process.platform !== "linux")
    return "Sandboxes of native code need Linux. Run Reeve on Linux, in a virtual machine for example.";
  if (process.arch !== "x64" && process.arch !== "arm64")
    return `The filter of system calls is not written for ${process.arch}. Run Reeve on x86-64 or arm64.`;
  const path = PLACES.find(isProgram);
  if (path === undefined) return `bubblewrap is not installed. ${INSTALL}`;
  const { mode, ino, size, mtimeMs } = statSync(path);
  if ((mode & 0o4000) !== 0)
    return `${path} runs with the rights of root (set-uid), where it cannot forbid user namespaces inside. Take that from it: \`chmod u-s ${path}\`.`;
  const [{ stdout: version }, { stdout: help }] = await Promise.all([run(path, ["--version"]), run(path, ["--help"])]);
  const missing = OPTIONS.filter((option) => !help.includes(`${option} `));
  if (missing.length === 0) return { path, version: version.trim(), file: [ino, size, mtimeMs] };
  return `${version.trim()} does not know ${missing.join(", ")}. Install 0.10 or later, or the security update of your distribution.`;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    // Not there, which is the answer.
    return false;
  }
}

export const architecture = (): Architecture => (process.arch === "arm64" ? "arm64" : "x64");

/** Whether Reeve may give sandboxes user ids of their own. */
export const mayChangeUser = (): boolean => process.geteuid?.() === 0;

/** What root needs to give sandboxes users of their own, give these what they work in, and end them; as the kernel numbers them. */
const RIGHTS = { CAP_CHOWN: 0, CAP_KILL: 5, CAP_SETGID: 6, CAP_SETUID: 7 };

/** Why this root cannot run sandboxes, with the remedy; undefined if it can. A container may have taken rights from its root. */
export function lackingRights(status = readFileSync("/proc/self/status", "utf8")): string | undefined {
  const held = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  const lacking = Object.entries(RIGHTS).flatMap(([name, bit]) => (((held >> BigInt(bit)) & 1n) === 1n ? [] : [name]));
  if (lacking.length === 0) return undefined;
  return `Reeve runs as a root that may not run sandboxes under user ids of their own: it lacks ${lacking.join(", ")}. Run its container with these (\`--cap-add\`), or run Reeve as another user than root.`;
}

const DUTY_LAYERS: Readonly<Record<Duty, string>> = {
  memory: "memory limit",
  pids: "process limit",
  cpu: "processor share",
  usage: "computing time limit",
  kill: "whole kill",
};

/** What keeps a sandbox in and within its limits, each by name. */
export function layersOf(options: { readonly uniqueUids: boolean; readonly layout: Layout }): readonly Layer[] {
  const { uniqueUids, layout } = options;
  const duties = Object.entries(DUTY_LAYERS).map(([duty, name]): Layer => {
    const lack = layout.lacks[duty as Duty];
    // Without a tree of version 2 a group is emptied process by process, with new ones forbidden meanwhile.
    const byHand = duty === "kill" && layout.lacks.pids === undefined;
    if (lack === undefined || byHand)
      return {
        name,
        inForce: true,
        detail: lack === undefined ? "control group" : "no new processes, and the others one by one",
      };
    return { name, inForce: false, detail: lack };
  });
  return [
    { name: "namespaces", inForce: true, detail: "user, process, network, mount, ipc, uts, control group" },
    { name: "system call filter", inForce: true, detail: `allow list for ${architecture()}` },
    { name: "no new privileges", inForce: true, detail: "and no capabilities, no further user namespaces" },
    { name: "read-only root", inForce: true, detail: "scratch folders are sized" },
    { name: "disk quota", inForce: true, detail: "a sized file system" },
    { name: "no descriptors", inForce: true, detail: "but the standard ones" },
    {
      name: "unique user ids",
      inForce: uniqueUids,
      detail: uniqueUids ? "one for each sandbox" : "Reeve does not run as root, so sandboxes have its own user id",
    },
    ...duties,
  ];
}

const APPARMOR =
  "AppArmor forbids user namespaces to programs without a profile (Ubuntu 24.04 and later). Give bubblewrap one: put a file " +
  "/etc/apparmor.d/bwrap with `abi <abi/4.0>, include <tunables/global> profile bwrap /usr/bin/bwrap flags=(unconfined) { userns, }`, " +
  "then `systemctl reload apparmor`.";

/** What bubblewrap, or the system, says when it cannot, and what to do about it. */
const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [
    /^spawn EINVAL$/,
    "The user ids of sandboxes are none that there are here: a container may have few (/proc/self/uid_map). Set sandbox.uids to some of those.",
  ],
  [/setting up uid map: Permission denied|loopback: Failed RTM_NEWADDR/, APPARMOR],
  [
    /No permissions to creat(?:e|ing) new namespace|Creating new namespace failed: (?:Operation not permitted|Permission denied)/,
    "This machine forbids user namespaces. Allow them: `sysctl -w kernel.unprivileged_userns_clone=1` on Debian, or run the container with a profile that permits them.",
  ],
  [
    /Creating new namespace failed|No space left on device/,
    "The machine's number of namespaces is used up. Raise `user.max_user_namespaces` (sysctl).",
  ],
  [/Can't mount proc/, "A container hides parts of /proc here. Run it with an unmasked /proc, or Reeve outside of it."],
];

/** Why bubblewrap did not start, from what it said, with the remedy where one is known. */
export function explain(stderr: string): string {
  const said = stderr.trim() === "" ? "bubblewrap ended without a word" : stderr.trim().slice(-2_000);
  const remedy = REMEDIES.find(([pattern]) => pattern.test(stderr))?.[1];
  return remedy === undefined ? said : `${said.replace(/\.$/, "")}. ${remedy}`;
}

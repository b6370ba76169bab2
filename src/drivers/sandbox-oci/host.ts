// What this machine offers to containers: a runtime, found once, before the first start, and what is in force with it.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, readFileSync } from "node:fs";
import { release } from "node:os";
import { promisify } from "node:util";
import type { Duty, Layout } from "../../linux/cgroup-layout.ts";
import type { Architecture } from "../../lib/system-calls.ts";
import type { Layer } from "../../ports/sandbox.ts";
import type { Runtime } from "./launch.ts";

export const RUNTIMES = ["runc", "crun", "podman", "docker"] as const;
export type RuntimeName = (typeof RUNTIMES)[number];
/** They need images and a service, or are one. */
const ENGINES: ReadonlySet<RuntimeName> = new Set(["podman", "docker"]);

const FOLDERS = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/bin", "/sbin"];
const ASK_TIMEOUT_MS = 10_000;

const run = promisify(execFile);

export const isEngine = (name: RuntimeName): boolean => ENGINES.has(name);

/** Where a program is; undefined if it is not. */
export function placeOf(name: string): string | undefined {
  return FOLDERS.map((folder) => `${folder}/${name}`).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      // Not there, which is the answer.
      return false;
    }
  });
}

/** Why nothing here can run containers, or undefined. */
export function lackOfMachine(): string | undefined {
  if (process.platform !== "linux")
    return "Containers need Linux. Run Reeve on Linux, in a virtual machine for example.";
  if (process.arch !== "x64" && process.arch !== "arm64")
    return `The filter of system calls is not written for ${process.arch}. Run Reeve on x86-64 or arm64.`;
  return undefined;
}

/** A runtime without an engine, or why it will not do. */
export async function findRuntime(name: "runc" | "crun"): Promise<Runtime | string> {
  const path = placeOf(name);
  if (path === undefined) return `${name} is not installed`;
  if (process.geteuid?.() !== 0)
    return `${name} needs root to give each container user ids of its own, and Reeve does not run as root`;
  if (placeOf("setpriv") === undefined)
    return `${name} would outlive Reeve, since setpriv is not installed (Debian, Ubuntu, Fedora: the package \`util-linux\`)`;
  const [answer, help] = await Promise.all([ask(path, ["--version"]), ask(path, ["run", "--help"])]);
  if ("failed" in answer) return `${name} does not answer (${answer.failed})`;
  const needed = name === "runc" ? ["--keep", "--preserve-fds"] : ["--preserve-fds"];
  const missing = needed.filter((option) => !("said" in help && help.said.includes(option)));
  if (missing.length > 0)
    return `${answer.said} does not know ${missing.join(", ")}: install runc 1.1 or later, or crun 1.0 or later`;
  return { kind: name, path, version: answer.said };
}

/** Whether an engine stands behind the program: its version, or why not. */
export async function askEngine(name: "podman" | "docker"): Promise<{ readonly version: string } | string> {
  const path = placeOf(name);
  if (path === undefined) return `${name} is not installed`;
  const format = name === "docker" ? "{{.Server.Version}}" : "{{.Client.Version}}";
  const answer = await ask(path, ["version", "--format", format]);
  if (!("failed" in answer)) return { version: answer.said };
  return `${name} is a client without an engine here (${answer.failed})`;
}

async function ask(path: string, args: readonly string[]): Promise<{ said: string } | { failed: string }> {
  try {
    const { stdout } = await run(path, [...args], { timeout: ASK_TIMEOUT_MS });
    return { said: stdout.trim().replaceAll("\n", ", ") };
  } catch (error) {
    const { stderr, message } = error as { readonly stderr?: string; readonly message: string };
    const said = stderr === undefined || stderr.trim() === "" ? message : stderr;
    return { failed: said.trim().split("\n").at(-1)?.replace(/\.$/, "") ?? message };
  }
}

export const architecture = (): Architecture => (process.arch === "arm64" ? "arm64" : "x64");

const DUTY_LAYERS: Readonly<Record<Duty, string>> = {
  memory: "memory limit",
  pids: "process limit",
  cpu: "processor share",
  usage: "computing time limit",
  kill: "whole kill",
};

/** What keeps a container in and within its limits, each by name. */
export function layersOf({ lacks }: Layout): readonly Layer[] {
  const duties = Object.entries(DUTY_LAYERS).map(([duty, name]): Layer => {
    const lack = lacks[duty as Duty];
    const byHand = duty === "kill" && lacks.pids === undefined;
    if (lack === undefined) return { name, inForce: true, detail: "control group" };
    // Without a tree of version 2 a group is emptied process by process, with new ones forbidden meanwhile.
    return byHand ? { name, inForce: true, detail: "one by one" } : { name, inForce: false, detail: lack };
  });
  return [
    { name: "namespaces", inForce: true, detail: "user, process, network, mount, ipc, uts, control group" },
    { name: "system call filter", inForce: true, detail: `allow list for ${architecture()}, by libseccomp` },
    { name: "no new privileges", inForce: true, detail: "and no capabilities" },
    { name: "read-only root", inForce: true, detail: "scratch folders are sized, kernel views masked" },
    { name: "disk quota", inForce: true, detail: "a sized file system" },
    {
      name: "unique user ids",
      inForce: true,
      detail: "two for each container: its root, which is nobody, and its job",
    },
    ...duties,
  ];
}

/** Stands for all that a verdict of the self-test depends on. */
export const fingerprintOf = (facts: Readonly<Record<string, unknown>>): string =>
  createHash("sha256")
    .update(JSON.stringify({ ...facts, kernel: release(), arch: process.arch }))
    .digest("hex");

/** What runtimes say when they cannot, and what to do about it. */
const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [
    /hybrid mode not supported/,
    "Use runc, or boot with control groups of version 2 alone (`systemd.unified_cgroup_hierarchy=1`).",
  ],
  [
    /mounting "proc" to rootfs|mount_too_revealing|proc.*operation not permitted/,
    "A container hides parts of /proc here. Run it with an unmasked /proc, or Reeve outside of it.",
  ],
  [
    /no space left on device|unshare.*(?:ENOSPC|No space)/i,
    "The machine's number of namespaces is used up. Raise `user.max_user_namespaces` (sysctl).",
  ],
  [
    /unshare.*Operation not permitted|user namespaces are not enabled/i,
    "This machine forbids user namespaces. Allow them, or run the container that Reeve is in with a profile that permits them.",
  ],
  [
    /exec: "\/bin\/sh"|\/bin\/sh: no such file/,
    "The image has no /bin/sh, which every sandbox begins with. Use one that has.",
  ],
  [/read-only file system|cgroup.*permission denied/i, "Control groups must be writable to the runtime here."],
];

/** Why a container did not start, from the runtime's log, with the remedy where one is known. */
export function explain(runtime: Runtime, log: string): string {
  const said = messagesOf(log).at(-1) ?? `${runtime.kind} ended without a word`;
  const remedy = REMEDIES.find(([pattern]) => pattern.test(log))?.[1];
  return remedy === undefined ? said : `${said}. ${remedy}`;
}

/** Lines of a log in JSON; what is not JSON stands for itself. */
const messagesOf = (log: string): string[] =>
  log
    .split("\n")
    .filter(Boolean)
    .map((line) => /"msg": ?"((?:[^"\\]|\\.)*)"/.exec(line)?.[1]?.replaceAll('\\"', '"') ?? line);

/** Empty where the runtime did not get as far as to write one. */
export function readLog(file: string): string {
  try {
    return readFileSync(file, "utf8").slice(-4_000);
  } catch {
    // Its silence is told instead.
    return "";
  }
}

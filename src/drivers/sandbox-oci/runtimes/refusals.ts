// What runtimes mean by what they say when they do not start a container, and what to do about it.
import { readFileSync } from "node:fs";
import type { Runtime } from "./runtime.ts";

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
    /newuidmap|newgidmap|subuid|subgid|intermediate/i,
    "podman without root needs subordinate user ids: the package `uidmap`, and `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`.",
  ],
  [
    /(?:unshare|clone|fork\/exec).*(?:ENOSPC|no space)/i,
    "The machine's number of namespaces is used up. Raise `user.max_user_namespaces` (sysctl).",
  ],
  [
    /no space left on device|disk quota exceeded/i,
    "The disk on which Reeve's data folder, or the engine's own, stands is full. Make room there.",
  ],
  [
    /unshare.*Operation not permitted|user namespaces are not enabled/i,
    "This machine forbids user namespaces. Allow them, or run the container that Reeve is in with a profile that permits them.",
  ],
  [
    /exec: "\/bin\/sh"|\/bin\/sh: no such file/,
    "The image has no /bin/sh, which every sandbox begins with. Use one that has.",
  ],
  [
    /permission denied.*docker.sock|connect to the Docker daemon/i,
    "The engine must run, and Reeve be let to it: start it, or name it by DOCKER_HOST.",
  ],
  [/read-only file system|cgroup.*permission denied/i, "Control groups must be writable to the runtime here."],
];

/** Why a container did not start, from the runtime's log, with the remedy where one is known. */
export function explain({ kind }: Pick<Runtime, "kind">, log: string): string {
  const said = messagesOf(log).at(-1) ?? `${kind} ended without a word`;
  const remedy = REMEDIES.find(([pattern]) => pattern.test(log))?.[1];
  return remedy === undefined ? said : `${said}. ${remedy}`;
}

/** What docker says behind a refusal, and is none. */
const isAdvice = (line: string): boolean =>
  /^(?:See|Run) 'docker\b|error waiting for container: context canceled/.test(line);

/** Lines of a log in JSON; what is not JSON stands for itself. */
const messagesOf = (log: string): string[] =>
  log
    .split("\n")
    .filter((line) => line !== "" && !isAdvice(line))
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

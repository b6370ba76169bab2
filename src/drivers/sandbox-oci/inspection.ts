// The last look at a container, from outside, before its job begins: whether what is mounted is what was checked.
//
// A runtime mounts by path, and a path may have come to stand for something else since it was looked at; the open descriptor has not.
import { constants, fstatSync, openSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { OsError } from "../../abi/errors.ts";
import type { Source } from "../../linux/mounts.ts";
import type { Places } from "../../linux/places.ts";

const O_PATH = 0o10000000;

/** Of the processes of a group the one that is the first inside; a runtime that is in the group is in no namespace of the container's. */
export const firstInside = (pids: readonly number[]): number | undefined =>
  pids.find((pid) => {
    try {
      return /^NSpid:(?:\s+\d+)+\s+1$/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
    } catch {
      // It was ended meanwhile.
      return false;
    }
  });

/** `pid`: a process of the container. Rejects with `invalid_argument` if something was exchanged meanwhile. */
export function checkMounts(pid: number, { workspace, door, mounts }: Places): void {
  if (workspace !== undefined) check(pid, "/ws", workspace);
  if (door !== undefined) check(pid, "/run/reeve", door);
  for (const { to, bind } of mounts) check(pid, to, bind);
}

function check(pid: number, to: string, { descriptor }: Source): void {
  const wanted = fstatSync(descriptor, { bigint: true });
  const found = statSync(`/proc/${pid}/root${to}`, { bigint: true, throwIfNoEntry: false });
  if (found?.dev === wanted.dev && found.ino === wanted.ino) return;
  const what = `what was to be seen at ${to} was exchanged while the sandbox was started.`;
  throw new OsError("invalid_argument", `The sandbox was not started: ${what}`, { data: { issues: [what] } });
}

/** A descriptor of the workspace's file system. */
export function openDisk(pid: number): number | undefined {
  try {
    return openSync(join(`/proc/${pid}/root`, "ws"), O_PATH | constants.O_DIRECTORY);
  } catch (error) {
    // It was ended meanwhile, and its exit tells why.
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

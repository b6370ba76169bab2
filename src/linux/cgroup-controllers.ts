// Controllers of version 2: passed on from a group to those below it, which its own processes stand in the way of.
//
// Invariants:
//   C1. Nothing leaves the group but into one below it, where it is still held by all that held it before.
//   C2. If something cannot be moved, everything is where it was.
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";

/** The group below, for what was in a group before its controllers were passed on. */
export const ASIDE = "reeve-self";

const PROCESSES = "cgroup.procs";
/** What is being forked while the others move is met by the next round. */
const ROUNDS_MAX = 20;

export const wordsOf = (file: string): string[] => readFileSync(file, "utf8").trim().split(/\s+/).filter(Boolean);

/** Of the whole machine: what a group below it has, and this one cannot have. */
export const isRootOfAll = (folder: string): boolean => !existsSync(join(folder, "cgroup.type"));

const KILLS_SINCE = [5, 14] as const;

/** Whether a group below `folder` can be ended as a whole. The root of all has no such file, so that there the kernel's version tells. */
export function killsWhole(folder: string, kernel = release()): boolean {
  if (!isRootOfAll(folder)) return existsSync(join(folder, "cgroup.kill"));
  const [major = 0, minor = 0] = kernel.split(".").map(Number);
  return major > KILLS_SINCE[0] || (major === KILLS_SINCE[0] && minor >= KILLS_SINCE[1]);
}

/** Undefined when groups below `folder` have `controllers`; or why they have not. */
export function passOn(folder: string, controllers: readonly string[]): string | undefined {
  const attempt = (): NodeJS.ErrnoException | undefined => refusalOf(() => enable(folder, controllers));
  let refusal = attempt();
  // Nobody moves for what nobody stands in the way of.
  if (refusal?.code === "EBUSY") refusal = refusalOf(() => stepAside(folder)) ?? attempt();
  return refusal === undefined ? undefined : `${folder} cannot pass controllers on (${refusal.message})`;
}

function enable(folder: string, controllers: readonly string[]): void {
  const file = join(folder, "cgroup.subtree_control");
  const enabled = wordsOf(file);
  const missing = controllers.filter((controller) => !enabled.includes(controller));
  if (missing.length > 0) writeFileSync(file, missing.map((name) => `+${name}`).join(" "));
}

/**
 * Not Reeve alone: the shell or the npm that it was started by is in its group as well, and whoever else is does not notice. Throws if one
 * may not be moved.
 */
function stepAside(folder: string): void {
  const aside = join(folder, ASIDE);
  const moved: string[] = [];
  mkdirSync(aside, { recursive: true });
  try {
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const pids = wordsOf(join(folder, PROCESSES));
      if (pids.length === 0) return;
      for (const pid of pids) if (move(pid, aside)) moved.push(pid);
    }
    throw new Error("new processes keep coming to be in it");
  } catch (error) {
    for (const pid of moved) refusalOf(() => move(pid, folder));
    // Not empty where another Reeve is in it too.
    refusalOf(() => rmdirSync(aside));
    throw error;
  }
}

/** False for one that has ended meanwhile. */
function move(pid: string, group: string): boolean {
  // Whoever is not to be seen from here is listed so, and that would mean Reeve itself.
  if (pid === "0") throw new Error("a process that is not to be seen from here is in it");
  try {
    writeFileSync(join(group, PROCESSES), pid);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

/** Why it did not work. */
function refusalOf(act: () => void): NodeJS.ErrnoException | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

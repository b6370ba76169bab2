// A folder of one run of Reeve, for what its sandboxes are made of. Other runs have others, so that none takes anything from another; those
// of runs that are over go when the next begins.
import { chmodSync, lstatSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isOver } from "./cgroup.ts";

/**
 * Made below `folder` or, where that does not serve, below the system's temporary folder; undefined if neither does. `serves` is asked
 * of the made folder; what it throws is thrown, and nothing is left.
 */
export function makeRunFolder(folder: string, name: string, serves: (made: string) => boolean): string | undefined {
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o711);
  for (const parent of [folder, tmpdir()]) {
    removeOld(parent);
    const made = join(parent, name);
    mkdirSync(made);
    chmodSync(made, 0o711);
    let isKept = false;
    try {
      isKept = serves(made);
    } finally {
      if (!isKept) rmSync(made, { recursive: true, force: true });
    }
    if (isKept) return made;
  }
  return undefined;
}

/** Other users have folders by such names as well, in the system's; and others who begin now remove the same. */
function removeOld(parent: string): void {
  for (const old of readdirSync(parent).filter(isOver)) {
    const path = join(parent, old);
    if (lstatSync(path, { throwIfNoEntry: false })?.uid === process.geteuid?.())
      rmSync(path, { recursive: true, force: true });
  }
}

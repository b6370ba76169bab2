// The room that workspaces take on the disk of the machine.
import * as fs from "node:fs";
import { join } from "node:path";

const BLOCK_BYTES = 512;
/** How deep a folder is walked: what programs have made may be deeper than can be. */
const DEPTH_MAX = 256;

/** All workspaces that there are, whole or not, by the pids of their processes, in their order. */
export function pidsIn(folder: string): string[] {
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder)
    .filter((name) => name.startsWith("p_"))
    .sort();
}

/** Bytes that its files occupy. A disk in a file counts for what of it was written; links are not followed, nor is what is mounted. */
export function roomOf(path: string, depth = 0): number {
  const stats = fs.lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return 0;
  const own = stats.blocks * BLOCK_BYTES;
  if (!stats.isDirectory() || depth > DEPTH_MAX) return own;
  return namesOf(path).reduce((sum, name) => {
    const below = join(path, name);
    const other = fs.lstatSync(below, { throwIfNoEntry: false })?.dev !== stats.dev;
    return other ? sum : sum + roomOf(below, depth + 1);
  }, own);
}

function namesOf(path: string): string[] {
  try {
    return fs.readdirSync(path);
  } catch {
    // It went meanwhile, or is closed to Reeve: its own blocks count.
    return [];
  }
}

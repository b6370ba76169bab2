// How much a folder holds that no file system bounds: looked at from time to time while a sandbox writes into it.
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

const BLOCK_BYTES = 512;
const PAUSE_MS = 250;
/** A look at many files takes time, of which the watch may only take its share, however long the watch lasts. */
const PAUSE_PER_LOOK = 20;

/**
 * Bytes that its files occupy, as far as `max` and a little beyond; one that is empty occupies its entry. Links are not followed; what goes
 * away meanwhile counts nothing. What lies too deep to be looked at is more than any limit: somebody has dug for that.
 */
async function sizeOf(folder: string, max: number): Promise<number> {
  let bytes = 0;
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    const path = join(folder, name);
    const stats = await lstat(path).catch(isTooDeep);
    if (stats === true) return Infinity;
    bytes += stats === false ? 0 : Math.max(1, stats.blocks) * BLOCK_BYTES;
    if (stats !== false && stats.isDirectory()) bytes += await sizeOf(path, max - bytes);
    if (bytes > max) break;
  }
  return bytes;
}

const isTooDeep = (error: NodeJS.ErrnoException): boolean => error.code === "ENAMETOOLONG";

/** Calls `passed` once when the folder holds more than `max`. The answer ends the watch. */
export function watchSize(folder: string, max: number, passed: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  let ended = false;
  const look = async (): Promise<void> => {
    const begunMs = performance.now();
    const bytes = await sizeOf(folder, max);
    if (ended) return;
    const pauseMs = Math.max(PAUSE_MS, (performance.now() - begunMs) * PAUSE_PER_LOOK);
    if (bytes > max) passed();
    else timer = setTimeout(() => void look(), pauseMs);
  };
  timer = setTimeout(() => void look(), PAUSE_MS);
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}

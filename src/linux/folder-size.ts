// How much a folder holds that no file system bounds: looked at from time to time while a sandbox writes into it.
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

const BLOCK_BYTES = 512;
const PAUSE_MS = 250;

/** Bytes that its files occupy, as far as `max` and a little beyond. Links are not followed; what goes away meanwhile counts nothing. */
async function sizeOf(folder: string, max: number): Promise<number> {
  let bytes = 0;
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    const path = join(folder, name);
    const stats = await lstat(path).catch(() => undefined);
    bytes += (stats?.blocks ?? 0) * BLOCK_BYTES;
    if (stats?.isDirectory() === true) bytes += await sizeOf(path, max - bytes);
    if (bytes > max) break;
  }
  return bytes;
}

/** Calls `passed` once when the folder holds more than `max`. The answer ends the watch. */
export function watchSize(folder: string, max: number, passed: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  let ended = false;
  const look = async (): Promise<void> => {
    const bytes = await sizeOf(folder, max);
    if (ended) return;
    if (bytes > max) passed();
    else timer = setTimeout(() => void look(), PAUSE_MS);
  };
  timer = setTimeout(() => void look(), PAUSE_MS);
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}

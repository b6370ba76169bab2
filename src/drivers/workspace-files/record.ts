// What is written of a workspace beside it, each file whole or not at all.
import * as fs from "node:fs";
import { join } from "node:path";
import type { LeftOut } from "../../abi/reports.ts";
import { syncPath } from "./objects.ts";

export type Record = {
  readonly version: 1;
  /** The folder that it began as a copy of, on the machine; null if it began empty. */
  readonly from: string | null;
  readonly diskBytes: number;
  /** Whose it is; null where Reeve does not run as root. */
  readonly uid: number | null;
  readonly quota: "kernel" | "none";
  /** The tree that it began as, or that was last written back. */
  readonly base: string;
  /** What of the folder was not copied. */
  readonly leftOut: readonly LeftOut[];
  /** The last calls before which it had been kept when it was put back; -1 for none. */
  readonly putBackAfter?: readonly number[];
  /** A tree that it is being made; there only while that is under way, or was cut off. */
  readonly puttingBack?: string;
  /** The tree that the last putting back has replaced; absent where there was none, or where it gave way. */
  readonly replaced?: string;
  /** The last call whose state gave way to later ones; absent while all are there. */
  readonly forgotten?: number;
  /** A tree that is being written back; there only while that is under way, or was cut off. */
  readonly committing?: string;
};

/** What somebody has seen in it since it was last used. */
export type Seen = { readonly changed: number; readonly sizeBytes: number };

const FILE = "workspace.json";
const SEEN = "seen.json";
const SNAPSHOTS = "snapshots";

/** Undefined if the workspace was never finished. */
export function readRecord(folder: string): Record | undefined {
  try {
    return JSON.parse(fs.readFileSync(join(folder, FILE), "utf8")) as Record;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

export const writeRecord = (folder: string, record: Record): void => writeWhole(folder, FILE, JSON.stringify(record));

/** Undefined if it was used since somebody looked. */
export function readSeen(folder: string): Seen | undefined {
  try {
    return JSON.parse(fs.readFileSync(join(folder, SEEN), "utf8")) as Seen;
  } catch {
    // Not there; or damaged, and then somebody looks again.
    return undefined;
  }
}

export const writeSeen = (folder: string, seen: Seen): void => writeWhole(folder, SEEN, JSON.stringify(seen));

/** On disk before anything is changed: what was seen must not come back after it has become wrong. */
export function removeSeen(folder: string): void {
  if (!fs.existsSync(join(folder, SEEN))) return;
  fs.rmSync(join(folder, SEEN));
  syncPath(folder);
}

/** A file in the folder, whole and on disk when this returns, or as it was. */
export function writeWhole(folder: string, name: string, text: string): void {
  const temporary = join(folder, `${name}.new`);
  fs.writeFileSync(temporary, text, { mode: 0o600, flush: true });
  fs.renameSync(temporary, join(folder, name));
  syncPath(folder);
}

/** Trees by the call before which it stood so, in the order of calls. */
export function readSnapshots(folder: string): Map<number, string> {
  const names = fs.existsSync(join(folder, SNAPSHOTS)) ? fs.readdirSync(join(folder, SNAPSHOTS)) : [];
  return new Map(
    names
      .filter((name) => /^\d+$/.test(name))
      .sort((a, b) => Number(a) - Number(b))
      .map((name) => [Number(name), fs.readFileSync(join(folder, SNAPSHOTS, name), "utf8")]),
  );
}

export function writeSnapshot(folder: string, call: number, tree: string): void {
  fs.mkdirSync(join(folder, SNAPSHOTS), { recursive: true, mode: 0o700 });
  writeWhole(join(folder, SNAPSHOTS), `${call}`, tree);
}

/** Whether the state before this call is the one that was kept last. */
export function isLatest(folder: string, call: number): boolean {
  const keptAt = (name: string): bigint => fs.statSync(join(folder, SNAPSHOTS, name), { bigint: true }).mtimeNs;
  const others = [...readSnapshots(folder).keys()].filter((other) => other !== call);
  const mine = keptAt(`${call}`);
  return others.every((other) => other < call && keptAt(`${other}`) <= mine);
}

export const removeSnapshot = (folder: string, call: number): void =>
  fs.rmSync(join(folder, SNAPSHOTS, `${call}`), { force: true });

// Removing a workspace: it is set aside in one step, and erased after that, so that there is never half of one.
//
//   .removing/<pid>   what was set aside, with a note (removal.json) of who did it, and of what is lost
//
// Invariants:
//   R1. A workspace is either in its place and whole, or set aside and used by nobody any more.
//   R2. What is set aside says who did it and what is lost, until it is erased: whoever finds it after a crash can finish.
import * as fs from "node:fs";
import { join } from "node:path";
import type { ProcessId } from "../../abi/ids.ts";
import type { Removal } from "../../ports/workspace.ts";
import { openRoot, removeAt, using } from "./beneath.ts";
import { syncPath } from "./objects.ts";
import { writeWhole } from "./record.ts";

const ASIDE = ".removing";
const NOTE = "removal.json";

type Note = Omit<Removal, "pid">;

/** `folder`: where workspaces are. The workspace must be used by nobody, and not be mounted. */
export function setAside(folder: string, pid: string, note: Note): void {
  const aside = join(folder, ASIDE);
  fs.mkdirSync(aside, { recursive: true, mode: 0o700 });
  writeWhole(join(folder, pid), NOTE, JSON.stringify(note));
  fs.renameSync(join(folder, pid), join(aside, pid));
  for (const changed of [aside, folder]) syncPath(changed);
}

/** What was set aside and is not erased. */
export function removalsIn(folder: string): Removal[] {
  const aside = join(folder, ASIDE);
  if (!fs.existsSync(aside)) return [];
  return fs
    .readdirSync(aside)
    .filter((name) => name.startsWith("p_"))
    .map((pid) => ({ pid: pid as ProcessId, ...noteOf(join(aside, pid)) }));
}

/** It is missing only where an erasure was cut off. */
function noteOf(folder: string): Note {
  try {
    return JSON.parse(fs.readFileSync(join(folder, NOTE), "utf8")) as Note;
  } catch {
    // The event was written before anything was erased: nobody asks any more who it was.
    return { by: "reeve", lost: { changes: [], more: 0, leftOut: [] } };
  }
}

/** Idempotent. */
export function erase(folder: string, pid: string): void {
  const aside = join(folder, ASIDE);
  if (!fs.existsSync(aside)) return;
  using(openRoot(aside), (root) => removeAt(root, pid));
}

// One owner for each data folder: an exclusive transaction on a database of its own, `owner.lock`, held open for
// the life of the store. The operating system drops the lock when its holder dies, however it dies.
//
// The locks are POSIX locks, which a process loses as soon as it closes *any* descriptor of the file. So nothing here,
// and nothing else in the process, opens `owner.lock` or `journal.db` but SQLite, which knows of that trap.
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { OsError } from "../../abi/errors.ts";
import { isBusy } from "./faults.ts";

export type Ownership = { release(): void };

/** Takes the folder, or throws `store_busy` at once, naming the owner. */
export function takeOwnership(folder: string): Ownership {
  const lock = new DatabaseSync(join(folder, "owner.lock"), { timeout: 0 });
  const note = join(folder, "owner.pid");
  try {
    // In memory, so that the transaction, which writes nothing, leaves no journal file behind.
    lock.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    privateFile(join(folder, "owner.lock"));
    writeFileSync(note, `${process.pid}\n`, { mode: 0o600 });
  } catch (error) {
    lock.close();
    throw isBusy(error) ? busy(folder, note, error) : error;
  }
  return {
    release() {
      rmSync(note, { force: true });
      lock.close();
    },
  };
}

/** Makes a file readable by its owner alone, where that is ours to say. */
export function privateFile(path: string): void {
  try {
    chmodSync(path, 0o600);
  } catch {
    // Somebody else's file that we may write to, or a file system without modes: the folder's own mode must do.
  }
}

function busy(folder: string, note: string, cause: unknown): OsError {
  const pid = ownerPid(note);
  const { owner, remedy } = ownerWords(pid);
  return new OsError(
    "store_busy",
    `The data folder ${folder} is in use: ${owner} has it open, and a folder has one owner at a time. ${remedy}, or name another \`dataFolder\` in the configuration.`,
    { data: { folder, owner: pid }, cause },
  );
}

function ownerWords(pid: number | null): { readonly owner: string; readonly remedy: string } {
  if (pid === process.pid)
    return { owner: `this process (pid ${pid}) already`, remedy: "Close what it has opened before" };
  const served = "If that is `reeve up`, use its commands and its HTTP interface; otherwise wait for its end";
  if (pid === null) return { owner: "another process, which left no note of its pid,", remedy: served };
  return isHere(pid)
    ? { owner: `another process (pid ${pid})`, remedy: `${served}, or end it (kill ${pid})` }
    : {
        owner: `another process (pid ${pid}, which is none of this machine's or container's)`,
        remedy: "Look where else the folder is mounted, and end it there",
      };
}

function isHere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // EPERM: it is somebody else's.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function ownerPid(note: string): number | null {
  try {
    const pid = Number.parseInt(readFileSync(note, "utf8"), 10);
    return Number.isInteger(pid) ? pid : null;
  } catch {
    // The note only makes the message better; the lock is what counts.
    return null;
  }
}

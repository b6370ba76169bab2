// What went wrong with the medium, as errors that say what to do: SQLite's result codes and the file system's,
// sorted into the reasons of `store_failed`.
import { OsError } from "../../abi/errors.ts";

export type Reason = "full" | "read_only" | "corrupt" | "io" | "version";

/** SQLite's primary result codes: the low byte of `errcode`. */
const SQLITE_BUSY = 5;
const REASON_BY_RESULT: { readonly [result: number]: Reason } = {
  5: "io",
  6: "io",
  8: "read_only",
  10: "io",
  11: "corrupt",
  13: "full",
  14: "io",
  15: "io",
  22: "io",
  23: "read_only",
  26: "corrupt",
};
const REASON_BY_ERRNO: { readonly [code: string]: Reason } = {
  ENOSPC: "full",
  EDQUOT: "full",
  EROFS: "read_only",
  EACCES: "read_only",
  EPERM: "read_only",
};

/** SQLITE_IOERR_SHMSIZE: the index of the write-ahead log could not grow, which is what a full disk looks like there. */
const SHMSIZE = 4874;

const REMEDY: { readonly [reason in Reason]: string } = {
  full: "Nothing that was acknowledged is lost. Make room on that disk; the store then works on.",
  read_only: "Let the user who runs this write to the folder and its files, or name another data folder.",
  corrupt:
    "Nothing was deleted or repaired. Stop every process that uses the folder, keep a copy of it, and restore journal.db from a backup; `sqlite3 journal.db .recover` reads out what is left.",
  io: "Nothing that was acknowledged is lost. Check the disk and that the folder exists and can be reached, then try again.",
  version: "Run the version of Reeve that wrote it or a later one, or name another data folder.",
};

/** `what` is a clause without a full stop. */
export function storeFailed(folder: string, reason: Reason, what: string, cause?: unknown): OsError {
  return new OsError("store_failed", `The store in ${folder} failed: ${what}. ${REMEDY[reason]}`, {
    data: { reason, folder },
    retryable: reason === "full" || reason === "io",
    cause,
  });
}

/** For calls after `close`. */
export const storeClosed = (folder: string): OsError =>
  new OsError(
    "store_failed",
    `The store in ${folder} was closed before this call, which did nothing. Open it again first.`,
    { data: { reason: "io", folder }, retryable: false },
  );

/** A thrown value as the error to answer with; what is no failure of the medium is a fault of our own. */
export function faultOf(error: unknown, folder: string): OsError {
  if (OsError.is(error)) return error;
  const facts = error as { errcode?: unknown; errstr?: unknown; code?: unknown; message?: unknown } | null;
  const message = String(facts?.message ?? error);
  const result = resultOf(error);
  if (result !== undefined) {
    const reason = facts?.errcode === SHMSIZE ? "full" : REASON_BY_RESULT[result];
    if (reason !== undefined)
      return storeFailed(folder, reason, `${WHAT[reason]} (SQLite: ${message}, code ${String(facts?.errcode)})`, error);
  } else if (typeof facts?.code === "string" && "syscall" in facts) {
    const reason = REASON_BY_ERRNO[facts.code] ?? "io";
    return storeFailed(folder, reason, `${WHAT[reason]} (${message})`, error);
  }
  return new OsError("internal", `The store in ${folder} met a fault of its own: ${message}. Please report it.`, {
    cause: error,
  });
}

const WHAT: { readonly [reason in Reason]: string } = {
  full: "the disk is full",
  read_only: "it cannot be written to",
  corrupt: "its database is damaged",
  io: "its files cannot be read or written",
  version: "its format is not known",
};

/** Whether another connection holds the lock. */
export const isBusy = (error: unknown): boolean => resultOf(error) === SQLITE_BUSY;

function resultOf(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown } | null)?.errcode;
  return typeof code === "number" ? code & 0xff : undefined;
}

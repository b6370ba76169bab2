// Where a running server can be found: `server.json` in its data folder, readable by its owner alone.
//
// The token in it is made once for a data folder, so that clients and bookmarks outlive a restart.
import { randomBytes } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { OsError } from "../../abi/errors.ts";

export type ServerAddress = { readonly url: string; readonly token: string; readonly pid: number };

const PRIVATE = 0o600;

/** The folder's token; made at the first call. The folder must exist. Throws `store_failed` if its file cannot be used. */
export function tokenOf(folder: string): string {
  const file = join(folder, "token");
  return using(file, () => {
    // A file without a token in it is what a disk without power may have made of one: as good as none.
    const known = existsSync(file) ? readFileSync(file, "utf8").trim() : "";
    if (known !== "") return known;
    const token = randomBytes(24).toString("base64url");
    writeWhole(file, token);
    return token;
  });
}

/** Throws `store_failed` if the file cannot be written. */
export function writeServer(folder: string, address: ServerAddress): void {
  const file = join(folder, "server.json");
  using(file, () => writeWhole(file, JSON.stringify(address)));
}

export function removeServer(folder: string): void {
  rmSync(join(folder, "server.json"), { force: true });
}

/** The server that said last that it runs here; undefined if none did, or if its process is gone. */
export function readServer(folder: string): ServerAddress | undefined {
  try {
    const address = JSON.parse(readFileSync(join(folder, "server.json"), "utf8")) as ServerAddress;
    process.kill(address.pid, 0);
    return address;
  } catch {
    // No file, half a file, or no such process: in each case nobody is there to talk to.
    return undefined;
  }
}

const REASONS: { readonly [code: string]: "full" | "read_only" } = {
  ENOSPC: "full",
  EDQUOT: "full",
  EROFS: "read_only",
  EACCES: "read_only",
  EPERM: "read_only",
};
const REMEDIES = {
  full: "Make room on that disk",
  read_only: "Let the user who runs this read and write it, or name another data folder",
  io: "Move away what stands there (the file is made anew)",
} as const;

function using<T>(file: string, use: () => T): T {
  try {
    return use();
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    const reason = REASONS[code] ?? "io";
    throw new OsError(
      "store_failed",
      `The file ${file} cannot be read or written (${message}). ${REMEDIES[reason]}, then try again. Nothing was started and nothing is lost.`,
      { data: { reason, folder: dirname(file) }, retryable: reason === "full", cause: error },
    );
  }
}

/** A reader sees the old content or the new, never half of it; after a loss of power too. */
function writeWhole(file: string, text: string): void {
  const beside = `${file}.${process.pid}.new`;
  writeFileSync(beside, text, { mode: PRIVATE, flush: true });
  renameSync(beside, file);
  const folder = openSync(dirname(file), "r");
  fsyncSync(folder);
  closeSync(folder);
}

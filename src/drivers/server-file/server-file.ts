// Where a running server can be found: `server.json` in its data folder, readable by its owner alone.
//
// The token in it is made once for a data folder, so that clients and bookmarks outlive a restart.
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export type ServerAddress = { readonly url: string; readonly token: string; readonly pid: number };

const PRIVATE = 0o600;

/** The folder's token; made at the first call. The folder must exist. */
export function tokenOf(folder: string): string {
  const file = join(folder, "token");
  if (existsSync(file)) return readFileSync(file, "utf8").trim();
  const token = randomBytes(24).toString("base64url");
  writeWhole(file, token);
  return token;
}

export function writeServer(folder: string, address: ServerAddress): void {
  writeWhole(join(folder, "server.json"), JSON.stringify(address));
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

/** A reader sees the old content or the new, never half of it. */
function writeWhole(file: string, text: string): void {
  const beside = `${file}.${process.pid}.new`;
  writeFileSync(beside, text, { mode: PRIVATE });
  renameSync(beside, file);
}

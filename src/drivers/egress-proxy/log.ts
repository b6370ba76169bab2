// What Reeve asks for in no process's name (a listing of tools, a login, a document), in a file of the data folder: a line of JSON
// before each request, and one after it.
//
// Invariants:
//   W1. A line is written before its request leaves; where it cannot be, nothing leaves.
//   W2. No query of an address stands here: nobody could erase what is in it.
import { appendFileSync, mkdirSync, renameSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { OsError } from "../../abi/errors.ts";
import type { JsonObject } from "../../abi/json.ts";
import type { EgressLog } from "../../ports/egress.ts";

/** At this size the file is put aside as `.old`, in place of the one before. Bytes. */
const LOG_BYTES_MAX = 4 * 1024 * 1024;

export type LogOptions = { readonly file: string; readonly nowMs: () => number; readonly bytesMax?: number };

export function createEgressLog({ file, nowMs, bytesMax = LOG_BYTES_MAX }: LogOptions): EgressLog {
  const write = (line: JsonObject): void => {
    try {
      mkdirSync(dirname(file), { recursive: true });
      if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) >= bytesMax) renameSync(file, `${file}.old`);
      appendFileSync(file, `${JSON.stringify({ at: new Date(nowMs()).toISOString(), ...line })}\n`, { mode: 0o600 });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new OsError("store_failed", `The log of requests cannot be written: ${why}.`, { cause: error });
    }
  };
  return (owner) => ({
    requested: async ({ request, ...event }) => write({ owner, ...event, request: withoutQuery(request) }),
    ended: async ({ leaked, ...event }) => write({ owner, ...event, ...(leaked && { leaked: [...leaked] }) }),
  });
}

function withoutQuery(request: JsonObject): JsonObject {
  const { path } = request;
  return typeof path === "string" ? { ...request, path: path.replace(/\?.*$/s, "") } : request;
}

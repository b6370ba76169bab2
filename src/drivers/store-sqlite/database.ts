// Opens the database of a data folder so that a commit is durable, or refuses to.
//
//   D1. WAL and `synchronous=FULL` are set at every open and read back; SQLite keeps the second nowhere.
//   D2. A database that a newer version or another program wrote is refused before anything is changed in it.
import { accessSync, closeSync, constants, fsyncSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { storeFailed } from "./faults.ts";
import { APPLICATION_ID, migrate, SCHEMA_VERSION } from "./migrations.ts";
import { privateFile } from "./owner.ts";

/** How long to wait for a reader from outside, such as the `sqlite3` shell. Milliseconds. */
const BUSY_TIMEOUT_MS = 5_000;
/**
 * The log is copied into the database when it has so many pages (4 MB), and begun again from its start: short, since a commit that
 * makes the log's file longer costs more to flush than one that overwrites it, and so does a longer copy. It is cut back if one
 * transaction made it much longer.
 */
const CHECKPOINT_PAGES = 1_000;
const LOG_BYTES_MAX = 64 * 1024 * 1024;
const CACHE_KIB = 16 * 1024;

const databaseFile = (folder: string): string => join(folder, "journal.db");

/** Makes the folder if need be, durably and for its owner alone. Throws the file system's error if it cannot be used. */
export function prepareFolder(folder: string): void {
  const first = mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (first !== undefined) syncUpTo(folder, dirname(first));
  accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
}

/** A new folder survives a power cut only once its parent is on the disk too. */
function syncUpTo(folder: string, top: string): void {
  if (process.platform === "win32") return;
  for (let at = dirname(folder); ; at = dirname(at)) {
    const descriptor = openSync(at, "r");
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    if (at === top || at === dirname(at)) return;
  }
}

/** The database, migrated and durable. The caller owns the folder and closes what it gets. */
export function openDatabase(folder: string): DatabaseSync {
  const db = new DatabaseSync(databaseFile(folder), { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: false });
  try {
    const version = knownVersion(db, folder);
    privateFile(databaseFile(folder));
    makeDurable(db, folder);
    migrate(db, version);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** The database for looking only, beside its owner in the same process. */
export function openForReading(folder: string): DatabaseSync {
  return new DatabaseSync(databaseFile(folder), { timeout: BUSY_TIMEOUT_MS, readOnly: true });
}

function knownVersion(db: DatabaseSync, folder: string): number {
  const version = pragma(db, "user_version");
  const application = pragma(db, "application_id");
  const tables = db.prepare("SELECT count(*) AS count FROM sqlite_schema").get()?.["count"];
  if (application !== APPLICATION_ID && tables !== 0)
    throw storeFailed(
      folder,
      "version",
      `${databaseFile(folder)} is a database of another program, not a store of Reeve's`,
    );
  if (Number(version) > SCHEMA_VERSION)
    throw storeFailed(
      folder,
      "version",
      `${databaseFile(folder)} has schema version ${String(version)}, and this Reeve knows versions up to ${SCHEMA_VERSION}`,
    );
  return Number(version);
}

function makeDurable(db: DatabaseSync, folder: string): void {
  db.exec("PRAGMA journal_mode = WAL");
  // Where a flush leaves data in the drive's cache (macOS), the full kind is asked for; elsewhere these two do nothing.
  db.exec("PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON");
  db.exec(
    `PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}; PRAGMA journal_size_limit = ${LOG_BYTES_MAX}; PRAGMA cache_size = -${CACHE_KIB}`,
  );
  const { durable, durability } = durabilityOf(db);
  if (!durable)
    throw storeFailed(
      folder,
      "io",
      `this file system does not allow what a durable commit needs (${durability}; wanted: journal_mode=wal synchronous=2)`,
    );
}

/** What SQLite says now of how it commits, and whether that is enough. */
export function durabilityOf(db: DatabaseSync): { readonly durable: boolean; readonly durability: string } {
  const mode = pragma(db, "journal_mode");
  const synchronous = pragma(db, "synchronous");
  return {
    durable: mode === "wal" && synchronous === 2,
    durability: `journal_mode=${String(mode)} synchronous=${String(synchronous)}`,
  };
}

/** Bytes on disk, the log included. */
export function bytesOf(db: DatabaseSync, folder: string): number {
  const log = statSync(`${databaseFile(folder)}-wal`, { throwIfNoEntry: false });
  return Number(pragma(db, "page_count")) * Number(pragma(db, "page_size")) + (log?.size ?? 0);
}

/** Copies the log into the database, so that a clean end leaves one file, and closes it. */
export function closeDatabase(db: DatabaseSync): void {
  try {
    db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  } catch {
    // A full disk, say. What was acknowledged is in the log, and the next open reads it from there.
  }
  db.close();
}

function pragma(db: DatabaseSync, name: string): unknown {
  return Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}

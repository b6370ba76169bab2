// The schema, as the list of steps that lead to it. Version n of a database is what the first n steps make.
//
//   G1. Steps are only ever added; one that was released is never edited.
//   G2. A step and its number are committed together, so a crash leaves a whole version.
//
// The layout keeps the append path sequential. An index over (process, seq) would dirty one page for every
// process that took part in a commit; instead each event names the row of the one before it in its journal,
// `journals` holds the newest, and `marks` remembers every 64th, so that reading can begin in the middle.
// Row numbers of `events` count from 1 without gaps, and are the order of commitment over all processes.
import type { DatabaseSync } from "node:sqlite";

/** Tells our databases from those of other programs: the bytes "Reev". */
export const APPLICATION_ID = 0x52656576;

/** Every so many events of a journal, one is found without walking: those whose (seq + 1) is a multiple of it. */
export const MARK_EVERY_EVENTS = 64;

const FIRST = `
  PRAGMA application_id = ${APPLICATION_ID};

  CREATE TABLE journals (
    journal INTEGER PRIMARY KEY,
    pid     TEXT NOT NULL,
    events  INTEGER NOT NULL,
    last    INTEGER NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX journals_pid ON journals (pid);

  CREATE TABLE events (
    n       INTEGER PRIMARY KEY,
    journal INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    prev    INTEGER NOT NULL,
    header  TEXT NOT NULL,
    hash    TEXT NOT NULL,
    inline  TEXT
  ) STRICT;

  CREATE TABLE marks (
    journal INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    PRIMARY KEY (journal, seq)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE payloads (
    n       INTEGER PRIMARY KEY,
    address TEXT NOT NULL,
    subject TEXT NOT NULL,
    text    TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX payloads_address ON payloads (address);

  CREATE TABLE processes (
    journal INTEGER PRIMARY KEY,
    parent  TEXT,
    root    TEXT NOT NULL,
    state   TEXT NOT NULL,
    wake_ms REAL,
    record  TEXT NOT NULL
  ) STRICT;
  CREATE INDEX processes_root ON processes (root);
  CREATE INDEX processes_parent ON processes (parent) WHERE parent IS NOT NULL;
  CREATE INDEX processes_state ON processes (state);
  CREATE INDEX processes_wake ON processes (wake_ms) WHERE state = 'waiting' AND wake_ms IS NOT NULL;

  CREATE TABLE requests (
    n      INTEGER PRIMARY KEY,
    id     TEXT NOT NULL,
    pid    TEXT NOT NULL,
    open   INTEGER NOT NULL,
    record TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX requests_id ON requests (id);
  CREATE INDEX requests_open ON requests (n) WHERE open = 1;
  CREATE INDEX requests_open_pid ON requests (pid) WHERE open = 1;

  CREATE TABLE subjects (
    subject TEXT PRIMARY KEY,
    key     BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

const SCHEDULES = `
  CREATE TABLE schedules (
    name   TEXT PRIMARY KEY,
    record TEXT NOT NULL
  ) STRICT;
`;

const SOURCES = `
  CREATE TABLE sources (
    name   TEXT PRIMARY KEY,
    record TEXT NOT NULL
  ) STRICT;
`;

export const MIGRATIONS: readonly string[] = [FIRST, SCHEDULES, SOURCES];

/** The version that this program reads and writes. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/** Performs the steps after `version`, each in a transaction of its own. The caller holds the lock of the folder. */
export function migrate(db: DatabaseSync, version: number, steps: readonly string[] = MIGRATIONS): void {
  for (const [at, step] of steps.entries()) {
    if (at < version) continue;
    db.exec("BEGIN IMMEDIATE");
    try {
      db.exec(`${step}; PRAGMA user_version = ${at + 1}`);
      db.exec("COMMIT");
    } catch (error) {
      if (db.isTransaction) db.exec("ROLLBACK");
      throw error;
    }
  }
}

// The floor: one event of 1 KB appended with node:sqlite, without any engine around it.
//
// One workflow: each event is a transaction of its own. Many: the events of all workflows that are due together
// are one transaction, which is the best that a group commit could do.
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Contender } from "../contender.ts";

const EVENT = "x".repeat(1024);
const SYNCHRONOUS_FULL = 2;

function open(file: string): DatabaseSync {
  const database = new DatabaseSync(file);
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
  // In the order of arrival: an index by process would dirty a page for each process that takes part in a commit.
  database.exec(
    "CREATE TABLE event (n INTEGER PRIMARY KEY, process INTEGER NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL) STRICT",
  );
  return database;
}

function createBareSqlite(): Contender {
  let database: DatabaseSync | undefined;
  let processes = 0;
  const opened = (): DatabaseSync => {
    if (database === undefined) throw new Error("The database is not open.");
    return database;
  };
  const prepareInsert = (): ReturnType<DatabaseSync["prepare"]> =>
    opened().prepare("INSERT INTO event (process, seq, body) VALUES (?, ?, ?)");

  return {
    name: "bare node:sqlite",
    async start(folder) {
      database = open(join(folder, "events.db"));
      const mode = database.prepare("PRAGMA journal_mode").get()?.["journal_mode"];
      const synchronous = database.prepare("PRAGMA synchronous").get()?.["synchronous"];
      const version = String(database.prepare("SELECT sqlite_version() AS version").get()?.["version"]);
      return {
        durability: `journal_mode=${String(mode)}, synchronous=${String(synchronous)} (2 is FULL)`,
        survivesPowerCut: synchronous === SYNCHRONOUS_FULL,
        version: `SQLite ${version}`,
      };
    },
    async one(steps) {
      const insert = prepareInsert();
      const process = (processes += 1);
      const samplesMs: number[] = [];
      for (let seq = 0; seq < steps; seq += 1) {
        const fromMs = performance.now();
        insert.run(process, seq, EVENT);
        samplesMs.push(performance.now() - fromMs);
      }
      return samplesMs;
    },
    async many(workflows, steps) {
      const insert = prepareInsert();
      const first = processes;
      processes += workflows;
      const fromMs = performance.now();
      for (let seq = 0; seq < steps; seq += 1) {
        opened().exec("BEGIN IMMEDIATE");
        for (let at = 1; at <= workflows; at += 1) insert.run(first + at, seq, EVENT);
        opened().exec("COMMIT");
      }
      return ((workflows * steps) / (performance.now() - fromMs)) * 1000;
    },
    async stop() {
      database?.close();
      database = undefined;
    },
  };
}

export const contenders = { "bare-sqlite": createBareSqlite };

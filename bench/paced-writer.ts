// A writer whose loss or survival is known beforehand, to show that the method of the power benchmark can see a loss:
// appends rows to SQLite in WAL mode at the synchronous setting given, and prints the number of each when it is committed.
// Usage (by suites/power.ts): node paced-writer.ts FILE NORMAL|FULL PACE_MS
import { writeSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";

const [file = "", synchronous = "FULL", paceMs = "2"] = process.argv.slice(2);
const database = new DatabaseSync(file);
database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous === "NORMAL" ? "NORMAL" : "FULL"};`);
database.exec("CREATE TABLE event (number INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT");
const insert = database.prepare("INSERT INTO event (number, body) VALUES (?, ?)");
const body = "x".repeat(1024);
let number = 0;
setInterval(() => {
  insert.run((number += 1), body);
  // Written at once: what was printed was acknowledged before the kill.
  writeSync(1, `${number}\n`);
}, Number(paceMs));

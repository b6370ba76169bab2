// Migrations: forward from any version, each step whole.
import { DatabaseSync } from "node:sqlite";
import { expect, it } from "vitest";
import { APPLICATION_ID, migrate, MIGRATIONS, SCHEMA_VERSION } from "./migrations.ts";

const steps = [
  "CREATE TABLE a (x)",
  "ALTER TABLE a ADD COLUMN y; INSERT INTO a VALUES (1, 2)",
  "CREATE TABLE b (z); INSERT INTO a VALUES (3, 4)",
];
const version = (db: DatabaseSync): unknown => db.prepare("PRAGMA user_version").get()?.["user_version"];

for (const from of [0, 1, 2, 3])
  it(`performs what is left after version ${from}, once`, () => {
    const db = new DatabaseSync(":memory:");
    migrate(db, 0, steps.slice(0, from));
    migrate(db, from, steps);
    migrate(db, 3, steps);
    expect(version(db)).toBe(3);
    expect(
      db
        .prepare("SELECT x, y FROM a")
        .all()
        .map(({ x, y }) => [x, y]),
    ).toEqual([
      [1, 2],
      [3, 4],
    ]);
    db.close();
  });

it("leaves the last whole version if a step fails", () => {
  const db = new DatabaseSync(":memory:");
  expect(() => migrate(db, 0, [...steps.slice(0, 1), "INSERT INTO a VALUES (9); SELECT * FROM nowhere"])).toThrow(
    "nowhere",
  );
  expect(version(db)).toBe(1);
  expect(db.prepare("SELECT count(*) AS n FROM a").get()?.["n"]).toBe(0);
  expect(db.isTransaction).toBe(false);
  db.close();
});

it("makes the version that this program knows, under its own mark", () => {
  const db = new DatabaseSync(":memory:");
  migrate(db, 0);
  expect(version(db)).toBe(SCHEMA_VERSION);
  expect(db.prepare("PRAGMA application_id").get()?.["application_id"]).toBe(APPLICATION_ID);
  db.close();
});

it("adds the table of schedules to a database of version 1, and leaves what it holds", () => {
  const db = new DatabaseSync(":memory:");
  migrate(db, 0, MIGRATIONS.slice(0, 1));
  db.exec("INSERT INTO journals (pid, events, last) VALUES ('p_1', 0, 0)");
  expect(() => db.prepare("SELECT * FROM schedules")).toThrow("no such table");
  migrate(db, 1);
  expect(version(db)).toBe(SCHEMA_VERSION);
  expect(db.prepare("SELECT count(*) AS n FROM journals").get()?.["n"]).toBe(1);
  expect(db.prepare("SELECT count(*) AS n FROM schedules").get()?.["n"]).toBe(0);
  db.close();
});

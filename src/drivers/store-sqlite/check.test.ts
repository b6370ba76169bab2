// The check finds each kind of damage that it claims to find. Method: damage is planted in a sound database by SQL.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { appendOf, pidOf, processOf } from "../../../test/conformance/store-samples.ts";
import { checkDatabase } from "./check.ts";
import { openDatabase } from "./database.ts";
import { Reader } from "./reader.ts";
import type { Cell } from "./wire.ts";
import { packBatch } from "./wire.ts";
import { Writer } from "./writer.ts";

let folder = "";
let db: DatabaseSync;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "reeve-check-"));
  db = openDatabase(folder);
  const cells: Cell[] = [];
  packBatch(cells, {
    journals: [appendOf(pidOf(1), 0, 150), appendOf(pidOf(2), 0, 3)],
    processes: [processOf(1), processOf(2)],
  });
  new Writer(db).commit(cells, []);
});
afterEach(() => {
  db.close();
  rmSync(folder, { recursive: true });
});

describe("a check", () => {
  it("finds a sound database sound", () => {
    expect(checkDatabase(db)).toEqual([]);
  });

  for (const [damage, sql, finding] of [
    ["an event that is gone from the middle", "DELETE FROM events WHERE n = 100", "has a gap"],
    ["an event that is gone from the end", "DELETE FROM events WHERE n = 153", "should end with event 2"],
    ["a head that knows too few", "UPDATE journals SET events = 149 WHERE journal = 1", "should end with event 148"],
    ["a link into another journal", "UPDATE events SET prev = 150 WHERE n = 152", "row 152"],
    [
      "an event too many",
      "INSERT INTO events VALUES (154, 2, 0, 0, '{}', 'h', NULL)",
      "should hold 153 events, and there are 154",
    ],
    [
      "a missing row number",
      "UPDATE events SET n = 200 WHERE n = 153; UPDATE journals SET last = 200 WHERE journal = 2",
      "numbered up to 200",
    ],
    ["a mark that points astray", "UPDATE marks SET n = 3 WHERE seq = 63", "mark for event 63"],
    [
      "a process without a journal",
      "INSERT INTO processes VALUES (9, NULL, 'p', 'ready', NULL, '{}')",
      "has no journal",
    ],
  ] as const)
    it(`finds ${damage}`, () => {
      db.exec(sql);
      expect(checkDatabase(db).join("\n")).toContain(finding);
    });

  it("lists so many findings of a kind and no more", () => {
    db.exec("UPDATE events SET prev = 0 WHERE journal = 1");
    expect(checkDatabase(db)).toHaveLength(21);
  });
});

describe("reading what is damaged", () => {
  it("is refused, and never answered from another journal or with a gap", () => {
    db.exec("DELETE FROM events WHERE n = 100");
    const reader = new Reader(db, folder);
    const corrupt = expect.objectContaining({ code: "store_failed", data: { reason: "corrupt", folder } });
    expect(() => reader.answer("events", { pid: pidOf(1), from: 90, limit: 20 })).toThrow(corrupt);
    expect(reader.answer("events", { pid: pidOf(1), from: 128, limit: 20 })).toHaveLength(60);
    db.exec("UPDATE journals SET last = 153 WHERE journal = 1");
    expect(() => reader.answer("last", { pid: pidOf(1) })).toThrow(corrupt);
  });
});

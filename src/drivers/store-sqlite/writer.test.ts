// Group commit when the medium fails in the middle: the group is undone whole, and the writer goes on from what is there.
//
// Method: a database that may not grow beyond a number of pages, which is a full disk that needs no mount.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { addressOf, appendOf, pidOf, subject } from "../../../test/conformance/store-samples.ts";
import type { Batch } from "../../ports/store.ts";
import { checkDatabase } from "./check.ts";
import { openDatabase } from "./database.ts";
import { faultOf } from "./faults.ts";
import { Reader } from "./reader.ts";
import type { Cell } from "./wire.ts";
import { packBatch } from "./wire.ts";
import { Writer } from "./writer.ts";

let folder = "";
let db: DatabaseSync;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "reeve-writer-"));
  db = openDatabase(folder);
});
afterEach(() => {
  db.close();
  rmSync(folder, { recursive: true });
});

const packed = (...batches: Batch[]): Cell[] => {
  const cells: Cell[] = [];
  for (const batch of batches) packBatch(cells, batch);
  return cells;
};
const large = (n: number): Batch => ({
  journals: [appendOf(pidOf(1), n)],
  payloads: [{ address: addressOf(n), subject, text: "x".repeat(100_000) }],
});
const pagesMost = (pages: number): void => db.exec(`PRAGMA max_page_count = ${pages}`);

describe("a group that does not fit", () => {
  it("fails whole, as `full`, and the same writer works on when there is room", () => {
    const writer = new Writer(db);
    const reader = new Reader(db, folder);
    const count = (n: number): number => reader.answer("events", { pid: pidOf(n), from: 0, limit: 999 }).length / 3;
    pagesMost(200);
    let fit = 0;
    let failure: unknown;
    while (failure === undefined && fit < 50)
      try {
        writer.commit(packed({ journals: [appendOf(pidOf(2), fit)] }, large(fit)), []);
        fit += 1;
      } catch (error) {
        failure = error;
      }
    expect(faultOf(failure, folder)).toMatchObject({ code: "store_failed", data: { reason: "full" } });
    expect(fit).toBeGreaterThan(2);
    expect([count(1), count(2)], "the small batch of the group that failed is undone as well").toEqual([fit, fit]);
    pagesMost(10_000);
    writer.commit(packed({ journals: [appendOf(pidOf(2), fit)] }, large(fit)), []);
    expect([count(1), count(2)]).toEqual([fit + 1, fit + 1]);
    expect(checkDatabase(db)).toEqual([]);
  });

  it("takes new journals and keys back with it", () => {
    const writer = new Writer(db);
    pagesMost(60);
    const key = { subject, fresh: new Uint8Array(32).fill(1) };
    expect(() =>
      writer.commit(
        packed(
          { journals: [appendOf(pidOf(7), 0)] },
          { ...large(0), payloads: [{ address: addressOf(1), subject, text: "x".repeat(400_000) }] },
        ),
        [key],
      ),
    ).toThrow("full");
    pagesMost(10_000);
    const other = { subject, fresh: new Uint8Array(32).fill(2) };
    expect(writer.commit(packed({ journals: [appendOf(pidOf(7), 0)] }), [other])).toEqual({
      conflicts: [],
      keys: [new Uint8Array(32).fill(2)],
    });
    expect(checkDatabase(db)).toEqual([]);
  });
});

describe("heads that are remembered", () => {
  it("serve a conflict as well as those that are read", () => {
    const first = new Writer(db);
    first.commit(packed({ journals: [appendOf(pidOf(1), 0, 70)] }), []);
    const stale = packed({ journals: [appendOf(pidOf(1), 69)] });
    for (const writer of [first, new Writer(db)])
      expect(writer.commit(stale, []).conflicts).toMatchObject([
        { at: 0, error: { code: "conflict", data: { expected: 69, found: 70 } } },
      ]);
  });
});

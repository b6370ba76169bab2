// The embedded store: the contract, and the same answers as the store in memory to whatever is written.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PROCESS_STATES } from "../../src/abi/process.ts";
import { openSqliteStore } from "../../src/drivers/store-sqlite/store.ts";
import type { Batch, Store } from "../../src/ports/store.ts";
import { MemoryMedium, openMemoryStore } from "../simulation/store-memory.ts";
import { appendOf, pidOf, processOf, requestOf, requestRecord, scheduleRecord, sourceRecord } from "./store-samples.ts";
import { storeConformance } from "./store.ts";

async function newFolder(): Promise<{ readonly open: () => Promise<Store>; readonly dispose: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "reeve-store-"));
  return { open: () => openSqliteStore({ folder }), dispose: () => rm(folder, { recursive: true }) };
}

storeConformance("the embedded store", newFolder);

const PROCESSES = 6;
const pick = fc.integer({ min: 0, max: PROCESSES - 1 });

/** Batches over a few processes, of which some expect what is not so. */
const batches: fc.Arbitrary<Batch[]> = fc.array(
  fc
    .record({
      journals: fc.uniqueArray(
        fc.record({ n: pick, expected: fc.integer({ min: 0, max: 4 }), count: fc.integer({ min: 0, max: 3 }) }),
        { selector: ({ n }) => n, maxLength: 3 },
      ),
      processes: fc.array(
        fc.record({
          n: pick,
          state: fc.constantFrom(...PROCESS_STATES),
          root: pick,
          parent: fc.option(pick),
          wakeMs: fc.option(fc.integer({ min: 0, max: 50 })),
        }),
        { maxLength: 3 },
      ),
      requests: fc.array(fc.record({ n: pick, pid: pick, decided: fc.boolean() }), { maxLength: 2 }),
      schedules: fc.array(fc.record({ n: pick, runs: fc.nat() }), { maxLength: 2 }),
      removed: fc.array(pick, { maxLength: 2 }),
      sources: fc.array(fc.record({ n: pick, firstSeenMs: fc.nat() }), { maxLength: 2 }),
    })
    .map(({ journals, processes, requests, schedules, removed, sources }) => ({
      journals: journals.map(({ n, expected, count }) => appendOf(pidOf(n), expected, count)),
      processes: processes.map(({ n, state, root, parent, wakeMs }) =>
        processOf(n, { state, root: pidOf(root), parent: parent === null ? null : pidOf(parent), wakeMs }),
      ),
      requests: requests.map(({ n, pid, decided }) =>
        requestRecord(n, { pid: pidOf(pid), decided: decided ? { verdict: "approved", by: "ana" } : null }),
      ),
      schedules: schedules.map(({ n, runs }) => scheduleRecord(`s${n}`, { runs })),
      removedSchedules: removed.map((n) => `s${n}`),
      sources: sources.map(({ n, firstSeenMs }) => sourceRecord(`s${n}`, { firstSeenMs })),
    })),
  { maxLength: 12 },
);

/** Everything that can be asked, in a form in which two stores can be compared. */
async function everything(store: Store): Promise<unknown> {
  const each = Array.from({ length: PROCESSES }, (_, n) => n);
  const byProcess = each.map(async (n) => [
    await store.events(pidOf(n), 0, 99),
    await store.lastEvent(pidOf(n)),
    await store.process(pidOf(n)),
    await store.request(requestOf(n)),
    await store.openRequests({ pid: pidOf(n), limit: 2 }),
    await store.due(n * 10, 3),
    await store.source(`s${n}`),
  ]);
  // Which of two came first is the driver's affair where a journal is older than its row, so lists are compared by content.
  const lists = [
    {},
    ...each.flatMap((n) => [
      { root: pidOf(n) },
      { parent: pidOf(n), states: ["waiting", "ready"] as const },
      { prefix: pidOf(n).slice(0, 12) },
    ]),
  ];
  const listed = lists.map(async (query) =>
    (await store.processes({ ...query, limit: 99 })).map((process) => JSON.stringify(process)).toSorted(),
  );
  const { processes, events } = await store.report();
  return [
    await Promise.all(byProcess),
    await Promise.all(listed),
    await store.nextWakeMs(),
    await store.openRequests({ limit: 99 }),
    await store.schedules(),
    processes,
    events,
  ];
}

const outcomes = async (store: Store, written: readonly Batch[]): Promise<readonly unknown[]> =>
  (await Promise.allSettled(written.map((batch) => store.append(batch)))).map((result) =>
    result.status === "fulfilled" ? null : (result.reason as { data: unknown }).data,
  );

describe("the embedded store and the store in memory", () => {
  it("answer alike after the same batches, and after being opened again", async () => {
    await fc.assert(
      fc.asyncProperty(batches, async (written) => {
        const { open, dispose } = await newFolder();
        const memory = await openMemoryStore(new MemoryMedium());
        const sqlite = await open();
        expect(await outcomes(sqlite, written)).toEqual(await outcomes(memory, written));
        expect(await everything(sqlite)).toEqual(await everything(memory));
        await sqlite.close();
        const again = await open();
        expect(await everything(again)).toEqual(await everything(memory));
        await again.close();
        await dispose();
      }),
      { numRuns: 25 },
    );
  });
});

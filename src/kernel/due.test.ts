// Goal: for every policy, a schedule that is due starts what it should, notes what it leaves out, and goes on after now.
// Method: the real calendar; hours since a start, so that times read as numbers.
import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { scheduleRecord } from "../../test/conformance/store-samples.ts";
import { MISSED_POLICIES } from "../abi/schedules.ts";
import type { MissedPolicy } from "../abi/schedules.ts";
import { cronerCalendar } from "../drivers/calendar-croner/calendar.ts";
import type { ScheduleRecord } from "../ports/store.ts";
import { dueOf, isDue, timeAfter } from "./due.ts";

const START_MS = Date.UTC(2026, 0, 1);
const HOUR_MS = 3_600_000;
const hour = (n: number): number => START_MS + n * HOUR_MS;
const hours = (ms: number | null): number | null => (ms === null ? null : (ms - START_MS) / HOUR_MS);

/** Due each hour, of which the first is not dealt with yet; `at`: hours since the start. */
function after(missed: MissedPolicy, at: number, fields: Partial<ScheduleRecord> = {}): unknown {
  const record = scheduleRecord("s", { zone: "UTC", missed, nextMs: hour(1), ...fields });
  const { starts, missedMs, leftOutMs, nextMs } = dueOf(record, cronerCalendar, hour(at));
  return { starts: starts.map(hours), missed: hours(missedMs), leftOut: hours(leftOutMs), next: hours(nextMs) };
}
const inTime = 1 + 1 / 3600;

describe("what is due", () => {
  test.each(MISSED_POLICIES)("in time it is started, whatever the policy (%s)", (missed) => {
    for (const at of [1, inTime])
      expect(after(missed, at)).toEqual({ starts: [1], missed: null, leftOut: null, next: 2 });
  });

  it("skip starts nothing that is late, and goes on with the next", () => {
    expect(after("skip", 1.5)).toEqual({ starts: [], missed: 1, leftOut: null, next: 2 });
    expect(after("skip", 7.5)).toEqual({ starts: [], missed: 1, leftOut: null, next: 8 });
  });

  it("skip starts what has just come due, even if others were missed before it", () => {
    expect(after("skip", 6 + 1 / 3600)).toEqual({ starts: [6], missed: 1, leftOut: null, next: 7 });
  });

  it("once starts one for all of them, under the first, which is the same whenever it is asked", () => {
    for (const at of [1.5, 7.5, 5_000.5])
      expect(after("once", at)).toEqual({ starts: [1], missed: null, leftOut: null, next: Math.ceil(at) });
  });

  it("all starts one for each", () => {
    expect(after("all", 4.5)).toEqual({ starts: [1, 2, 3, 4], missed: null, leftOut: null, next: 5 });
  });

  it("all starts a thousand at most, the earliest, and names the first that is left out", () => {
    const due = after("all", 1_200.5) as { starts: number[] };
    expect(due).toMatchObject({ missed: null, leftOut: 1_001, next: 1_201 });
    expect(due.starts).toEqual(Array.from({ length: 1_000 }, (_, n) => n + 1));
    expect(after("all", 1_000)).toMatchObject({ leftOut: null });
  });

  it("one time is over when it has passed", () => {
    const fields = { cron: null, atMs: hour(1) };
    const over = { missed: null, leftOut: null, next: null };
    for (const missed of ["once", "all"] as const) expect(after(missed, 30, fields)).toEqual({ ...over, starts: [1] });
    expect(after("skip", inTime, fields)).toEqual({ ...over, starts: [1] });
    expect(after("skip", 30, fields)).toEqual({ ...over, starts: [], missed: 1 });
  });

  it("is not due while paused, over, or before its time", () => {
    expect(isDue(scheduleRecord("s", { nextMs: 10 }), 10)).toBe(true);
    expect(isDue(scheduleRecord("s", { nextMs: 10 }), 9)).toBe(false);
    expect(isDue(scheduleRecord("s", { nextMs: null }), 10)).toBe(false);
    expect(isDue(scheduleRecord("s", { nextMs: 10, paused: true }), 10)).toBe(false);
  });
});

it("never starts a time twice, nor one that is not of the schedule, however late it is looked at", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...MISSED_POLICIES),
      fc.constantFrom("*/30 * * * *", "30 2 * * *", "0 9-17 * * MON-FRI"),
      fc.array(fc.integer({ min: 0, max: 24 * 60 }), { minLength: 1, maxLength: 10 }),
      (missed, cron, waits) => {
        let record = scheduleRecord("s", { cron, missed });
        let nowMs = Date.UTC(2026, 2, 27);
        record = { ...record, nextMs: timeAfter(record, cronerCalendar, nowMs) };
        const started: number[] = [];
        for (const minutes of waits) {
          nowMs += minutes * 60_000;
          if (!isDue(record, nowMs)) continue;
          const due = dueOf(record, cronerCalendar, nowMs);
          expect(due.nextMs).toBeGreaterThan(nowMs);
          for (const atMs of due.starts) {
            expect(atMs).toBeLessThanOrEqual(nowMs);
            expect(timeAfter(record, cronerCalendar, atMs - 1)).toBe(atMs);
          }
          started.push(...due.starts);
          record = { ...record, nextMs: due.nextMs };
        }
        expect(started).toEqual([...new Set(started)].toSorted((a, b) => a - b));
      },
    ),
    { numRuns: 40 },
  );
});

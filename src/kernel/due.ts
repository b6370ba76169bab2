// What a schedule that is due asks for: which of its times get a process, which pass without one, and when it goes on.
//
// Pure. Times are those of the calendar; a time is late, and so missed, when it is LATE_MS past.
//
//   D1. The times that are started follow from the record alone, as far as policy lets them: whoever decides again after a
//       crash, however much later, comes to the same first time, and so to the same key.
import { MISSED_RUNS_MAX } from "../abi/schedules.ts";
import type { Calendar } from "../ports/calendar.ts";
import type { ScheduleRecord } from "../ports/store.ts";

/** A cron expression counts in minutes: what starts within one of its time is in time. */
export const LATE_MS = 60_000;

export type Due = {
  /** The times that get a process, earliest first. */
  readonly starts: readonly number[];
  /** The first time that gets none because it is late; null if there is none. Before those that are started. */
  readonly missedMs: number | null;
  /** The first time that gets none because there are too many; null if there is none. After those that are started. */
  readonly leftOutMs: number | null;
  /** The first time after now; null if there is none. */
  readonly nextMs: number | null;
};

/** Whether the schedule has something to do now. */
export const isDue = ({ paused, nextMs }: ScheduleRecord, nowMs: number): boolean =>
  !paused && nextMs !== null && nextMs <= nowMs;

/** The first time of a schedule after a moment. A schedule of one time has none after it. */
export function timeAfter({ cron, zone, atMs }: ScheduleRecord, calendar: Calendar, ms: number): number | null {
  if (cron !== null) return calendar.next({ cron, zone }, ms);
  return atMs !== null && atMs > ms ? atMs : null;
}

/** For a schedule that is due. */
export function dueOf(record: ScheduleRecord, calendar: Calendar, nowMs: number): Due {
  const firstMs = record.nextMs ?? nowMs;
  const due = { starts: [firstMs], missedMs: null, leftOutMs: null, nextMs: timeAfter(record, calendar, nowMs) };
  switch (record.missed) {
    case "once":
      return due;
    case "all":
      return { ...due, ...eachOf(record, { calendar, firstMs, nowMs }) };
    case "skip": {
      if (firstMs > nowMs - LATE_MS) return due;
      const freshMs = timeAfter(record, calendar, nowMs - LATE_MS);
      return { ...due, starts: freshMs !== null && freshMs <= nowMs ? [freshMs] : [], missedMs: firstMs };
    }
  }
}

/** Every time up to now, as many as may be. */
function eachOf(
  record: ScheduleRecord,
  { calendar, firstMs, nowMs }: { readonly calendar: Calendar; readonly firstMs: number; readonly nowMs: number },
): Pick<Due, "starts" | "leftOutMs"> {
  const starts: number[] = [];
  let atMs: number | null = firstMs;
  while (atMs !== null && atMs <= nowMs) {
    if (starts.length === MISSED_RUNS_MAX) return { starts, leftOutMs: atMs };
    starts.push(atMs);
    atMs = timeAfter(record, calendar, atMs);
  }
  return { starts, leftOutMs: null };
}

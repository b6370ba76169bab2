// Durations and points in time, as people type them: `90s`, `1d12h`, `PT2H`; `14:05`, `2026-11-22 14:05`.
//
// Boundary: pure reading. What time it is, the caller says when it asks for a point in time.
//
// Invariants:
//   D1. A number without a unit is nothing: whether seconds or minutes were meant cannot be told, and a guess would be
//       found out too late.
//   D2. Units have one length each. Months and years have none, so they are refused.
//   D3. A time without a zone is one of this machine's, and a day that is not in the calendar is no day.
//
// The long form of durations is that of ISO 8601, without its years and months.
import { InvalidArgumentError } from "commander";

/** A duration from now, a time of the day (its next coming), or a point in time. Milliseconds. */
export type Moment =
  | { readonly in: number }
  | { readonly daily: { readonly hours: number; readonly minutes: number } }
  | { readonly at: number };

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const UNITS_MS = [7 * DAY_MS, DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, 1] as const;
/** What is longer was mistyped, and would leave the range of dates. */
const DURATION_MS_MAX = 100 * 366 * DAY_MS;

const NUMBER = String.raw`(\d+(?:\.\d+)?)`;
const part = (unit: string): string => String.raw`(?:${NUMBER}\s*${unit}\s*)?`;
const SHORT = new RegExp(`^${["w", "d", "h", "m", "s", "ms"].map(part).join("")}$`);
const LONG = new RegExp(
  `^P(?:${NUMBER}W)?(?:${NUMBER}D)?(?:T(?=\\d)(?:${NUMBER}H)?(?:${NUMBER}M)?(?:${NUMBER}S)?)?$`,
  "i",
);
const TIME_OF_DAY = /^([01]?\d|2[0-3]):([0-5]\d)$/;
const DATE = /^(\d{4}-\d\d-(\d\d))(?:[T ]((?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,3})?)?)(Z|[+-]\d\d:\d\d)?)?$/i;

/** Milliseconds, to the whole; undefined if the text is no duration or a longer one than a hundred years. */
export function readDuration(text: string): number | undefined {
  const given = text.trim();
  const parts = (SHORT.exec(given.toLowerCase()) ?? LONG.exec(given))?.slice(1);
  if (parts === undefined || parts.every((each) => each === undefined)) return undefined;
  const ms = Math.round(parts.reduce((sum, each, at) => sum + Number(each ?? 0) * (UNITS_MS[at] ?? 0), 0));
  return ms <= DURATION_MS_MAX ? ms : undefined;
}

/** A moment; undefined if the text is none. */
export function readMoment(text: string): Moment | undefined {
  const given = text.trim();
  const [, hours, minutes] = TIME_OF_DAY.exec(given) ?? [];
  if (hours !== undefined) return { daily: { hours: Number(hours), minutes: Number(minutes) } };
  const at = readDate(given);
  if (at !== undefined) return { at };
  const ms = readDuration(given);
  return ms === undefined ? undefined : { in: ms };
}

function readDate(text: string): number | undefined {
  const [, day, dayOfMonth, time = "00:00", zone = ""] = DATE.exec(text) ?? [];
  if (day === undefined) return undefined;
  // A day such as the 30th of February becomes one of the next month, which shows.
  if (new Date(`${day}T00:00Z`).getUTCDate() !== Number(dayOfMonth)) return undefined;
  const ms = new Date(`${day}T${time}${zone.toUpperCase()}`).getTime();
  return Number.isNaN(ms) ? undefined : ms;
}

/** Milliseconds since 1970. A time of the day is today's, or tomorrow's if it is past. */
export function timeOf(moment: Moment, nowMs: number): number {
  if ("in" in moment) return nowMs + moment.in;
  if ("at" in moment) return moment.at;
  const { hours, minutes } = moment.daily;
  const day = new Date(nowMs);
  const today = day.setHours(hours, minutes, 0, 0);
  // By the calendar and not by 24 hours, which a day is not when clocks are changed.
  return today > nowMs ? today : day.setDate(day.getDate() + 1);
}

const DURATIONS = "like 90s, 15m, 2h, 1d12h or PT2H";

/** Reads an option that is a duration of at least a millisecond. */
export function durationOption(text: string): number {
  const ms = readDuration(text);
  if (ms !== undefined && ms > 0) return ms;
  throw new InvalidArgumentError(`It must be a duration ${DURATIONS}.`);
}

/** Reads an option that is a duration from now or a time. */
export function momentOption(text: string): Moment {
  const moment = readMoment(text);
  if (moment !== undefined) return moment;
  throw new InvalidArgumentError(`It must be a duration ${DURATIONS}, or a time like 14:05 or "2026-11-22 14:05".`);
}

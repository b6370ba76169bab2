// Goal: durations and times are what people mean by them, and what could mean two things is refused.
// Method: the readers are given texts; a property test writes durations in both forms and reads them back.
import fc from "fast-check";
import { expect, test } from "vitest";
import { duration } from "./terminal/figures.ts";
import { durationOption, momentOption, readDuration, readMoment, timeOf } from "./times.ts";

const HOUR_MS = 3_600_000;

test.each([
  ["90s", 90_000],
  ["15m", 900_000],
  ["2h", 2 * HOUR_MS],
  ["1.5h", 1.5 * HOUR_MS],
  ["1d12h", 36 * HOUR_MS],
  ["1d 12h", 36 * HOUR_MS],
  ["2W", 14 * 24 * HOUR_MS],
  ["250ms", 250],
  ["1m250ms", 60_250],
  ["PT2H", 2 * HOUR_MS],
  ["P1DT12H", 36 * HOUR_MS],
  ["pt0.5s", 500],
  ["P2W", 14 * 24 * HOUR_MS],
  ["0s", 0],
])("%s is %i ms", (text, ms) => {
  expect(readDuration(text)).toBe(ms);
});

test.each([
  "",
  " ",
  "90",
  "h",
  "2x",
  "12h1d",
  "1h1h",
  "-1h",
  "P",
  "PT",
  "P1M",
  "P1Y",
  "P1DT",
  "1e3s",
  "200000w",
  "2h!",
])("%j is no duration", (text) => {
  expect(readDuration(text)).toBeUndefined();
});

test("both forms of any duration read as its length", () => {
  const whole = (max: number): fc.Arbitrary<number> => fc.nat({ max });
  fc.assert(
    fc.property(whole(40), whole(23), whole(59), whole(59), (days, hours, minutes, seconds) => {
      const ms = ((days * 24 + hours) * 60 + minutes) * 60_000 + seconds * 1000;
      expect(readDuration(`${days}d${hours}h${minutes}m${seconds}s`)).toBe(ms);
      expect(readDuration(`P${days}DT${hours}H${minutes}M${seconds}S`)).toBe(ms);
    }),
  );
});

test("a duration that was printed can be typed", () => {
  expect(readDuration(duration(2 * HOUR_MS + 300_000))).toBe(2 * HOUR_MS + 300_000);
});

test("a time is one of this machine's, unless it names its zone", () => {
  expect(readMoment("2026-11-22 14:05")).toEqual({ at: new Date(2026, 10, 22, 14, 5).getTime() });
  expect(readMoment("2026-11-22T14:05:30.5")).toEqual({ at: new Date(2026, 10, 22, 14, 5, 30, 500).getTime() });
  expect(readMoment("2026-11-22")).toEqual({ at: new Date(2026, 10, 22).getTime() });
  expect(readMoment("2026-11-22T14:05Z")).toEqual({ at: Date.UTC(2026, 10, 22, 14, 5) });
  expect(readMoment("2026-11-22T14:05+02:00")).toEqual({ at: Date.UTC(2026, 10, 22, 12, 5) });
  expect(readMoment("2h")).toEqual({ in: 2 * HOUR_MS });
});

test.each(["2026-02-30", "2026-13-01", "2026-11-22 25:00", "24:00", "14:5", "22.11.2026", "tomorrow", "14"])(
  "%j is no moment",
  (text) => {
    expect(readMoment(text)).toBeUndefined();
  },
);

test("a time of the day is its next coming", () => {
  const at = (day: number, hours: number, minutes: number): number => new Date(2026, 10, day, hours, minutes).getTime();
  const daily = readMoment("14:05") ?? { in: 0 };
  expect(timeOf(daily, at(22, 9, 0))).toBe(at(22, 14, 5));
  expect(timeOf(daily, at(22, 14, 5))).toBe(at(23, 14, 5));
  expect(timeOf(daily, at(30, 20, 0))).toBe(new Date(2026, 11, 1, 14, 5).getTime());
  expect(timeOf({ in: 1000 }, 5)).toBe(1005);
  expect(timeOf({ at: 7 }, 5)).toBe(7);
});

test("an option that is none says what to type", () => {
  expect(durationOption("2h")).toBe(2 * HOUR_MS);
  expect(() => durationOption("0s")).toThrow("like 90s, 15m");
  expect(momentOption("PT2H")).toEqual({ in: 2 * HOUR_MS });
  expect(() => momentOption("soon")).toThrow("14:05");
});

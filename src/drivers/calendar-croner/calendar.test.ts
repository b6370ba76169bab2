// Goal: the contract of src/ports/calendar.ts holds, above all where clocks change, and wrong input is explained.
// Method: known moments as ISO text; for days without a change, a property that the local clock shows what the expression says.
import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { cronerCalendar } from "./calendar.ts";

/** The first `count` times after a moment, in UTC to the minute. */
function times(cron: string, zone: string, from: string, count: number): string[] {
  const found: string[] = [];
  for (let at: number | null = Date.parse(from); found.length < count;) {
    at = cronerCalendar.next({ cron, zone }, at);
    if (at === null) break;
    found.push(new Date(at).toISOString().slice(0, 16));
  }
  return found;
}

const complaint = (cron: string, zone = "UTC"): unknown => {
  try {
    return cronerCalendar.next({ cron, zone }, 0);
  } catch (error) {
    return error;
  }
};

describe("plain times", () => {
  test.each([
    ["0 9 * * MON-FRI", ["2026-01-02T08:00", "2026-01-05T08:00"]],
    ["*/20 * * * *", ["2026-01-01T12:20", "2026-01-01T12:40", "2026-01-01T13:00"]],
    ["0 0 29 2 *", ["2028-02-28T23:00"]],
    ["0 0 L * *", ["2026-01-30T23:00", "2026-02-27T23:00"]],
    // Either day suffices.
    ["0 12 13 * FRI", ["2026-01-02T11:00", "2026-01-09T11:00", "2026-01-13T11:00"]],
    ["@daily", ["2026-01-01T23:00"]],
    [" 0  9 * *  5 ", ["2026-01-02T08:00"]],
  ])("%s", (cron, expected) => {
    expect(times(cron, "Europe/Berlin", "2026-01-01T12:00:00Z", expected.length)).toEqual(expected);
  });

  it("gives the time after a moment, never the moment itself", () => {
    const rule = { cron: "* * * * *", zone: "UTC" };
    expect(cronerCalendar.next(rule, 59_999)).toBe(60_000);
    expect(cronerCalendar.next(rule, 60_000)).toBe(120_000);
    expect(cronerCalendar.next(rule, 60_000.5)).toBe(120_000);
  });

  it("answers null where no time will come", () => {
    expect(cronerCalendar.next({ cron: "0 0 30 2 *", zone: "UTC" }, 0)).toBeNull();
  });

  it("shows on the local clock what the expression names, in any zone", () => {
    const zones = ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"];
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        fc.integer({ min: 0, max: 59 }),
        fc.integer({ min: 4, max: 23 }),
        fc.integer({ min: Date.UTC(2020), max: Date.UTC(2030) }),
        (zone, minute, hour, afterMs) => {
          const at = cronerCalendar.next({ cron: `${minute} ${hour} * * *`, zone }, afterMs) ?? 0;
          expect(at).toBeGreaterThan(afterMs);
          expect(at - afterMs).toBeLessThanOrEqual(25 * 3_600_000);
          const clock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "numeric", minute: "numeric" });
          expect(clock.format(at)).toBe(`${String(hour).padStart(2, "0")}:${String(minute).padStart(2, "0")}`);
        },
      ),
      { numRuns: 200 },
    );
  });
});

// In Berlin 2:00 became 3:00 on 2026-03-29 (1:00 UTC), and 3:00 becomes 2:00 on 2026-10-25 (1:00 UTC).
describe("clocks go forward", () => {
  const spring = (cron: string, count: number): string[] => times(cron, "Europe/Berlin", "2026-03-28T23:30:00Z", count);

  it("a named time that does not exist is due at the first moment after the gap", () => {
    expect(spring("30 2 * * *", 2)).toEqual(["2026-03-29T01:00", "2026-03-30T00:30"]);
    expect(spring("0 2 * * *", 2)).toEqual(["2026-03-29T01:00", "2026-03-30T00:00"]);
  });

  it("several named times in one gap are due once, and those outside it as ever", () => {
    expect(spring("15,45 2 * * *", 2)).toEqual(["2026-03-29T01:00", "2026-03-30T00:15"]);
    expect(spring("0 1-4 * * *", 4)).toEqual([
      "2026-03-29T00:00",
      "2026-03-29T01:00",
      "2026-03-29T02:00",
      "2026-03-29T23:00",
    ]);
  });

  it("an interval goes on at its pace", () => {
    expect(spring("*/30 * * * *", 4)).toEqual([
      "2026-03-29T00:00",
      "2026-03-29T00:30",
      "2026-03-29T01:00",
      "2026-03-29T01:30",
    ]);
    expect(spring("0 * * * *", 3)).toEqual(["2026-03-29T00:00", "2026-03-29T01:00", "2026-03-29T02:00"]);
  });

  it("an interval is not due at a time that does not exist", () => {
    expect(spring("30 */2 * * *", 2)).toEqual(["2026-03-29T02:30", "2026-03-29T04:30"]);
  });
});

describe("clocks go back", () => {
  const autumn = (cron: string, count: number): string[] => times(cron, "Europe/Berlin", "2026-10-24T23:30:00Z", count);

  it("a named time that exists twice is due once, the first time", () => {
    expect(autumn("30 2 * * *", 2)).toEqual(["2026-10-25T00:30", "2026-10-26T01:30"]);
    expect(autumn("15,45 2 * * *", 3)).toEqual(["2026-10-25T00:15", "2026-10-25T00:45", "2026-10-26T01:15"]);
    expect(autumn("0 2,3 * * *", 3)).toEqual(["2026-10-25T00:00", "2026-10-25T02:00", "2026-10-26T01:00"]);
  });

  it("is not due in the second hour when asked from within it", () => {
    expect(times("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1)).toEqual(["2026-10-26T01:30"]);
  });

  it("an interval goes on at its pace, through both hours", () => {
    expect(autumn("*/30 * * * *", 5)).toEqual([
      "2026-10-25T00:00",
      "2026-10-25T00:30",
      "2026-10-25T01:00",
      "2026-10-25T01:30",
      "2026-10-25T02:00",
    ]);
  });
});

describe("other changes", () => {
  it("half an hour, and a midnight that does not exist", () => {
    expect(times("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T14:50:00Z", 2)).toEqual([
      "2026-10-03T15:30",
      "2026-10-04T15:15",
    ]);
    expect(times("0 0 * * *", "Africa/Cairo", "2026-04-23T20:00:00Z", 1)).toEqual(["2026-04-23T22:00"]);
  });

  it("never stands still nor goes back, whatever the expression and the zone", () => {
    const expressions = ["30 2 * * *", "*/7 * * * *", "0 1-4 * * *", "15,45 */3 * * *", "59 23 * * SUN"];
    const zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"];
    fc.assert(
      fc.property(
        fc.constantFrom(...expressions),
        fc.constantFrom(...zones),
        fc.integer({ min: Date.UTC(2024), max: Date.UTC(2028) }),
        (cron, zone, startMs) => {
          let at = startMs;
          for (let step = 0; step < 20; step += 1) {
            const next = cronerCalendar.next({ cron, zone }, at) ?? Number.NaN;
            expect(next).toBeGreaterThan(at);
            expect(next % 60_000).toBe(0);
            // Nothing lies between a moment and the time after it.
            expect(cronerCalendar.next({ cron, zone }, next - 1)).toBe(next);
            at = next;
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("what cannot be read", () => {
  test.each([
    ["61 * * * *", "minute"],
    ["*/0 * * * *", "minute"],
    ["x * * * *", "minute"],
    ["5/5 * * * *", "minute"],
    ["* 24 * * *", "hour"],
    ["* 17-9 * * *", "hour"],
    ["* * 32 * *", "day of month"],
    ["* * * 13 *", "month"],
    ["* * * FOO *", "month"],
    ["* * * * 8", "day of week"],
    ["* * * * MOON", "day of week"],
  ])("%s names the field and gives an example", (cron, field) => {
    expect(complaint(cron)).toMatchObject({
      code: "invalid_argument",
      message: expect.stringMatching(
        new RegExp(`^The field "${field}" of the cron expression .* For example, \`[^\`]+\` is `),
      ) as string,
      data: { issues: [`cron.${field.replaceAll(" ", "_")}: cannot be read`] },
    });
  });

  test.each([
    ["* * * *", "has 4 fields, and 5 are wanted: minute, hour, day of month, month, day of week"],
    ["0 * * * * *", "has 6 fields"],
    ["noon", "has 1 field, and"],
    ["@reboot", "the shorthands are @yearly"],
    ["@often", "the shorthands are @yearly"],
  ])("%s is not an expression", (cron, why) => {
    expect(complaint(cron)).toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining(why) as string,
    });
  });

  it("an unknown time zone, with what may be meant", () => {
    expect(complaint("* * * * *", "Berlin")).toMatchObject({
      code: "invalid_argument",
      message:
        'There is no time zone "Berlin". Give an IANA name such as Europe/Berlin, or UTC. Is Europe/Berlin meant?',
      data: { issues: ["zone: is not a time zone"] },
    });
    expect(complaint("* * * * *", "Mars/X")).toMatchObject({
      message: 'There is no time zone "Mars/X". Give an IANA name such as Europe/Berlin, or UTC.',
    });
  });

  it("examples in messages can be read themselves", () => {
    for (const cron of ["x * * * *", "* x * * *", "* * x * *", "* * * x *", "* * * * x", "x"]) {
      const example = /For example, `([^`]+)`/.exec((complaint(cron) as Error).message)?.[1] ?? "";
      expect(cronerCalendar.next({ cron: example, zone: "UTC" }, 0)).not.toBeNull();
    }
  });
});

// Goal: every form in which a provider states its limits is understood, and nothing that it states can stop it for ever.
// Method: headers as providers document and send them, each with what they say; then headers made of anything.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { RateReport, RateWindow } from "../../ports/scheduler.ts";
import { rateReport } from "./rates.ts";

const NOW_MS = Date.parse("2026-10-21T07:28:00Z");
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const ofAnswer = (headers: Record<string, string>): RateReport | undefined => rateReport(headers, { nowMs: NOW_MS });
const ofRefusal = (
  headers: Record<string, string>,
  failure: { status?: number; retryAfterMs?: unknown; retryable?: boolean } = {},
): RateReport | undefined =>
  rateReport(headers, {
    nowMs: NOW_MS,
    failure: { status: 429, retryable: true, retryAfterMs: undefined, ...failure },
  });
const openAi = (unit: string, limit: string, remaining: string, reset: string): Record<string, string> => ({
  [`x-ratelimit-limit-${unit}`]: limit,
  [`x-ratelimit-remaining-${unit}`]: remaining,
  [`x-ratelimit-reset-${unit}`]: reset,
});
const anthropic = (unit: string, limit: string, remaining: string, reset: string): Record<string, string> => ({
  [`anthropic-ratelimit-${unit}-limit`]: limit,
  [`anthropic-ratelimit-${unit}-remaining`]: remaining,
  [`anthropic-ratelimit-${unit}-reset`]: reset,
});
const inMs = (ms: number): number => NOW_MS + ms;

test("a response that says nothing is no report", () => {
  expect(ofAnswer({ "content-type": "text/event-stream", date: "Wed, 21 Oct 2026 07:28:00 GMT" })).toBeUndefined();
});

describe("OpenAI", () => {
  test("requests and tokens, by the minute", () => {
    expect(
      ofAnswer({ ...openAi("requests", "600", "599", "100ms"), ...openAi("tokens", "150000", "0", "59.5s") }),
    ).toEqual({
      requests: { limit: 600, windowMs: MINUTE_MS, remaining: 599, resetMs: inMs(100) },
      tokens: { limit: 150_000, windowMs: MINUTE_MS, remaining: 0, resetMs: inMs(59_500) },
    });
  });

  test.each([
    ["1s", 1_000],
    ["6m0s", 6 * MINUTE_MS],
    ["120ms", 120],
    ["1h2m3.5s", HOUR_MS + 123_500],
    ["0s", 0],
    ["1.5", 1_500],
    ["250us", 1],
    ["2026-10-21T07:29:00Z", MINUTE_MS],
    [String(NOW_MS / 1_000 + 30), 30_000],
    [String(NOW_MS + 30_000), 30_000],
    ["400h", DAY_MS],
    ["2031-01-01T00:00:00Z", DAY_MS],
    ["2020-01-01T00:00:00Z", 0],
  ])("a reset of %s", (reset, ms) => {
    expect(ofAnswer(openAi("requests", "1", "0", reset))?.requests?.resetMs).toBe(inMs(ms));
  });

  test.each(["soon", "-1s", "", "1 fortnight", "NaN", "1e3", "s", "Infinity"])("a reset of %j is none", (reset) => {
    // By the minute, then, which is what the limit is meant by.
    expect(ofAnswer(openAi("requests", "10", "0", reset))?.requests?.resetMs).toBe(inMs(MINUTE_MS));
  });

  test("a limit by the day is known by its refill", () => {
    expect(ofAnswer(openAi("requests", "14400", "14370", "2m59.56s"))?.requests).toMatchObject({
      limit: 14_400,
      windowMs: DAY_MS,
    });
  });

  test("a reset that fits no window leaves the limit out, since nobody knows what it is a limit of", () => {
    expect(ofAnswer(openAi("tokens", "150000", "149984", "6m0s"))).toEqual({
      tokens: { remaining: 149_984, resetMs: inMs(6 * MINUTE_MS) },
    });
  });

  test("of windows by the minute and by the day, the one that is used up counts", () => {
    const minute = openAi("requests-minute", "30", "29", "12.5");
    expect(ofAnswer({ ...minute, ...openAi("requests-day", "900", "899", "30000") })?.requests).toMatchObject({
      limit: 30,
    });
    expect(ofAnswer({ ...minute, ...openAi("requests-day", "900", "0", "30000") })?.requests).toEqual({
      limit: 900,
      windowMs: DAY_MS,
      remaining: 0,
      resetMs: inMs(30_000_000),
    });
  });
});

describe("Anthropic", () => {
  test("requests and tokens, with dates", () => {
    expect(
      ofAnswer({
        ...anthropic("requests", "50", "49", "2026-10-21T07:28:02Z"),
        ...anthropic("tokens", "60000", "59000", "2026-10-21T07:28:01Z"),
        ...anthropic("input-tokens", "50000", "49000", "2026-10-21T07:28:01Z"),
        ...anthropic("output-tokens", "10000", "10000", "2026-10-21T07:28:00Z"),
      }),
    ).toEqual({
      requests: { limit: 50, windowMs: MINUTE_MS, remaining: 49, resetMs: inMs(2_000) },
      tokens: { limit: 60_000, windowMs: MINUTE_MS, remaining: 59_000, resetMs: inMs(1_000) },
    });
  });

  test("a date is read against the clock that wrote it", () => {
    const headers = anthropic("requests", "50", "0", "2026-10-21T09:00:30Z");
    expect(ofAnswer({ ...headers, date: "Wed, 21 Oct 2026 09:00:00 GMT" })?.requests?.resetMs).toBe(inMs(30_000));
  });

  test("input and output alone are added up", () => {
    expect(
      ofAnswer({
        ...anthropic("input-tokens", "50000", "40000", "2026-10-21T07:28:12Z"),
        ...anthropic("output-tokens", "10000", "9000", "2026-10-21T07:28:06Z"),
      })?.tokens,
    ).toEqual({ limit: 60_000, windowMs: MINUTE_MS, remaining: 49_000, resetMs: inMs(12_000) });
  });

  test("one of input and output that is used up counts for both", () => {
    expect(
      ofAnswer({
        ...anthropic("tokens", "60000", "50000", "2026-10-21T07:28:01Z"),
        ...anthropic("output-tokens", "10000", "0", "2026-10-21T07:28:40Z"),
      })?.tokens,
    ).toEqual({ limit: 60_000, windowMs: MINUTE_MS, remaining: 0, resetMs: inMs(40_000) });
  });
});

describe("the RateLimit fields", () => {
  const expected = { limit: 100, windowMs: MINUTE_MS, remaining: 50, resetMs: inMs(30_000) };
  test.each([
    ["-10", { ratelimit: '"minute";r=50;t=30', "ratelimit-policy": '"minute";q=100;w=60' }],
    ["-10, tokens for strings", { ratelimit: "minute; r=50; t=30", "ratelimit-policy": 'minute;q=100;w=60;pk="a,b"' }],
    ["-07", { ratelimit: "limit=100, remaining=50, reset=30", "ratelimit-policy": "100;w=60, 9000;w=86400" }],
    ["-06", { "ratelimit-limit": "100, 100;w=60, 9000;w=86400", "ratelimit-remaining": "50", "ratelimit-reset": "30" }],
    ["with X", { "x-ratelimit-limit": "100, 100;window=60", "x-ratelimit-remaining": "50", "x-ratelimit-reset": "30" }],
  ] satisfies [string, Record<string, string>][])("%s", (_, headers) => {
    expect(ofAnswer(headers)).toEqual({ requests: expected });
  });

  test("of several policies the one that is used up counts", () => {
    const policy = '"burst";q=100;w=60, "daily";q=1000;w=86400';
    const of = (ratelimit: string): RateWindow | undefined =>
      ofAnswer({ ratelimit, "ratelimit-policy": policy })?.requests;
    expect(of('"burst";r=50;t=30, "daily";r=7;t=9000')).toEqual(expected);
    expect(of('"burst";r=50;t=30, "daily";r=0;t=9000')).toMatchObject({ limit: 1_000, remaining: 0 });
  });

  test("a policy alone, and one that counts something else", () => {
    expect(ofAnswer({ "ratelimit-policy": '"m";q=100;w=60' })).toEqual({
      requests: { limit: 100, windowMs: MINUTE_MS },
    });
    const bytes = { ratelimit: '"b";r=5;t=3', "ratelimit-policy": '"b";q=65535;w=10;qu="content-bytes"' };
    expect(ofAnswer(bytes)).toBeUndefined();
  });

  test("what is left, without a policy, counts until its reset; without a reset it says nothing", () => {
    expect(ofAnswer({ ratelimit: '"x";r=3;t=5' })).toEqual({ requests: { remaining: 3, resetMs: inMs(5_000) } });
    expect(ofAnswer({ "x-ratelimit-limit": "5000", "x-ratelimit-remaining": "3" })).toBeUndefined();
  });
});

describe("refusals", () => {
  test.each([429, 503, 529])("%i pauses for the delay that was named", (status) => {
    expect(ofRefusal({}, { status, retryAfterMs: 7_000 })).toEqual({ pausedUntilMs: inMs(7_000) });
  });

  test("else until what is used up is there again, else for a second", () => {
    const requests = openAi("requests", "600", "0", "4s");
    const tokens = openAi("tokens", "1000", "0", "9s");
    expect(ofRefusal({ ...requests, ...openAi("tokens", "1000", "10", "9s") })?.pausedUntilMs).toBe(inMs(4_000));
    expect(ofRefusal({ ...requests, ...tokens })?.pausedUntilMs).toBe(inMs(9_000));
    expect(ofRefusal({})).toEqual({ pausedUntilMs: inMs(1_000) });
  });

  test.each([
    [0, 50],
    [10 * 365 * DAY_MS, HOUR_MS],
    [-5, 1_000],
    [Number.NaN, 1_000],
    [Number.POSITIVE_INFINITY, HOUR_MS],
    ["7", 1_000],
  ])("a delay of %s is a pause of %i ms", (retryAfterMs, ms) => {
    expect(ofRefusal({}, { retryAfterMs })?.pausedUntilMs).toBe(inMs(ms));
  });

  test("another failure, and one that no waiting helps, is no pause", () => {
    expect(ofRefusal({}, { status: 500, retryAfterMs: 5_000 })).toBeUndefined();
    expect(ofRefusal({}, { retryable: false, retryAfterMs: 5_000 })).toBeUndefined();
    expect(ofRefusal(openAi("requests", "600", "3", "1s"), { status: 400 })).toEqual({
      requests: { limit: 600, windowMs: MINUTE_MS, remaining: 3, resetMs: inMs(1_000) },
    });
  });
});

describe("nonsense", () => {
  test.each([
    ["-1", "-1"],
    ["NaN", "lots"],
    ["0", "unlimited"],
    ["9".repeat(40), "1e9"],
    ["0x10", " "],
  ])("a limit of %s with %s left", (limit, remaining) => {
    expect(ofAnswer(openAi("requests", limit, remaining, "1s"))).toBeUndefined();
  });

  test("no more is left than the limit", () => {
    expect(ofAnswer(openAi("requests", "10", "9999", "1s"))?.requests?.remaining).toBe(10);
  });

  const names = [
    ...["limit", "remaining", "reset"].flatMap((field) => [
      `x-ratelimit-${field}-requests`,
      `x-ratelimit-${field}-tokens`,
      `x-ratelimit-${field}-requests-day`,
      `x-ratelimit-${field}`,
      `ratelimit-${field}`,
      `anthropic-ratelimit-input-tokens-${field}`,
      `anthropic-ratelimit-output-tokens-${field}`,
    ]),
    ...["ratelimit", "ratelimit-policy", "date"],
  ];
  const value = fc.oneof(
    fc.string({ maxLength: 40 }),
    fc.stringMatching(/^-?[0-9]{1,20}(\.[0-9]{1,3})?(ms|s|m|h)?$/),
    fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
    fc.stringMatching(/^"?[a-z]{1,3}"?;[rqtw]=-?[0-9]{1,12};[rqtw]=[0-9]{1,12}(, [a-z]{1,3};r=0)?$/),
    fc.constant('"\\"'.repeat(5_000)),
  );

  test("whatever the headers are, a report is whole and within its bounds", () => {
    const whole = ({ limit, windowMs, remaining, resetMs }: RateWindow): void => {
      expect(limit === undefined).toBe(windowMs === undefined);
      expect(remaining === undefined).toBe(resetMs === undefined);
      expect(limit ?? remaining).toBeDefined();
      expect(limit ?? 1).toBeGreaterThanOrEqual(1);
      expect(windowMs ?? 1).toBeGreaterThan(0);
      expect(windowMs ?? 1).toBeLessThanOrEqual(DAY_MS);
      expect(remaining ?? 0).toBeGreaterThanOrEqual(0);
      expect(resetMs ?? NOW_MS).toBeGreaterThanOrEqual(NOW_MS);
      expect(resetMs ?? NOW_MS).toBeLessThanOrEqual(inMs(DAY_MS));
    };
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom(...names), value),
        fc.option(fc.double(), { nil: undefined }),
        (headers, retryAfterMs) => {
          const report = ofRefusal(headers, { retryAfterMs });
          for (const window of [report?.requests, report?.tokens]) if (window !== undefined) whole(window);
          expect(report?.pausedUntilMs).toBeGreaterThan(NOW_MS);
          expect(report?.pausedUntilMs).toBeLessThanOrEqual(inMs(HOUR_MS));
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

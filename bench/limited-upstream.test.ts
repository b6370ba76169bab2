// Goal: the upstream lets through what it says, no more and no less, and says so truly. Method: the bucket on a clock in the
// test's hand, against a count of its own; the door over HTTP with a bucket too slow to refill meanwhile.
import fc from "fast-check";
import { expect, test } from "vitest";
import { Bucket, durationText, FixedWindow, SlidingWindow, startLimitedUpstream } from "./limited-upstream.ts";

test("it allows its burst, then its rate, and what its headers say is left", () => {
  const allowance = new Bucket({ perMinute: 600, burst: 3 }, 0);
  expect(allowance.headers(0)).toEqual({
    "x-ratelimit-limit-requests": "600",
    "x-ratelimit-remaining-requests": "3",
    "x-ratelimit-reset-requests": "0ms",
  });
  expect([1, 2, 3, 4].map(() => allowance.take(0))).toEqual([true, true, true, false]);
  expect(allowance.headers(0)).toMatchObject({
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "300ms",
  });
  expect(allowance.nextMs(40)).toBeCloseTo(60);
  expect([99, 100.001, 150].map((atMs) => allowance.take(atMs))).toEqual([false, true, false]);
});

test("over any time it lets through no more than burst and rate give, and all of that to who always asks", () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(
      gaps,
      fc.integer({ min: 60, max: 6_000 }),
      fc.integer({ min: 1, max: 50 }),
      (waits, perMinute, burst) => {
        const allowance = new Bucket({ perMinute, burst }, 0);
        let nowMs = 0;
        let taken = 0;
        for (const waitMs of waits) {
          nowMs += waitMs;
          while (allowance.take(nowMs)) taken += 1;
          expect(allowance.level(nowMs)).toBeLessThan(1);
        }
        expect(taken).toBeLessThanOrEqual(burst + (nowMs * perMinute) / 60_000 + 1e-6);
        expect(taken).toBeGreaterThanOrEqual(burst);
      },
    ),
  );
});

test("a fixed window gives all of it in each of its minutes, a sliding one in any minute", () => {
  const fixed = new FixedWindow({ perMinute: 3 }, 0);
  expect([50_000, 50_001, 50_002, 50_003].map((atMs) => fixed.take(atMs))).toEqual([true, true, true, false]);
  expect([fixed.nextMs(50_003), fixed.untilMeasurableMs(50_003)]).toEqual([9_997, 9_997]);
  expect([fixed.through(50_003, 59_999), fixed.through(50_003, 60_001), fixed.through(50_003, 120_001)]).toEqual([
    0, 3, 6,
  ]);
  expect([60_000, 60_001, 60_002, 60_003].map((atMs) => fixed.take(atMs))).toEqual([true, true, true, false]);
  const sliding = new SlidingWindow({ perMinute: 3 });
  expect([50_000, 50_010, 60_000, 60_001].map((atMs) => sliding.take(atMs))).toEqual([true, true, true, false]);
  expect([sliding.nextMs(60_001), sliding.through(60_001, 110_005)]).toEqual([49_999, 1]);
  expect([109_999, 110_000, 110_001, 110_010].map((atMs) => sliding.take(atMs))).toEqual([false, true, false, true]);
  expect(sliding.headers(110_011)).toEqual({
    "x-ratelimit-limit-requests": "3",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "10s",
  });
});

test.each([
  [0, "0ms"],
  [119.2, "120ms"],
  [999, "999ms"],
  [999.5, "1s"],
  [59_000, "59s"],
  [360_000, "6m0s"],
])("%d ms are written %s", (ms, text) => {
  expect(durationText(ms)).toBe(text);
});

test("over HTTP: answers until the bucket is empty, then refusals with the delay, and a pause", async () => {
  const upstream = await startLimitedUpstream({
    kind: "bucket",
    perMinute: 1,
    burst: 2,
    latencyMs: 0,
    turns: 0,
    tool: "read",
  });
  const ask = async (): Promise<Response> => {
    const body = JSON.stringify({ messages: [] });
    const response = await fetch(`${upstream.baseUrl}/chat/completions`, { method: "POST", body });
    await response.arrayBuffer();
    return response;
  };
  const answers = [await ask(), await ask(), await ask()];
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 429]);
  expect(answers.map(({ headers }) => headers.get("x-ratelimit-remaining-requests"))).toEqual(["1", "0", "0"]);
  expect(Number(answers[2]?.headers.get("retry-after"))).toBeGreaterThan(0);
  upstream.pause(1_000_000);
  const paused = await ask();
  expect([paused.status, paused.headers.get("retry-after")]).toEqual([503, "1000"]);
  expect(upstream.answered.map(({ status }) => status)).toEqual([200, 200, 429, 503]);
  await upstream.close();
});

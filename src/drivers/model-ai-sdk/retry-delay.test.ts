// Goal: every form in which a provider names a delay is understood, and nonsense is no delay.
import { expect, test } from "vitest";
import { retryDelayMs } from "./retry-delay.ts";

const NOW_MS = Date.parse("2026-10-21T07:28:00Z");
const delay = (headers: Record<string, string>, body?: string) => retryDelayMs(headers, { body, nowMs: NOW_MS });

test.each([
  [{ "retry-after": "2" }, 2000],
  [{ "retry-after": "0.5" }, 500],
  [{ "retry-after": "0" }, 0],
  [{ "retry-after-ms": "120.4", "retry-after": "9" }, 120],
  [{ "retry-after": "Wed, 21 Oct 2026 07:28:10 GMT" }, 10_000],
  [{ "retry-after": "Wed, 21 Oct 2026 07:28:10 GMT", date: "Wed, 21 Oct 2026 07:28:07 GMT" }, 3_000],
  [{ "retry-after": "Wed, 21 Oct 2020 07:28:10 GMT" }, 0],
  [{ "retry-after": "soon" }, undefined],
  [{ "retry-after": "-3" }, undefined],
  [{ "retry-after": "9".repeat(40) }, undefined],
  [{}, undefined],
] satisfies [Record<string, string>, number | undefined][])("%j", (headers, expected) => {
  expect(delay(headers)).toBe(expected);
});

test("Google's RetryInfo, where no header says otherwise", () => {
  const body = JSON.stringify({ error: { details: [{ retryDelay: "37s" }] } });
  expect(delay({}, body)).toBe(37_000);
  expect(delay({ "retry-after": "1" }, body)).toBe(1_000);
});

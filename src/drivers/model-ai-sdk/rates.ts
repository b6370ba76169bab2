// What a provider says of its limits in the headers of a response, as a `RateReport`.
//
// Boundary: reads headers, and decides nothing. What follows from them is the scheduler's affair.
//
// Invariants:
//   R1. No header can stop a provider for ever: a limit is at least 1 in at most a day, a reset lies at most a day ahead and
//       a pause at most an hour. What is no number, no duration and no date counts as not said.
//   R2. `limit` stands with its `windowMs`, and `remaining` with its `resetMs`, or not at all: neither says anything alone.
//   R3. A time by the provider's clock is read against that clock (`date`), so that a wrong one here shifts nothing.
//   R4. Of several windows for the same thing the first that is named counts, unless another has nothing left.
//
// Forms: OpenAI, "Rate limits in headers" (`x-ratelimit-limit-requests`; Cerebras adds `-minute`, `-day`); Anthropic,
// "Response headers" (`anthropic-ratelimit-requests-limit`); draft-ietf-httpapi-ratelimit-headers as it is now (-10) and as
// it was up to -06 and in -07 (rate-fields.ts). Google says nothing of limits but the delay in a refusal.
import type { RateReport, RateWindow } from "../../ports/scheduler.ts";
import { draftWindows, type ResponseHeaders, type SaidWindow } from "./rate-fields.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const PAUSE_MS_MIN = 50;
/** After a refusal that names no time. */
const PAUSE_MS_DEFAULT = 1_000;
const PAUSE_MS_MAX = HOUR_MS;
/** Of this much of a value is taken notice. */
const VALUE_CHARACTERS_MAX = 1_000;
const REFUSALS: ReadonlySet<unknown> = new Set([429, 503, 529]);

type Clocks = { readonly nowMs: number; readonly serverMs: number };

export type ResponseFacts = {
  readonly nowMs: number;
  /** Of a failure: whether the same again may help, and the delay that it named. */
  readonly failure?: {
    readonly status: unknown;
    readonly retryable: boolean;
    readonly retryAfterMs: unknown;
  };
};

/**
 * What the response says; undefined if that is nothing. `pausedUntilMs` is there for 429, 503 and 529 that may be tried
 * again: until the time that the provider named, else until the reset of the window that is used up, else for a second.
 */
export function rateReport(headers: ResponseHeaders, { nowMs, failure }: ResponseFacts): RateReport | undefined {
  const date = Date.parse(headers["date"] ?? "");
  const clocks = { nowMs, serverMs: Number.isNaN(date) ? nowMs : date };
  const requests = foremost([...suffixed(headers, "requests"), ...draftWindows(headers)], clocks);
  const tokens = tokensWindow(headers, clocks);
  const refused = failure !== undefined && failure.retryable && REFUSALS.has(failure.status);
  if (requests === undefined && tokens === undefined && !refused) return undefined;
  return {
    ...(requests !== undefined && { requests }),
    ...(tokens !== undefined && { tokens }),
    ...(refused && { pausedUntilMs: nowMs + pauseMs(failure.retryAfterMs, [requests, tokens], nowMs) }),
  };
}

function pauseMs(named: unknown, windows: readonly (RateWindow | undefined)[], nowMs: number): number {
  const resets = windows.flatMap((window) => (window?.remaining === 0 ? [(window.resetMs ?? nowMs) - nowMs] : []));
  const ms =
    typeof named === "number" && named >= 0 ? named : resets.length > 0 ? Math.max(...resets) : PAUSE_MS_DEFAULT;
  return Math.min(Math.max(ms, PAUSE_MS_MIN), PAUSE_MS_MAX);
}

const SPANS = [
  ["", "minute"],
  ["-minute", MINUTE_MS],
  ["-hour", HOUR_MS],
  ["-day", DAY_MS],
] as const;

/** As OpenAI and those who follow it name them, then as Anthropic does. */
const suffixed = (headers: ResponseHeaders, unit: "requests" | "tokens"): SaidWindow[] => [
  ...SPANS.map(([span, windowMs]) => ({
    limit: headers[`x-ratelimit-limit-${unit}${span}`],
    remaining: headers[`x-ratelimit-remaining-${unit}${span}`],
    reset: headers[`x-ratelimit-reset-${unit}${span}`],
    windowMs,
  })),
  anthropic(headers, unit),
];

const anthropic = (headers: ResponseHeaders, unit: string): SaidWindow => ({
  limit: headers[`anthropic-ratelimit-${unit}-limit`],
  remaining: headers[`anthropic-ratelimit-${unit}-remaining`],
  reset: headers[`anthropic-ratelimit-${unit}-reset`],
  windowMs: MINUTE_MS,
});

/**
 * Input and output together. Where only the two are told, their sum is: a limit on output alone, held against all tokens of
 * a call, would refuse calls that fit. One of the two that is used up counts for both.
 */
function tokensWindow(headers: ResponseHeaders, clocks: Clocks): RateWindow | undefined {
  const parts = ["input-tokens", "output-tokens"].flatMap((unit) => windowOf(anthropic(headers, unit), clocks) ?? []);
  const together = foremost(suffixed(headers, "tokens"), clocks) ?? sum(parts);
  const [usedUp] = parts.filter(({ remaining }) => remaining === 0).toSorted(laterFirst);
  if (usedUp?.resetMs === undefined || together?.remaining === 0) return together;
  return { ...together, remaining: 0, resetMs: usedUp.resetMs };
}

function sum(windows: readonly RateWindow[]): RateWindow | undefined {
  const [one, other] = windows;
  if (one === undefined || other === undefined) return undefined;
  const limit = added(one.limit, other.limit);
  const remaining = added(one.remaining, other.remaining);
  if (limit === undefined && remaining === undefined) return undefined;
  const resetMs = Math.max(one.resetMs ?? 0, other.resetMs ?? 0);
  return {
    ...(limit !== undefined && { limit, windowMs: MINUTE_MS }),
    ...(remaining !== undefined && { remaining, resetMs }),
  };
}

const added = (one: number | undefined, other: number | undefined): number | undefined =>
  one === undefined || other === undefined ? undefined : one + other;

const laterFirst = (one: RateWindow, other: RateWindow): number => (other.resetMs ?? 0) - (one.resetMs ?? 0);

function foremost(said: readonly SaidWindow[], clocks: Clocks): RateWindow | undefined {
  const windows = said.flatMap((window) => windowOf(window, clocks) ?? []);
  const [usedUp] = windows.filter(({ remaining }) => remaining === 0).toSorted(laterFirst);
  return usedUp ?? windows[0];
}

function windowOf(said: SaidWindow, clocks: Clocks): RateWindow | undefined {
  const limit = count(said.limit, 1);
  const left = count(said.remaining, 0);
  const remaining = left === undefined ? undefined : Math.min(left, limit ?? left);
  const aheadMs = aheadOf(said.reset, clocks);
  const windowMs = said.windowMs === "minute" ? spanOf({ limit, remaining, aheadMs }) : said.windowMs;
  const untilMs = aheadMs ?? windowMs;
  const window = {
    ...(limit !== undefined && windowMs !== undefined && { limit, windowMs }),
    ...(remaining !== undefined && untilMs !== undefined && { remaining, resetMs: clocks.nowMs + untilMs }),
  };
  return Object.keys(window).length === 0 ? undefined : window;
}

/**
 * The window of a limit that does not name it: a minute, unless its reset is further away. Then it is the hour or the day
 * whose steady refill would give back what is used in that time (OpenAI's lower tiers and Groq limit requests by the day),
 * and if it is neither, nobody knows.
 */
function spanOf(window: {
  readonly limit: number | undefined;
  readonly remaining: number | undefined;
  readonly aheadMs: number | undefined;
}): number | undefined {
  const { limit, remaining, aheadMs } = window;
  if (aheadMs === undefined || aheadMs <= MINUTE_MS) return MINUTE_MS;
  if (limit === undefined || remaining === undefined) return undefined;
  const refillMs = (aheadMs * limit) / (limit - remaining);
  return [MINUTE_MS, HOUR_MS, DAY_MS].find((spanMs) => Math.abs(refillMs / spanMs - 1) < 0.05);
}

function count(text: string | undefined, min: number): number | undefined {
  if (text === undefined || !/^\s*\d{1,15}(?:\.\d{1,9})?\s*$/.test(text)) return undefined;
  const number = Math.floor(Number(text));
  return number >= min ? number : undefined;
}

const UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: MINUTE_MS,
  h: HOUR_MS,
  d: DAY_MS,
};
const DURATION = /^(?:\d{1,15}(?:\.\d{1,15})?(?:[nuµm]s|[smhd]))+$/;
const DURATION_PART = /(\d+(?:\.\d+)?)([nuµm]s|[smhd])/g;
/** RFC 3339 as Anthropic has it, or as in `date`. `Date.parse` alone would make a date of much else. */
const DATE = /^(?:\d{4}-\d\d-\d\dT|[A-Za-z]{3,9},? )/;
/** A bare number is of seconds; from here on it can only be a time since 1970. */
const SECONDS_SINCE_1970_MIN = 1e9;
const MILLISECONDS_SINCE_1970_MIN = 1e12;

/** Milliseconds from now, at most a day: of a duration (`1s`, `6m0s`, `120ms`), of seconds, or of a point in time. */
function aheadOf(reset: string | undefined, { serverMs }: Clocks): number | undefined {
  const text = reset?.trim().slice(0, VALUE_CHARACTERS_MAX) ?? "";
  const ms =
    durationMs(text) ?? numberMs(text, serverMs) ?? (DATE.test(text) ? Date.parse(text) - serverMs : Number.NaN);
  return Number.isNaN(ms) ? undefined : Math.ceil(Math.min(Math.max(ms, 0), DAY_MS));
}

function durationMs(text: string): number | undefined {
  if (!DURATION.test(text)) return undefined;
  return [...text.matchAll(DURATION_PART)].reduce(
    (sumMs, [, amount, unit]) => sumMs + Number(amount) * (UNITS_MS[unit ?? ""] ?? 0),
    0,
  );
}

function numberMs(text: string, serverMs: number): number | undefined {
  if (!/^\d{1,15}(?:\.\d{1,9})?$/.test(text)) return undefined;
  const number = Number(text);
  if (number < SECONDS_SINCE_1970_MIN) return number * 1_000;
  return (number < MILLISECONDS_SINCE_1970_MIN ? number * 1_000 : number) - serverMs;
}

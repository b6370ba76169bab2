// How fast a resource may be used: the limits that are configured, what its provider says of its own, and its pauses. One
// limiter for all calls of the resource.
//
// What a provider says is late: calls that left since are not in it. What we count ourselves is current, and blind to
// other users of the same key. So the two correct each other: our own count stands while it lies between what was
// reported, and that less our calls in flight that the report may not have seen; else the latter takes its place.
//
// Allowances are not burnt at a stroke. Whoever spends a minute's allowance in its first second makes the next urgent
// call wait for 59; so most of it is kept for the time that remains, and a call of any class goes soon if it is the next.
//
// After a pause calls come back by slow start (V. Jacobson: "Congestion Avoidance and Control", SIGCOMM 1988): one, and with
// each success one more, which doubles them from round to round up to all slots; a further refusal halves. What the pause saved
// up is not spent at a stroke either, on a provider that has just recovered: where a limit of requests is known, calls go at
// RECOVERY_PACE times its pace for RECOVERY_TIMES the length of the pause, in which all of it can be used.
//
// Boundary: time is handed in with each question. Whose call it is, is not known here.
//
// Invariants:
//   R1. Without limits and reports nothing is held.
//   R2. The tighter of what is configured and what is reported holds.
//   R3. In no minute do more calls begin than the configured limit and BURST_SHARE of it; likewise tokens, as corrected at the end of each call.
//   R4. No call begins in a pause, and after it at most as many are in flight as have shown to be welcome.
//   R5. For a time after it no more calls begin in any part of it than RECOVERY_PACE times the limit's pace, and what RECOVERY_SLACK_MS give.
import type { RateReport, RateWindow, Resource } from "../ports/scheduler.ts";

/** Of a configured limit for a minute, what may go at once after a calm. */
const BURST_SHARE = 0.02;
/** Of a reported window's allowance, what is spread over its time; the rest may go at once. */
const SPREAD_SHARE = 0.9;
const MINUTE_MS = 60_000;
/** Of the even pace, how fast calls go after a reset while nobody has said yet that all is there again. */
const FRESH_SHARE = 0.97;
/** A reset that is reported so much later than before is another one: a bucket that fills, not a window that ends. */
const RESET_MOVED_MS = 1_500;
/** Such a one is told from the next window only where the earlier reset is still so far away. */
const RESET_AHEAD_MS = 1_000;
/** Of the rate at which such a bucket fills, how fast calls go. */
const STEADY_SHARE = 0.99;
/** A provider's clock and ours differ, and a report travels. */
const RESET_MARGIN_MS = 50;
/** The share of a pause that is added by chance, so that many do not come back at once, and the most. */
const JITTER_SHARE = 0.1;
const JITTER_MS_MAX = 1_000;

/** After a pause: by the pace of the limit, how fast calls go, and by the length of the pause, for how long. */
const RECOVERY_PACE = 2;
const RECOVERY_TIMES = 2;
/** What was not used at its moment, since a timer is late, may still be used. Milliseconds. */
const RECOVERY_SLACK_MS = 50;

/** Why no call may begin now, and until when; null if that depends on an answer. Milliseconds since 1970. */
export type Hold = { readonly by: "requests" | "tokens" | "pause"; readonly untilMs: number | null };

/** A configured limit: a bucket that fills evenly. A call that is larger than the bucket goes when it is full, and the next one waits for the difference. */
class Bucket {
  readonly #perMs: number;
  readonly #size: number;
  #level: number;
  #atMs: number;

  constructor(perMinute: number, nowMs: number) {
    this.#perMs = perMinute / MINUTE_MS;
    this.#size = Math.max(1, perMinute * BURST_SHARE);
    this.#level = this.#size;
    this.#atMs = nowMs;
  }

  get perMs(): number {
    return this.#perMs;
  }

  readyMs(need: number, nowMs: number): number {
    this.#fill(nowMs);
    const short = Math.min(need, this.#size) - this.#level;
    // What a rounding lost is not worth a wait.
    return short <= 1e-9 ? nowMs : nowMs + short / this.#perMs;
  }

  take(amount: number): void {
    this.#level = Math.min(this.#size, this.#level - amount);
  }

  full(nowMs: number): boolean {
    this.#fill(nowMs);
    return this.#level >= this.#size;
  }

  #fill(nowMs: number): void {
    this.#level = Math.min(this.#size, this.#level + Math.max(0, nowMs - this.#atMs) * this.#perMs);
    this.#atMs = nowMs;
  }
}

/** What a provider reported: so much is left until a time. */
class Reported {
  #limit = Number.POSITIVE_INFINITY;
  #windowMs = MINUTE_MS;
  #left = Number.POSITIVE_INFINITY;
  #resetMs: number;
  /** The least that was reported of this window. What is left of a window only shrinks, so a report of more is an older one. */
  #least = Number.POSITIVE_INFINITY;
  /** As it was when what is left was last taken from a report of more. */
  #firstResetMs: number;
  /** The window has begun by our clock, and no report of it has come yet: it may be that nothing is left, so all of it is spread. */
  #fresh = false;
  /** The allowance flows in steadily, and the reset is when the bucket would be full: its reports have shown that. */
  #steady = false;
  #filledMs = 0;

  constructor(resetMs: number) {
    this.#resetMs = resetMs;
    this.#firstResetMs = resetMs;
  }

  get perMs(): number {
    return this.#limit / this.#windowMs;
  }

  readyMs(need: number, nowMs: number): number {
    if (this.#steady) {
      this.#fill(nowMs);
      const short = Math.min(need, this.#limit) - this.#left;
      return short <= 1e-9 ? nowMs : nowMs + short / (this.perMs * STEADY_SHARE);
    }
    this.#roll(nowMs);
    if (this.#left === Number.POSITIVE_INFINITY) return nowMs;
    if (this.#left < Math.min(need, this.#limit)) return this.#resetMs + this.#marginMs;
    if (this.#limit === Number.POSITIVE_INFINITY) return nowMs;
    if (this.#fresh) {
      const begun = this.#limit - this.#left;
      return Math.max(nowMs, this.#resetMs - this.#windowMs + begun / (this.perMs * FRESH_SHARE));
    }
    const pace = this.perMs * SPREAD_SHARE;
    // When what is kept for the rest of the window has come down to what is left.
    return this.#left >= this.#limit * SPREAD_SHARE ? nowMs : Math.max(nowMs, this.#resetMs - this.#left / pace);
  }

  take(amount: number): void {
    this.#left = Math.min(this.#limit, this.#left - amount);
  }

  /** The provider refused although something should have been left: what its reports seemed to show does not hold. */
  refused(): void {
    if (!this.#steady) return;
    this.#steady = false;
    this.#left = 0;
  }

  report(window: RateWindow, unseen: number, nowMs: number): void {
    if (this.#steady) this.#fill(nowMs);
    else this.#roll(nowMs);
    const { limit, remaining, resetMs, windowMs } = window;
    const known = this.#left !== Number.POSITIVE_INFINITY;
    if (limit !== undefined) this.#limit = limit;
    if (windowMs !== undefined && windowMs > 0) this.#windowMs = windowMs;
    // Of a window that is over: the answer took its time.
    if (remaining === undefined || (resetMs !== undefined && resetMs < nowMs)) return;
    this.#resetMs = resetMs ?? (known ? this.#resetMs : nowMs + this.#windowMs);
    const first = !known || this.#fresh;
    const filling = !first && this.#resetMs > this.#firstResetMs + RESET_MOVED_MS;
    if (filling && this.#limit !== Number.POSITIVE_INFINITY && nowMs < this.#firstResetMs - RESET_AHEAD_MS) {
      this.#steady = true;
      this.#filledMs = nowMs;
    }
    // A reset that has passed says nothing of the ones after it.
    if (first || filling || nowMs >= this.#firstResetMs) this.#firstResetMs = this.#resetMs;
    this.#fresh = false;
    this.#least = first || filling ? remaining : Math.min(this.#least, remaining);
    const sure = remaining - unseen;
    // Less is left than we thought: others use it too, or it did not come back at once.
    if (this.#steady) this.#left = Math.max(Math.min(this.#left, remaining), sure);
    else if (!known || remaining < this.#left) this.#left = sure;
    else if (filling) this.#left = Math.max(this.#left, sure);
    // What was taken for unseen has been answered since, and was in the count already.
    else this.#left = Math.max(this.#left, this.#least - unseen);
  }

  /** What has flowed in since; never more than the bucket holds, which the last report says. */
  #fill(nowMs: number): void {
    const flowed = Math.max(0, nowMs - this.#filledMs) * this.perMs * STEADY_SHARE;
    this.#left = Math.min(this.#limit, this.#left + flowed);
    this.#filledMs = nowMs;
  }

  get #marginMs(): number {
    return Math.min(RESET_MARGIN_MS, this.#windowMs / 100);
  }

  #roll(nowMs: number): void {
    if (nowMs < this.#resetMs + this.#marginMs) return;
    this.#left = this.#limit;
    this.#resetMs = nowMs + this.#windowMs;
    this.#fresh = true;
  }
}

/** One dimension: requests, or tokens. */
class Allowance {
  #bucket: Bucket | undefined;
  #perMinute: number | undefined;
  #reported: Reported | undefined;

  get limited(): boolean {
    return this.#bucket !== undefined || this.#reported !== undefined;
  }

  /** Whether a new one would be no different. */
  calm(nowMs: number): boolean {
    return this.#reported === undefined && (this.#bucket?.full(nowMs) ?? true);
  }

  /** Of this dimension in a millisecond; infinite where nothing is known. */
  get perMs(): number {
    return Math.min(this.#bucket?.perMs ?? Number.POSITIVE_INFINITY, this.#reported?.perMs ?? Number.POSITIVE_INFINITY);
  }

  configure(perMinute: number | undefined, nowMs: number): void {
    if (perMinute === this.#perMinute) return;
    this.#perMinute = perMinute;
    this.#bucket = perMinute === undefined ? undefined : new Bucket(perMinute, nowMs);
  }

  readyMs(need: number, nowMs: number): number {
    return Math.max(this.#bucket?.readyMs(need, nowMs) ?? nowMs, this.#reported?.readyMs(need, nowMs) ?? nowMs);
  }

  take(amount: number): void {
    this.#bucket?.take(amount);
    this.#reported?.take(amount);
  }

  refused(): void {
    this.#reported?.refused();
  }

  report(window: RateWindow | undefined, unseen: number, nowMs: number): void {
    if (window === undefined) return;
    this.#reported ??= new Reported(nowMs);
    this.#reported.report(window, unseen, nowMs);
  }
}

/** A call under way, as the limiter knows it. */
export type Begun = { readonly tokens: number; readonly wave: number };

export class Rates {
  readonly #random: () => number;
  readonly #requests = new Allowance();
  readonly #tokens = new Allowance();
  #concurrency = 1;
  #inFlight = 0;
  #tokensInFlight = 0;
  #pausedUntilMs = Number.NEGATIVE_INFINITY;
  /** How many calls may be in flight since the last pause; infinite when all is well. */
  #welcome = Number.POSITIVE_INFINITY;
  /** Counts pauses: a call that began before one says nothing of the time after it. */
  #wave = 0;
  #waveInFlight = 0;
  #pausedFromMs = Number.NEGATIVE_INFINITY;
  #recoversUntilMs = Number.NEGATIVE_INFINITY;
  /** While it recovers no call begins before this. */
  #nextMs = Number.NEGATIVE_INFINITY;

  /** `random` answers at least 0 and below 1. */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** Whether anything could be held: if not, nobody has to ask. */
  get limited(): boolean {
    return this.#welcome !== Number.POSITIVE_INFINITY || this.#requests.limited || this.#tokens.limited;
  }

  /** At least so many milliseconds lie between two calls in the long run. */
  get msPerCall(): number {
    return 1 / this.#requests.perMs;
  }

  get wave(): number {
    return this.#wave;
  }

  configure({ concurrency, requestsPerMinute, tokensPerMinute }: Resource, nowMs: number): void {
    this.#concurrency = concurrency;
    this.#requests.configure(requestsPerMinute, nowMs);
    this.#tokens.configure(tokensPerMinute, nowMs);
  }

  /** Why a call of so many tokens may not begin now; null if it may. */
  hold(tokens: number, nowMs: number): Hold | null {
    if (!this.limited) return null;
    if (nowMs < this.#pausedUntilMs) return { by: "pause", untilMs: this.#pausedUntilMs };
    if (this.#waveInFlight >= this.#welcome) return { by: "pause", untilMs: null };
    const requestsMs = Math.max(this.#requests.readyMs(1, nowMs), this.#recovering(nowMs) ? this.#nextMs : nowMs);
    const tokensMs = tokens > 0 ? this.#tokens.readyMs(tokens, nowMs) : nowMs;
    if (requestsMs <= nowMs && tokensMs <= nowMs) return null;
    return requestsMs >= tokensMs ? { by: "requests", untilMs: requestsMs } : { by: "tokens", untilMs: tokensMs };
  }

  begin(tokens: number, nowMs: number): void {
    this.#inFlight += 1;
    this.#tokensInFlight += tokens;
    this.#waveInFlight += 1;
    this.#requests.take(1);
    if (this.#recovering(nowMs)) {
      const stepMs = this.msPerCall / RECOVERY_PACE;
      this.#nextMs = Math.max(this.#nextMs, nowMs - RECOVERY_SLACK_MS) + stepMs;
    }
    if (tokens > 0) this.#tokens.take(tokens);
  }

  /** `used` is what it really used; absent if nobody knows. */
  end({ tokens, wave }: Begun, used?: number): void {
    this.#inFlight -= 1;
    this.#tokensInFlight -= tokens;
    if (used !== undefined && used !== tokens) this.#tokens.take(used - tokens);
    if (wave !== this.#wave) return;
    this.#waveInFlight -= 1;
    this.#welcome += 1;
    if (this.#welcome >= this.#concurrency) this.#welcome = Number.POSITIVE_INFINITY;
  }

  /** What a provider said with the answer to a call that is still under way. */
  report({ requests, tokens, pausedUntilMs }: RateReport, nowMs: number): void {
    const others = Math.max(0, this.#inFlight - 1);
    this.#requests.report(requests, others, nowMs);
    this.#tokens.report(tokens, this.#inFlight === 0 ? 0 : (this.#tokensInFlight * others) / this.#inFlight, nowMs);
    if (pausedUntilMs !== undefined) this.#pause(pausedUntilMs, nowMs);
  }

  /** Whether forgetting it all would change nothing. */
  calm(nowMs: number): boolean {
    const free = this.#welcome === Number.POSITIVE_INFINITY && nowMs >= this.#pausedUntilMs;
    return free && this.#requests.calm(nowMs) && this.#tokens.calm(nowMs);
  }

  #recovering(nowMs: number): boolean {
    return nowMs < this.#recoversUntilMs;
  }

  #pause(untilMs: number, nowMs: number): void {
    const jitterMs = Math.min(JITTER_MS_MAX, JITTER_SHARE * Math.max(0, untilMs - nowMs)) * this.#random();
    // Several refusals of calls that were in flight together are one refusal.
    const again = nowMs < this.#pausedUntilMs;
    if (!again) this.#pausedFromMs = nowMs;
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, untilMs + jitterMs);
    this.#recoversUntilMs = this.#pausedUntilMs + RECOVERY_TIMES * (this.#pausedUntilMs - this.#pausedFromMs);
    if (again) return;
    this.#requests.refused();
    this.#tokens.refused();
    this.#welcome = this.#welcome === Number.POSITIVE_INFINITY ? 1 : Math.max(1, Math.floor(this.#welcome / 2));
    this.#wave += 1;
    this.#waveInFlight = 0;
  }
}

// A provider of models that limits requests, as hosted ones do: a door in front of the scripted model of model-server.ts.
//
// The limit is one of three kinds. A token bucket: so many a minute flow in steadily, and at most `burst` are kept. A fixed
// window: so many in each minute of its own clock. A sliding window: so many in any minute.
// Every response states it in OpenAI's headers, as it is when they leave: the limit by the minute, what is left (of a bucket
// never more than the burst), and when the bucket will be full, the window ends, or one more is allowed. Beyond it the answer
// is 429, with the whole seconds until the next request has a chance. A pause answers everything with 503 and the whole seconds that it still lasts.
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { startModelServer, type ModelServer } from "./model-server.ts";

const MINUTE_MS = 60_000;

/** A limit of requests. Times are of one clock, in milliseconds, and never go back. */
export interface Allowance {
  readonly perMinute: number;
  /** Requests that may be made at once now; of a bucket with the fraction of the next one. */
  level(nowMs: number): number;
  /** Whether one more is allowed; it is then used up. */
  take(nowMs: number): boolean;
  headers(nowMs: number): Record<string, string>;
  /** Until the next one is allowed. */
  nextMs(nowMs: number): number;
  /** Of the time from now until then, how many it would let through whoever always asks. */
  through(nowMs: number, untilMs: number): number;
  /** Until a time that can be measured begins: a window, if it has windows. */
  untilMeasurableMs(nowMs: number): number;
}

export const ALLOWANCES = ["bucket", "fixed", "sliding"] as const;
export type AllowanceKind = (typeof ALLOWANCES)[number];

const headersOf = (allowance: Allowance, { nowMs, resetMs }: { nowMs: number; resetMs: number }) => ({
  "x-ratelimit-limit-requests": String(allowance.perMinute),
  "x-ratelimit-remaining-requests": String(Math.floor(allowance.level(nowMs))),
  "x-ratelimit-reset-requests": durationText(resetMs),
});

/** So many in each minute that begins at `fromMs` or a whole number of minutes later. */
export class FixedWindow implements Allowance {
  readonly perMinute: number;
  #fromMs: number;
  #used = 0;

  constructor({ perMinute }: { readonly perMinute: number }, fromMs: number) {
    this.perMinute = perMinute;
    this.#fromMs = fromMs;
  }

  level(nowMs: number): number {
    const windows = Math.floor((nowMs - this.#fromMs) / MINUTE_MS);
    if (windows > 0) this.#used = 0;
    this.#fromMs += windows * MINUTE_MS;
    return this.perMinute - this.#used;
  }

  take(nowMs: number): boolean {
    if (this.level(nowMs) < 1) return false;
    this.#used += 1;
    return true;
  }

  headers(nowMs: number): Record<string, string> {
    return headersOf(this, { nowMs, resetMs: this.untilMeasurableMs(nowMs) });
  }

  nextMs(nowMs: number): number {
    return this.level(nowMs) < 1 ? this.untilMeasurableMs(nowMs) : 0;
  }

  through(nowMs: number, untilMs: number): number {
    const windows = Math.floor((untilMs - nowMs - this.untilMeasurableMs(nowMs)) / MINUTE_MS) + 1;
    return this.level(nowMs) + Math.max(0, windows) * this.perMinute;
  }

  untilMeasurableMs(nowMs: number): number {
    this.level(nowMs);
    return this.#fromMs + MINUTE_MS - nowMs;
  }
}

/** So many in any minute. */
export class SlidingWindow implements Allowance {
  readonly perMinute: number;
  readonly #taken: number[] = [];

  constructor({ perMinute }: { readonly perMinute: number }) {
    this.perMinute = perMinute;
  }

  level(nowMs: number): number {
    while ((this.#taken[0] ?? Number.POSITIVE_INFINITY) <= nowMs - MINUTE_MS) this.#taken.shift();
    return this.perMinute - this.#taken.length;
  }

  take(nowMs: number): boolean {
    if (this.level(nowMs) < 1) return false;
    this.#taken.push(nowMs);
    return true;
  }

  headers(nowMs: number): Record<string, string> {
    return headersOf(this, { nowMs, resetMs: this.nextMs(nowMs) });
  }

  nextMs(nowMs: number): number {
    return this.level(nowMs) < 1 ? (this.#taken[0] ?? 0) + MINUTE_MS - nowMs : 0;
  }

  through(nowMs: number, untilMs: number): number {
    const minutes = (untilMs - nowMs) / MINUTE_MS;
    const back = this.#taken.filter((atMs) => atMs + MINUTE_MS < untilMs).length;
    return minutes >= 1 ? minutes * this.perMinute : this.level(nowMs) + back;
  }

  untilMeasurableMs(): number {
    return 0;
  }
}

/** A bucket that fills evenly. */
export class Bucket implements Allowance {
  readonly perMinute: number;
  readonly burst: number;
  #level: number;
  #atMs: number;

  /** Full at `nowMs`. */
  constructor(limit: { readonly perMinute: number; readonly burst: number }, nowMs: number) {
    this.perMinute = limit.perMinute;
    this.burst = limit.burst;
    this.#level = limit.burst;
    this.#atMs = nowMs;
  }

  level(nowMs: number): number {
    const refilled = ((nowMs - this.#atMs) / MINUTE_MS) * this.perMinute;
    this.#level = Math.min(this.burst, this.#level + refilled);
    this.#atMs = nowMs;
    return this.#level;
  }

  take(nowMs: number): boolean {
    if (this.level(nowMs) < 1) return false;
    this.#level -= 1;
    return true;
  }

  headers(nowMs: number): Record<string, string> {
    return headersOf(this, { nowMs, resetMs: this.#untilMs(this.burst, this.level(nowMs)) });
  }

  nextMs(nowMs: number): number {
    return this.#untilMs(1, this.level(nowMs));
  }

  through(nowMs: number, untilMs: number): number {
    return this.level(nowMs) + ((untilMs - nowMs) / MINUTE_MS) * this.perMinute;
  }

  untilMeasurableMs(): number {
    return 0;
  }

  #untilMs(wanted: number, level: number): number {
    return (Math.max(0, wanted - level) / this.perMinute) * MINUTE_MS;
  }
}

/** As OpenAI writes durations: `120ms`, `1s`, `6m0s`. Rounded up. */
export function durationText(ms: number): string {
  if (ms <= 999) return `${Math.ceil(ms)}ms`;
  const seconds = Math.ceil(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}

/** A request, when it came and how it was answered. */
export type Answered = { readonly atMs: number; readonly status: number };

export type LimitedUpstream = {
  /** For a provider of type `openai-compatible`. */
  readonly baseUrl: string;
  /** Every request so far, in the order in which they came. Times by `performance.now`, here and below. */
  readonly answered: readonly Answered[];
  /** How many requests it would let through from now on for so long. */
  readonly through: (ms: number) => number;
  /** Until a time that can be measured begins: see `Allowance`. */
  readonly untilMeasurableMs: () => number;
  /** Answers 503 from now on for so long. Answers when that will be over. */
  pause(ms: number): number;
  close(): Promise<void>;
};

export type UpstreamOptions = {
  readonly kind: AllowanceKind;
  readonly perMinute: number;
  readonly burst: number;
  /** From a request to the first words of its answer. */
  readonly latencyMs: number;
  /** Turns that a conversation goes on for. */
  readonly turns: number;
  /** The end of the name of the tool that is asked for in each turn. */
  readonly tool: string;
};

/** Of a fixed window so much is over when the first request comes. */
const WINDOW_OVER_MS = 50_000;

function allowanceOf(options: UpstreamOptions, nowMs: number): Allowance {
  switch (options.kind) {
    case "bucket":
      return new Bucket(options, nowMs);
    case "fixed":
      return new FixedWindow(options, nowMs - WINDOW_OVER_MS);
    case "sliding":
      return new SlidingWindow(options);
  }
}

class Door implements Omit<LimitedUpstream, "baseUrl" | "close"> {
  readonly answered: Answered[] = [];
  readonly #allowance: Allowance;
  readonly #latencyMs: number;
  readonly #model: ModelServer;
  #pausedUntilMs = 0;

  constructor(options: UpstreamOptions, model: ModelServer) {
    this.#allowance = allowanceOf(options, performance.now());
    this.#latencyMs = options.latencyMs;
    this.#model = model;
  }

  through(ms: number): number {
    const nowMs = performance.now();
    return this.#allowance.through(nowMs, nowMs + ms);
  }

  untilMeasurableMs(): number {
    return this.#allowance.untilMeasurableMs(performance.now());
  }

  pause(ms: number): number {
    this.#pausedUntilMs = performance.now() + ms;
    return this.#pausedUntilMs;
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const atMs = performance.now();
    const waitMs = Math.max(0, this.#pausedUntilMs - atMs);
    const status = waitMs > 0 ? 503 : this.#allowance.take(atMs) ? 200 : 429;
    this.answered.push({ atMs, status });
    const body = await bodyOf(request);
    if (status !== 200) {
      refuse(response, { status, waitMs: waitMs || this.#allowance.nextMs(atMs), headers: this.#headers() });
      return;
    }
    await delay(this.#latencyMs);
    const answer = await fetch(new URL(request.url ?? "", this.#model.baseUrl), { method: "POST", body });
    const content = Buffer.from(await answer.arrayBuffer());
    const type = answer.headers.get("content-type") ?? "";
    response.writeHead(answer.status, { "content-type": type, ...this.#headers() }).end(content);
  }

  #headers(): Record<string, string> {
    return this.#allowance.headers(performance.now());
  }
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return new Uint8Array(Buffer.concat(chunks));
}

function refuse(
  response: ServerResponse,
  refusal: { readonly status: number; readonly waitMs: number; readonly headers: Record<string, string> },
): void {
  const { status, waitMs, headers } = refusal;
  const message = status === 429 ? "Rate limit reached for requests" : "The service is overloaded";
  response.writeHead(status, {
    "content-type": "application/json",
    "retry-after": String(Math.ceil(waitMs / 1000)),
    ...headers,
  });
  response.end(JSON.stringify({ error: { message, type: status === 429 ? "requests" : "server_error", code: null } }));
}

export async function startLimitedUpstream(options: UpstreamOptions): Promise<LimitedUpstream> {
  const model = await startModelServer({ turns: options.turns, calls: { [options.tool]: 1 } });
  const door = new Door(options, model);
  const server = createServer((request, response) => {
    // Whoever asked has gone: there is nobody left to tell.
    door.serve(request, response).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    answered: door.answered,
    through: (ms) => door.through(ms),
    untilMeasurableMs: () => door.untilMeasurableMs(),
    pause: (ms) => door.pause(ms),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
      await model.close();
    },
  };
}

// A provider of models that limits requests, as hosted ones do: a door in front of the scripted model of model-server.ts.
//
// The limit is a token bucket: so many a minute flow in steadily, and at most `burst` are kept.
// Every response states it in OpenAI's headers, as it is when they leave: the limit by the minute, what is left (never
// more than the burst), and when the bucket will be full again. Beyond it the answer is 429, with the whole seconds until
// the next request has a chance. A pause answers everything with 503 and the whole seconds that it still lasts.
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { startModelServer, type ModelServer } from "./model-server.ts";

const MINUTE_MS = 60_000;

/** A bucket of requests. Times are of one clock, in milliseconds, and never go back. */
export class Allowance {
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

  /** Requests that may be made at once now, with the fraction of the next one. */
  level(nowMs: number): number {
    const refilled = ((nowMs - this.#atMs) / MINUTE_MS) * this.perMinute;
    this.#level = Math.min(this.burst, this.#level + refilled);
    this.#atMs = nowMs;
    return this.#level;
  }

  /** Whether one more is allowed; it is then used up. */
  take(nowMs: number): boolean {
    if (this.level(nowMs) < 1) return false;
    this.#level -= 1;
    return true;
  }

  headers(nowMs: number): Record<string, string> {
    const level = this.level(nowMs);
    return {
      "x-ratelimit-limit-requests": String(this.perMinute),
      "x-ratelimit-remaining-requests": String(Math.floor(level)),
      "x-ratelimit-reset-requests": durationText(this.#untilMs(this.burst, level)),
    };
  }

  /** Until the next one is allowed. */
  nextMs(nowMs: number): number {
    return this.#untilMs(1, this.level(nowMs));
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
  /** How many requests it would have let through from now on at once. */
  readonly level: () => number;
  /** Answers 503 from now on for so long. Answers when that will be over. */
  pause(ms: number): number;
  close(): Promise<void>;
};

export type UpstreamOptions = {
  readonly perMinute: number;
  readonly burst: number;
  /** From a request to the first words of its answer. */
  readonly latencyMs: number;
  /** Turns that a conversation goes on for. */
  readonly turns: number;
  /** The end of the name of the tool that is asked for in each turn. */
  readonly tool: string;
};

class Door implements Omit<LimitedUpstream, "baseUrl" | "close"> {
  readonly answered: Answered[] = [];
  readonly #allowance: Allowance;
  readonly #latencyMs: number;
  readonly #model: ModelServer;
  #pausedUntilMs = 0;

  constructor(options: UpstreamOptions, model: ModelServer) {
    this.#allowance = new Allowance(options, performance.now());
    this.#latencyMs = options.latencyMs;
    this.#model = model;
  }

  level(): number {
    return this.#allowance.level(performance.now());
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
    level: () => door.level(),
    pause: (ms) => door.pause(ms),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
      await model.close();
    },
  };
}

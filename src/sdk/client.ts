// The client of a running Reeve: every call of the table that operators issue, as `client.noun.verb(args)`.
//
// Runs in Node and in browsers: it needs `fetch` and nothing else. Methods and their types derive from the syscall
// table; routes, ids and errors are those of the server's.
//
// Invariants:
//   C1. An error of the server arrives as the OsError that was thrown there, with its code and data.
//   C2. `follow` yields each event once and in order, however often the connection breaks.
import { ERRORS, OsError, type ErrorRecord } from "../abi/errors.ts";
import type { Event } from "../abi/events.ts";
import type { ProcessId } from "../abi/ids.ts";
import { OPERATOR_CALLS, rowOf, type Args, type Input, type OperatorCall, type Output } from "../abi/syscalls.ts";

type Called = Exclude<OperatorCall, "journal.follow">;
type Noun = Called extends infer Name ? (Name extends `${infer N}.${string}` ? N : never) : never;
type Verb<N extends Noun> = Called extends infer Name ? (Name extends `${N}.${infer V}` ? V : never) : never;
/** What a call takes. Fields that the server also reads from text have no type in the schema's input, so they get that of its output. */
type Taken<Name extends Called> = {
  [Field in keyof Input<Name>]: unknown extends Input<Name>[Field]
    ? Args<Name>[Field & keyof Args<Name>]
    : Input<Name>[Field];
};

export type CallOptions = { readonly signal?: AbortSignal };
type Method<Name extends Called> = (args: Taken<Name>, options?: CallOptions) => Promise<Output<Name>>;

/** What a follower sees: the process's events, and between them the model's words as they come, which are not recorded. */
export type Followed =
  | { readonly kind: "event"; readonly event: Event }
  | { readonly kind: "delta"; readonly pid: ProcessId; readonly call: number; readonly text: string };

export type FollowOptions = {
  /** The seq of the first event wanted; 0 if absent. */
  readonly from?: number;
  /** Ends the iteration, without an error. */
  readonly signal?: AbortSignal;
};

export type Client = {
  readonly [N in Noun]: { readonly [V in Verb<N>]: Method<`${N}.${V}` & Called> };
} & {
  /**
   * Events of a process from `from` on, those that exist and those to come, until it has exited. Takes the connection
   * up again when it breaks; throws `unreachable` when that fails RECONNECTS_MAX times without an event in between.
   */
  readonly follow: (pid: ProcessId, options?: FollowOptions) => AsyncIterable<Followed>;
};

export type ClientOptions = {
  /** As `reeve up` prints it. */
  readonly url: string;
  readonly token: string;
  /** Whom the record names as the one who did it; `operator` if absent. */
  readonly actor?: string;
  /** In place of the global `fetch`: for a system in the same process, and for tests. */
  readonly fetch?: (request: Request) => Promise<Response>;
  /** In place of a timer: waits before a broken stream is taken up again. Resolves early when the signal fires. */
  readonly pause?: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
};

const RECONNECTS_MAX = 8;
const BACKOFF_MS = 250;
const BACKOFF_MS_MAX = 5_000;

/** Creates a client; nothing is sent before the first call. */
export function createClient(options: ClientOptions): Client {
  const door = new Door(options);
  const nouns: { [noun: string]: { [verb: string]: unknown } } = {};
  for (const name of OPERATOR_CALLS) {
    if (name === "journal.follow") continue;
    const [noun = "", verb = ""] = name.split(".");
    (nouns[noun] ??= {})[verb] = (args: object, { signal }: CallOptions = {}) => door.call(name, args, signal);
  }
  const follow: Client["follow"] = (pid, { from = 0, signal } = {}) => followed(door, { pid, from, signal });
  return { ...nouns, follow } as unknown as Client;
}

type Sought = { readonly pid: ProcessId; readonly from: number; readonly signal: AbortSignal | undefined };

async function* followed(door: Door, { pid, from, signal }: Sought): AsyncGenerator<Followed> {
  const place: Place = { next: from, failures: 0, connected: false };
  while (!isOver(signal)) {
    try {
      for await (const item of connection(door, { pid, place, signal })) {
        if (item === "end") return;
        yield item;
      }
    } catch (error) {
      if (isOver(signal)) return;
      if (!place.connected || place.failures >= RECONNECTS_MAX || !OsError.is(error, "unreachable")) throw error;
    }
    place.failures += 1;
    if (place.failures > RECONNECTS_MAX)
      throw door.unreachable("its event stream ends again and again before the process does");
    // The first return is at once: a server closes the stream of a slow reader, and has the rest ready.
    const exponent = place.failures - 2;
    if (exponent >= 0) await door.pause(Math.min(BACKOFF_MS * 2 ** exponent, BACKOFF_MS_MAX), signal);
  }
}

/** Where a follower is: the next event's seq, connections that brought no event since the last one, whether there was any. */
type Place = { next: number; failures: number; connected: boolean };
type Connecting = { readonly pid: ProcessId; readonly place: Place; readonly signal: AbortSignal | undefined };

/** What one connection brings, moving the place on. */
async function* connection(door: Door, { pid, place, signal }: Connecting): AsyncGenerator<Followed | "end"> {
  const frames = await door.open(pid, place.next, signal);
  place.connected = true;
  for await (const { event, data } of frames) {
    const item = event === "end" ? event : itemOf(event, data);
    // What a server sends a second time must not happen a second time.
    if (item === null || (item !== "end" && item.kind === "event" && item.event.seq < place.next)) continue;
    if (item !== "end" && item.kind === "event") {
      place.next = item.event.seq + 1;
      place.failures = 0;
    }
    yield item;
  }
}

const isOver = (signal: AbortSignal | undefined): boolean => signal?.aborted === true;

function itemOf(event: string, data: string): Followed | null {
  if (event === "event") return { kind: "event", event: JSON.parse(data) as Event };
  if (event === "delta")
    return { kind: "delta", ...(JSON.parse(data) as { pid: ProcessId; call: number; text: string }) };
  if (event === "problem")
    throw errorOf(JSON.parse(data)) ?? new OsError("internal", `The server ended the stream with ${data}.`);
  // A kind of frame that a later server knows; a follower is not harmed by missing it.
  return null;
}

/** The server, as requests to it. */
class Door {
  readonly #options: ClientOptions;
  readonly pause: (ms: number, signal: AbortSignal | undefined) => Promise<void>;

  constructor(options: ClientOptions) {
    this.#options = { ...options, url: options.url.replace(/\/+$/, "") };
    this.pause = options.pause ?? pause;
  }

  async call(name: OperatorCall, args: object, signal: AbortSignal | undefined): Promise<unknown> {
    const response = await this.#send(this.#request(name, args), signal);
    try {
      return await response.json();
    } catch (error) {
      throw this.#failed(error, signal);
    }
  }

  async open(pid: ProcessId, from: number, signal: AbortSignal | undefined): Promise<AsyncIterable<Frame>> {
    const request = this.#request("journal.follow", { pid, from });
    request.headers.set("accept", "text/event-stream");
    if (from > 0) request.headers.set("last-event-id", String(from - 1));
    const { body } = await this.#send(request, signal);
    if (body === null) throw this.unreachable("its event stream is empty");
    return this.#frames(body, signal);
  }

  async *#frames(body: ReadableStream<Uint8Array>, signal: AbortSignal | undefined): AsyncGenerator<Frame> {
    // A body that did not come over a connection is not ended by the request's signal.
    const reader = body.getReader();
    const leave = (): void => void reader.cancel().catch(() => undefined);
    signal?.addEventListener("abort", leave, { once: true });
    if (isOver(signal)) leave();
    try {
      yield* framesOf(reader);
    } catch (error) {
      throw OsError.is(error) ? error : this.#failed(error, signal);
    } finally {
      signal?.removeEventListener("abort", leave);
      leave();
    }
  }

  unreachable(why: string, cause?: unknown): OsError {
    const { url } = this.#options;
    return new OsError(
      "unreachable",
      `No answer from Reeve at ${url}: ${why}. Start it with \`reeve up\`, or check the address.`,
      { data: { url }, cause },
    );
  }

  #request(name: OperatorCall, args: object): Request {
    const { http } = rowOf(name);
    if (http === undefined) throw new OsError("unsupported", `${name} has no route.`);
    const rest = new Map(Object.entries(args).filter(([, value]) => value !== undefined));
    const path = http.path.replace(/\{(\w+)\}/g, (_, field: string) => {
      const value = encodeURIComponent(String(rest.get(field)));
      rest.delete(field);
      return value;
    });
    const headers = new Headers({ authorization: `Bearer ${this.#options.token}` });
    if (this.#options.actor !== undefined) headers.set("x-reeve-actor", this.#options.actor);
    if (http.method === "post") {
      headers.set("content-type", "application/json");
      return new Request(this.#options.url + path, {
        method: "POST",
        headers,
        body: JSON.stringify(Object.fromEntries(rest)),
      });
    }
    const query = new URLSearchParams([...rest].map(([field, value]) => [field, String(value)]));
    const asked = query.size === 0 ? path : `${path}?${query.toString()}`;
    return new Request(this.#options.url + asked, { headers });
  }

  async #send(request: Request, signal: AbortSignal | undefined): Promise<Response> {
    const send = this.#options.fetch ?? fetch;
    let response: Response;
    try {
      response = await send(signal === undefined ? request : new Request(request, { signal }));
    } catch (error) {
      throw this.#failed(error, signal);
    }
    if (response.ok) return response;
    const error = errorOf(await response.json().catch(() => null));
    throw error ?? this.unreachable(`something else answers there (status ${response.status})`);
  }

  #failed(error: unknown, signal: AbortSignal | undefined): OsError {
    if (isOver(signal)) return new OsError("cancelled", "The call was given up by its caller.", { cause: error });
    const cause = error instanceof Error ? (error.cause ?? error) : error;
    return this.unreachable(cause instanceof Error && cause.message !== "" ? cause.message : String(cause), error);
  }
}

/** The error in a problem document, or undefined if it is none of ours. */
function errorOf(problem: unknown): OsError | undefined {
  if (typeof problem !== "object" || problem === null) return undefined;
  const { code, detail, retryable, data } = problem as Partial<ErrorRecord> & { detail?: string };
  if (code === undefined || !(code in ERRORS)) return undefined;
  return OsError.from({
    code,
    message: detail ?? code,
    retryable: retryable ?? ERRORS[code].retryable,
    data: data ?? {},
  });
}

type Frame = { readonly event: string; readonly data: string };

/** Server-sent events of a body; comments and unknown fields are passed over. */
async function* framesOf(reader: ReadableStreamDefaultReader<Uint8Array>): AsyncGenerator<Frame> {
  const decoder = new TextDecoder();
  let held: string[] = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const text = decoder.decode(value, { stream: true });
    held.push(text);
    // Only the end of a frame's lines is a line feed, so a long frame is not searched again with each piece of it.
    if (!text.includes("\n")) continue;
    const blocks = held.join("").split("\n\n");
    held = [blocks.pop() ?? ""];
    yield* blocks.flatMap(frameOf);
  }
}

function frameOf(block: string): readonly Frame[] {
  const fields = block.split("\n").map((line) => /^(\w+): ?(.*)$/s.exec(line));
  const valuesOf = (name: string): readonly string[] =>
    fields.flatMap((field) => (field?.[1] === name ? [field[2] ?? ""] : []));
  const data = valuesOf("data");
  return data.length === 0 ? [] : [{ event: valuesOf("event").at(-1) ?? "message", data: data.join("\n") }];
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  signal?.addEventListener("abort", () => resolve(), { once: true });
  return promise.finally(() => clearTimeout(timer));
}

// Requests from Reeve's own process, on the road that programs behind doors take: gathered whole, or as they come.
//
// Invariants:
//   Q1. `tool_unavailable` means that nothing left: the connection was never made, or the record could not be kept. Every other failure but
//       `egress_denied` may have left.
//   Q2. However a request ends, its connection is let go of and its last event is told, once.
import type { ClientRequest, IncomingMessage } from "node:http";
import type { Transform } from "node:stream";
import { OsError } from "../../abi/errors.ts";
import type { HttpRequest, HttpResponse, HttpStream } from "../../ports/egress.ts";
import { spent, unreadable, whyBroken } from "./broken.ts";
import { scrubbing, unpacking } from "./door/bodies.ts";
import { headOf, outgoingHeaders, REPEATABLE, requestBytes } from "./door/exchange.ts";
import { endToEnd, flat, headersOf, readRequest } from "./door/headers.ts";
import { type Admission, type Admitted, admit, denied, type Parts } from "./rules/admission.ts";
import type { Refusal } from "./rules/rules.ts";
import type { Headers } from "./rules/secrets.ts";

/** Some servers answer nobody who does not say what he is. */
const USER_AGENT: readonly [string, string] = ["User-Agent", "reeve"];

export type RequestOptions = { readonly signal: AbortSignal; readonly responseBytesMax: number };

const deniedError = (url: string, { rule, message }: Refusal): OsError =>
  new OsError("egress_denied", message, { data: { rule, ...placeOf(url) } });

/** What of an address can be told in an error. */
function placeOf(url: string): { host: string; port: string } {
  const parsed = URL.parse(url);
  return { host: parsed?.hostname ?? "", port: parsed?.port ?? "" };
}

/** The cause is for whoever runs Reeve; the message tells nothing of the far side. */
const unsent = (why: string, cause?: unknown): OsError =>
  new OsError("tool_unavailable", `The request was not sent: ${why}. Nothing was performed.`, {
    ...(cause === undefined ? {} : { cause }),
  });

/** The whole answer. Rejects as the port says. */
export async function performRequest(
  parts: Parts,
  request: HttpRequest,
  { signal, responseBytesMax }: RequestOptions,
): Promise<HttpResponse> {
  const sent = await send(parts, await sendingOf(parts, request, signal), { signal, kept: false, onOver: () => {} });
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bodyOf(parts, sent)) {
    size += chunk.byteLength;
    if (size > responseBytesMax) throw tooMuch(responseBytesMax, sent.incoming.statusCode ?? 0);
    chunks.push(chunk);
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of headersFrom(parts, sent)) {
    const own = name.toLowerCase();
    headers[own] = headers[own] === undefined ? value : `${headers[own]}${own === "set-cookie" ? "\n" : ", "}${value}`;
  }
  return { status: sent.incoming.statusCode ?? 0, headers, body: Buffer.concat(chunks) };
}

/** The answer as it comes. Rejects as the port says; `onOver` is told when it has ended, at least once. */
export async function openStream(
  parts: Parts,
  request: HttpRequest,
  { signal, onOver }: { readonly signal: AbortSignal; readonly onOver: () => void },
): Promise<HttpStream> {
  const sent = await send(parts, await sendingOf(parts, request, signal), { signal, kept: true, onOver });
  return {
    status: sent.incoming.statusCode ?? 0,
    headers: headersFrom(parts, sent),
    body: bodyOf(parts, sent),
    close: async () => {
      sent.letGo();
      await parts.ledger.settle();
    },
  };
}

const tooMuch = (max: number, status: number): OsError =>
  new OsError("limit_exceeded", `The request was answered with more than ${max} bytes. Ask for less.`, {
    data: { limit: "response_bytes", max, status },
  });

/** They speak of a body as it was sent. */
const CHANGED = ["content-length", "content-encoding"];

/** As they are shown: without values of secrets. */
function headersFrom({ scrubber }: Parts, { incoming, stages }: Sent): Headers {
  const kept = endToEnd(headersOf(incoming), stages.length > 0 ? CHANGED : []);
  return scrubber?.headers(kept) ?? kept;
}

type Sending = { readonly admitted: Admitted; readonly body: Buffer | undefined };

/** A request that may leave. Rejects for one that may not. */
async function sendingOf(parts: Parts, request: HttpRequest, signal: AbortSignal): Promise<Sending> {
  const { url, method } = request;
  if (signal.aborted) throw unsent("it was given up before");
  const body = request.body === undefined ? undefined : Buffer.from(request.body);
  const given = Object.entries(request.headers).filter(
    ([name]) => !/^(host|content-length|transfer-encoding)$/i.test(name),
  );
  const saysWho = given.some(([name]) => /^user-agent$/i.test(name));
  const lines = saysWho ? given : [...given, USER_AGENT];
  const bad = lines.find(
    ([name, value]) => !/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) || !/^[\t -~\u0080-\u00ff]*$/.test(value),
  );
  const normal = URL.parse(url);
  const read = readRequest({
    url: normal?.href.replace(/#.*$/, "") ?? url,
    method,
    rawHeaders: ["Host", normal?.host ?? "", ...lines.flat()],
    httpVersion: "1.1",
  });
  if (bad !== undefined || !/^[A-Z]{1,20}$/.test(method) || read.kind === "deny") {
    const message = read.kind === "deny" ? read.message : "The method or a header holds what neither can.";
    const refusal = { kind: "deny", rule: "form", message } as const;
    const { host, port } = placeOf(url);
    const wanted = { method: method.slice(0, 20), host, port: Number(port), path: url };
    throw deniedError(url, await denied(parts, refusal, wanted));
  }
  const admission = await untilGivenUp(
    admit(parts, read.asked, { headers: headersOf({ rawHeaders: lines.flat() }), signal }),
    signal,
  );
  if (admission.kind === "deny") throw deniedError(url, admission);
  if (admission.kind === "unreachable") throw unsent("its host is not known");
  return { admitted: admission, body };
}

/** To find a host may take longer than anybody waits. */
async function untilGivenUp(admitting: Promise<Admission>, signal: AbortSignal): Promise<Admission> {
  const { promise: givenUp, reject } = Promise.withResolvers<never>();
  const stop = (): void => {
    reject(unsent("it was given up"));
    // Nobody waits for it any more.
    admitting.then(
      (admission) => void (admission.kind === "admitted" && admission.entry.end()),
      () => {},
    );
  };
  signal.addEventListener("abort", stop, { once: true });
  const recorded = admitting.catch((error: unknown) => {
    throw unsent(OsError.is(error) ? error.message : "its event could not be written", error);
  });
  return Promise.race([recorded, givenUp]).finally(() => signal.removeEventListener("abort", stop));
}

type Sent = {
  readonly incoming: IncomingMessage;
  readonly stages: readonly Transform[];
  readonly admitted: Admitted;
  /** What a failure from here on means. */
  readonly fault: (error: unknown) => OsError;
  /** Idempotent. */
  readonly letGo: () => void;
};

type Way = { readonly signal: AbortSignal; readonly kept: boolean; readonly onOver: () => void };

/** Resolves with the answer's head. */
async function send(parts: Parts, sending: Sending, { signal, kept, onOver }: Way): Promise<Sent> {
  const { admitted, body } = sending;
  const { asked, entry } = admitted;
  const framing = body === undefined ? ({ kind: "none" } as const) : ({ kind: "length", bytes: body.length } as const);
  const headers = outgoingHeaders(parts, admitted, framing);
  let attempt: Attempt | undefined;
  const letGo = (): void => {
    signal.removeEventListener("abort", letGo);
    attempt?.outgoing.destroy(new Error("it was given up"));
    entry.end();
    onOver();
  };
  const fault = (error: unknown): OsError => {
    if (OsError.is(error)) return error;
    const why = signal.aborted ? "it was given up" : whyBroken(error);
    if (attempt?.left() !== true) return unsent(why, error);
    const message = `The request left, and then failed: ${why}. Whether it was performed is not known.`;
    return new OsError(signal.aborted ? "cancelled" : "unreachable", message, { retryable: false, cause: error });
  };
  try {
    if (!entry.send(requestBytes(admitted, headers) + (body?.length ?? 0))) throw spent();
    if (signal.aborted) throw new Error("it was given up");
    signal.addEventListener("abort", letGo, { once: true });
    attempt = attempted(parts, admitted, { headers, fresh: !kept });
    const head = headOf(attempt.outgoing);
    attempt.outgoing.end(body);
    const incoming = await head.catch(async (error: unknown) => {
      // A kept connection may have been gone before it was used.
      const again = attempt?.outgoing.reusedSocket === true && REPEATABLE.has(asked.method) && !signal.aborted;
      if (!again) throw error;
      attempt = attempted(parts, admitted, { headers, fresh: true });
      const second = headOf(attempt.outgoing);
      attempt.outgoing.end(body);
      return second;
    });
    entry.answered(incoming.statusCode ?? 0);
    return { incoming, stages: stagesOf(parts, admitted, incoming), admitted, fault, letGo };
  } catch (error) {
    letGo();
    throw fault(error);
  }
}

type Attempt = { readonly outgoing: ClientRequest; readonly left: () => boolean };

/** What is written before the connection stands waits in memory, so nothing has left before that. */
function attempted(
  { upstream }: Parts,
  { asked, rule, path, way }: Admitted,
  { headers, fresh }: { readonly headers: Headers; readonly fresh: boolean },
): Attempt {
  const outgoing = upstream.request({
    origin: asked,
    allowPrivate: rule.allowPrivate,
    method: asked.method,
    path: path + asked.query,
    headers: flat(headers),
    lookup: way.lookup,
    fresh,
  });
  let left = false;
  outgoing.once("socket", (socket) => {
    if (outgoing.reusedSocket) left = true;
    else socket.once(asked.scheme === "https" ? "secureConnect" : "connect", () => (left = true));
  });
  return { outgoing, left: () => left };
}

/** Unpacked, scrubbed and counted. */
async function* bodyOf(parts: Parts, { incoming, stages, admitted, fault, letGo }: Sent): AsyncGenerator<Uint8Array> {
  try {
    let body: NodeJS.ReadableStream = incoming;
    for (const stage of stages) {
      const before = body;
      before.on("error", (error: Error) => stage.destroy(error));
      body = before.pipe(stage);
    }
    for await (const chunk of body) {
      const bytes = chunk as Buffer;
      if (!admitted.entry.receive(bytes.length)) throw parts.ledger.spent ?? spent();
      yield bytes;
    }
  } catch (error) {
    throw fault(error);
  } finally {
    letGo();
  }
}

/** What the body goes through; what is packed in a way that nobody here knows passes as it is, where nothing has to be looked for. */
function stagesOf({ scrubber }: Parts, { asked }: Admitted, incoming: IncomingMessage): readonly Transform[] {
  if (asked.method === "HEAD") return [];
  const unpack = unpacking(incoming);
  if (unpack === undefined && scrubber !== undefined) throw unreadable();
  return [...(unpack ? [unpack] : []), ...(scrubber === undefined ? [] : [scrubbing(scrubber.stream())])];
}

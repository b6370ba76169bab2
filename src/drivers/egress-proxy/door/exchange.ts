// One request of a program and its answer, through the proxy.
//
// Invariants:
//   E1. Bodies are never gathered: each side is read as fast as the other one takes it.
//   E2. Whichever side goes away, the other one is let go of at once.
//   E3. What is sent twice on its own account has no body and changes nothing (GET, HEAD, OPTIONS), and the first went to a connection that was
//       already gone.
import { once } from "node:events";
import type { ClientRequest, IncomingMessage, ServerResponse } from "node:http";
import type { Duplex, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Admitted, admit, denied, isSpent, type Parts } from "../rules/admission.ts";
import { answer, brokenAnswer, closingAnswer, refusalAnswer, unreachableAnswer } from "./answers.ts";
import { spent, unreadable, whyBroken } from "../broken.ts";
import { counted, scanning, scrubbing, unpacking } from "./bodies.ts";
import { endToEnd, flat, type Framing, headerBytes, headersOf, readRequest, valuesOf } from "./headers.ts";
import { authorityOf, type Origin } from "../rules/hosts.ts";
import type { Headers } from "../rules/secrets.ts";

/** A repeat changes nothing, and there is no body that has gone. */
export const REPEATABLE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** Answers have to be looked through, so they are asked for unpacked and whole. */
const UNSCRUBBABLE = ["accept-encoding", "range", "if-range"];

export type Inbound = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The origin that the connection is for; undefined where any may be asked for. */
  readonly within?: Origin | undefined;
};

export const hasBody = (framing: Framing): boolean =>
  framing.kind === "chunked" || (framing.kind === "length" && framing.bytes > 0);

/** What leaves, in front of the body. */
export function outgoingHeaders(
  parts: Parts,
  { asked, headers }: Pick<Admitted, "asked" | "headers">,
  framing: Framing,
): Headers {
  const drop = ["content-length", ...(parts.scrubber === undefined ? [] : UNSCRUBBABLE)];
  const kept = endToEnd(headers, drop);
  const framed: Headers =
    framing.kind === "chunked"
      ? [["Transfer-Encoding", "chunked"]]
      : framing.kind === "length"
        ? [["Content-Length", String(framing.bytes)]]
        : REPEATABLE.has(asked.method) || asked.method === "DELETE"
          ? []
          : [["Content-Length", "0"]];
  const identity: Headers = parts.scrubber === undefined ? [] : [["Accept-Encoding", "identity"]];
  return [["Host", authorityOf(asked)], ...kept, ...identity, ...framed];
}

/** What a request takes up in front of its body. */
export const requestBytes = ({ path, asked }: Admitted, headers: Headers): number =>
  path.length + asked.query.length + headerBytes(headers);

/** Resolves with the answer's head; rejects if there is none. Later failures are the answer's own. */
export function headOf(outgoing: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    outgoing.on("error", reject);
    outgoing.once("close", () => reject(new Error("the connection was closed")));
    outgoing.once("response", resolve);
  });
}

/** Serves it to its end. Never rejects. */
export async function exchange(parts: Parts, inbound: Inbound): Promise<void> {
  const { request, response, within } = inbound;
  // What ends a connection is seen by whoever reads or writes.
  request.on("error", () => {});
  response.on("error", () => {});
  try {
    const read = readRequest(request, within);
    if (read.kind === "deny") {
      const { host = "", port = 0, scheme } = within ?? {};
      const wanted = { method: request.method ?? "", scheme, host, port, path: request.url };
      answer(response, refusalAnswer(await denied(parts, read, wanted)), false);
      return;
    }
    const admission = await admit(parts, read.asked, { headers: headersOf(request) });
    const bodyRead = !hasBody(read.framing);
    if (admission.kind === "deny") answer(response, refusalAnswer(admission), bodyRead);
    else if (admission.kind === "unreachable") answer(response, unreachableAnswer, bodyRead);
    else await pass(parts, inbound, { admitted: admission, framing: read.framing });
  } catch {
    // The record cannot be kept, so the door is shutting.
    answer(response, closingAnswer, false);
  }
}

type Passing = { readonly admitted: Admitted; readonly framing: Framing };

async function pass(parts: Parts, { request, response }: Inbound, { admitted, framing }: Passing): Promise<void> {
  const { entry } = admitted;
  const headers = outgoingHeaders(parts, admitted, framing);
  if (response.destroyed || !entry.send(requestBytes(admitted, headers))) {
    const refusal = isSpent(parts);
    answer(response, refusal === undefined ? closingAnswer : refusalAnswer(refusal), !hasBody(framing));
    entry.end();
    return;
  }
  try {
    const incoming = await send(parts, { request, response }, { admitted, framing }, flat(headers));
    entry.answered(incoming.statusCode ?? 0);
    await answerWith(parts, { request, response }, { incoming, admitted });
  } catch (error) {
    answer(response, brokenAnswer(whyBroken(error)), false);
  } finally {
    entry.end();
    if (!response.writableEnded) response.destroy();
  }
}

/** Sends it, once more where the connection had gone before, and resolves with the head of the answer. */
async function send(
  parts: Parts,
  { request, response }: Inbound,
  passing: Passing,
  headers: readonly string[],
): Promise<IncomingMessage> {
  const { admitted, framing } = passing;
  const { asked, rule, path, way } = admitted;
  const attempt = (fresh: boolean): ClientRequest =>
    parts.upstream.request({
      origin: asked,
      allowPrivate: rule.allowPrivate,
      method: asked.method,
      path: path + asked.query,
      headers,
      lookup: way.lookup,
      fresh,
    });
  const first = attempt(false);
  letGo(response, first);
  if (hasBody(framing)) {
    if (isExpecting(request)) response.writeContinue();
    const head = headOf(first);
    const looked = scanning((names) => admitted.entry.leak(names.filter(parts.known)));
    // A failure of the far side is seen by `head`; one of the program ends the request, which `head` sees as well.
    pipeline(
      request,
      looked,
      counted((bytes) => admitted.entry.send(bytes)),
      first,
    ).catch((error: unknown) => first.destroy(error instanceof Error ? error : undefined));
    return head;
  }
  first.end();
  try {
    return await headOf(first);
  } catch (error) {
    if (!first.reusedSocket || !REPEATABLE.has(asked.method) || response.destroyed) throw error;
    const second = attempt(true);
    letGo(response, second);
    second.end();
    return headOf(second);
  }
}

const isExpecting = (request: IncomingMessage): boolean =>
  valuesOf(headersOf(request), "expect").some((value) => /^100-continue$/i.test(value));

/** When the program goes away, so does the request to the far side. */
function letGo(response: ServerResponse, outgoing: ClientRequest): void {
  response.once("close", () => {
    if (!response.writableFinished) outgoing.destroy();
  });
}

type Answered = { readonly incoming: IncomingMessage; readonly admitted: Admitted };

async function answerWith(
  parts: Parts,
  { request, response }: Inbound,
  { incoming, admitted }: Answered,
): Promise<void> {
  const { entry, asked } = admitted;
  const status = incoming.statusCode ?? 502;
  const isEmpty = asked.method === "HEAD" || status === 204 || status === 304;
  const looked = isEmpty ? [] : lookedThrough(parts, incoming);
  if (looked === undefined) {
    incoming.destroy();
    throw unreadable();
  }
  const headers = answerHeaders(parts, incoming, looked.length > 0);
  if (!entry.receive(headerBytes(headers))) {
    incoming.destroy();
    throw spent();
  }
  response.sendDate = false;
  // A program that is still sending what nobody reads any more could not tell its next request from it.
  const closing: Headers = request.complete ? [] : [["Connection", "close"]];
  response.writeHead(status, flat([...headers, ...closing]));
  if (isEmpty) {
    incoming.resume();
    response.end();
    if (!response.writableFinished) await once(response, "close");
    return;
  }
  // The head goes at once: a body may be long in coming.
  response.flushHeaders();
  const stages: readonly Duplex[] = [...looked, counted((bytes) => entry.receive(bytes))];
  await pipeline([incoming, ...stages, response]);
}

/** The answer's headers as the program sees them. */
function answerHeaders({ scrubber }: Parts, incoming: IncomingMessage, changed: boolean): Headers {
  const drop = changed ? ["content-length", "content-encoding", "content-md5", "digest", "repr-digest"] : [];
  const kept = endToEnd(headersOf(incoming), drop);
  return scrubber?.headers(kept) ?? kept;
}

/** The stages that a body goes through to be scrubbed; undefined where it cannot be unpacked. */
export function lookedThrough({ scrubber }: Parts, incoming: IncomingMessage): readonly Transform[] | undefined {
  if (scrubber === undefined) return [];
  const unpack = unpacking(incoming);
  if (unpack === undefined) return undefined;
  // With nothing to unpack a stage that does nothing would only cost.
  return [...(unpack === null ? [] : [unpack]), scrubbing(scrubber.stream())];
}

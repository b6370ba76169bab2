// WebSockets: a request that becomes a connection. It is judged as the GET that it begins as; what is said in it is counted, and
// scrubbed in place.
//
// Boundary: no other protocol is changed to; a request for one is served as if it had not asked.
//
// Invariants:
//   G1. The far side has taken up the key of the request: one that was only led to answer 101 would go on to read requests, which nobody judges.
import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Admitted, admit, denied, type Parts } from "../rules/admission.ts";
import { answerRaw, brokenAnswer, closingAnswer, refusalAnswer, unreachableAnswer } from "./answers.ts";
import { noWebSocket, spent, unreadable, whyBroken } from "../broken.ts";
import { counted } from "./bodies.ts";
import { hasBody, lookedThrough, outgoingHeaders, requestBytes } from "./exchange.ts";
import { scrubbingFrames } from "./frames.ts";
import { endToEnd, flat, headerBytes, headersOf, readRequest, valuesOf } from "./headers.ts";
import type { Origin } from "../rules/hosts.ts";
import { refuse } from "../rules/rules.ts";
import type { Headers } from "../rules/secrets.ts";
import { limitIdle, splice } from "./splice.ts";

export const isWebSocket = (request: IncomingMessage): boolean => {
  const upgrades = valuesOf(headersOf(request), "upgrade");
  return request.method === "GET" && upgrades.length === 1 && /^websocket$/i.test(upgrades[0] ?? "");
};

/** What a far side says that takes up a key (RFC 6455, 1.3). */
const acceptOf = (key: string): string =>
  createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");

/** What the far side has to say; undefined where it is asked for no WebSocket, or for two. */
function acceptWanted(headers: Headers): string | undefined {
  const keys = valuesOf(headers, "sec-websocket-key");
  return keys.length === 1 && keys[0] !== undefined ? acceptOf(keys[0]) : undefined;
}

export type Upgrading = {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly within?: Origin | undefined;
};

/** Serves it to its end. Never rejects. */
export async function upgrade(parts: Parts, { request, socket, head, within }: Upgrading): Promise<void> {
  socket.on("error", () => {});
  limitIdle(socket, parts.times.idleMs);
  try {
    const found = readRequest(request, within);
    const accept = acceptWanted(headersOf(request));
    const read =
      found.kind === "asked" && (hasBody(found.framing) || accept === undefined)
        ? refuse("form", "A WebSocket begins without a body, and with one Sec-WebSocket-Key.")
        : found;
    if (read.kind === "deny") {
      const wanted = { method: "GET", host: within?.host ?? "", port: within?.port ?? 0, path: request.url };
      answerRaw(socket, refusalAnswer(await denied(parts, read, wanted)));
      return;
    }
    const admission = await admit(parts, read.asked, { headers: headersOf(request) });
    if (admission.kind === "deny") answerRaw(socket, refusalAnswer(admission));
    else if (admission.kind === "unreachable") answerRaw(socket, unreachableAnswer);
    else {
      if (head.length > 0) socket.unshift(head);
      await pass(parts, socket, { admitted: admission, accept });
    }
  } catch {
    // The record cannot be kept, so the door is shutting.
    answerRaw(socket, closingAnswer);
  }
}

type Reply =
  | { readonly kind: "switched"; readonly incoming: IncomingMessage; readonly far: Duplex; readonly head: Buffer }
  | { readonly kind: "answered"; readonly incoming: IncomingMessage };

type Passing = { readonly admitted: Admitted; readonly accept: string | undefined };

async function pass(parts: Parts, socket: Duplex, { admitted, accept }: Passing): Promise<void> {
  const { entry } = admitted;
  let status = 0;
  try {
    const reply = await ask(parts, socket, admitted);
    status = reply.incoming.statusCode ?? 0;
    entry.answered(status);
    if (reply.kind === "answered") await relay(parts, socket, { incoming: reply.incoming, admitted });
    else if (valuesOf(headersOf(reply.incoming), "sec-websocket-accept").join() === accept)
      await join(parts, socket, { reply, admitted });
    else {
      reply.far.destroy();
      answerRaw(socket, brokenAnswer(noWebSocket().message));
    }
  } catch (error) {
    if (status === 0) answerRaw(socket, brokenAnswer(whyBroken(error)));
    else socket.destroy();
  } finally {
    entry.end();
  }
}

function ask(parts: Parts, socket: Duplex, admitted: Admitted): Promise<Reply> {
  const { asked, rule, path, way, entry } = admitted;
  // What is compressed could not be looked through.
  const drop = parts.scrubber === undefined ? [] : ["sec-websocket-extensions"];
  const kept = endToEnd(outgoingHeaders(parts, admitted, { kind: "none" }), drop);
  const host = outgoingHeaders(parts, admitted, { kind: "none" }).slice(0, 1);
  const headers: Headers = [...host, ...kept, ["Connection", "Upgrade"], ["Upgrade", "websocket"]];
  if (socket.destroyed || !entry.send(requestBytes(admitted, headers))) return Promise.reject(spent());
  const outgoing = parts.upstream.request({
    origin: asked,
    allowPrivate: rule.allowPrivate,
    method: "GET",
    path: path + asked.query,
    headers: flat(headers),
    lookup: way.lookup,
    fresh: true,
  });
  socket.once("close", () => outgoing.destroy());
  return new Promise((resolve, reject) => {
    outgoing.on("error", reject);
    outgoing.once("close", () => reject(new Error("the connection was closed")));
    outgoing.once("upgrade", (incoming, far, head) => resolve({ kind: "switched", incoming, far, head }));
    outgoing.once("response", (incoming) => resolve({ kind: "answered", incoming }));
    outgoing.end();
  });
}

function headText(parts: Parts, status: number, headers: Headers): string {
  const lines = (parts.scrubber?.headers(headers) ?? headers).map(([name, value]) => `${name}: ${value}`);
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${lines.join("\r\n")}\r\n\r\n`;
}

async function join(
  parts: Parts,
  socket: Duplex,
  { reply, admitted }: { readonly reply: Reply & { kind: "switched" }; readonly admitted: Admitted },
): Promise<void> {
  const { incoming, far, head } = reply;
  far.on("error", () => {});
  limitIdle(far, parts.times.idleMs);
  socket.once("close", () => far.destroy());
  const headers: Headers = [...endToEnd(headersOf(incoming)), ["Connection", "Upgrade"], ["Upgrade", "websocket"]];
  if (!admitted.entry.receive(headerBytes(headers))) throw spent();
  socket.write(headText(parts, 101, headers), "latin1");
  if (head.length > 0) far.unshift(head);
  await splice(socket, far, admitted.entry, parts.scrubber === undefined ? [] : [scrubbingFrames(parts.scrubber)]);
}

/** The far side answered instead: its answer ends the connection. */
async function relay(
  parts: Parts,
  socket: Duplex,
  { incoming, admitted }: { readonly incoming: IncomingMessage; readonly admitted: Admitted },
): Promise<void> {
  const looked = lookedThrough(parts, incoming);
  if (looked === undefined) throw unreadable();
  const drop = looked.length > 0 ? ["content-length", "content-encoding"] : [];
  const headers: Headers = [...endToEnd(headersOf(incoming), drop), ["Connection", "close"]];
  if (!admitted.entry.receive(headerBytes(headers))) throw spent();
  socket.write(headText(parts, incoming.statusCode ?? 502, headers), "latin1");
  await pipeline([incoming, ...looked, counted((bytes) => admitted.entry.receive(bytes)), socket]);
}

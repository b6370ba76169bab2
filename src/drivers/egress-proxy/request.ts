// One request from Reeve's own process, on the road that programs behind doors take.
//
// Invariants:
//   Q1. `tool_unavailable` means that nothing left: the connection was never made, or the record could not be kept. Every other failure but
//       `egress_denied` may have left.
import type { IncomingMessage } from "node:http";
import { OsError } from "../../abi/errors.ts";
import type { HttpRequest, HttpResponse } from "../../ports/egress.ts";
import { type Admitted, admit, denied, type Parts } from "./rules/admission.ts";
import { headOf, lookedThrough, outgoingHeaders, whyBroken } from "./door/exchange.ts";
import { endToEnd, flat, headerBytes, headersOf, readRequest } from "./door/headers.ts";
import type { Refusal } from "./rules/rules.ts";

export type RequestOptions = { readonly signal: AbortSignal; readonly responseBytesMax: number };

const deniedError = (url: string, { rule, message }: Refusal): OsError =>
  new OsError("egress_denied", message, { data: { rule, ...placeOf(url) } });

/** What of an address can be told in an error. */
function placeOf(url: string): { host: string; port: string } {
  const parsed = URL.parse(url);
  return { host: parsed?.hostname ?? "", port: parsed?.port ?? "" };
}

const unsent = (why: string): OsError =>
  new OsError("tool_unavailable", `The request was not sent: ${why}. Nothing was performed.`);

/** Rejects as the port says. */
export async function performRequest(
  parts: Parts,
  request: HttpRequest,
  options: RequestOptions,
): Promise<HttpResponse> {
  const { url, method } = request;
  if (options.signal.aborted) throw unsent("it was given up before");
  const bytes = request.body === undefined ? undefined : Buffer.from(request.body);
  const lines = Object.entries(request.headers).filter(
    ([name]) => !/^(host|content-length|transfer-encoding)$/i.test(name),
  );
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
    const place = placeOf(url);
    throw deniedError(
      url,
      await denied(parts, refusal, {
        method: method.slice(0, 20),
        host: place.host,
        port: Number(place.port),
        path: url,
      }),
    );
  }
  const admission = await admit(parts, read.asked, headersOf({ rawHeaders: lines.flat() })).catch((error: unknown) => {
    throw unsent(OsError.is(error) ? error.message : "its event could not be written");
  });
  if (admission.kind === "deny") throw deniedError(url, admission);
  if (admission.kind === "unreachable") throw unsent("its host is not known");
  return send(parts, { admitted: admission, body: bytes }, options);
}

type Sending = { readonly admitted: Admitted; readonly body: Buffer | undefined };

async function send(
  parts: Parts,
  { admitted, body }: Sending,
  { signal, responseBytesMax }: RequestOptions,
): Promise<HttpResponse> {
  const { asked, rule, path, way, entry } = admitted;
  const framing = body === undefined ? ({ kind: "none" } as const) : ({ kind: "length", bytes: body.length } as const);
  const headers = outgoingHeaders(parts, admitted, framing);
  let left = false;
  try {
    if (signal.aborted) throw new Error("it was given up");
    const outgoing = parts.upstream.request({
      origin: asked,
      allowPrivate: rule.allowPrivate,
      method: asked.method,
      path: path + asked.query,
      headers: flat(headers),
      lookup: way.lookup,
      fresh: true,
    });
    // What is written before the connection stands waits in memory.
    outgoing.once("socket", (socket) => {
      socket.once(asked.scheme === "https" ? "secureConnect" : "connect", () => (left = true));
    });
    const give = (): void => void outgoing.destroy(new Error("it was given up"));
    signal.addEventListener("abort", give, { once: true });
    try {
      const head = headOf(outgoing);
      entry.send(headerBytes(headers) + path.length + (body?.length ?? 0));
      outgoing.end(body);
      const incoming = await head;
      entry.answered(incoming.statusCode ?? 0);
      return await gather(parts, { incoming, admitted }, responseBytesMax);
    } finally {
      signal.removeEventListener("abort", give);
      outgoing.destroy();
    }
  } catch (error) {
    if (OsError.is(error)) throw error;
    const why = signal.aborted ? "it was given up" : whyBroken(error);
    if (!left) throw unsent(why);
    throw new OsError(
      signal.aborted ? "cancelled" : "unreachable",
      `The request left, and then failed: ${why}. Whether it was performed is not known.`,
      { retryable: false },
    );
  } finally {
    entry.end();
  }
}

type Gathering = { readonly incoming: IncomingMessage; readonly admitted: Admitted };

async function gather(parts: Parts, { incoming, admitted }: Gathering, bytesMax: number): Promise<HttpResponse> {
  const looked = admitted.asked.method === "HEAD" ? [] : lookedThrough(parts, incoming);
  if (looked === undefined) throw new Error("the answer is packed in a way that cannot be looked through");
  const chunks: Buffer[] = [];
  let size = 0;
  let body: NodeJS.ReadableStream = incoming;
  for (const stage of looked) {
    const before = body;
    before.on("error", (error: Error) => stage.destroy(error));
    body = before.pipe(stage);
  }
  for await (const chunk of body) {
    const bytes = chunk as Buffer;
    admitted.entry.receive(bytes.length);
    size += bytes.length;
    if (size > bytesMax)
      throw new OsError("limit_exceeded", `The request was answered with more than ${bytesMax} bytes. Ask for less.`, {
        data: { limit: "response_bytes", max: bytesMax },
      });
    chunks.push(bytes);
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of endToEnd(headersOf(incoming))) {
    const own = name.toLowerCase();
    const clean = parts.scrubber?.text(value) ?? value;
    headers[own] = headers[own] === undefined ? clean : `${headers[own]}${own === "set-cookie" ? "\n" : ", "}${clean}`;
  }
  return { status: incoming.statusCode ?? 0, headers, body: Buffer.concat(chunks) };
}

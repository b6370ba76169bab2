// MCP over Streamable HTTP: the library's transport, with bounded answers, and with word of what left and what was lost.
import { InsufficientScopeError, StreamableHTTPClientTransport, type FetchLike } from "@modelcontextprotocol/client";
import { OsError } from "../../abi/errors.ts";
import { MESSAGE_BYTES_MAX } from "./bounds.ts";
import { dispatchOf } from "./dispatch.ts";
import { causesOf } from "./faults.ts";
import type { OAuth } from "./oauth.ts";

export type HttpOptions = {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** How Reeve proves itself; absent where the headers do. */
  readonly oauth: OAuth | undefined;
};

// These arise before a connection stands, so that nothing can have been sent over it.
const UNCONNECTED = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "CERT_HAS_EXPIRED",
  "CERT_NOT_YET_VALID",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

const BLANK_LINES = [Buffer.from("\n\n"), Buffer.from("\r\n\r\n")];

const neverLeft = (error: unknown): boolean =>
  causesOf(error).some(
    (cause) =>
      cause instanceof Error &&
      (("code" in cause && UNCONNECTED.has(String(cause.code))) || ("syscall" in cause && cause.syscall === "connect")),
  );

/** Bytes after the last end of an event, or undefined if no event ends in the chunk. */
function afterEvent(chunk: Buffer): number | undefined {
  const ends = BLANK_LINES.flatMap((blank) => {
    const at = chunk.lastIndexOf(blank);
    return at === -1 ? [] : [at + blank.length];
  });
  return ends.length === 0 ? undefined : chunk.length - Math.max(...ends);
}

/** Fails the body once a message in it is too long; a stream of events may go on for ever, one event may not. */
function bounded(response: Response): Response {
  if (response.body === null) return response;
  const events = response.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
  let bytes = 0;
  const limit = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      const rest = events ? afterEvent(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)) : undefined;
      bytes = rest ?? bytes + chunk.byteLength;
      if (bytes > MESSAGE_BYTES_MAX)
        controller.error(new Error(`the server sent a message of more than ${MESSAGE_BYTES_MAX} bytes`));
      else controller.enqueue(chunk);
    },
  });
  return new Response(response.body.pipeThrough(limit), {
    status: response.status,
    statusText: response.statusText,
    headers: response.headers,
  });
}

export const boundedFetch: FetchLike = async (url, init) => {
  const response = await fetch(url, init);
  // A response without a place for a body (204, 304) cannot be made anew with one.
  return response.body === null ? response : bounded(response);
};

export function createHttpTransport({ url, headers, oauth }: HttpOptions): StreamableHTTPClientTransport {
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    requestInit: { headers: { ...headers } },
    fetch: boundedFetch,
    ...(oauth && { authProvider: oauth.provider }),
  });
  const plainSend = transport.send.bind(transport);
  /** A refusal for want of rights comes before anything is done: with more rights the same message may be sent again, once. */
  const send: typeof plainSend = async (message, options) => {
    try {
      return await plainSend(message, options);
    } catch (error) {
      if (oauth === undefined || !InsufficientScopeError.isInstance(error)) throw error;
      await oauth.widen(error.requiredScope, error.resourceMetadataUrl);
      return plainSend(message, options);
    }
  };
  transport.send = async (message, options): Promise<void> => {
    const dispatch = Array.isArray(message) ? undefined : dispatchOf(message);
    if (dispatch === undefined) return send(message, options);
    dispatch.leave();
    const onRequestStreamEnd = (): void => dispatch.lose("the server ended the stream without an answer");
    try {
      return await send(message, { ...options, onRequestStreamEnd });
    } catch (error) {
      // An OsError, and a refusal for want of rights, tell of an HTTP 401 or 403: the server took nothing.
      if (neverLeft(error) || OsError.is(error) || InsufficientScopeError.isInstance(error)) dispatch.comeBack();
      throw error;
    }
  };
  return transport;
}

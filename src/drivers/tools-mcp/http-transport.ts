// MCP over Streamable HTTP: the library's transport, by the way out, and with word of what left and what was lost.
import { InsufficientScopeError, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { OsError } from "../../abi/errors.ts";
import { dispatchOf } from "./dispatch.ts";
import type { OAuth } from "./oauth.ts";
import { neverLeft, type WayOut } from "./way-out.ts";

export type HttpOptions = {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** How Reeve proves itself; absent where the headers do. */
  readonly oauth: OAuth | undefined;
  readonly wayOut: WayOut;
};

export function createHttpTransport({ url, headers, oauth, wayOut }: HttpOptions): StreamableHTTPClientTransport {
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    requestInit: { headers: { ...headers } },
    fetch: wayOut.fetch,
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

// What the proxy itself says to a program: always the form of Reeve's errors, and never what the far side or a resolver said.
import { STATUS_CODES, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { ErrorRecord } from "../../../abi/errors.ts";
import type { Refusal } from "../rules/rules.ts";

export type Answer = { readonly status: number; readonly body: ErrorRecord };

export function refusalAnswer({ rule, message }: Refusal): Answer {
  const status = rule === "form" ? 400 : 403;
  return { status, body: { code: "egress_denied", message, retryable: false, data: { rule } } };
}

export const unreachableAnswer: Answer = {
  status: 502,
  body: {
    code: "unreachable",
    message: "The host could not be reached, and the request was not sent. Try again later, or check the address.",
    retryable: true,
    data: {},
  },
};

export const brokenAnswer = (why: string): Answer => ({
  status: 502,
  body: {
    code: "outcome_unknown",
    message: `The request was given up: ${why}. It may have been received all the same.`,
    retryable: false,
    data: {},
  },
});

/** The door is closing; its requests are not answered any more. */
export const closingAnswer: Answer = {
  status: 503,
  body: { code: "process_gone", message: "This way out is closed: the process is over.", retryable: false, data: {} },
};

/** Ends the exchange; the connection too where the request's body has not been read. */
export function answer(response: ServerResponse, { status, body }: Answer, bodyRead: boolean): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const text = JSON.stringify(body);
  response.sendDate = false;
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    ...(bodyRead ? {} : { connection: "close" }),
  });
  response.end(text);
}

/** The same where there is only a connection, as for CONNECT and upgrades. */
export function answerRaw(socket: Duplex, { status, body }: Answer): void {
  const text = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(text)}`,
    "connection: close",
  ];
  // Whoever keeps its side open is not waited for.
  socket.end(`${head.join("\r\n")}\r\n\r\n${text}`, () => socket.destroy());
}

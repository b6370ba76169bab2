// The far side of the egress benchmark, a process of its own: plain and TLS servers on loopback that keep a log of all that reached them.
// Usage (by suites/egress.ts): started with an IPC channel. Sends { authority, plain, tls, other }, the ports; answers each message with the log.
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttps } from "node:https";
import { type AddressInfo, type Server, type Socket } from "node:net";
import { createSecureContext, type TLSSocket } from "node:tls";
import { Authority } from "../src/drivers/egress-proxy/tls/authority.ts";

export type Arrived = {
  /** What the request calls itself; empty where it says nothing. */
  readonly id: string;
  readonly door: "plain" | "tls" | "other";
  readonly method: string;
  readonly host: string;
  readonly path: string;
  readonly serverName: string;
  /** All header values and the body, to look for secrets in. */
  readonly text: string;
};
export type FarPorts = {
  readonly authority: string;
  readonly plain: number;
  readonly tls: number;
  readonly other: number;
};

const log: Arrived[] = [];
const authority = new Authority("The far side");
const ANSWER = Buffer.from(JSON.stringify({ answer: "x".repeat(200) }));

function serve(door: Arrived["door"]) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    const chunks: Buffer[] = [];
    request.on("error", () => {});
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { headers, method = "", url = "", socket } = request;
      log.push({
        id: String(headers["x-id"] ?? ""),
        door,
        method,
        host: headers.host ?? "",
        path: url,
        serverName:
          "encrypted" in socket ? (socket as TLSSocket & { servername?: string | false }).servername || "" : "",
        text: `${request.rawHeaders.join("\n")}\n${Buffer.concat(chunks).toString("latin1")}`,
      });
      response.writeHead(200, { "content-type": "application/json", "content-length": ANSWER.length }).end(ANSWER);
    });
  };
}

/** What asks for another protocol has arrived as well, and must not be lost from the log. */
function upgraded(door: Arrived["door"]) {
  return (request: IncomingMessage, socket: Socket): void => {
    const { headers, method = "", url = "" } = request;
    log.push({
      id: String(headers["x-id"] ?? ""),
      door,
      method,
      host: headers.host ?? "",
      path: url,
      serverName: "",
      text: request.rawHeaders.join("\n"),
    });
    socket.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
  };
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}

const options = { keepAliveTimeout: 60_000, noDelay: true };
const plain = createHttp(options, serve("plain")).on("upgrade", upgraded("plain"));
const other = createHttp(options, serve("other")).on("upgrade", upgraded("other"));
const tls = createHttps(
  {
    ...options,
    ...authority.serverKey("localhost"),
    SNICallback: (name, done) => done(null, createSecureContext(authority.serverKey(name))),
  },
  serve("tls"),
);

process.on("message", () => process.send?.(log.splice(0)));
process.on("disconnect", () => process.exit(0));
process.on("SIGINT", () => {});
const ports: FarPorts = {
  authority: authority.pem,
  plain: await listen(plain),
  tls: await listen(tls),
  other: await listen(other),
};
process.send?.(ports);

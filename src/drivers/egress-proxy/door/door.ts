// One door: a socket in a folder of its own, with all that is decided, sent and written down behind it.
//
// Invariants:
//   D1. The socket is the identity: whoever comes in by it is the door's owner, and nobody else can reach it.
//   D2. With `close`, every connection is over and the socket is gone; what was under way has its last event written or refused.
//   D3. A door whose record cannot be kept closes itself.
import { constants, chmod, type FileHandle, mkdir, open, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Door } from "../../../ports/egress.ts";
import { denied, type Parts } from "../rules/admission.ts";
import { CONNECTIONS_MAX, HEADER_BYTES_MAX, PIPELINED_MAX } from "../bounds.ts";
import { exchange } from "./exchange.ts";
import type { Origin } from "../rules/hosts.ts";
import { machineAuthorities } from "../tls/machine.ts";
import { refuse } from "../rules/rules.ts";
import { tunnel } from "./tunnel.ts";
import { isWebSocket, upgrade } from "./upgrade.ts";

/** Where things stand inside. */
const INSIDE_FOLDER = "/run/reeve";
const INSIDE_NODE = "/run/reeve-forward/node";
const INSIDE_FORWARD = "/run/reeve-forward/forward.mjs";
const SOCKET = "egress.sock";
/** The authority's certificate alone, and with all those that the machine trusts. */
const OWN_CA = "ca.pem";
const ALL_CAS = "bundle.pem";

export const forwardFile = fileURLToPath(new URL("forward.mjs", import.meta.url));

/** Kept small: it only passes bytes on, and counts against the limits of its sandbox. */
const NODE_OPTIONS = ["--max-old-space-size=64", "--max-semi-space-size=1", "--v8-pool-size=0"];

/** Variables that take a file in place of what a program trusts otherwise. */
const REPLACING = [
  "SSL_CERT_FILE",
  "REQUESTS_CA_BUNDLE",
  "CURL_CA_BUNDLE",
  "GIT_SSL_CAINFO",
  "PIP_CERT",
  "AWS_CA_BUNDLE",
  "CARGO_HTTP_CAINFO",
  "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
  "NIX_SSL_CERT_FILE",
  "npm_config_cafile",
];
const PROXIES = ["http_proxy", "https_proxy", "all_proxy"];
/** Reached within the sandbox and not through the door, unless a rule names them. */
const LOCAL = ["localhost", "127.0.0.1", "::1"];

function environmentOf({ rules, authority }: Parts, port: number): Record<string, string> {
  const proxy = `http://127.0.0.1:${port}`;
  const named = new Set(rules.flatMap(({ host }) => (host.kind === "is" ? [host.name] : [])));
  const noProxy = LOCAL.filter((host) => !named.has(host)).join(",");
  const entries = [
    ...PROXIES.flatMap((name) => [[name, proxy] as const, [name.toUpperCase(), proxy] as const]),
    ["no_proxy", noProxy] as const,
    ["NO_PROXY", noProxy] as const,
    ...REPLACING.map((name) => [name, `${INSIDE_FOLDER}/${ALL_CAS}`] as const),
    ...(authority === undefined ? [] : [["DENO_CERT", `${INSIDE_FOLDER}/${OWN_CA}`] as const]),
  ];
  return Object.fromEntries(entries);
}

const MALFORMED = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

export type DoorOptions = {
  /** Not there yet. */
  readonly folder: string;
  /** On which the forwarder listens inside. */
  readonly port: number;
  readonly parts: Parts;
  readonly onClosed: () => void;
};

export class ProxyDoor implements Door {
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  readonly mounts: Door["mounts"];
  readonly #options: DoorOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Duplex>();
  /** For which origin a connection is, where it is for one. */
  readonly #within = new WeakMap<Duplex, Origin>();
  /** How many of a connection's requests are not answered yet. */
  readonly #underWay = new WeakMap<Duplex, number>();
  /** Open as long as the socket is: its path leads through this. */
  #place: FileHandle | undefined;
  #closing: Promise<void> | undefined;

  private constructor(options: DoorOptions) {
    this.#options = options;
    this.folder = options.folder;
    this.env = environmentOf(options.parts, options.port);
    this.mounts = [
      { from: process.execPath, to: INSIDE_NODE, access: "read" },
      { from: forwardFile, to: INSIDE_FORWARD, access: "read" },
    ];
    this.#server = this.#newServer();
  }

  static async open(options: DoorOptions): Promise<ProxyDoor> {
    const door = new ProxyDoor(options);
    try {
      await door.#open();
      return door;
    } catch (error) {
      await door.close();
      throw error;
    }
  }

  wrap(command: readonly [string, ...string[]]): readonly [string, ...string[]] {
    const { port, parts } = this.#options;
    const forNode = [
      "NODE_USE_ENV_PROXY=1",
      ...(parts.authority === undefined ? [] : [`NODE_EXTRA_CA_CERTS=${INSIDE_FOLDER}/${OWN_CA}`]),
    ];
    const forward = [INSIDE_FORWARD, String(port), `${INSIDE_FOLDER}/${SOCKET}`];
    return [INSIDE_NODE, ...NODE_OPTIONS, ...forward, ...forNode, "--", ...command];
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #open(): Promise<void> {
    const { folder, parts } = this.#options;
    const own = parts.authority?.pem;
    await mkdir(folder, { mode: 0o755 });
    await chmod(folder, 0o755);
    if (own !== undefined) await writeFile(join(folder, OWN_CA), own, { mode: 0o644 });
    await writeFile(join(folder, ALL_CAS), bundleOf([...machineAuthorities(), ...(own === undefined ? [] : [own])]), {
      mode: 0o644,
    });
    await this.#listen();
    // Programs in a sandbox are other users. The folder's name cannot be guessed, and the one around it cannot be listed.
    await chmod(join(folder, SOCKET), 0o666);
  }

  /** By way of the folder's descriptor where that is possible: then neither its length matters nor does it show in /proc/net/unix. */
  async #listen(): Promise<void> {
    const { folder } = this.#options;
    if (process.platform === "linux") this.#place = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    const path = this.#place === undefined ? join(folder, SOCKET) : `/proc/self/fd/${this.#place.fd}/${SOCKET}`;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(path, () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
  }

  #newServer(): Server {
    const { parts } = this.#options;
    const { headersMs, idleMs } = parts.times;
    const server = createServer({
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: headersMs,
      // A body may take as long as it moves at all.
      requestTimeout: 0,
      keepAliveTimeout: idleMs,
      connectionsCheckingInterval: Math.min(1000, headersMs),
      noDelay: true,
      insecureHTTPParser: false,
      // Checked, and recorded, with the rest of the request.
      requireHostHeader: false,
      shouldUpgradeCallback: isWebSocket,
    });
    server.maxConnections = CONNECTIONS_MAX;
    // Bounded by their size instead: past a number of them Node would drop headers without a word.
    server.maxHeadersCount = 0;
    server.timeout = idleMs;
    server.on("connection", (socket: Duplex) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
      if (this.#closing !== undefined) socket.destroy();
    });
    // What a request expects (Expect) is judged with the rest of it.
    for (const event of ["request", "checkContinue", "checkExpectation"] as const)
      server.on(event, (request, response) => this.#exchange(request, response));
    server.on("upgrade", (request, socket, head) => {
      void upgrade(parts, { request, socket, head, within: this.#within.get(socket) });
    });
    server.on("connect", (request, socket, head) => {
      const serve = (taken: Duplex, origin: Origin): void => this.#serve(taken, origin);
      void tunnel(parts, { request, socket, head, within: this.#within.get(socket), serve });
    });
    server.on("clientError", (error, socket) => {
      const isLate = "code" in error && error.code === "ERR_HTTP_REQUEST_TIMEOUT";
      // What is no HTTP gets the plainest of answers, and never a second reading.
      if (isLate || !socket.writable) socket.destroy();
      else socket.end(MALFORMED, () => socket.destroy());
      if ("code" in error && String(error.code).startsWith("HPE_")) this.#malformed(socket);
    });
    return server;
  }

  /** One of a connection's requests. Where too many wait already, nobody reads what they are answered. */
  #exchange(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const before = this.#underWay.get(socket) ?? 0;
    if (before >= PIPELINED_MAX) {
      socket.destroy();
      return;
    }
    this.#underWay.set(socket, before + 1);
    void exchange(this.#options.parts, { request, response, within: this.#within.get(socket) }).then(() =>
      this.#underWay.set(socket, (this.#underWay.get(socket) ?? 1) - 1),
    );
  }

  /** Records what was no HTTP, or HTTP that can be read in two ways. */
  #malformed(socket: Duplex): void {
    const { host = "", port = 0 } = this.#within.get(socket) ?? {};
    const refusal = refuse("form", "What came is no HTTP, or can be read in more than one way.");
    // Where it cannot be recorded, the door shuts by itself.
    denied(this.#options.parts, refusal, { method: "", host, port }).catch(() => {});
  }

  /** Reads requests for one origin from a connection. */
  #serve(socket: Duplex, origin: Origin): void {
    if (this.#closing !== undefined) {
      socket.destroy();
      return;
    }
    this.#within.set(socket, origin);
    this.#server.emit("connection", socket);
    // It was paused for a look at what came first.
    socket.resume();
  }

  async #close(): Promise<void> {
    const { parts, folder, onClosed } = this.#options;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    parts.upstream.close();
    await closed;
    await this.#place?.close();
    await parts.ledger.settle();
    await rm(folder, { recursive: true, force: true });
    onClosed();
  }
}

/** One after the other, as programs read them from a file. */
const bundleOf = (authorities: readonly string[]): string =>
  authorities.map((pem) => (pem.endsWith("\n") ? pem : `${pem}\n`)).join("");

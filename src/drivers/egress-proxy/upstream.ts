// The far side: connections to origins, each to an address that was judged before it was dialled.
//
// Invariants:
//   U1. A connection that was made under a rule without private addresses is used by such rules alone, and the other way round.
//   U2. Certificates are verified against the machine's authorities, whatever the environment says of it.
import { Agent as HttpAgent, type ClientRequest, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { connect as netConnect, isIP, type LookupFunction, type Socket } from "node:net";
import type { SecureContext } from "node:tls";
import { type Addresses, addressesOf, type Names, pinned } from "./rules/addresses.ts";
import { CONNECTIONS_MAX, HEADER_BYTES_MAX, INTERIM_MAX, ORIGINS_MAX, type Times } from "./bounds.ts";
import { late, prattling } from "./broken.ts";
import type { Origin } from "./rules/hosts.ts";

export type UpstreamOptions = {
  readonly names: Names;
  /** Made when it is first needed. */
  readonly trusted: () => SecureContext;
  readonly times: Times;
  /** How long a connection is kept without use. Milliseconds. */
  readonly keptMs: number;
};

/** Whether a way leads to an origin; `pin` is where to, unless a connection is there already. */
export type Way = { readonly kind: "way"; readonly lookup: LookupFunction } | Exclude<Addresses, { kind: "found" }>;

export type Outgoing = {
  readonly origin: Origin;
  readonly allowPrivate: boolean;
  readonly method: string;
  readonly path: string;
  /** As they are sent: name, value, name, value. */
  readonly headers: readonly string[];
  readonly lookup: LookupFunction;
  /** On a connection of its own, so that a failure to connect is known to be one. */
  readonly fresh: boolean;
};

type Agent = HttpAgent | HttpsAgent;
const isFree = (agent: Agent): boolean =>
  Object.values(agent.freeSockets).some((sockets) => (sockets ?? []).length > 0);
const isIdle = (agent: Agent): boolean =>
  Object.keys(agent.sockets).length === 0 && Object.keys(agent.requests).length === 0;

export class Upstream {
  readonly #options: UpstreamOptions;
  readonly #agents = new Map<string, Agent>();
  #closed = false;

  constructor(options: UpstreamOptions) {
    this.#options = options;
  }

  /** Judges the origin's addresses, unless a connection to one of them is kept. */
  async way(origin: Origin, allowPrivate: boolean): Promise<Way> {
    const agent = this.#agents.get(keyOf(origin, allowPrivate));
    if (isIP(origin.host) === 0 && agent !== undefined && isFree(agent))
      return { kind: "way", lookup: this.#judging(allowPrivate) };
    const found = await this.#addresses(origin.host, allowPrivate);
    return found.kind === "found" ? { kind: "way", lookup: pinned(found.addresses) } : found;
  }

  /** Throws once it is closed. */
  request(outgoing: Outgoing): ClientRequest {
    if (this.#closed) throw new Error("the door is closed");
    const { origin, allowPrivate, method, path, headers, lookup, fresh } = outgoing;
    const options = {
      host: origin.host,
      port: origin.port,
      method,
      path,
      headers: [...headers],
      lookup,
      setHost: false,
      maxHeaderSize: HEADER_BYTES_MAX,
      insecureHTTPParser: false,
      agent: fresh ? this.#newAgent(origin, false) : this.#agent(origin, allowPrivate),
    };
    const request = origin.scheme === "https" ? httpsRequest(options) : httpRequest(options);
    this.#limitTime(request);
    limitInterim(request);
    return request;
  }

  /** A connection for a tunnel. Rejects if there is none in time. */
  connect({ host, port }: Origin, lookup: LookupFunction): Promise<Socket> {
    if (this.#closed) return Promise.reject(new Error("the door is closed"));
    return new Promise((resolve, reject) => {
      const socket = netConnect({ host, port, lookup, noDelay: true, allowHalfOpen: true });
      const timer = setTimeout(() => socket.destroy(late()), this.#options.times.connectMs);
      socket.once("close", () => {
        clearTimeout(timer);
        reject(new Error("the connection was closed"));
      });
      socket.once("error", reject);
      socket.once("connect", () => {
        clearTimeout(timer);
        socket.setTimeout(this.#options.times.idleMs, () => socket.destroy());
        resolve(socket);
      });
    });
  }

  close(): void {
    this.#closed = true;
    for (const agent of this.#agents.values()) agent.destroy();
    this.#agents.clear();
  }

  /** Until it is connected it has the time for that; then a time without a byte. */
  #limitTime(request: ClientRequest): void {
    const { connectMs, idleMs } = this.#options.times;
    const giveUp = (): void => void request.destroy(late());
    const timer = setTimeout(giveUp, connectMs);
    const stop = (): void => clearTimeout(timer);
    request.once("close", stop);
    request.once("socket", (socket) => {
      request.setTimeout(idleMs, giveUp);
      if (request.reusedSocket) stop();
      else socket.once("secureConnect", stop).once("connect", () => "encrypted" in socket || stop());
    });
  }

  /** A name that nobody answers for in time is not known. */
  #addresses(host: string, allowPrivate: boolean): Promise<Addresses> {
    const { promise, resolve } = Promise.withResolvers<Addresses>();
    const giving = new AbortController();
    const timer = setTimeout(() => {
      resolve({ kind: "unknown_host" });
      giving.abort();
    }, this.#options.times.connectMs);
    const told = (found: Addresses): void => {
      clearTimeout(timer);
      resolve(found);
    };
    void addressesOf(host, { allowPrivate, signal: giving.signal }, this.#options.names).then(told);
    return promise;
  }

  /** A kept connection may go away between the question and the use; then the name is judged here. */
  #judging(allowPrivate: boolean): LookupFunction {
    return (host, options, callback) => {
      const told = (found: Addresses): void => {
        if (found.kind === "found") pinned(found.addresses)(host, options, callback);
        else callback(new Error("its addresses may not be dialled"), "", 4);
      };
      void this.#addresses(host, allowPrivate).then(told);
    };
  }

  #agent(origin: Origin, allowPrivate: boolean): Agent {
    const key = keyOf(origin, allowPrivate);
    const agent = this.#agents.get(key) ?? this.#newAgent(origin, true);
    // The one that was used last stands last.
    this.#agents.delete(key);
    this.#agents.set(key, agent);
    if (this.#agents.size > ORIGINS_MAX) this.#forgetOne();
    return agent;
  }

  #newAgent({ scheme, host }: Origin, keepAlive: boolean): Agent {
    const common = { keepAlive, maxSockets: CONNECTIONS_MAX, timeout: this.#options.keptMs, noDelay: true };
    if (scheme === "http") return new HttpAgent(common);
    const servername = isIP(host) === 0 ? host : "";
    return new HttpsAgent({
      ...common,
      servername,
      secureContext: this.#options.trusted(),
      rejectUnauthorized: true,
      ALPNProtocols: ["http/1.1"],
    });
  }

  #forgetOne(): void {
    const idle = [...this.#agents].find(([, agent]) => isIdle(agent));
    if (idle === undefined) return;
    idle[1].destroy();
    this.#agents.delete(idle[0]);
  }
}

/** Interim answers (1xx) are passed on to nobody, and end no wait. */
function limitInterim(request: ClientRequest): void {
  let answers = 0;
  request.on("information", () => {
    answers += 1;
    if (answers > INTERIM_MAX) request.destroy(prattling());
  });
}

const keyOf = ({ scheme, host, port }: Origin, allowPrivate: boolean): string =>
  `${scheme} ${host} ${port} ${allowPrivate}`;

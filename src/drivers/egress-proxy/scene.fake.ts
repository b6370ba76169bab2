// For tests: a far side that says what it received, a door with a record, and clients that go through it.
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttps } from "node:https";
import { type AddressInfo, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSecureContext, connect as tlsConnect } from "node:tls";
import { type EgressRule, egressRuleSchema, type SecretConfig, secretSchema } from "../../abi/isolation.ts";
import type { JsonObject } from "../../abi/json.ts";
import type { Door, Egress } from "../../ports/egress.ts";
import type { EgressNotes } from "../../ports/tools.ts";
import { Authority } from "./tls/authority.ts";
import { createEgress, type EgressOptions } from "./egress.ts";

export type Seen = {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly string[];
  readonly body: string;
  readonly tls: boolean;
  readonly localAddress: string;
};

/** Answers with JSON of what it received, unless `handle` does. */
export type Far = {
  readonly port: number;
  readonly seen: Seen[];
  readonly server: Server;
  close(): Promise<void>;
};

export const farAuthority = new Authority("The far side");

/** With its length, so that a raw client can read it. */
export function respond(response: ServerResponse, text: string, headers: Readonly<Record<string, string>> = {}): void {
  response
    .writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text), ...headers })
    .end(text);
}

type Handle = (request: IncomingMessage, response: ServerResponse, seen: Seen) => void;

export async function startFar(
  options: { tls?: readonly string[]; address?: string; port?: number; handle?: Handle } = {},
): Promise<Far> {
  const seen: Seen[] = [];
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    const chunks: Buffer[] = [];
    request.on("error", () => {});
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const entry: Seen = {
        method: request.method ?? "",
        url: request.url ?? "",
        headers: request.rawHeaders,
        body: Buffer.concat(chunks).toString("utf8"),
        tls: "encrypted" in request.socket,
        localAddress: request.socket.localAddress ?? "",
      };
      seen.push(entry);
      if (options.handle !== undefined) options.handle(request, response, entry);
      else respond(response, JSON.stringify(entry));
    });
  };
  const hosts = options.tls;
  const server =
    hosts === undefined
      ? createHttp(listener)
      : createHttps(
          {
            ...farAuthority.serverKey(hosts[0] ?? "localhost"),
            SNICallback: (name, done) => done(null, createSecureContext(farAuthority.serverKey(name))),
          },
          listener,
        );
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) =>
    server.listen(options.port ?? 0, options.address ?? "127.0.0.1", () => resolve()),
  );
  return {
    port: (server.address() as AddressInfo).port,
    seen,
    server,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

export type Note = { readonly kind: "requested" | "ended"; readonly event: JsonObject };

/** Keeps what is noted, and lets tests wait for it. */
export class Notebook implements EgressNotes {
  readonly notes: Note[] = [];
  over = false;
  readonly #waiting = new Set<() => void>();

  readonly requested: EgressNotes["requested"] = async (event) => this.#add("requested", event);
  readonly ended: EgressNotes["ended"] = async (event) => this.#add("ended", event);

  events(kind: Note["kind"]): JsonObject[] {
    return this.notes.flatMap((note) => (note.kind === kind ? [note.event] : []));
  }

  async until(done: (notes: readonly Note[]) => boolean): Promise<void> {
    while (!done(this.notes)) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  #add(kind: Note["kind"], event: object): void {
    if (this.over) throw new Error("the process is over");
    this.notes.push({ kind, event: { ...event } });
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

export type SceneOptions = Partial<Omit<EgressOptions, "secrets">> & {
  readonly secrets?: Readonly<Record<string, unknown>>;
  readonly values?: Readonly<Record<string, string>>;
};

export type Opened = {
  readonly door: Door;
  readonly notebook: Notebook;
  readonly egress: Egress;
  readonly folder: string;
};

/** Everything that one test starts, ended together. */
export class Stage {
  readonly #ends: (() => Promise<void>)[] = [];

  async far(options: Parameters<typeof startFar>[0] = {}): Promise<Far> {
    const started = await startFar(options);
    this.#ends.push(() => started.close());
    return started;
  }

  /** All names stand for this machine, unless the test has another resolver. */
  egress({ secrets = {}, values = {}, ...rest }: SceneOptions = {}): { egress: Egress; folder: string } {
    const folder = mkdtempSync(join(tmpdir(), "reeve-egress-test-"));
    // Sandboxes run under users of their own.
    chmodSync(folder, 0o711);
    const parsed = Object.fromEntries(
      Object.entries(secrets).map(([name, config]): [string, SecretConfig] => [name, secretSchema.parse(config)]),
    );
    const egress = createEgress({
      secrets: parsed,
      secretOf: (name) => values[name],
      folder,
      resolve: async () => ["127.0.0.1"],
      authorities: [farAuthority.pem],
      ...rest,
    });
    this.#ends.push(async () => {
      await egress.close();
      rmSync(folder, { recursive: true, force: true });
    });
    return { egress, folder };
  }

  async open(
    rules: readonly Parameters<typeof egressRuleSchema.parse>[0][],
    options: SceneOptions & { readonly granted?: readonly string[]; readonly bytesMax?: number } = {},
  ): Promise<Opened> {
    const { granted = [], bytesMax, ...rest } = options;
    const { egress, folder } = this.egress(rest);
    const notebook = new Notebook();
    const door = await egress.open({
      owner: "p_1",
      rules: rules.map((rule) => egressRuleSchema.parse(rule)),
      secrets: granted,
      notes: notebook,
      ...(bytesMax === undefined ? {} : { bytesMax }),
    });
    return { door, notebook, egress, folder };
  }

  async end(): Promise<void> {
    for (const end of this.#ends.splice(0).toReversed()) await end();
  }
}

export const ruleOf = (rule: Parameters<typeof egressRuleSchema.parse>[0]): EgressRule => egressRuleSchema.parse(rule);

export const socketOf = (door: Door): string => join(door.folder, "egress.sock");

/** Sends text as it is and resolves with all that came back until the other side ended. */
export function raw(door: Door, text: string | Buffer, options: { readonly end?: boolean } = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: socketOf(door), allowHalfOpen: true });
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.once("error", reject);
    socket.once("close", () => resolve(Buffer.concat(chunks).toString("latin1")));
    socket.once("end", () => socket.end());
    socket.write(text);
    if (options.end === true) socket.end();
  });
}

/** A request's text that asks for the connection to be closed. */
export const get = (url: string, more = ""): string =>
  `GET ${url} HTTP/1.1\r\nHost: ${new URL(url).host}\r\nConnection: close\r\n${more}\r\n`;

/** A connection through CONNECT; rejects with the status if it is not 200. */
export function dial(door: Door, place: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: socketOf(door) });
    socket.once("error", reject);
    let text = "";
    const onData = (chunk: Buffer): void => {
      text += chunk.toString("latin1");
      if (!text.includes("\r\n\r\n")) return;
      socket.off("data", onData).pause();
      const status = text.split(" ")[1];
      if (status === "200") resolve(socket);
      else reject(new Error(`${status} ${text.slice(text.indexOf("\r\n\r\n") + 4)}`));
    };
    socket.on("data", onData);
    socket.write(`CONNECT ${place} HTTP/1.1\r\nHost: ${place}\r\n\r\n`);
  });
}

/** Says text over TLS within a connection, and resolves with what came back. */
export function secured(
  socket: Socket,
  options: {
    readonly servername: string;
    readonly ca: readonly string[];
    readonly text: string;
    readonly alpn?: string[];
    /** A client that does not look at certificates. */
    readonly careless?: boolean;
  },
): Promise<{ text: string; issuer: string }> {
  return new Promise((resolve, reject) => {
    const { servername, ca, text, alpn = ["http/1.1"], careless = false } = options;
    const trusting = { ca: [...ca], rejectUnauthorized: !careless };
    const tls = tlsConnect({ socket, servername, ...trusting, ALPNProtocols: alpn }, () => tls.write(text));
    const chunks: Buffer[] = [];
    let issuer = "";
    tls.once("secureConnect", () => (issuer = String(tls.getPeerCertificate().issuer.CN)));
    tls.on("data", (chunk: Buffer) => chunks.push(chunk));
    tls.once("error", reject);
    socket.once("error", reject);
    tls.once("close", () => {
      if (issuer === "") reject(new Error("the connection was closed before it was secured"));
      else resolve({ text: Buffer.concat(chunks).toString("latin1"), issuer });
    });
  });
}

/** Runs a program with what a door gives, outside a sandbox: the forwarder as it is, the folder under its own name. */
export function runBehind(
  door: Door,
  command: readonly [string, ...string[]],
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }> {
  const here = (text: string): string =>
    door.mounts.find(({ to }) => to === text)?.from ?? text.replaceAll("/run/reeve", door.folder);
  const [program = "", ...args] = door
    .wrap(command)
    .map((text, at, all) => (at < all.length - command.length ? here(text) : text));
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: {
        PATH: process.env["PATH"] ?? "",
        ...Object.fromEntries(Object.entries(door.env).map(([name, value]) => [name, here(value)])),
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString("utf8")));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString("utf8")));
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

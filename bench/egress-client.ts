// The programs of the egress benchmark, a process of their own: they ask through a door, or directly, and say how long it took.
// Usage (by suites/egress.ts): started with an IPC channel; each message is a Work, each answer a Done.
import { Agent, request } from "node:http";
import { connect, type Socket } from "node:net";
import { connect as tlsConnect } from "node:tls";

/** How an origin is reached: by the door's socket, by the forwarder in front of it, or not through a door. */
export type Road =
  | { readonly kind: "socket"; readonly path: string }
  | { readonly kind: "forwarder"; readonly port: number }
  | { readonly kind: "direct" };

export type Polite = {
  readonly kind: "polite";
  readonly id: string;
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
};
/** Bytes as they are; within TLS to a server of that name after a CONNECT, if one is named. */
export type Rude = {
  readonly kind: "rude";
  readonly id: string;
  readonly text: string;
  readonly connect?: { readonly place: string; readonly serverName?: string };
};
export type Job = Polite | Rude;

export type Work = {
  readonly road: Road;
  readonly authorities: readonly string[];
  readonly concurrency: number;
  readonly jobs: readonly Job[];
};
/** Milliseconds and status of each polite job; status 0 where there was no answer. */
export type Done = readonly { readonly id: string; readonly tookMs: number; readonly status: number }[];

const RUDE_WAIT_MS = 5_000;

const socketTo = (road: Road): Socket => {
  if (road.kind === "socket") return connect({ path: road.path });
  return connect({ port: road.kind === "forwarder" ? road.port : 0, host: "127.0.0.1" });
};

/** A connection to an origin over CONNECT, with TLS in it where it is named. */
function tunnelTo(work: Work, place: string, serverName: string | undefined): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = socketTo(work.road);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed")));
    socket.once("data", (chunk: Buffer) => {
      if (!chunk.toString("latin1").startsWith("HTTP/1.1 200")) {
        socket.destroy();
        return;
      }
      if (serverName === undefined) {
        resolve(socket);
        return;
      }
      const tls = tlsConnect(
        { socket, servername: serverName, ca: [...work.authorities], ALPNProtocols: ["http/1.1"] },
        () => resolve(tls),
      );
      tls.once("error", reject);
    });
    socket.write(`CONNECT ${place} HTTP/1.1\r\nHost: ${place}\r\n\r\n`);
  });
}

/** Connections that are kept, by origin, one agent each. */
class Kept {
  readonly #work: Work;
  readonly #agents = new Map<string, Agent>();

  constructor(work: Work) {
    this.#work = work;
  }

  agent({ scheme, host, port }: Polite): Agent {
    const key = `${scheme}://${host}:${port}`;
    const known = this.#agents.get(key);
    if (known !== undefined) return known;
    const made = new Agent({ keepAlive: true, maxSockets: this.#work.concurrency });
    const { road, authorities } = this.#work;
    if (scheme === "https")
      made.createConnection = (_options, done) => {
        const origin = { host: "127.0.0.1", port, servername: host, ca: [...authorities], ALPNProtocols: ["http/1.1"] };
        if (road.kind === "direct") return tlsConnect(origin);
        const hand = (socket: Socket): void => done?.(null, socket);
        const fail = (error: unknown): void =>
          done?.(error instanceof Error ? error : new Error(String(error)), undefined as never);
        tunnelTo(this.#work, `${host}:${port}`, host).then(hand, fail);
        return undefined;
      };
    else if (road.kind !== "direct") made.createConnection = () => socketTo(road);
    this.#agents.set(key, made);
    return made;
  }

  close(): void {
    for (const agent of this.#agents.values()) agent.destroy();
  }
}

function askPolitely(work: Work, kept: Kept, job: Polite): Promise<number> {
  const whole = work.road.kind !== "direct" && job.scheme === "http";
  const place = `${job.host}:${job.port}`;
  return new Promise((resolve) => {
    const outgoing = request(
      {
        host: "127.0.0.1",
        port: job.port,
        agent: kept.agent(job),
        method: job.method,
        path: whole ? `http://${place}${job.path}` : job.path,
        headers: {
          host: place,
          "x-id": job.id,
          ...job.headers,
          ...(job.body === undefined ? {} : { "content-length": Buffer.byteLength(job.body) }),
        },
      },
      (answer) => {
        answer.once("error", () => resolve(0));
        answer.resume().once("end", () => resolve(answer.statusCode ?? 0));
      },
    );
    outgoing.once("error", () => resolve(0));
    outgoing.end(job.body);
  });
}

/** Says it, and waits until the other side has had enough. */
async function askRudely(work: Work, { text, connect: by }: Rude): Promise<number> {
  const socket = by === undefined ? socketTo(work.road) : await tunnelTo(work, by.place, by.serverName);
  return new Promise((resolve) => {
    const timer = setTimeout(() => socket.destroy(), RUDE_WAIT_MS);
    let said = "";
    socket.on("data", (chunk: Buffer) => (said += chunk.toString("latin1")));
    // However it ends, it has ended.
    socket.on("error", () => {});
    socket.once("end", () => socket.end());
    socket.once("close", () => {
      clearTimeout(timer);
      resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(said)?.[1] ?? 0));
    });
    socket.write(Buffer.from(text, "latin1"));
  });
}

async function perform(work: Work): Promise<Done> {
  const kept = new Kept(work);
  const done: { id: string; tookMs: number; status: number }[] = [];
  const queue = work.jobs.values();
  const worker = async (): Promise<void> => {
    for (const job of queue) {
      const fromMs = performance.now();
      // A rude one that is not even let into a tunnel has its answer.
      const status = await (job.kind === "polite" ? askPolitely(work, kept, job) : askRudely(work, job).catch(() => 0));
      done.push({ id: job.id, tookMs: performance.now() - fromMs, status });
    }
  };
  await Promise.all(Array.from({ length: work.concurrency }, worker));
  kept.close();
  return done;
}

async function respond(work: Work): Promise<void> {
  process.send?.(await perform(work));
}

process.on("message", (work: Work) => void respond(work));
process.on("disconnect", () => process.exit(0));
process.on("SIGINT", () => {});
process.send?.("ready");

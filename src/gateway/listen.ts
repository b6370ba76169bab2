// The one socket of the runtime: HTTP on the loopback address.
//
// Closing is graceful: no new connection is taken, event streams end (their readers resume elsewhere or later), calls
// under way get their answer, and what is left after GRACE_MS is cut.
import type { ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdaptorServer, type ServerType } from "@hono/node-server";
import { OsError } from "../abi/errors.ts";
import type { Clock } from "../ports/clock.ts";

export type ListenOptions = {
  readonly fetch: (request: Request) => Promise<Response>;
  /** 0 takes any free port. */
  readonly port: number;
  readonly clock: Clock;
};

export type Listening = {
  /** `http://127.0.0.1:PORT`, without a slash at its end. */
  readonly url: string;
  /** Idempotent; resolves when the last connection is gone. */
  close(): Promise<void>;
};

const ADDRESS = "127.0.0.1";
const GRACE_MS = 3_000;

/** Rejects with `address_in_use` for a taken port, with `unsupported` for one that may not be opened here. */
export async function listen({ fetch, port, clock }: ListenOptions): Promise<Listening> {
  const streams = new Streams();
  const server = createAdaptorServer({
    fetch: async (request) => streams.admit(await fetch(request)),
    overrideGlobalObjects: false,
  });
  let closing: Promise<void> | undefined;
  server.on("request", (_request: unknown, response: ServerResponse) => {
    // A connection that falls idle while the server closes would be kept for a next request that is never taken.
    response.once("close", () => void (closing === undefined || setImmediate(idle, server)));
  });
  await opened(server, port);
  return {
    url: `http://${ADDRESS}:${(server.address() as AddressInfo).port}`,
    close: () => {
      closing ??= closed(server, streams, clock);
      return closing;
    },
  };
}

async function opened(server: ServerType, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(port, ADDRESS, resolve);
  try {
    await promise;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "EADDRINUSE") {
      throw new OsError(
        "address_in_use",
        `Port ${port} is taken by another program. Choose another with \`--port\` (0 takes any free one), or stop that program.`,
        { data: { port }, cause: error },
      );
    }
    throw new OsError(
      "unsupported",
      `Port ${port} cannot be opened (${code ?? String(error)}). Choose another with \`--port\`; ports below 1024 need special rights.`,
      { data: { port }, cause: error },
    );
  }
  server.off("error", reject);
}

async function closed(server: ServerType, streams: Streams, clock: Clock): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  streams.end();
  idle(server);
  const stopGrace = clock.after(GRACE_MS, () => {
    if ("closeAllConnections" in server) server.closeAllConnections();
  });
  await promise;
  stopGrace();
}

const idle = (server: ServerType): void => {
  if ("closeIdleConnections" in server) server.closeIdleConnections();
};

/** The event streams under way, so that they can be ended from here. */
class Streams {
  readonly #open = new Set<() => void>();
  #ended = false;

  admit(response: Response): Response {
    if (response.body === null || !response.headers.get("content-type")?.startsWith("text/event-stream"))
      return response;
    let end = (): void => undefined;
    const gate = new TransformStream<Uint8Array, Uint8Array>({
      start: (controller) => {
        end = () => {
          controller.terminate();
          this.#open.delete(end);
        };
      },
      flush: () => void this.#open.delete(end),
      cancel: () => void this.#open.delete(end),
    });
    if (this.#ended) end();
    else this.#open.add(end);
    return new Response(response.body.pipeThrough(gate), response);
  }

  end(): void {
    this.#ended = true;
    for (const end of [...this.#open]) end();
  }
}

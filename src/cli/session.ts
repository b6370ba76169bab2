// One command's way to the system: the running server if there is one, else a kernel in this process.
import type { Client } from "../sdk/client.ts";
import { createClient } from "../sdk/client.ts";
import type { CliHost, OnNotice } from "./host.ts";

export type Session = {
  readonly client: Client;
  /** The server's address; null for a kernel in this process. */
  readonly server: string | null;
  readonly notices: readonly string[];
  close(): Promise<void>;
};

/** Nobody connects here: requests to it are answered in this process. */
const EMBEDDED_URL = "http://localhost";

export type SessionOptions = {
  readonly config: string | undefined;
  /** Whether processes may go on in this process, if there is no server. */
  readonly run: boolean;
  readonly onNotice: OnNotice;
};

/** Rejects with the errors of `CliHost.embed`. */
export async function openSession(host: CliHost, { config, run, onNotice }: SessionOptions): Promise<Session> {
  const where = config === undefined ? {} : { config };
  const name = host.env["REEVE_ACTOR"];
  const actor = name === undefined || name === "" ? {} : { actor: name };
  const server = await host.locate(where);
  if (server !== null) {
    return {
      client: createClient({ ...server, ...actor }),
      server: server.url,
      notices: [],
      close: () => Promise.resolve(),
    };
  }
  const embedded = await host.embed({ ...where, run, onNotice });
  const client = createClient({ url: EMBEDDED_URL, token: embedded.token, fetch: embedded.fetch, ...actor });
  return { client, server: null, notices: embedded.notices, close: () => embedded.close() };
}

// Starting a server and greeting it, within its time.
//
// A server on standard input and output that dies of the new protocol's first question is started once more and spoken
// to in the old way: the servers of some older libraries end on anything that comes before the old greeting.
import { SdkError, SdkErrorCode } from "@modelcontextprotocol/client";
import { Connection, type Server } from "./connection.ts";
import { ownWord, textOf, unavailable } from "./faults.ts";
import { remedyFor } from "./remedy.ts";

export type Starting = {
  readonly server: Server;
  /** Whether the server is known to speak only the old way. */
  readonly legacy: boolean;
  /** Fires when the start has taken too long, or is not wanted any more. */
  readonly late: AbortSignal;
  /** Gets each connection before it opens. */
  readonly onAttempt: (connection: Connection) => void;
};

const diedOfProbe = (error: unknown, connection: Connection): boolean =>
  connection.diedByItself && SdkError.isInstance(error) && error.code === SdkErrorCode.EraNegotiationFailed;

async function greet({ server, legacy, late, onAttempt }: Starting): Promise<Connection> {
  const connection = new Connection(server);
  onAttempt(connection);
  try {
    await connection.open({ timeout: server.config.startTimeoutMs, legacy });
    return connection;
  } catch (error) {
    await connection.close();
    if (!legacy && !late.aborted && diedOfProbe(error, connection))
      return greet({ server, legacy: true, late, onAttempt });
    const said = ownWord(error);
    if (said !== undefined) throw said;
    throw unavailable(
      server.name,
      `could not be started: ${connection.explain(textOf(error))}`,
      remedyFor(server),
      error,
    );
  }
}

/** A connection on which the greeting is done. Rejects with `tool_unavailable`, when it is late at once. */
export async function start({ server, legacy, late, onAttempt }: Starting): Promise<Connection> {
  let current: Connection | undefined;
  const attempted = (connection: Connection): void => {
    current = connection;
    onAttempt(connection);
  };
  let onLate = (): void => {};
  const tooLate = new Promise<never>((_, reject) => {
    onLate = () => {
      const why = `did not answer within ${server.config.startTimeoutMs} ms`;
      reject(unavailable(server.name, current?.explain(why) ?? why, remedyFor(server)));
      current?.kill("was ended");
    };
    late.addEventListener("abort", onLate, { once: true });
  });
  const greeting = greet({ server, legacy, late, onAttempt: attempted });
  return Promise.race([greeting, tooLate]).finally(() => late.removeEventListener("abort", onLate));
}

// Two connections joined: what comes in on one goes out on the other, counted, until both have said all.
import { Socket } from "node:net";
import type { Duplex, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { counted } from "./bodies.ts";
import type { Entry } from "../rules/ledger.ts";

const LISTENERS_MAX = 32;

/** Ends a connection on which nothing has moved for so long. */
export function limitIdle(socket: Duplex, idleMs: number): void {
  if (socket instanceof Socket) socket.setTimeout(idleMs, () => socket.destroy());
}

/** Resolves when both ways have ended; a failure of one ends the other. `look` stands in the way of what comes back. */
export async function splice(
  inside: Duplex,
  outside: Duplex,
  entry: Entry,
  look: readonly Transform[] = [],
): Promise<void> {
  // Two ways through one connection are listened to by many, for as long as it lives.
  inside.setMaxListeners(LISTENERS_MAX);
  outside.setMaxListeners(LISTENERS_MAX);
  const end = (): void => {
    inside.destroy();
    outside.destroy();
  };
  // Why it ended is told by nothing but the bytes that it carried.
  const out = pipeline([inside, counted((bytes) => entry.send(bytes)), outside]).catch(end);
  const back = pipeline([outside, ...look, counted((bytes) => entry.receive(bytes)), inside]).catch(end);
  await Promise.all([out, back]);
  end();
}

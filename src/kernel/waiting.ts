// How a call waits: durably, holding nothing, and for as long as it takes.
import { OsError } from "../abi/errors.ts";
import type { EventHeader } from "../abi/events.ts";
import type { Wait } from "../abi/process.ts";
import type { RequestRecord, StoredPayload } from "../ports/store.ts";
import type { LiveCall } from "./call.ts";
import type { Entry } from "./journal/events.ts";
import type { Run } from "./run.ts";
import type { Services } from "./services.ts";

export type CallContext = { readonly services: Services; readonly run: Run; readonly call: LiveCall };

/** An entry of this call; the first one carries its arguments. */
export function callEntry(call: LiveCall, header: EventHeader, payloads: { [name: string]: string } = {}): Entry {
  if (call.begun) return { header, payloads };
  call.begun = true;
  return { header, payloads: { args: call.text, ...payloads } };
}

/** The event that says that the call waits. */
export function waitingEntry(call: LiveCall, wait: Wait): Entry {
  call.wait = wait;
  return callEntry(call, { kind: "call.waiting", call: call.number, syscall: call.syscall, wait });
}

/**
 * Writes events of the call. Throws `cancelled` where this run, or the process, is over by now: a journal has one writer
 * at a time, and none after its exit.
 */
export async function write(
  { services, run, call }: CallContext,
  entries: readonly Entry[],
  extra: { readonly payloads: readonly StoredPayload[]; readonly requests?: readonly RequestRecord[] },
): Promise<void> {
  if (run.disposed || run.process.over)
    throw new OsError("cancelled", `Call ${call.number} was given up: its process has ended, or has left memory.`);
  await services.commits.commit(run.process.prepare(entries, extra));
}

/**
 * Waits until `check` gives something. The wait is recorded once, before the first sleep; after a restart the recorded one
 * holds, so that a time that was set stays set.
 */
export async function waitUntil<T>(
  context: CallContext,
  wait: Wait,
  check: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const { run, call } = context;
  const held = call.wait ?? wait;
  const untilMs = "untilMs" in held ? held.untilMs : undefined;
  for (;;) {
    const { pokes } = run;
    const found = await check();
    if (found !== undefined) return found;
    if (call.wait === undefined) {
      await write(context, [waitingEntry(call, wait)], { payloads: call.parts });
      continue;
    }
    await run.sleep(call.number, { pokes, untilMs });
  }
}

/** The time that a wait lasts until: the recorded one, or so long from now. */
export function untilMsOf({ services, call }: CallContext, ms: number): number {
  const recorded = call.wait !== undefined && "untilMs" in call.wait ? call.wait.untilMs : undefined;
  return recorded ?? services.ports.clock.nowMs() + ms;
}

// How a call waits: durably, holding nothing, and for as long as it takes.
import type { EventHeader } from "../abi/events.ts";
import type { Wait } from "../abi/process.ts";
import type { LiveCall } from "./call.ts";
import type { Entry } from "./journal.ts";
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
 * Waits until `check` gives something. The wait is recorded once, before the first sleep; after a restart the recorded one
 * holds, so that a time that was set stays set.
 */
export async function waitUntil<T>(
  { services, run, call }: CallContext,
  wait: Wait,
  check: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const held = call.wait ?? wait;
  const untilMs = "untilMs" in held ? held.untilMs : undefined;
  for (;;) {
    const { pokes } = run;
    const found = await check();
    if (found !== undefined) return found;
    if (call.wait === undefined) {
      const entry = waitingEntry(call, wait);
      await services.commits.commit(run.process.prepare([entry], { payloads: call.parts }));
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

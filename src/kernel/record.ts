// The record: the outcome of a call and all that belongs to it, in one transaction.
import type { ErrorRecord } from "../abi/errors.ts";
import { OsError } from "../abi/errors.ts";
import type { Settled } from "./dispatch.ts";
import type { Prepared } from "./process.ts";
import type { Outcome } from "./recall.ts";
import { callEntry, type CallContext } from "./waiting.ts";

/** Makes the outcome durable and gives it for delivery; undefined if the process ended in the meantime. */
export async function record(context: CallContext, settled: Settled): Promise<Outcome | undefined> {
  const release = settled.kind === "value" ? settled.release : undefined;
  try {
    // A process that has ended records nothing more: its exit names the calls whose outcome it did not wait for.
    // Looked at before anything is prepared, since what is prepared must be committed.
    if (context.run.process.over || context.run.disposed) return undefined;
    const { outcome, extra } = prepareExtra(settled);
    const own = prepareOwn(context, settled, outcome);
    await context.services.commits.commit(...extra, own);
    if (settled.kind === "value" && outcome.ok) settled.after?.();
    return outcome;
  } finally {
    release?.();
  }
}

/** What must be committed with the outcome. If that cannot be had any more, this is the outcome. */
function prepareExtra(settled: Settled): { readonly outcome: Outcome; readonly extra: readonly Prepared[] } {
  if (settled.kind === "error") return { outcome: { ok: false, error: settled.error }, extra: [] };
  try {
    return { outcome: { ok: true, value: settled.value }, extra: settled.extra?.() ?? [] };
  } catch (error) {
    if (!OsError.is(error)) throw error;
    return { outcome: { ok: false, error: error.toJSON() }, extra: [] };
  }
}

function prepareOwn({ run, call }: CallContext, settled: Settled, outcome: Outcome): Prepared {
  const parts = call.begun ? [] : call.parts;
  const base = { kind: "call.completed", call: call.number, syscall: call.syscall, effect: call.effect } as const;
  if (!outcome.ok || settled.kind === "error") {
    const error: ErrorRecord | undefined = outcome.ok ? undefined : outcome.error;
    const text = JSON.stringify(error ?? null);
    return run.process.prepare(
      [callEntry(call, { ...base, ...(error === undefined ? {} : { error: error.code }) }, { error: text })],
      { payloads: parts },
    );
  }
  const usage = settled.usage === undefined ? {} : { usage: settled.usage };
  const by = settled.settled === undefined ? {} : { settled: settled.settled };
  const value = settled.stored?.text ?? JSON.stringify(outcome.value);
  return run.process.prepare([callEntry(call, { ...base, ...usage, ...by }, { value })], {
    payloads: [...parts, ...(settled.stored?.parts ?? [])],
  });
}

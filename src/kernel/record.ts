// The record: the outcome of a call and all that belongs to it, in one transaction.
import type { ErrorRecord } from "../abi/errors.ts";
import { OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Usage } from "../abi/messages.ts";
import type { Spent } from "../abi/process.ts";
import { NOTHING_SPENT, oneCall, plus } from "./amounts.ts";
import type { LiveCall } from "./call.ts";
import type { Settled } from "./dispatch.ts";
import type { Prepared } from "./process.ts";
import type { Outcome } from "./journal/recall.ts";
import type { Services } from "./services.ts";
import { callEntry, type CallContext } from "./waiting.ts";

/** Makes the outcome durable and gives it for delivery; undefined if the process ended, or was stopped before the call was performed. */
export async function record(context: CallContext, settled: Settled): Promise<Outcome | undefined> {
  const release = settled.kind === "value" ? settled.release : undefined;
  try {
    // A process that has ended records nothing more: its exit names the calls whose outcome it did not wait for.
    // Looked at before anything is prepared, since what is prepared must be committed.
    if (context.run.process.over || context.run.disposed) return undefined;
    if (context.run.withholds(context.call.number)) return withhold(context);
    const { outcome, extra } = prepareExtra(settled);
    const own = prepareOwn(context, settled, outcome);
    await context.services.commits.commit(...extra, own);
    if (settled.kind === "value" && outcome.ok) settled.after?.();
    return outcome;
  } finally {
    release?.();
  }
}

/** What a call reserved that was not begun after all is free again; what may have been used up by an attempt before stays reserved. */
function withhold({ services, run, call }: CallContext): undefined {
  const untouched =
    call.lost === undefined && !call.attempts.some(({ dispatched, recorded }) => dispatched || recorded);
  if (untouched) settleBudget(services, { pid: run.process.pid, call, charged: NOTHING_SPENT });
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

function prepareOwn({ services, run, call }: CallContext, settled: Settled, outcome: Outcome): Prepared {
  const parts = call.begun ? [] : call.parts;
  const done = outcome.ok && settled.kind === "value" ? settled : undefined;
  const charged = chargeFor(call, done?.usage, outcome);
  settleBudget(services, { pid: run.process.pid, call, charged: charged ?? oneCall(done?.usage) });
  const base = {
    kind: "call.completed",
    call: call.number,
    syscall: call.syscall,
    effect: call.effect,
    ...(charged === undefined ? {} : { charged }),
    ...(call.agedMs === undefined ? {} : { agedMs: call.agedMs }),
  } as const;
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
    locks: settled.locks?.(),
  });
}

/**
 * What the call is charged. Undefined where its event says it anyway: it was made once and went well, or was never made.
 * An attempt whose outcome is not known is charged all that was reserved for it.
 */
function chargeFor(call: LiveCall, usage: Usage | undefined, outcome: Outcome): Spent | undefined {
  const made = call.attempts.filter(({ dispatched }) => dispatched);
  const price = call.tool?.manifest.costUsd ?? 0;
  const last = made.pop();
  if (call.lost === undefined && made.length === 0 && price === 0 && (outcome.ok || last === undefined))
    return undefined;
  let charged = made.reduce((sum, { amounts }) => plus(sum, amounts ?? oneCall(undefined)), call.lost ?? NOTHING_SPENT);
  if (last === undefined) return charged;
  const known = { ...oneCall(usage), costUsd: (usage?.costUsd ?? 0) + price };
  charged = plus(charged, outcome.ok || isAnswered(outcome.error) ? known : (last.amounts ?? known));
  return charged;
}

/** Whoever was asked answered, if only with an error: nothing but the call was used up. */
const isAnswered = ({ code, data }: ErrorRecord): boolean =>
  code === "tool_failed" || (code === "model_failed" && typeof data["status"] === "number");

function settleBudget(
  { ports }: Services,
  { pid, call, charged }: { readonly pid: ProcessId; readonly call: LiveCall; readonly charged: Spent },
): void {
  const { budgets } = ports.scheduler;
  const counted = call.attempts.length > 0 || call.lost !== undefined;
  if (!counted || !budgets.has(pid)) return;
  budgets.settle(
    pid,
    call.number,
    call.attempts.some(({ dispatched }) => dispatched) || call.lost !== undefined ? charged : NOTHING_SPENT,
  );
}

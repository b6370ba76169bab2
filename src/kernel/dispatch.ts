// Dispatch: intent, performance, and what to do when an effect left and nothing came back.
//
// Invariants:
//   D1. An effect's intent, with its idempotency key and the approval that it spends, is durable before it leaves.
//   D2. Each dispatch has an intent of its own, so the journal says how often an effect may have happened.
//   D3. An intent without an outcome is settled in this order: the tool's own `reconcile`; a repeat under the same key, if
//       the tool declares that harmless; a human. Nothing else ever dispatches an effect a second time.
import { needsIntent } from "../abi/effects.ts";
import { type ErrorRecord, OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Json, JsonObject } from "../abi/json.ts";
import type { Invocation, Settlement as FoundOut } from "../ports/tools.ts";
import type { LiveCall } from "./call.ts";
import type { Entry } from "./journal/events.ts";
import type { Performed } from "./performance.ts";
import { PERFORMERS } from "./performers.ts";
import { askHuman, describeCall } from "./requests.ts";
import { idempotencyKey, invocationOf } from "./tool-call.ts";
import { callEntry, type CallContext, write } from "./waiting.ts";

/** How often an effect of unknown outcome is repeated, where repeating it is harmless, before a human is asked. */
const REPEATS_MAX = 3;

/** How often a provider may be too busy for one call before the program is told. */
const REFUSALS_MAX = 8;

type Answered = Exclude<Performed, { kind: "refused" }>;

export type SettledBy = "reconcile" | "repeat" | "human";
export type Settled =
  | (Extract<Performed, { kind: "value" }> & { readonly settled?: SettledBy | undefined })
  | { readonly kind: "error"; readonly error: ErrorRecord };

/** Attempts the call, and if an effect's outcome is not known, sees to it that it becomes known. */
export async function untilKnown(
  context: CallContext,
  attempt: (context: CallContext) => Promise<Performed>,
): Promise<Settled> {
  const interrupted = context.call.recorded?.intended === true;
  const made = (): Promise<Answered> => untilTaken(context, attempt);
  let performed: Answered = interrupted
    ? { kind: "unknown", reason: "Reeve was stopped between dispatching it and hearing its outcome." }
    : await made();
  let settled: SettledBy | undefined;
  for (let repeats = 0; performed.kind === "unknown"; repeats += 1) {
    const settlement = await settleUnknown(context, performed.reason, repeats);
    settled = settlement.by;
    performed = settlement.value === undefined ? await made() : { kind: "value", value: settlement.value };
  }
  return settled === undefined ? performed : { ...performed, settled };
}

/** A provider that is too busy is asked again when its resource has a turn for the call, which is when it said. */
async function untilTaken(
  context: CallContext,
  attempt: (context: CallContext) => Promise<Performed>,
): Promise<Answered> {
  for (let refusals = 1; ; refusals += 1) {
    const performed = await attempt(context);
    if (performed.kind !== "refused") return performed;
    if (refusals >= REFUSALS_MAX) throw performed.error;
  }
}

/** Makes durable what the call has reserved, and the intent of an effect. */
export async function intend(context: CallContext): Promise<void> {
  const { run, call } = context;
  const parts = call.begun ? [] : call.parts;
  const entries = [...reservationEntry(call), ...intentEntry(run.process.pid, call)];
  if (entries.length === 0) return;
  // Counts as dispatched from here on: whoever stops the process lets it end, since its intent is on its way to disk.
  if (needsIntent(call.effect)) run.markDispatched(call.number);
  await write(context, entries, { payloads: parts });
}

function reservationEntry(call: LiveCall): Entry[] {
  const attempt = call.attempts.at(-1);
  if (attempt?.amounts === undefined || attempt.recorded === true) return [];
  attempt.recorded = true;
  const header = { kind: "call.reserved", call: call.number, syscall: call.syscall, amounts: attempt.amounts } as const;
  return [callEntry(call, header)];
}

function intentEntry(pid: ProcessId, call: LiveCall): Entry[] {
  if (!needsIntent(call.effect)) return [];
  const header = {
    kind: "call.intended",
    call: call.number,
    syscall: call.syscall,
    effect: call.effect,
    key: idempotencyKey(pid, call.number),
    ...(call.approval === undefined ? {} : { approval: call.approval }),
  } as const;
  return [callEntry(call, header)];
}

/** Has the call done, by whoever does it, if the process is still alive at this last moment. */
export async function perform(context: CallContext): Promise<Performed> {
  const { services, run, call } = context;
  services.ports.identity.identify(run.process);
  // An outcome could not be recorded any more, and another run may be settling this very intent.
  if (run.disposed) throw new OsError("cancelled", `${describeCall(call)} was given up before it was dispatched.`);
  const attempt = call.attempts.at(-1);
  if (attempt !== undefined) attempt.dispatched = true;
  const performed = await PERFORMERS[call.syscall].perform(context);
  // Whoever refused did nothing: what was reserved for it serves the next time.
  if (performed.kind === "refused" && attempt !== undefined) attempt.dispatched = false;
  if (performed.kind !== "unknown" || needsIntent(call.effect)) return performed;
  // A read that never answered may simply be asked again, by the program.
  throw new OsError(
    "tool_unavailable",
    `${describeCall(call)} did not answer: ${performed.reason} Nothing was changed; it may be tried again.`,
    { data: { tool: call.tool?.name ?? "" } },
  );
}

type Settlement = { readonly by: SettledBy; readonly value: Json | undefined };

/** What became of it: its value, or undefined where it is certain, or harmless, to do it (again). */
async function settleUnknown(context: CallContext, reason: string, repeats: number): Promise<Settlement> {
  const { call } = context;
  const { tool } = call;
  if (tool === undefined) throw new OsError("internal", `${call.syscall} has an intent and no tool.`);
  const undecided = call.recorded?.requests.some(({ kind }) => kind === "settlement") === true;
  if (tool.manifest.reconcile !== undefined && !undecided) {
    const found = await reconciled(context, invocationOf(context));
    if (found.status === "done") return { by: "reconcile", value: found.content as JsonObject };
    if (found.status === "not_done" && repeats < REPEATS_MAX) return { by: "reconcile", value: undefined };
  }
  if (tool.manifest.idempotency !== "none" && repeats < REPEATS_MAX && !undecided)
    return { by: "repeat", value: undefined };
  return settleByHuman(context, reason);
}

/** What cannot be asked does not know. An error of the asking must not pass for the outcome of what is asked about. */
async function reconciled({ services }: CallContext, invocation: Invocation): Promise<FoundOut> {
  try {
    return await services.ports.tools.reconcile(invocation);
  } catch (error) {
    if (!OsError.is(error) || error.code === "store_failed") throw error;
    return { status: "unknown", reason: error.message };
  }
}

async function settleByHuman(context: CallContext, reason: string): Promise<Settlement> {
  const { call } = context;
  const question = `Did this happen? ${describeCall(call)}`;
  const { request, decided } = await askHuman(context, {
    kind: "settlement",
    question,
    rule: "outcome_unknown",
    reason,
  });
  // A settlement answers for one dispatch; the next unknown outcome is a new question.
  call.recorded = undefined;
  if (decided.verdict === "settled" && decided.outcome === "not_done") return { by: "human", value: undefined };
  if (decided.verdict === "settled" && decided.outcome === "done") {
    return {
      by: "human",
      value: (decided.result ?? { text: `(settled by ${decided.by}: it was done)` }) as JsonObject,
    };
  }
  const note = "note" in decided && decided.note !== undefined ? `: ${decided.note}` : ".";
  throw new OsError(
    "outcome_unknown",
    `${describeCall(call)} was dispatched and its outcome is unknown; ${decided.by} gave it up${note}`,
    { data: { request } },
  );
}

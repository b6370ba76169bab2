// Station 7, admit: may the call still be afforded, is the lock that it needs free, is it its turn.
//
// In this order, because whoever waits holds as little as possible: what cannot be afforded is refused before it waits
// for anything; a lock is waited for before a slot, since slots are scarcer; the budget is reserved last, in the turn in
// which the slot is there.
//
// Invariants:
//   A1. A call that would cross a budget of its line is refused before it is made (K10): `reserve` and the performance
//       have nothing between them but the intent, which makes the reservation durable.
//   A2. What was taken is given back in every case, once; a reservation lives until the outcome is known (record.ts).
//   A3. While it waits here the process only waits: it may leave memory, and its places in the queues stay its own.
import type { Budget } from "../abi/agents.ts";
import { OsError } from "../abi/errors.ts";
import type { JsonObject } from "../abi/json.ts";
import type { Spent } from "../abi/process.ts";
import type { Life } from "../ports/process.ts";
import type { Shortage, Slot } from "../ports/scheduler.ts";
import type { AMOUNTS } from "./amounts.ts";
import { changeBudget } from "./operations.ts";
import type { Demand } from "./performance.ts";
import { PERFORMERS } from "./performers.ts";
import { askHuman, refusal } from "./requests.ts";
import { isBounded } from "./trees.ts";
import type { CallContext } from "./waiting.ts";

/** What a call occupies while it is performed. */
export type Admission = {
  /** Gives it all back; once. `tokens` is what the call really used. */
  readonly release: (used?: { readonly tokens: number }) => void;
};

type Taken = Admission["release"][];

/** How long a lock outlives the time that its call has, should the system be slow to give it back. Milliseconds. */
const LEASE_MARGIN_MS = 30_000;

/** Undefined for calls that occupy nothing. At once where nothing bounds the process and its turn has come. */
export function admit(context: CallContext): Promise<Admission> | Admission | undefined {
  const { run, call } = context;
  const demand = PERFORMERS[call.syscall].demand(context);
  if (demand === null) return undefined;
  const { process } = run;
  const plain =
    demand.exclusive === undefined &&
    demand.resource.tokensPerMinute === undefined &&
    process.deadlineMs === null &&
    !(demand.counted && isBounded(process.life));
  if (!plain) return admitBounded(context, demand);
  const slot = takeTurn(context, demand);
  if (demand.counted) call.attempts.push({ amounts: undefined, dispatched: false });
  // A turn at once was nobody else's.
  return slot instanceof Promise ? run.queue(call.number, slot).then((given) => noted(context, given)) : slot;
}

/** A turn that was given out of the order of classes is told in the journal of whoever got it. */
function noted({ call }: CallContext, slot: Slot): Slot {
  call.agedMs = slot.agedMs;
  return slot;
}

function takeTurn({ services, run, call }: CallContext, { resource, amounts }: Demand): Promise<Slot> | Slot {
  const reserved = services.options.limits.reserved[resource.name];
  const ask = {
    call: call.number,
    resource: reserved === undefined ? resource : { ...resource, reserved },
    tokens: amounts.inputTokens + amounts.outputTokens,
  };
  return services.ports.scheduler.turns.take(run.process.standing, ask, run.signal);
}

async function admitBounded(context: CallContext, demand: Demand): Promise<Admission> {
  const { services, run, call } = context;
  const { process } = run;
  const opening = isBounded(process.life) ? services.trees.ensure(process.root) : undefined;
  if (opening !== undefined) await opening;
  for (;;) {
    const afforded = await affordable(context, demand);
    if (afforded === undefined) continue;
    const taken: Taken = [];
    const release: Admission["release"] = (used) => {
      for (const giveBack of taken.splice(0).reverse()) giveBack(used);
    };
    try {
      if (demand.exclusive !== undefined) await takeLock(context, { ...demand, key: demand.exclusive, taken });
      const turn = takeTurn(context, { ...demand, amounts: afforded });
      const slot = noted(context, turn instanceof Promise ? await run.queue(call.number, turn) : turn);
      taken.push((used) => slot.release(used));
      const late = demand.counted ? reserve(context, afforded) : null;
      if (late === null) return { release };
      release();
      await raise(context, late);
    } catch (error) {
      release();
      throw error;
    }
  }
}

/** What may be reserved for the call; undefined where a human has just raised the budget, and it is to be looked at again. */
async function affordable(context: CallContext, demand: Demand): Promise<Spent | undefined> {
  const { services, run, call } = context;
  try {
    assertInTime(context, demand);
    const afforded = await demand.within(left(context));
    const early = demand.counted ? shortageOf(context, afforded) : null;
    if (early === null) return afforded;
    await raise(context, early);
    return undefined;
  } catch (error) {
    // It may have kept a place from before its process left memory.
    if (!run.disposed) services.ports.scheduler.turns.leave(run.process.pid, call.number);
    throw error;
  }
}

/**
 * The lock that the tool declares. A lock is a process's, and its calls must not meet one another either: each is alone
 * with the key among them. A lock that the program holds itself stays held when the call has ended.
 */
async function takeLock(
  context: CallContext,
  { key, timeoutMs, taken }: { readonly key: string; readonly timeoutMs: number; readonly taken: Taken },
): Promise<void> {
  const { services, run, call } = context;
  const { pid, standing } = run.process;
  const { locks } = services.ports.scheduler;
  taken.push(await run.alone(call.number, key));
  await services.locks.restored();
  const kept = locks.held(pid).some((held) => held.key === key);
  const ask = { call: call.number, key, leaseMs: timeoutMs + LEASE_MARGIN_MS, forCall: true };
  const held = locks.acquire(standing, ask, run.signal);
  if (held instanceof Promise) await run.queue(call.number, held);
  if (!kept) taken.push(() => void locks.release(pid, key, { forCall: true }));
}

const left = ({
  services,
  run,
}: CallContext): ReturnType<CallContext["services"]["ports"]["scheduler"]["budgets"]["left"]> => {
  const { budgets } = services.ports.scheduler;
  return budgets.has(run.process.pid) ? budgets.left(run.process.pid, services.ports.clock.nowMs()) : {};
};

/** A reservation that a refused attempt did not use up is used by the next one. */
const unused = ({ call }: CallContext): Spent | undefined => {
  const last = call.attempts.at(-1);
  return last !== undefined && !last.dispatched ? last.amounts : undefined;
};

function shortageOf(context: CallContext, amounts: Spent): Shortage | null {
  const { services, run } = context;
  const { budgets } = services.ports.scheduler;
  if (!budgets.has(run.process.pid) || unused(context) !== undefined) return null;
  return budgets.shortage(run.process.pid, amounts, services.ports.clock.nowMs());
}

function reserve(context: CallContext, amounts: Spent): Shortage | null {
  const { services, run, call } = context;
  const { budgets } = services.ports.scheduler;
  if (unused(context) !== undefined) return null;
  const bounded = budgets.has(run.process.pid) && budgets.bounded(run.process.pid);
  const shortage = bounded
    ? budgets.reserve(run.process.pid, call.number, amounts, services.ports.clock.nowMs())
    : null;
  if (shortage === null) call.attempts.push({ amounts: bounded ? amounts : undefined, dispatched: false });
  return shortage;
}

/** A call that cannot be done by the deadline is not begun. */
function assertInTime({ services, run, call }: CallContext, { resource }: Demand): void {
  const { deadlineMs, standing } = run.process;
  if (deadlineMs === null) return;
  const leftMs = deadlineMs - services.ports.clock.nowMs();
  const neededMs = services.ports.scheduler.turns.estimateMs(standing, resource) ?? 0;
  if (leftMs > neededMs) return;
  throw new OsError(
    "deadline_exceeded",
    `${call.syscall} was not begun: it has to reckon with ${Math.round(neededMs)} ms at ${resource.name}, and the process must be over in ${Math.max(0, Math.round(leftMs))} ms. Give it a later deadline, or less to do.`,
    { data: { deadlineMs, neededMs } },
  );
}

/** Waits for a human to raise the budget, where the one whose budget it is says so; throws `budget_exhausted` where not. */
async function raise(context: CallContext, shortage: Shortage): Promise<void> {
  const { services, run } = context;
  const exhausted = exhaustedError(shortage);
  if (budgetOf(run.process.life, shortage).whenExhausted !== "ask") throw exhausted;
  const { decided } = await askHuman(context, {
    kind: "budget",
    question: `Raise the budget of process ${shortage.pid}? ${exhausted.message}`,
    rule: `budget.${shortage.budget}`,
    reason: `It has used ${round(shortage.spent)} of ${round(shortage.max)}, ${round(shortage.reserved)} is reserved, and ${round(shortage.asked)} more is asked for.`,
  });
  // The next shortage is a new question.
  context.call.recorded = undefined;
  if (decided.verdict !== "raised") throw refusal(decided);
  await changeBudget(services, { pid: shortage.pid, budget: decided.budget, by: decided.by });
}

function budgetOf(life: Life, { pid }: Shortage): Budget {
  for (let member: Life | null = life; member !== null; member = member.parent)
    if (member.pid === pid) return member.budget;
  return life.budget;
}

function exhaustedError(shortage: Shortage): OsError {
  const { pid, budget, max, spent, reserved, asked } = shortage;
  const held = reserved > 0 ? `, ${round(reserved)} of it reserved by calls and children under way` : "";
  const remedy = `Raise it with \`reeve limits ${pid}\`, or give the task a larger one.`;
  const message =
    budget === "wallMs"
      ? `Process ${pid} may take ${max} ms, and they are over. ${remedy}`
      : `Process ${pid} has a budget of ${round(max)} ${WORDS[budget]} and has used ${round(spent + reserved)}${held}; ${round(asked)} more would cross it. Nothing was sent. ${remedy}`;
  return new OsError("budget_exhausted", message, { data: shortage as unknown as JsonObject });
}

const round = (amount: number): string => String(Math.round(amount * 10_000) / 10_000);

const WORDS: { readonly [name in (typeof AMOUNTS)[number]]: string } = {
  calls: "calls",
  tokens: "tokens",
  inputTokens: "input tokens",
  outputTokens: "output tokens",
  costUsd: "US dollars",
  wallMs: "milliseconds",
};

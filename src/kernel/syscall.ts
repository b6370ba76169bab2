// The life of a system call: twelve stations, in this order, for every call of every process. There is no other road.
//
// Boundary: this file is the list. Each station that can differ is a port (identity, governance, scheduler, models,
// tools, store); what the kernel itself does at a station stands in the file named there. It knows no primitive by name.
//
// Invariants:
//   C1. An outcome is durable before the program sees it (K2): `answer` comes after the commit that `record` makes.
//   C2. A call whose outcome is in the journal is answered from there and goes no further (K4).
//   C3. An effect is dispatched only after its intent is durable, and never again by the system itself unless the tool
//       says that repeating it is harmless (K3): dispatch.ts.
//   C4. Liveness is looked at twice: on entry, and at the last moment before dispatch (K6).
import { OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import { rowOf } from "../abi/syscalls.ts";
import type { Decision } from "../ports/identity.ts";
import { admit } from "./admission.ts";
import { differenceOf, type LiveCall, receive } from "./call.ts";
import { intend, perform, type Settled, untilKnown } from "./dispatch.ts";
import type { Performed } from "./performance.ts";
import { record } from "./record.ts";
import { askHuman, describeCall, refusal } from "./requests.ts";
import type { Issued, Run } from "./run.ts";
import type { Services } from "./services.ts";
import { previewOf } from "./tool-call.ts";
import type { CallContext } from "./waiting.ts";

/** Takes a call down the whole road. Rejects only on faults of the system itself, which are nobody's outcome. */
export async function syscall(services: Services, run: Run, issued: Issued): Promise<void> {
  const call = receive(run.process, issued); //                  1  receive: call.ts
  services.ports.identity.identify(run.process); //              2  identify
  const recalled = await recall(run, call); //                   3  recall: recall.ts
  if (recalled === "answered") return;
  const context: CallContext = { services, run, call };
  const settled = await settle(context); //                      4 to 10, below
  const outcome = await record(context, settled); //            11  record: record.ts
  if (outcome !== undefined) run.answer(call.number, outcome); // 12  answer: run.ts, when its turn comes
}

/** Whatever a station refuses is the call's outcome. */
async function settle(context: CallContext): Promise<Settled> {
  try {
    const decision = await authorise(context); //                4  authorise
    inspect(context); //                                         5  inspect
    await approve(context, decision); //                         6  approve
    const done = await untilKnown(context, attempt); //          7 to 9, once as a rule: dispatch.ts
    return judge(context, done); //                             10  judge
  } catch (error) {
    if (!OsError.is(error) || error.code === "store_failed") throw error;
    return { kind: "error", error: error.toJSON() };
  }
}

/** One dispatch. What it occupies is given back before anybody waits for anything. */
async function attempt(context: CallContext): Promise<Performed> {
  const admission = await admit(context); //                     7  admit: admission.ts
  let performed: Performed | undefined;
  try {
    const { number, attempts } = context.call;
    // Only calls of models and tools count as attempts.
    if (!context.run.begin(number, attempts.length === 0 ? undefined : context.call)) throw withheld(number);
    await intend(context); //                                    8  intend
    performed = await perform(context); //                       9  perform
    return performed;
  } finally {
    admission?.release(usedBy(performed));
  }
}

const withheld = (call: number): OsError =>
  new OsError("cancelled", `Call ${call} was not begun: its process was stopped before its turn came.`);

/** Answers from the journal if it holds the outcome; stops the process if it holds another call. */
async function recall(run: Run, call: LiveCall): Promise<"answered" | "live"> {
  const recorded = await run.recall.find(call.number);
  const difference = recorded === undefined ? undefined : differenceOf(call, recorded);
  if (difference !== undefined) throw difference;
  if (recorded?.outcome !== undefined) {
    run.reissued(recorded);
    return "answered";
  }
  // The journal has been read to its end: what it says was used up counts before any more is.
  run.process.recount(run.recall.spent);
  if (recorded === undefined) return "live";
  call.recorded = recorded;
  call.lost = recorded.reserved;
  call.begun = true;
  call.wait = recorded.wait;
  return "live";
}

/** Identity says whether the process may, governance whether it should. */
async function authorise({ services, run, call }: CallContext): Promise<Decision> {
  if (call.invalid !== undefined) throw call.invalid;
  if (rowOf(call.syscall).right === "tree")
    call.target = await services.table.life((call.args as { pid: ProcessId }).pid);
  const right = services.ports.identity.authorise(run.process, call);
  const decision = right.kind === "allow" ? services.ports.governance.decide(run.process, call) : right;
  if (decision.kind !== "deny") return decision;
  throw new OsError("denied", decision.reason, { data: { rule: decision.rule, reason: decision.reason } });
}

function inspect({ services, run, call }: CallContext): void {
  services.ports.governance.inspect(run.process, call, call.text);
}

/** Waits for a human's yes where a rule asks for one. What was dispatched before a crash had its yes then. */
async function approve(context: CallContext, decision: Decision): Promise<void> {
  const { call } = context;
  if (decision.kind !== "ask" || call.recorded?.intended === true) return;
  const { rule, reason } = decision;
  const { request, decided } = await askHuman(context, {
    kind: "approval",
    question: describeCall(call),
    rule,
    reason,
    preview: () => previewOf(context),
  });
  if (decided.verdict !== "approved") throw refusal(decided);
  call.approval = request;
}

function usedBy(performed: Performed | undefined): { readonly tokens: number } | undefined {
  const usage = performed?.kind === "value" ? performed.usage : undefined;
  return usage === undefined ? undefined : { tokens: usage.inputTokens + usage.outputTokens };
}

function judge({ services, run, call }: CallContext, done: Settled): Settled {
  if (done.kind === "error") return done;
  const text = JSON.stringify(done.value);
  const passed = services.ports.governance.judge(run.process, call, done.value, text);
  if (passed !== done.value) return { ...done, value: passed, stored: undefined };
  // What was looked at is what is recorded, unless the journal has a form of its own for it.
  return done.stored === undefined ? { ...done, stored: { text, parts: [] } } : done;
}

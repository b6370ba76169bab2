// Taking back what a process did, itself or by those that it started: which calls had an effect, and the process that takes them back.
//
// The taking back is itself done by a process, whose program issues one call for each step: so it is authorised, approved,
// performed once and recorded like everything else, and what it took back stands in the journal of the process that did it.
//
// Invariants:
//   N1. Steps go from the last effect to the first, whichever process of the tree had it.
//   N2. A call is taken back once: what the journal says was undone is not undone again, and of two that would take back the same at
//       the same time one is refused. Of which it is not known whether it was undone is not undone but by the word of an operator (`unsure`).
//   N3. Nothing is taken back under a process that goes on acting, or under one below it that does.
import { hash } from "node:crypto";
import { type Agent, agentManifestSchema, UNDO_PROGRAM } from "../abi/agents.ts";
import { OsError } from "../abi/errors.ts";
import type { Actor } from "../abi/events.ts";
import { type ProcessId, processIdOf } from "../abi/ids.ts";
import type { JsonObject } from "../abi/json.ts";
import type { UndoStep } from "../abi/reports.ts";
import type { Args, Output } from "../abi/syscalls.ts";
import type { ToolDefinition } from "../abi/tools.ts";
import { conceive } from "./lifecycle.ts";
import { entryOf, type Process } from "./process.ts";
import { descendantsOf } from "./rows.ts";
import { assertIdle } from "./idle.ts";
import type { Services } from "./services.ts";
import { idempotencyKey } from "./tool-call.ts";
import { type Doer, type Done, type Effects, effectsOf, leftUnknown } from "./undo-record.ts";

type Effect = Done & { readonly doer: Doer; readonly effects: Effects };

/** Says what would be taken back, and by what; and has it done, unless it was only asked. */
export async function undo(
  services: Services,
  { pid, to = 0, dryRun, unsure }: Args<"process.undo">,
  by: Actor,
): Promise<Output<"process.undo">> {
  return services.table.with(pid, async (process) => {
    assertStill(services, process, pid);
    const own = await effectsOf(services, process);
    const sinceMs = to === 0 ? 0 : (own.begunMs.get(to) ?? Infinity);
    const after: Effect[] = own.done
      .filter(({ call }) => call >= to)
      .map((done) => ({ ...done, doer: process, effects: own }));
    for (const row of await descendantsOf(services.ports.store, process))
      after.push(...(await effectsBelow(services, row.pid, { above: pid, sinceMs })));
    after.sort((a, b) => b.atMs - a.atMs || b.seq - a.seq);
    const earlier = await earlierUndos(services, new Set(after.map(({ effects }) => effects)));
    const plan = after.map((one) => stepOf(one, unsure || isCertain(one, earlier.unknown)));
    const chosen = after.filter((_, at) => plan[at]?.how === "undo");
    if (dryRun || chosen.length === 0) return { plan, pid: null };
    if (earlier.underWay !== undefined) throw takenBackBy(pid, earlier.underWay);
    return { plan, pid: await start(services, { process, chosen, by }) };
  });
}

type EarlierUndos = {
  readonly underWay: ProcessId | undefined;
  /** By their keys, the calls of which it is not known whether they were taken back. */
  readonly unknown: ReadonlySet<string>;
};

/** What became of the processes that were to take back some of the same. */
async function earlierUndos(services: Services, all: ReadonlySet<Effects>): Promise<EarlierUndos> {
  const unknown = new Set<string>();
  let underWay: ProcessId | undefined;
  for (const undoer of new Set([...all].flatMap(({ undoers }) => undoers))) {
    const record = await services.ports.store.process(undoer);
    if (record?.state === "exited") for (const key of await leftUnknown(services, undoer)) unknown.add(key);
    else underWay = undoer;
  }
  return { underWay, unknown };
}

const isCertain = ({ doer, call, known }: Effect, unknown: ReadonlySet<string>): boolean =>
  known && !unknown.has(idempotencyKey(doer.pid, call));

/** What a process did for the one above it, since then. */
function effectsBelow(
  services: Services,
  pid: ProcessId,
  { above, sinceMs }: { readonly above: ProcessId; readonly sinceMs: number },
): Promise<Effect[]> {
  return services.table.with(pid, async (process) => {
    assertStill(services, process, above);
    const effects = await effectsOf(services, process);
    return effects.done
      .filter(({ atMs }) => atMs >= sinceMs)
      .map((done) => ({ ...done, doer: { pid, tools: process.tools }, effects }));
  });
}

function assertStill(services: Services, { pid, record }: Process, above: ProcessId): void {
  const who = pid === above ? `Process ${pid}` : `Process ${pid}, which ${above} has started,`;
  if (record.state !== "exited" && record.state !== "stopped")
    throw new OsError(
      "conflict",
      `${who} goes on: what is taken back now it might do again. Stop or kill it first (\`reeve stop ${pid}\`).`,
      { data: { what: "process", id: pid } },
    );
  assertIdle(services, pid, who);
}

const takenBackBy = (of: ProcessId, pid: ProcessId): OsError =>
  new OsError(
    "conflict",
    `What ${of} did is being taken back already, by process ${pid}. Let it end (\`reeve ps\` says what it waits for; \`reeve inbox\`, whether that is you), or kill it (\`reeve kill ${pid}\`), then say it again.`,
    { data: { what: "process", id: pid } },
  );

const changedMeanwhile = (pid: ProcessId): OsError =>
  new OsError(
    "conflict",
    `Something happened to process ${pid} just now: perhaps somebody else takes back what it did. Nothing was taken back. Say it again to see what is left.`,
    { data: { what: "process", id: pid } },
  );

/** The full name of the tool that takes back what `tool` did. */
const undoOf = ({ name, manifest }: ToolDefinition): string | undefined =>
  manifest.undo === undefined ? undefined : `${name.slice(0, name.indexOf("."))}.${manifest.undo}`;

/** `certain`: whether it happened, and was not taken back, as far as anybody knows. */
function stepOf({ doer, call, tool, args, effects }: Effect, certain: boolean): UndoStep {
  const definition = doer.tools.get(tool);
  const by = definition === undefined ? undefined : undoOf(definition);
  const step = { pid: doer.pid, call, tool, effect: definition?.manifest.effect ?? "none", args } as const;
  if (effects.undone.has(call)) return { ...step, how: "undone", by: null };
  // Programs in a sandbox change the workspace, and that is put back as a whole.
  if (by === undefined) return { ...step, how: effects.workspace.of(call) ?? "none", by: null };
  return certain ? { ...step, how: "undo", by } : { ...step, how: "unknown", by: null };
}

/** One step of the program: the call that it issues. */
function orderOf({ doer: { pid, tools }, call, tool, args, result }: Effect): JsonObject {
  const definition = tools.get(tool);
  const by = definition === undefined ? "" : (undoOf(definition) ?? "");
  const local = tool.slice(tool.indexOf(".") + 1);
  return { tool: by, args: { key: idempotencyKey(pid, call), tool: local, args, result }, undoes: { pid, call } };
}

type Start = { readonly process: Process; readonly chosen: readonly Effect[]; readonly by: Actor };

async function start(services: Services, { process, chosen, by }: Start): Promise<ProcessId> {
  const steps = chosen.map(orderOf);
  const tools = [...new Set(steps.map(({ tool }) => tool as string))];
  const manifest = agentManifestSchema.parse({
    name: UNDO_PROGRAM,
    description: `Takes back what process ${process.pid} did.`,
    tools,
    class: process.standing.class,
  });
  const agent: Agent = {
    manifest,
    program: { kind: "native", name: UNDO_PROGRAM },
    hash: hash("sha256", JSON.stringify(manifest), "hex"),
  };
  const pid = processIdOf(services.ports.random.bytes(16));
  const { tenant } = process.standing;
  const task = { of: process.pid, steps };
  const { create, born } = await conceive(services, { pid, agent, task, parent: null, by, wishes: { tenant } });
  await announced(services, chosen, (doers) => {
    const begun = doers.map((doer) => doer.prepare([entryOf({ kind: "undo.begun", by: pid })]));
    return services.commits.commit(create(), ...begun);
  });
  born();
  return pid;
}

/** Runs `commit` in the turn in which the journals of all that acted hold what was read of them, and no more (N2). */
async function announced(
  { table }: Services,
  chosen: readonly Effect[],
  commit: (doers: readonly Process[]) => Promise<void>,
): Promise<void> {
  const read = new Map(chosen.map(({ doer, effects }) => [doer.pid, effects.events]));
  const doers: Process[] = [];
  try {
    for (const pid of read.keys()) doers.push(await table.pin(pid));
    const changed = doers.find(({ pid, record }) => record.events !== read.get(pid));
    if (changed !== undefined) throw changedMeanwhile(changed.pid);
    await commit(doers);
  } finally {
    doers.forEach((doer) => table.unpin(doer));
  }
}

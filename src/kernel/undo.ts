// Taking back what a process did, itself or by those that it started: which calls had an effect, and the process that takes them back.
//
// The taking back is itself done by a process, whose program issues one call for each step: so it is authorised, approved,
// performed once and recorded like everything else, and what it took back stands in the journal of the process that did it.
//
// Invariants:
//   N1. Steps go from the last effect to the first, whichever process of the tree had it.
//   N2. A call is taken back once: what the journal says was undone is not undone again.
//   N3. Nothing is taken back under a process that goes on acting, or under one below it that does.
import { hash } from "node:crypto";
import { type Agent, agentManifestSchema, UNDO_PROGRAM } from "../abi/agents.ts";
import { needsIntent } from "../abi/effects.ts";
import { OsError } from "../abi/errors.ts";
import type { Actor, Event, EventHeader } from "../abi/events.ts";
import { type ProcessId, processIdOf } from "../abi/ids.ts";
import type { Json, JsonObject } from "../abi/json.ts";
import type { UndoStep } from "../abi/reports.ts";
import type { Args, Output } from "../abi/syscalls.ts";
import type { ToolDefinition } from "../abi/tools.ts";
import { conceive } from "./lifecycle.ts";
import type { Process } from "./process.ts";
import { readEvents } from "./journal/reader.ts";
import { descendantsOf } from "./rows.ts";
import type { Services } from "./services.ts";
import { idempotencyKey } from "./tool-call.ts";

const PAGE = 500;

/** One process of those that acted: itself, or one below it. */
type Doer = Pick<Process, "pid" | "tools">;

/** What the journal says of a call with an effect. */
type Done = {
  readonly call: number;
  readonly tool: string;
  readonly args: JsonObject;
  readonly result: Json;
  readonly known: boolean;
  /** When it was dispatched, and as which event: the clock may go back, the order within a journal does not. */
  readonly atMs: number;
  readonly seq: number;
};
type Effect = Done & { readonly doer: Doer; readonly effects: Effects };

/** Says what would be taken back, and by what; and has it done, unless it was only asked. */
export async function undo(
  services: Services,
  { pid, to = 0, dryRun }: Args<"process.undo">,
  by: Actor,
): Promise<Output<"process.undo">> {
  return services.table.with(pid, async (process) => {
    assertStill(process, pid);
    const own = await effectsOf(services, process);
    const sinceMs = to === 0 ? 0 : (own.begunMs.get(to) ?? Infinity);
    const after: Effect[] = own.done
      .filter(({ call }) => call >= to)
      .map((done) => ({ ...done, doer: process, effects: own }));
    for (const row of await descendantsOf(services.ports.store, process))
      after.push(...(await effectsBelow(services, row.pid, { above: pid, sinceMs })));
    after.sort((a, b) => b.atMs - a.atMs || b.seq - a.seq);
    const plan = after.map(stepOf);
    const steps = after.flatMap((one, at) => (plan[at]?.how === "undo" ? [orderOf(one)] : []));
    if (dryRun || steps.length === 0) return { plan, pid: null };
    return { plan, pid: await start(services, { process, steps, by }) };
  });
}

/** What a process did for the one above it, since then. */
function effectsBelow(
  services: Services,
  pid: ProcessId,
  { above, sinceMs }: { readonly above: ProcessId; readonly sinceMs: number },
): Promise<Effect[]> {
  return services.table.with(pid, async (process) => {
    assertStill(process, above);
    const effects = await effectsOf(services, process);
    return effects.done
      .filter(({ atMs }) => atMs >= sinceMs)
      .map((done) => ({ ...done, doer: { pid, tools: process.tools }, effects }));
  });
}

function assertStill({ pid, record }: Process, above: ProcessId): void {
  if (record.state === "exited" || record.state === "stopped") return;
  const who = pid === above ? `Process ${pid}` : `Process ${pid}, which ${above} has started,`;
  throw new OsError(
    "conflict",
    `${who} goes on: what is taken back now it might do again. Stop or kill it first (\`reeve stop ${pid}\`).`,
    { data: { what: "process", id: pid } },
  );
}

type Effects = {
  readonly done: readonly Done[];
  readonly undone: ReadonlySet<number>;
  /** When each call was first heard of. */
  readonly begunMs: ReadonlyMap<number, number>;
  readonly workspace: WorkspaceStory;
};

/** Calls of tools that had an effect, as far as the journal knows, and those that have been taken back. */
async function effectsOf({ ports }: Services, { pid, tools }: Doer): Promise<Effects> {
  const begun = new Map<number, JsonObject>();
  const begunMs = new Map<number, number>();
  const done = new Map<number, Done>();
  const undone = new Set<number>();
  const workspace = new WorkspaceStory();
  let atMs = 0;
  const take = ({ header, payloads, seq, ...event }: Event): void => {
    atMs = Math.max(atMs, event.atMs);
    if (header.kind === "call.undone") undone.add(header.call);
    if (header.kind === "workspace.changed") workspace.take(header);
    if (!("syscall" in header)) return;
    const { call } = header;
    if (!begunMs.has(call)) begunMs.set(call, atMs);
    if (header.syscall !== "tool.call") return;
    if (payloads["args"] !== undefined) begun.set(call, payloads["args"] as JsonObject);
    const { tool, args } = (begun.get(call) ?? {}) as { tool?: string; args?: JsonObject };
    if (tool === undefined || args === undefined || !needsIntent(tools.get(tool)?.manifest.effect ?? "none")) return;
    if (header.kind === "call.intended") done.set(call, { call, tool, args, result: null, known: false, atMs, seq });
    if (header.kind !== "call.completed") return;
    // What answered with an error may have done a part of it; what was never performed did nothing.
    if (header.error === undefined)
      done.set(call, {
        ...{ call, tool, args, known: true },
        result: payloads["value"] ?? null,
        ...{ atMs, seq },
        ...timeOf(done.get(call)),
      });
    else if (header.error !== "outcome_unknown" && header.error !== "tool_failed") done.delete(call);
    begun.delete(call);
  };
  for (let from = 0; ; from += PAGE) {
    const events = await readEvents(ports.store, pid, { from, limit: PAGE });
    events.forEach(take);
    if (events.length < PAGE) return { done: [...done.values()], undone, begunMs, workspace };
  }
}

const timeOf = (known: Done | undefined): Partial<Done> =>
  known === undefined ? {} : { atMs: known.atMs, seq: known.seq };

/** What became of the changes that calls made in the workspace: each stands there, until it is put back to before that call. */
class WorkspaceStory {
  readonly #kept = new Set<number>();
  readonly #putBack = new Set<number>();
  /** Calls before the last commit: going back to what was written back leaves them as they are. */
  readonly #written = new Set<number>();
  #removed = false;

  take({ what, before }: Extract<EventHeader, { kind: "workspace.changed" }>): void {
    if (what === "snapshot" && before !== null) this.#kept.add(before);
    if (what === "remove") this.#removed = true;
    if (what === "commit") for (const call of this.#kept) this.#written.add(call);
    if (what !== "rollback") return;
    for (const call of this.#kept)
      if (before === null ? !this.#written.has(call) : call >= before) this.#putBack.add(call);
      else this.#putBack.delete(call);
  }

  /** Undefined for a call before which the workspace was not kept. */
  of(call: number): Extract<UndoStep["how"], "workspace" | "removed" | "undone"> | undefined {
    if (!this.#kept.has(call)) return undefined;
    if (this.#putBack.has(call)) return "undone";
    return this.#removed ? "removed" : "workspace";
  }
}

/** The full name of the tool that takes back what `tool` did. */
const undoOf = ({ name, manifest }: ToolDefinition): string | undefined =>
  manifest.undo === undefined ? undefined : `${name.slice(0, name.indexOf("."))}.${manifest.undo}`;

function stepOf({ doer, call, tool, args, known, effects }: Effect): UndoStep {
  const definition = doer.tools.get(tool);
  const by = definition === undefined ? undefined : undoOf(definition);
  const step = { pid: doer.pid, call, tool, effect: definition?.manifest.effect ?? "none", args } as const;
  if (effects.undone.has(call)) return { ...step, how: "undone", by: null };
  // Programs in a sandbox change the workspace, and that is put back as a whole.
  if (by === undefined) return { ...step, how: effects.workspace.of(call) ?? "none", by: null };
  return known ? { ...step, how: "undo", by } : { ...step, how: "unknown", by: null };
}

/** One step of the program: the call that it issues. */
function orderOf({ doer: { pid, tools }, call, tool, args, result }: Effect): JsonObject {
  const definition = tools.get(tool);
  const by = definition === undefined ? "" : (undoOf(definition) ?? "");
  const local = tool.slice(tool.indexOf(".") + 1);
  return { tool: by, args: { key: idempotencyKey(pid, call), tool: local, args, result }, undoes: { pid, call } };
}

async function start(
  services: Services,
  { process, steps, by }: { readonly process: Process; readonly steps: readonly JsonObject[]; readonly by: Actor },
): Promise<ProcessId> {
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
  const task = { of: process.pid, steps: [...steps] };
  const { create, born } = await conceive(services, { pid, agent, task, parent: null, by, wishes: { tenant } });
  await services.commits.commit(create());
  born();
  return pid;
}

// Taking back what a process did: which of its calls had an effect, and the process that takes them back.
//
// The taking back is itself done by a process, whose program issues one call for each step: so it is authorised, approved,
// performed once and recorded like everything else, and what it took back stands in the journal of the process that did it.
//
// Invariants:
//   N1. Steps go from the last effect to the first.
//   N2. A call is taken back once: what the journal says was undone is not undone again.
//   N3. Nothing is taken back under a process that goes on acting.
import { hash } from "node:crypto";
import { type Agent, agentManifestSchema, UNDO_PROGRAM } from "../abi/agents.ts";
import { needsIntent } from "../abi/effects.ts";
import { OsError } from "../abi/errors.ts";
import type { Actor, Event } from "../abi/events.ts";
import { type ProcessId, processIdOf } from "../abi/ids.ts";
import type { Json, JsonObject } from "../abi/json.ts";
import type { UndoStep } from "../abi/reports.ts";
import type { Args, Output } from "../abi/syscalls.ts";
import type { ToolDefinition } from "../abi/tools.ts";
import { conceive } from "./lifecycle.ts";
import type { Process } from "./process.ts";
import { readEvents } from "./journal/reader.ts";
import type { Services } from "./services.ts";
import { idempotencyKey } from "./tool-call.ts";

const PAGE = 500;

/** What the journal says of a call with an effect. */
type Done = {
  readonly call: number;
  readonly tool: string;
  readonly args: JsonObject;
  readonly result: Json;
  readonly known: boolean;
};

/** Says what would be taken back, and by what; and has it done, unless it was only asked. */
export async function undo(
  services: Services,
  { pid, to = 0, dryRun }: Args<"process.undo">,
  by: Actor,
): Promise<Output<"process.undo">> {
  return services.table.with(pid, async (process) => {
    assertStill(process);
    const effects = await effectsOf(services, process);
    const after = effects.done.filter(({ call }) => call >= to).sort((a, b) => b.call - a.call);
    const plan = after.map((one) => stepOf(process, one, effects));
    const steps = after.flatMap((one, at) => (plan[at]?.how === "undo" ? [orderOf(process, one)] : []));
    if (dryRun || steps.length === 0) return { plan, pid: null };
    return { plan, pid: await start(services, { process, steps, by }) };
  });
}

function assertStill({ pid, record }: Process): void {
  if (record.state === "exited" || record.state === "stopped") return;
  throw new OsError(
    "conflict",
    `Process ${pid} goes on: what is taken back now it might do again. Stop or kill it first (\`reeve stop ${pid}\`).`,
    { data: { what: "process", id: pid } },
  );
}

type Effects = {
  readonly done: readonly Done[];
  readonly undone: ReadonlySet<number>;
  /** Calls before which the workspace was kept: what they did there is put back with it. */
  readonly kept: ReadonlySet<number>;
  /** The workspace was removed, and what they did there with it. */
  readonly removed: boolean;
};

/** Calls of tools that had an effect, as far as the journal knows, and those that have been taken back. */
async function effectsOf({ ports }: Services, { pid, tools }: Process): Promise<Effects> {
  const begun = new Map<number, JsonObject>();
  const done = new Map<number, Done>();
  const undone = new Set<number>();
  const kept = new Set<number>();
  let removed = false;
  const take = ({ header, payloads }: Event): void => {
    if (header.kind === "call.undone") undone.add(header.call);
    if (header.kind === "workspace.changed" && header.what === "snapshot" && header.before !== null)
      kept.add(header.before);
    if (header.kind === "workspace.changed" && header.what === "remove") removed = true;
    if (!("syscall" in header) || header.syscall !== "tool.call") return;
    if (payloads["args"] !== undefined) begun.set(header.call, payloads["args"] as JsonObject);
    const { tool, args } = (begun.get(header.call) ?? {}) as { tool?: string; args?: JsonObject };
    if (tool === undefined || args === undefined || !needsIntent(tools.get(tool)?.manifest.effect ?? "none")) return;
    if (header.kind === "call.intended")
      done.set(header.call, { call: header.call, tool, args, result: null, known: false });
    if (header.kind !== "call.completed") return;
    // What answered with an error may have done a part of it; what was never performed did nothing.
    if (header.error === undefined)
      done.set(header.call, { call: header.call, tool, args, result: payloads["value"] ?? null, known: true });
    else if (header.error !== "outcome_unknown" && header.error !== "tool_failed") done.delete(header.call);
    begun.delete(header.call);
  };
  for (let from = 0; ; from += PAGE) {
    const events = await readEvents(ports.store, pid, { from, limit: PAGE });
    events.forEach(take);
    if (events.length < PAGE) return { done: [...done.values()], undone, kept, removed };
  }
}

/** The full name of the tool that takes back what `tool` did. */
const undoOf = ({ name, manifest }: ToolDefinition): string | undefined =>
  manifest.undo === undefined ? undefined : `${name.slice(0, name.indexOf("."))}.${manifest.undo}`;

function stepOf({ tools }: Process, { call, tool, args, known }: Done, { undone, kept, removed }: Effects): UndoStep {
  const definition = tools.get(tool);
  const by = definition === undefined ? undefined : undoOf(definition);
  const step = { call, tool, effect: definition?.manifest.effect ?? "none", args } as const;
  if (undone.has(call)) return { ...step, how: "undone", by: null };
  // Programs in a sandbox change the workspace, and that is put back as a whole.
  if (by === undefined && kept.has(call)) return { ...step, how: removed ? "removed" : "workspace", by: null };
  if (by === undefined) return { ...step, how: "none", by: null };
  return known ? { ...step, how: "undo", by } : { ...step, how: "unknown", by: null };
}

/** One step of the program: the call that it issues. */
function orderOf({ pid, tools }: Process, { call, tool, args, result }: Done): JsonObject {
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

// What journals say of what can be taken back: calls with an effect, those that were taken back, and what became of the workspace.
import { needsIntent } from "../abi/effects.ts";
import type { Event, EventHeader } from "../abi/events.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Json, JsonObject } from "../abi/json.ts";
import type { UndoStep } from "../abi/reports.ts";
import { readEvents } from "./journal/reader.ts";
import type { Process } from "./process.ts";
import type { Services } from "./services.ts";
import { idempotencyKey } from "./tool-call.ts";

const PAGE = 500;

/** One process of those that acted: itself, or one below it. */
export type Doer = Pick<Process, "pid" | "tools">;

/** What the journal says of a call with an effect. */
export type Done = {
  readonly call: number;
  readonly tool: string;
  readonly args: JsonObject;
  readonly result: Json;
  readonly known: boolean;
  /** When it was dispatched, and as which event: the clock may go back, the order within a journal does not. */
  readonly atMs: number;
  readonly seq: number;
};
export type Effects = {
  readonly done: readonly Done[];
  readonly undone: ReadonlySet<number>;
  /** When each call was first heard of. */
  readonly begunMs: ReadonlyMap<number, number>;
  readonly workspace: WorkspaceStory;
  /** Processes that were started to take some of it back, the latest last. */
  readonly undoers: readonly ProcessId[];
  /** How many events the journal held. */
  readonly events: number;
};

/** Calls of tools that had an effect, as far as the journal knows, and those that have been taken back. */
export async function effectsOf(services: Services, { pid, tools }: Doer): Promise<Effects> {
  const begun = new Map<number, JsonObject>();
  const begunMs = new Map<number, number>();
  const done = new Map<number, Done>();
  const undone = new Set<number>();
  const workspace = new WorkspaceStory();
  const undoers: ProcessId[] = [];
  let [atMs, count] = [0, 0];
  const take = ({ header, payloads, seq, ...event }: Event): void => {
    atMs = Math.max(atMs, event.atMs);
    count += 1;
    if (header.kind === "undo.begun") undoers.push(header.by);
    if (header.kind === "call.undone") undone.add(header.call);
    if (header.kind === "workspace.changed") workspace.take(header, pid);
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
  for await (const event of eventsOf(services, pid)) take(event);
  return { done: [...done.values()], undone, begunMs, workspace, undoers, events: count };
}

async function* eventsOf({ ports, commits }: Services, pid: ProcessId): AsyncGenerator<Event> {
  await commits.settled(pid);
  for (let from = 0; ; from += PAGE) {
    const events = await readEvents(ports.store, pid, { from, limit: PAGE });
    yield* events;
    if (events.length < PAGE) return;
  }
}

/** Of a process that took things back and is over: by their keys, the calls of which it is not known whether it did. */
export async function leftUnknown(services: Services, undoer: ProcessId): Promise<readonly string[]> {
  const open = new Map<number, string>();
  const undoes = new Map<number, string>();
  for await (const { header, payloads } of eventsOf(services, undoer)) {
    if (!("syscall" in header)) continue;
    const args = payloads["args"] as
      | { readonly undoes?: { readonly pid: ProcessId; readonly call: number } }
      | undefined;
    if (args?.undoes !== undefined) undoes.set(header.call, idempotencyKey(args.undoes.pid, args.undoes.call));
    if (header.kind === "call.intended") open.set(header.call, undoes.get(header.call) ?? "");
    if (header.kind === "call.completed" && header.error !== "outcome_unknown") open.delete(header.call);
  }
  return [...open.values()];
}

const timeOf = (known: Done | undefined): Partial<Done> =>
  known === undefined ? {} : { atMs: known.atMs, seq: known.seq };

/** What became of the changes that calls made in the workspace: each stands there, until it is put back to before that call. */
class WorkspaceStory {
  readonly #kept = new Set<number>();
  #putBack = new Set<number>();
  /** What was put back in the state that the last putting back replaced. */
  #replaced = new Set<number>();
  /** Calls before the last commit: going back to what was written back leaves them as they are. */
  readonly #written = new Set<number>();
  #removed = false;

  /** `pid`: of the process itself, which puts the workspace back for a call of its own that it begins again. */
  take({ what, before, by }: Extract<EventHeader, { kind: "workspace.changed" }>, pid: ProcessId): void {
    const again = what === "rollback" && by === pid;
    if ((what === "snapshot" || again) && typeof before === "number") {
      this.#kept.add(before);
      this.#putBack.delete(before);
      this.#replaced.add(before);
    }
    if (what === "remove") this.#removed = true;
    if (what === "commit") for (const call of this.#kept) this.#written.add(call);
    if (what !== "rollback" || again) return;
    const standing = new Set(this.#putBack);
    if (before === "replaced") this.#putBack = this.#replaced;
    else this.#goTo(before);
    this.#replaced = standing;
  }

  #goTo(before: number | null): void {
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

// One process in memory: its row, the head of its journal, and what the stations may see of it.
//
// Boundary: makes events and keeps their order; does not run the program (run.ts) and does not decide when the
// process is in memory (table.ts, runner.ts).
//
// Invariants:
//   P1. Events are prepared in the order in which they get their seq, and handed to the store in that order, so the
//       journal in memory is the journal on disk plus a tail that is on its way there.
//   P2. Nobody outside the kernel is told of an event before its batch is durable.
//   P3. If the store refuses a batch, this object is no longer the truth: the kernel drops it and reads the journal anew.
import type { Agent, AgentManifest, Budget } from "../abi/agents.ts";
import type { EventHeader } from "../abi/events.ts";
import type { ProcessId, RequestId } from "../abi/ids.ts";
import type { Json } from "../abi/json.ts";
import type { Exit, Spent } from "../abi/process.ts";
import type { ToolDefinition } from "../abi/tools.ts";
import type { Life, ProcessView } from "../ports/process.ts";
import type { Standing } from "../ports/scheduler.ts";
import type { Batch, JournalAppend, ProcessRecord, RequestRecord, StoredEvent, StoredPayload } from "../ports/store.ts";
import { encodeEvent, type Entry, type SubjectKey } from "./journal/events.ts";
import { begun, project } from "./transition.ts";

/** What a process was given when it was created; the payload `spec` of its first event. */
export type Spec = { readonly agent: Agent; readonly tools: readonly ToolDefinition[] };

/** Events that wait to be committed, with everything that must be committed with them. */
export type Prepared = {
  readonly journals: readonly JournalAppend[];
  readonly payloads: readonly StoredPayload[];
  readonly processes: readonly ProcessRecord[];
  readonly requests: readonly RequestRecord[];
};

export type Head = { readonly events: number; readonly hash: string };

export class Process implements ProcessView {
  readonly pid: ProcessId;
  readonly life: Life;
  readonly spec: Spec;
  readonly task: Json;
  readonly tools: ReadonlyMap<string, ToolDefinition>;
  readonly key: SubjectKey;
  /** Children that exist in memory, so that a kill finds those whose creation is still on its way to disk. */
  readonly children: Set<ProcessId> = new Set();
  /** Where it stands among the others; made anew when that changes. */
  #standing: Standing;
  /** What humans have been asked for this process and have not decided. Whoever takes a request from here has decided it. */
  readonly openRequests: Map<RequestId, RequestRecord>;
  #record: ProcessRecord;
  #hash: string;
  #spentAtLoad: Spent | undefined;
  readonly #waitedAtLoad: boolean;
  #nowMs: () => number;
  /** Changes from outside that were prepared and that the run has not been told of. */
  #untold = 0;

  constructor(parts: {
    record: ProcessRecord;
    head: Head;
    life: Life;
    spec: Spec;
    task: Json;
    key: SubjectKey;
    openRequests: readonly RequestRecord[];
    nowMs: () => number;
  }) {
    this.pid = parts.record.pid;
    this.life = parts.life;
    this.spec = parts.spec;
    this.task = parts.task;
    this.tools = new Map(parts.spec.tools.map((tool) => [tool.name, tool]));
    this.key = parts.key;
    this.openRequests = new Map(parts.openRequests.map((record) => [record.request, record]));
    this.#record = { ...parts.record, events: parts.head.events };
    this.#standing = standingOf(parts.record);
    this.#hash = parts.head.hash;
    this.#spentAtLoad = parts.record.spent;
    this.#waitedAtLoad = parts.record.state === "waiting";
    this.#nowMs = parts.nowMs;
  }

  get record(): ProcessRecord {
    return this.#record;
  }
  get root(): ProcessId {
    return this.#record.root;
  }
  get manifest(): AgentManifest {
    return this.spec.agent.manifest;
  }
  get budget(): Budget {
    return this.#record.budget;
  }
  get spent(): Spent {
    return this.#record.spent;
  }
  get standing(): Standing {
    return this.#standing;
  }
  get deadlineMs(): number | null {
    return this.#record.deadlineMs;
  }
  /** Whether it, or a process above it, has ended: then nothing more is written for it. */
  get over(): boolean {
    for (let member: Life | null = this.life; member !== null; member = member.parent) if (member.exited) return true;
    return this.#record.state === "exited";
  }

  /** Gives events their place in the journal and the row its new form. Must be committed, in the order of preparation. */
  prepare(
    entries: readonly Entry[],
    extra: {
      payloads?: readonly StoredPayload[];
      requests?: readonly RequestRecord[];
      locks?: ProcessRecord["locks"] | undefined;
      exit?: Exit;
    } = {},
  ): Prepared {
    const before = this.#record;
    const events: StoredEvent[] = [];
    const payloads: StoredPayload[] = extra.payloads === undefined ? [] : [...extra.payloads];
    for (const entry of entries) {
      const atMs = this.#nowMs();
      const place = { pid: this.pid, seq: this.#record.events, atMs, before: this.#hash };
      const encoded = encodeEvent(entry, place, this.key);
      events.push(encoded.event);
      payloads.push(...encoded.payloads);
      this.#hash = encoded.event.hash;
      if (isFromOutside(entry.header)) this.#untold += 1;
      this.#record = project(this.#record, entry.header, atMs, extra.exit);
      if (entry.header.kind === "process.reclassed") this.#standing = standingOf(this.#record);
      if (entry.header.kind === "process.limited") this.life.budget = entry.header.budget;
    }
    if (extra.locks !== undefined) this.#record = { ...this.#record, locks: extra.locks };
    const requests = [...(extra.requests ?? []), ...this.#withdrawn()];
    for (const request of requests) {
      if (request.decided === null) this.openRequests.set(request.request, request);
      else this.openRequests.delete(request.request);
    }
    const journals = [{ pid: this.pid, expected: before.events, events }];
    return { journals, payloads, processes: this.#rowIfChanged(before), requests };
  }

  /**
   * A change of the row that is no event: all that the process does is wait. Undefined while the run has not been told of
   * everything from outside: it may have something to do, and a row that said otherwise would be believed after a crash.
   */
  prepareWaiting(): Prepared | undefined {
    if (this.#untold > 0 || this.#record.state !== "ready") return undefined;
    return this.#row("waiting");
  }

  /** The reverse, for a program that issues a call although its row says that it waits. Undefined where it does not say so. */
  prepareReady(): Prepared | undefined {
    if (this.#record.state !== "waiting") return undefined;
    this.#record = begun(this.#record);
    return this.#row("ready");
  }

  /** Whether it waits for the exit of one of these. */
  waitsFor(ended: ReadonlySet<ProcessId>): boolean {
    return this.#record.waits.some((wait) => wait.on === "process" && ended.has(wait.pid));
  }

  /** For a process that waits for the exit of another, which is being committed: makes it ready. It must be told afterwards. */
  prepareRoused(): Prepared[] {
    this.#untold += 1;
    return this.#record.state === "waiting" ? [this.#row("ready")] : [];
  }

  /** The run has been told of one change from outside, or there is no run to tell. */
  told(): void {
    this.#untold -= 1;
  }

  /** Whether its row may be behind its journal in what it has used up. One that waits, or is new, wrote what it knew. */
  get uncounted(): boolean {
    return this.#spentAtLoad !== undefined && this.#record.events > 1 && !this.#waitedAtLoad;
  }

  /** Corrects, once, what it has used up by what its journal says: a row may be older than the journal's end. */
  recount(recorded: Spent): void {
    const atLoad = this.#spentAtLoad;
    if (atLoad === undefined) return;
    const { spent } = this.#record;
    const corrected = (name: keyof Spent): number => recorded[name] + spent[name] - atLoad[name];
    this.#spentAtLoad = undefined;
    this.#record = {
      ...this.#record,
      spent: {
        calls: corrected("calls"),
        inputTokens: corrected("inputTokens"),
        outputTokens: corrected("outputTokens"),
        costUsd: corrected("costUsd"),
      },
    };
  }

  #row(state: "ready" | "waiting"): Prepared {
    this.#record = { ...this.#record, state };
    return { journals: [], payloads: [], processes: [this.#record], requests: [] };
  }

  /** What was asked for a process that is over needs no answer any more. */
  #withdrawn(): RequestRecord[] {
    if (this.#record.state !== "exited") return [];
    return [...this.openRequests.values()].map((record) => ({
      ...record,
      decided: { verdict: "withdrawn", by: this.pid },
    }));
  }

  /** Counters alone are not worth a row on every step: they are written when anything else is, and counted anew after a crash. */
  #rowIfChanged(before: ProcessRecord): ProcessRecord[] {
    const now = this.#record;
    const changed =
      before.state !== now.state ||
      before.waits !== now.waits ||
      // What bounds it must be right in the table: after a crash the accounts of a tree are opened from there.
      before.reservations !== now.reservations ||
      before.locks !== now.locks ||
      before.class !== now.class ||
      before.weight !== now.weight ||
      before.budget !== now.budget;
    return before.events === 0 || changed ? [now] : [];
  }
}

/** Where a process stands, by its row. */
export const standingOf = ({ pid, root, tenant, class: name, weight }: ProcessRecord): Standing => ({
  pid,
  root,
  tenant,
  class: name,
  weight,
});

/** Events that others append to the journal of a process that waits for them. */
const isFromOutside = ({ kind }: EventHeader): boolean => kind === "message.delivered" || kind === "request.decided";

/** Several preparations as one batch. */
export function batchOf(parts: readonly Prepared[]): Batch {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  return {
    journals: mergeJournals(parts.flatMap(({ journals }) => journals)),
    payloads: parts.flatMap(({ payloads }) => payloads),
    processes: parts.flatMap(({ processes }) => processes),
    requests: parts.flatMap(({ requests }) => requests),
  };
}

/** One append for each journal: what was prepared for it, in order. */
function mergeJournals(journals: readonly JournalAppend[]): JournalAppend[] {
  const merged = new Map<ProcessId, JournalAppend>();
  for (const journal of journals) {
    const known = merged.get(journal.pid);
    merged.set(journal.pid, known === undefined ? journal : { ...known, events: [...known.events, ...journal.events] });
  }
  return [...merged.values()];
}

/** An entry whose payloads are given as values. */
export function entryOf(header: EventHeader, payloads: { readonly [name: string]: Json } = {}): Entry {
  const texts: Record<string, string> = {};
  for (const name in payloads) texts[name] = JSON.stringify(payloads[name]);
  return { header, payloads: texts };
}

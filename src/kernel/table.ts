// The process table in memory: one object for each process that somebody is concerned with.
//
// Invariants:
//   T1. There is at most one Process object for a pid at a time, so there is one head to append to.
//   T2. It stays while it is pinned (its program runs, or an operation is under way on it) and is dropped after that.
//   T3. All processes of a tree share one Life for each ancestor, so the exit of one is seen by all below it at once.
import { agentManifestSchema } from "../abi/agents.ts";
import { OsError } from "../abi/errors.ts";
import type { ProcessId, SubjectId } from "../abi/ids.ts";
import type { Json } from "../abi/json.ts";
import { CALLS_IN_FLIGHT_MAX } from "../abi/limits.ts";
import type { Life } from "../ports/process.ts";
import type { Random } from "../ports/random.ts";
import type { ProcessRecord, Store } from "../ports/store.ts";
import { chainHash, CHAIN_START, payloadTexts, subjectKeyOf, type SubjectKey } from "./journal/events.ts";
import { openPage } from "./journal/page.ts";
import { Process, type Head, type Spec } from "./process.ts";

/** A process cannot have more requests open than calls under way. */
const REQUESTS_MAX = CALLS_IN_FLIGHT_MAX;

type Slot = { pins: number; readonly process: Promise<Process>; loaded?: Process };

const noSuchProcess = (pid: ProcessId): OsError =>
  new OsError("not_found", `There is no process ${pid}. \`reeve ps --all\` lists those that there are.`, {
    data: { what: "process", id: pid },
  });

const damaged = (pid: ProcessId, what: string): OsError =>
  new OsError(
    "conflict",
    `The journal of process ${pid} is damaged: ${what}. The process is not run, and nothing of it was changed. \`reeve doctor\` says what else is damaged; restore the data folder from a backup to get it back.`,
    { data: { what: "journal", id: pid } },
  );

export class ProcessTable {
  readonly #store: Store;
  readonly #random: Random;
  readonly #nowMs: () => number;
  readonly #slots = new Map<ProcessId, Slot>();
  readonly #lives = new Map<ProcessId, WeakRef<Life>>();
  readonly #forgotten = new FinalizationRegistry<ProcessId>((pid) => {
    // Another life of the same process may stand here by now.
    if (this.#lives.get(pid)?.deref() === undefined) this.#lives.delete(pid);
  });
  readonly #keys = new Map<SubjectId, Promise<SubjectKey>>();

  constructor(parts: { store: Store; random: Random; nowMs: () => number }) {
    this.#store = parts.store;
    this.#random = parts.random;
    this.#nowMs = parts.nowMs;
  }

  /** The process, in memory until `unpin`. Rejects with `not_found`. */
  async pin(pid: ProcessId): Promise<Process> {
    const slot = this.#slots.get(pid) ?? { pins: 0, process: this.#load(pid) };
    slot.pins += 1;
    this.#slots.set(pid, slot);
    try {
      slot.loaded = await slot.process;
      return slot.loaded;
    } catch (error) {
      this.#release(pid, slot);
      throw error;
    }
  }

  /** Gives back one pin. Does nothing for an object that has been forgotten, whoever stands in its place. */
  unpin(process: Process): void {
    const slot = this.#slots.get(process.pid);
    if (slot?.loaded === process) this.#release(process.pid, slot);
  }

  /** Runs `work` with the process in memory. */
  async with<T>(pid: ProcessId, work: (process: Process) => Promise<T> | T): Promise<T> {
    const process = await this.pin(pid);
    try {
      return await work(process);
    } finally {
      this.unpin(process);
    }
  }

  /** Takes in a process that is being created, pinned. */
  adopt(record: ProcessRecord, parts: { head: Head; life: Life; spec: Spec; task: Json; key: SubjectKey }): Process {
    const process = new Process({ record, ...parts, openRequests: [], nowMs: this.#nowMs });
    this.#remember(parts.life);
    this.#slots.set(record.pid, { pins: 1, process: Promise.resolve(process), loaded: process });
    return process;
  }

  /** The process, if it is in memory now. */
  loaded(pid: ProcessId): Process | undefined {
    return this.#slots.get(pid)?.loaded;
  }

  has(pid: ProcessId): boolean {
    return this.#slots.has(pid);
  }

  /** Forgets everything: after the store refused a batch, memory is no longer the truth. */
  clear(): void {
    this.#slots.clear();
    this.#lives.clear();
  }

  subjectKey(subject: SubjectId): Promise<SubjectKey> {
    const known = this.#keys.get(subject);
    if (known !== undefined) return known;
    const key = this.#store.subjectKey(subject, this.#random.bytes(32)).then((bytes) => subjectKeyOf(subject, bytes));
    this.#keys.set(subject, key);
    key.catch(() => this.#keys.delete(subject));
    return key;
  }

  /** The life of a process and its ancestors. */
  async life(pid: ProcessId): Promise<Life> {
    const known = this.#lives.get(pid)?.deref();
    if (known !== undefined) return known;
    const record = await this.#store.process(pid);
    if (record === undefined) throw noSuchProcess(pid);
    const parent = record.parent === null ? null : await this.life(record.parent);
    // Another load may have been quicker.
    return (
      this.#lives.get(pid)?.deref() ??
      this.#remember({ pid, parent, exited: record.state === "exited", budget: record.budget })
    );
  }

  #remember(life: Life): Life {
    this.#lives.set(life.pid, new WeakRef(life));
    this.#forgotten.register(life, life.pid);
    return life;
  }

  #release(pid: ProcessId, slot: Slot): void {
    slot.pins -= 1;
    if (slot.pins <= 0 && this.#slots.get(pid) === slot) this.#slots.delete(pid);
  }

  async #load(pid: ProcessId): Promise<Process> {
    const [record, last] = await Promise.all([this.#store.process(pid), this.#store.lastEvent(pid)]);
    if (record === undefined || last === undefined) throw noSuchProcess(pid);
    const [life, key, created, openRequests] = await Promise.all([
      this.life(pid),
      this.subjectKey(record.subject),
      this.created(record),
      this.#store.openRequests({ pid, limit: REQUESTS_MAX }),
    ]);
    const head = { events: last.seq + 1, hash: last.hash };
    return new Process({ record, head, life, ...created, key, openRequests, nowMs: this.#nowMs });
  }

  /**
   * What the process was created with. Rejects with `not_found` where the payload was erased, and with `conflict` where it, or
   * the event that names it, is not what was recorded: nothing is run on what somebody else may have written.
   */
  async created({ pid, subject }: ProcessRecord): Promise<{ readonly spec: Spec; readonly task: Json }> {
    const [stored, key] = await Promise.all([this.#store.events(pid, 0, 1), this.subjectKey(subject)]);
    if (stored.some(({ header, hash }) => chainHash(CHAIN_START, header) !== hash))
      throw damaged(pid, "its first event does not fit its hash");
    const { events, texts, wrong } = await openPage(this.#store, stored, key).catch((error: unknown) => {
      if (error instanceof SyntaxError) throw damaged(pid, "the payloads of its first event cannot be read");
      throw error;
    });
    const [first] = events;
    if (first === undefined) throw noSuchProcess(pid);
    const altered = Object.entries(first.opened.addresses).find(([, address]) => wrong.has(address));
    if (altered !== undefined) throw damaged(pid, `its ${altered[0]} is not what was recorded`);
    const { spec, task } = payloadTexts(first.opened, texts);
    if (spec === undefined || task === undefined)
      throw new OsError(
        "not_found",
        `What process ${pid} was created with has been erased; it can be listed, but not run.`,
        { data: { what: "payload", id: pid } },
      );
    return { spec: specOf(JSON.parse(spec) as Spec), task: JSON.parse(task) as Json };
  }
}

/** What was written before a field of the manifest was there has its default. */
function specOf({ agent, tools }: Spec): Spec {
  return { agent: { ...agent, manifest: agentManifestSchema.parse(agent.manifest) }, tools };
}

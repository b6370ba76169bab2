// A store in memory, for the simulation and for quick tests of the kernel. The medium is what outlives a crash: a store that is
// opened on it again goes on where the last commit left it. Texts are kept as a disk would keep them, so that nobody shares objects through it.
//
// Everything takes effect when it is called, and answers in a later microtask; there is no clock and no chance in it.
import { OsError } from "../../src/abi/errors.ts";
import type { Address, ProcessId, RequestId, SubjectId } from "../../src/abi/ids.ts";
import type {
  Batch,
  ProcessQuery,
  ProcessRecord,
  RequestRecord,
  ScheduleRecord,
  SourceRecord,
  Store,
  StoredEvent,
  StoreReport,
} from "../../src/ports/store.ts";

/** What becomes of an append: `crash_before` loses it, `crash_after` keeps it; either way the store is dead and its caller hears nothing but that. */
export type AppendFate = "commit" | "crash_before" | "crash_after";

export type MemoryStoreOptions = {
  /** Asked for each append that is in order; `n` counts those of this store from 0. */
  readonly onAppend?: (batch: Batch, n: number) => AppendFate;
};

/** What was committed. `owner` is the store that has it open. */
export class MemoryMedium {
  readonly journals = new Map<ProcessId, StoredEvent[]>();
  readonly payloads = new Map<Address, string>();
  /** JSON text by id, in the order of creation. */
  readonly processes = new Map<ProcessId, string>();
  readonly requests = new Map<RequestId, string>();
  readonly schedules = new Map<string, string>();
  readonly sources = new Map<string, string>();
  readonly keys = new Map<SubjectId, Uint8Array>();
  owner: Store | null = null;
}

/** Rejects with `store_busy` while another store that is neither closed nor crashed has the medium open. */
export async function openMemoryStore(medium: MemoryMedium, options: MemoryStoreOptions = {}): Promise<Store> {
  if (medium.owner !== null)
    throw new OsError("store_busy", "This medium is in use: another store has it open. Close that one first.", {
      data: { folder: "memory", owner: null },
    });
  const store = new MemoryStore(medium, options);
  medium.owner = store;
  return store;
}

class MemoryStore implements Store {
  readonly #medium: MemoryMedium;
  readonly #fate: (batch: Batch, n: number) => AppendFate;
  #appends = 0;
  #over: OsError | null = null;

  constructor(medium: MemoryMedium, { onAppend = () => "commit" }: MemoryStoreOptions) {
    this.#medium = medium;
    this.#fate = onAppend;
  }

  async append(batch: Batch): Promise<void> {
    const medium = this.#alive();
    for (const { pid, expected } of batch.journals) {
      const found = medium.journals.get(pid)?.length ?? 0;
      if (found !== expected)
        throw new OsError(
          "conflict",
          `The journal of ${pid} holds ${found} events and not ${expected}. Nothing of this batch was written; read the journal again.`,
          { data: { what: "journal", id: pid, expected, found } },
        );
    }
    checkSense(batch);
    const fate = this.#fate(batch, this.#appends);
    this.#appends += 1;
    if (fate !== "crash_before") commit(medium, batch);
    if (fate !== "commit") throw this.#end("it crashed, as it was told to");
  }

  async events(pid: ProcessId, from: number, limit: number): Promise<readonly StoredEvent[]> {
    const first = Math.max(from, 0);
    return (this.#alive().journals.get(pid) ?? []).slice(first, first + limit);
  }

  async lastEvent(pid: ProcessId): Promise<StoredEvent | undefined> {
    return this.#alive().journals.get(pid)?.at(-1);
  }

  async payloads(addresses: readonly Address[]): Promise<ReadonlyMap<Address, string>> {
    const { payloads } = this.#alive();
    return new Map(
      addresses.flatMap((address) => {
        const text = payloads.get(address);
        return text === undefined ? [] : [[address, text] as const];
      }),
    );
  }

  async process(pid: ProcessId): Promise<ProcessRecord | undefined> {
    const text = this.#alive().processes.get(pid);
    return text === undefined ? undefined : (JSON.parse(text) as ProcessRecord);
  }

  async processes(query: ProcessQuery): Promise<readonly ProcessRecord[]> {
    let records = this.#allProcesses();
    if (query.before !== undefined)
      records = records.slice(
        0,
        Math.max(
          records.findIndex(({ pid }) => pid === query.before),
          0,
        ),
      );
    records = records.filter(
      (record) =>
        (query.states?.includes(record.state) ?? true) &&
        record.root === (query.root ?? record.root) &&
        record.parent === (query.parent ?? record.parent) &&
        record.pid.startsWith(query.prefix ?? ""),
    );
    return (query.order === "oldest" ? records : records.toReversed()).slice(0, query.limit);
  }

  async due(untilMs: number, limit: number): Promise<readonly ProcessId[]> {
    return this.#timed()
      .filter(({ wakeMs }) => wakeMs <= untilMs)
      .slice(0, limit)
      .map(({ pid }) => pid);
  }

  async nextWakeMs(): Promise<number | null> {
    return this.#timed()[0]?.wakeMs ?? null;
  }

  async request(id: RequestId): Promise<RequestRecord | undefined> {
    const text = this.#alive().requests.get(id);
    return text === undefined ? undefined : (JSON.parse(text) as RequestRecord);
  }

  async openRequests({
    pid,
    limit,
  }: {
    readonly pid?: ProcessId;
    readonly limit: number;
  }): Promise<readonly RequestRecord[]> {
    const all = [...this.#alive().requests.values()].map((text) => JSON.parse(text) as RequestRecord);
    return all.filter((request) => request.decided === null && request.pid === (pid ?? request.pid)).slice(0, limit);
  }

  async schedule(name: string): Promise<ScheduleRecord | undefined> {
    const text = this.#alive().schedules.get(name);
    return text === undefined ? undefined : (JSON.parse(text) as ScheduleRecord);
  }

  async schedules(): Promise<readonly ScheduleRecord[]> {
    const { schedules } = this.#alive();
    return [...schedules.keys()].sort().map((name) => JSON.parse(schedules.get(name) ?? "") as ScheduleRecord);
  }

  async source(name: string): Promise<SourceRecord | undefined> {
    const text = this.#alive().sources.get(name);
    return text === undefined ? undefined : (JSON.parse(text) as SourceRecord);
  }

  async subjectKey(subject: SubjectId, fresh: Uint8Array): Promise<Uint8Array> {
    const { keys } = this.#alive();
    const key = keys.get(subject) ?? Uint8Array.from(fresh);
    keys.set(subject, key);
    return Uint8Array.from(key);
  }

  async report(): Promise<StoreReport> {
    const { journals, processes } = this.#alive();
    const events = [...journals.values()].reduce((sum, journal) => sum + journal.length, 0);
    return {
      driver: "memory",
      location: "memory",
      schemaVersion: 1,
      bytes: 0,
      processes: processes.size,
      events,
      durability: "none: it lives as long as its medium",
      durable: false,
    };
  }

  async check(): Promise<readonly string[]> {
    const { journals, processes } = this.#alive();
    return [...processes.keys()]
      .filter((pid) => (journals.get(pid)?.length ?? 0) === 0)
      .map((pid) => `The process ${pid} has no journal.`);
  }

  async close(): Promise<void> {
    if (this.#over === null) this.#end("it was closed before this call");
  }

  #alive(): MemoryMedium {
    if (this.#over !== null) throw this.#over;
    return this.#medium;
  }

  #end(why: string): OsError {
    this.#over = new OsError("store_failed", `The store in memory failed: ${why}. Open its medium again.`, {
      data: { reason: "io", folder: "memory" },
      retryable: false,
    });
    this.#medium.owner = null;
    return this.#over;
  }

  #allProcesses(): ProcessRecord[] {
    return [...this.#alive().processes.values()].map((text) => JSON.parse(text) as ProcessRecord);
  }

  /** Earliest first; those of the same moment in the order of creation, since sorting is stable. */
  #timed(): readonly { readonly pid: ProcessId; readonly wakeMs: number }[] {
    return this.#allProcesses()
      .flatMap(({ pid, state, wakeMs }) => (state === "waiting" && wakeMs !== null ? [{ pid, wakeMs }] : []))
      .toSorted((a, b) => a.wakeMs - b.wakeMs);
  }
}

function checkSense({ journals }: Batch): void {
  const orderly = journals.every(({ pid, expected, events }) =>
    events.every((event, at) => event.pid === pid && event.seq === expected + at),
  );
  if (!orderly || new Set(journals.map(({ pid }) => pid)).size < journals.length)
    throw new OsError("internal", "A batch for the store contradicts itself. Nothing was written.");
}

function commit(medium: MemoryMedium, batch: Batch): void {
  const { journals, payloads = [], processes = [], requests = [] } = batch;
  const { removedSchedules = [], schedules = [], sources = [] } = batch;
  for (const { pid, events } of journals) {
    const journal = medium.journals.get(pid);
    if (journal === undefined) medium.journals.set(pid, [...events]);
    else journal.push(...events);
  }
  for (const { address, text } of payloads) if (!medium.payloads.has(address)) medium.payloads.set(address, text);
  for (const record of processes) medium.processes.set(record.pid, JSON.stringify(record));
  for (const record of requests) medium.requests.set(record.request, JSON.stringify(record));
  for (const name of removedSchedules) medium.schedules.delete(name);
  for (const record of schedules) medium.schedules.set(record.name, JSON.stringify(record));
  for (const record of sources) medium.sources.set(record.name, JSON.stringify(record));
}

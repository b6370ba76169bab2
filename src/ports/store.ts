// The store: where journals live. Narrow and batch-shaped, so that one suite (test/conformance) can hold every driver to it.
//
// Contract:
//   S1. An `append` that resolves is durable: it survives the loss of power.
//   S2. An append is all or nothing, over every process it touches.
//   S3. An append whose `expected` is not the number of events the journal holds changes nothing and rejects with `conflict`.
//   S4. Appends that were called earlier are committed earlier, or fail together with every later one of the same commit.
//   S5. One owner: opening a store that another process has open rejects at once with `store_busy`.
//   S6. A failure of the medium rejects with `store_failed` (data.reason: full, read_only, corrupt, io, version) and loses nothing
//       that was acknowledged before; when the cause is gone the same store works on.
//
// The tables of processes and requests are projections of the journals, written with them for the sake of queries;
// a driver does not interpret them beyond the fields named here.
import type { Address, ProcessId, RequestId, SubjectId } from "../abi/ids.ts";
import type { ProcessRow, ProcessState, Spent } from "../abi/process.ts";
import type { Schedule } from "../abi/schedules.ts";
import type { InboxItem } from "../abi/requests.ts";
import type { ToolPin } from "../abi/tools.ts";
import type { HeldLock } from "./scheduler.ts";

/** An event as bytes: `header` is the exact JSON text that the hash covers. */
export type StoredEvent = {
  readonly pid: ProcessId;
  readonly seq: number;
  readonly header: string;
  /** base64url, 43 characters. */
  readonly hash: string;
  /** JSON text of { address: payload text } for small payloads; null if there is none. */
  readonly inline: string | null;
};

/** A payload too large to stand in its event; kept once, whoever refers to it. */
export type StoredPayload = {
  readonly address: Address;
  readonly subject: SubjectId;
  /** JSON text. */
  readonly text: string;
};

export type ProcessRecord = ProcessRow & {
  readonly subject: SubjectId;
  /** When the earliest of its timed waits is over, or its deadline comes; null if neither is set. Milliseconds since 1970. */
  readonly wakeMs: number | null;
  /** What its calls under way have reserved; `reserved` is the sum. */
  readonly reservations: readonly { readonly call: number; readonly amounts: Spent }[];
  readonly locks: readonly HeldLock[];
};

/** An inbox item with its state; `decided` ones stay, so that a second decision is told who was first. */
export type RequestRecord = InboxItem & { readonly decided: { readonly verdict: string; readonly by: string } | null };

/** Schedules are no projection: this record is all there is of one. */
export type ScheduleRecord = Schedule;

/** What was taken from a source of tools, so that a change is seen. No projection either. */
export type SourceRecord = {
  readonly name: string;
  readonly firstSeenMs: number;
  readonly tools: readonly ToolPin[];
};

export type JournalAppend = {
  readonly pid: ProcessId;
  /** Events that the journal holds before this append. */
  readonly expected: number;
  readonly events: readonly StoredEvent[];
};

export type Batch = {
  readonly journals: readonly JournalAppend[];
  readonly payloads?: readonly StoredPayload[];
  /** Rows to insert or replace, by pid. */
  readonly processes?: readonly ProcessRecord[];
  /** Rows to insert or replace, by request id. */
  readonly requests?: readonly RequestRecord[];
  /** Names of schedules to remove, if they are there; before those of this batch are inserted. */
  readonly removedSchedules?: readonly string[];
  /** Schedules to insert or replace, by name. */
  readonly schedules?: readonly ScheduleRecord[];
  /** Sources of tools to insert or replace, by name. */
  readonly sources?: readonly SourceRecord[];
};

export type ProcessQuery = {
  readonly states?: readonly ProcessState[];
  readonly root?: ProcessId;
  readonly parent?: ProcessId;
  /** A beginning of a pid. */
  readonly prefix?: string;
  /** Only those created before this one. */
  readonly before?: ProcessId;
  /** `newest` first (the default) or `oldest` first, by creation. */
  readonly order?: "newest" | "oldest";
  readonly limit: number;
};

export type StoreReport = {
  readonly driver: string;
  readonly location: string;
  readonly schemaVersion: number;
  readonly bytes: number;
  readonly processes: number;
  readonly events: number;
  /** What makes appends durable here, as read back from the store itself. */
  readonly durability: string;
  /** Whether that is enough for S1. */
  readonly durable: boolean;
};

export interface Store {
  append(batch: Batch): Promise<void>;
  /** Events from `from` on, in order, at most `limit`. An unknown process has none. */
  events(pid: ProcessId, from: number, limit: number): Promise<readonly StoredEvent[]>;
  /** The last event, or undefined for an unknown process. */
  lastEvent(pid: ProcessId): Promise<StoredEvent | undefined>;
  /** Texts by address; addresses that are not there are missing from the answer. */
  payloads(addresses: readonly Address[]): Promise<ReadonlyMap<Address, string>>;
  process(pid: ProcessId): Promise<ProcessRecord | undefined>;
  processes(query: ProcessQuery): Promise<readonly ProcessRecord[]>;
  /** Waiting processes whose `wakeMs` is at most `untilMs`, earliest first. */
  due(untilMs: number, limit: number): Promise<readonly ProcessId[]>;
  /** The earliest `wakeMs` of all waiting processes, or null. */
  nextWakeMs(): Promise<number | null>;
  request(id: RequestId): Promise<RequestRecord | undefined>;
  /** Undecided requests, oldest first; of one process if named. */
  openRequests(query: { readonly pid?: ProcessId; readonly limit: number }): Promise<readonly RequestRecord[]>;
  schedule(name: string): Promise<ScheduleRecord | undefined>;
  /** All of them, by name. */
  schedules(): Promise<readonly ScheduleRecord[]>;
  source(name: string): Promise<SourceRecord | undefined>;
  /** The subject's key: 32 bytes. `fresh` becomes the key, durably, if there is none yet. */
  subjectKey(subject: SubjectId, fresh: Uint8Array): Promise<Uint8Array>;
  report(): Promise<StoreReport>;
  /** Reads everything back and says what is damaged; an empty list means sound. */
  check(): Promise<readonly string[]>;
  close(): Promise<void>;
}

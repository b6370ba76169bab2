// What passes between the store's face and its thread, and how batches are packed for the way.
//
// A batch crosses as a run of flat cells in one array for the whole group: copying nested objects to another thread
// costs more than writing them to SQLite does. Layout, in this order:
//   counts of journals, payloads, processes, requests, removed schedules, schedules, sources
//   journal: pid, expected, count of events, then for each event header, hash, inline
//   payload: address, subject, text
//   process: pid, parent, root, state, wakeMs, record as JSON
//   request: id, pid, 1 if undecided, record as JSON
//   removed schedule: name
//   schedule: name, record as JSON
//   source: name, record as JSON
import type { ErrorRecord } from "../../abi/errors.ts";
import { OsError } from "../../abi/errors.ts";
import type { Batch, JournalAppend, ProcessQuery } from "../../ports/store.ts";

export type Cell = string | number | null;
export type Row = readonly Cell[];

/** The questions that the thread answers. Rows come as cells, records as JSON text. */
export type Reads = {
  /** header, hash, inline of each event, from `from` on. */
  events: { ask: { readonly pid: string; readonly from: number; readonly limit: number }; answer: Row };
  /** seq, header, hash, inline of the newest; empty if there is none. */
  last: { ask: { readonly pid: string }; answer: Row };
  /** address, text of each that is there. */
  payloads: { ask: { readonly addresses: readonly string[] }; answer: readonly string[] };
  process: { ask: { readonly pid: string }; answer: string | undefined };
  processes: { ask: { readonly query: ProcessQuery }; answer: readonly string[] };
  due: { ask: { readonly untilMs: number; readonly limit: number }; answer: readonly string[] };
  nextWakeMs: { ask: object; answer: number | null };
  request: { ask: { readonly id: string }; answer: string | undefined };
  openRequests: { ask: { readonly pid: string | null; readonly limit: number }; answer: readonly string[] };
  schedule: { ask: { readonly name: string }; answer: string | undefined };
  schedules: { ask: object; answer: readonly string[] };
  source: { ask: { readonly name: string }; answer: string | undefined };
  report: { ask: object; answer: Totals };
};
export type ReadKind = keyof Reads;
export type ReadRequest = {
  readonly [Kind in ReadKind]: { readonly kind: Kind; readonly ask: Reads[Kind]["ask"] };
}[ReadKind];

export type Totals = {
  readonly schemaVersion: number;
  readonly bytes: number;
  readonly processes: number;
  readonly events: number;
  readonly durability: string;
  readonly durable: boolean;
};

export type KeyRequest = { readonly subject: string; readonly fresh: Uint8Array };

export type ToThread =
  | {
      readonly kind: "group";
      readonly cells: Row;
      readonly keys: readonly KeyRequest[];
      readonly reads: readonly ReadRequest[];
      /** Whether the thread is to stay awake for the next one. */
      readonly awake: boolean;
    }
  | { readonly kind: "close" };

export type WriteOutcome = {
  /** Batches that were left out, by their place in the group. */
  readonly conflicts: readonly { readonly at: number; readonly error: ErrorRecord }[];
  readonly keys: readonly Uint8Array[];
};

export type FromThread =
  | { readonly kind: "opened" }
  | { readonly kind: "refused"; readonly error: ErrorRecord }
  | {
      readonly kind: "group";
      readonly written: WriteOutcome | ErrorRecord;
      readonly reads: readonly ({ readonly answer: unknown } | ErrorRecord)[];
    }
  | { readonly kind: "checked"; readonly damage: readonly string[] }
  | { readonly kind: "closed"; readonly error: ErrorRecord | null };

export const isError = (outcome: object): outcome is ErrorRecord => "code" in outcome;

/**
 * Adds a batch to the cells and answers with its size in characters. Throws, and leaves the cells as they were, if the
 * batch contradicts itself: that is the caller's fault, and must not reach the group it would travel in.
 */
export function packBatch(cells: Cell[], batch: Batch): number {
  const start = cells.length;
  const {
    journals,
    payloads = [],
    processes = [],
    requests = [],
    removedSchedules = [],
    schedules = [],
    sources = [],
  } = batch;
  let chars = 0;
  try {
    if (journals.length > 1 && new Set(journals.map(({ pid }) => pid)).size < journals.length)
      throw misuse("names a journal twice");
    cells.push(journals.length, payloads.length, processes.length, requests.length);
    cells.push(removedSchedules.length, schedules.length, sources.length);
    for (const journal of journals) chars += packJournal(cells, journal);
    for (const { address, subject, text } of payloads) {
      cells.push(address, subject, text);
      chars += text.length;
    }
    for (const record of processes)
      cells.push(record.pid, record.parent, record.root, record.state, record.wakeMs, JSON.stringify(record));
    for (const record of requests)
      cells.push(record.request, record.pid, record.decided === null ? 1 : 0, JSON.stringify(record));
    cells.push(...removedSchedules);
    for (const record of schedules) cells.push(record.name, JSON.stringify(record));
    for (const record of sources) {
      const text = JSON.stringify(record);
      cells.push(record.name, text);
      chars += text.length;
    }
    return chars;
  } catch (error) {
    cells.length = start;
    throw error;
  }
}

function packJournal(cells: Cell[], { pid, expected, events }: JournalAppend): number {
  cells.push(pid, expected, events.length);
  let chars = 0;
  let seq = expected;
  for (const event of events) {
    if (event.seq !== seq || event.pid !== pid)
      throw misuse(`holds event ${event.seq} of ${event.pid} where event ${seq} of ${pid} belongs`);
    cells.push(event.header, event.hash, event.inline);
    chars += event.header.length + (event.inline?.length ?? 0);
    seq += 1;
  }
  return chars;
}

const misuse = (what: string): OsError =>
  new OsError(
    "internal",
    `A batch for the store ${what}. That is a fault of Reeve itself; nothing was written. Please report it.`,
  );

export type PackedJournal = {
  readonly pid: string;
  readonly expected: number;
  readonly count: number;
  /** Where its events begin. */ readonly at: number;
};

/** Reads packed cells in the order in which they were packed. */
export class Unpacker {
  readonly #cells: Row;
  #at = 0;

  constructor(cells: Row) {
    this.#cells = cells;
  }

  get done(): boolean {
    return this.#at >= this.#cells.length;
  }

  get at(): number {
    return this.#at;
  }

  skip(cells: number): void {
    this.#at += cells;
  }

  cell(): Cell {
    const cell = this.#cells[this.#at];
    this.#at += 1;
    return cell ?? null;
  }

  text(): string {
    return this.cell() as string;
  }

  number(): number {
    return this.cell() as number;
  }
}

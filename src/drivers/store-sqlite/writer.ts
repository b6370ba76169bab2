// Group commit: the batches that came together, in one transaction.
//
//   W1. A batch is checked whole before any of it is written, so one that conflicts leaves nothing behind and
//       the others of its group go on.
//   W2. Any failure while writing undoes the whole group, and what is remembered of the database with it.
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { ErrorRecord } from "../../abi/errors.ts";
import { MARK_EVERY_EVENTS } from "./migrations.ts";
import type { KeyRequest, PackedJournal, Row, WriteOutcome } from "./wire.ts";
import { Unpacker } from "./wire.ts";

/** The newest event of a journal, and how many there are. */
type Head = { readonly journal: number; events: number; last: number };

/** Journals whose heads are remembered; beyond that all are forgotten and read again. */
const HEADS_MAX = 20_000;

const NO_WRITES: WriteOutcome = { conflicts: [], keys: [] };

export class Writer {
  readonly #db: DatabaseSync;
  readonly #sql: ReturnType<typeof prepare>;
  readonly #heads = new Map<string, Head>();
  /** Row number of the newest event; null if it has to be read. */
  #last: number | null = null;

  constructor(db: DatabaseSync) {
    this.#db = db;
    this.#sql = prepare(db);
  }

  /** Commits durably, or throws what SQLite threw and has changed nothing. */
  commit(cells: Row, keys: readonly KeyRequest[]): WriteOutcome {
    if (cells.length === 0 && keys.length === 0) return NO_WRITES;
    try {
      if (this.#db.isTransaction) this.#sql.rollback.run();
      this.#sql.begin.run();
      const conflicts = this.#putBatches(cells);
      const answers = keys.map((request) => this.#key(request));
      this.#sql.commit.run();
      return { conflicts, keys: answers };
    } catch (error) {
      this.#undo();
      throw error;
    }
  }

  #undo(): void {
    this.#heads.clear();
    this.#last = null;
    try {
      if (this.#db.isTransaction) this.#sql.rollback.run();
    } catch {
      // The failure that led here is the one to tell. A transaction that is still open is rolled back before the next begins.
    }
  }

  #putBatches(cells: Row): WriteOutcome["conflicts"] {
    const conflicts: { at: number; error: ErrorRecord }[] = [];
    const from = new Unpacker(cells);
    if (this.#heads.size > HEADS_MAX) this.#heads.clear();
    for (let at = 0; !from.done; at += 1) {
      const error = this.#putBatch(cells, from);
      if (error !== null) conflicts.push({ at, error });
    }
    return conflicts;
  }

  /** Writes the batch unless it conflicts; reads its cells to the end either way. */
  #putBatch(cells: Row, from: Unpacker): ErrorRecord | null {
    const [journals, payloads, processes, requests] = [from.number(), from.number(), from.number(), from.number()];
    const [removed, schedules, sources] = [from.number(), from.number(), from.number()];
    const appends: PackedJournal[] = [];
    let error: ErrorRecord | null = null;
    for (let left = journals; left > 0; left -= 1) {
      const append = { pid: from.text(), expected: from.number(), count: from.number(), at: from.at };
      from.skip(append.count * 3);
      appends.push(append);
      error ??= conflictOf(append, this.#head(append.pid)?.events ?? 0);
    }
    if (error !== null) {
      from.skip(payloads * 3 + processes * 6 + requests * 4 + removed + schedules * 2 + sources * 2);
      return error;
    }
    for (const append of appends) this.#append(cells, append);
    for (let left = payloads; left > 0; left -= 1) this.#sql.putPayload.run(from.cell(), from.cell(), from.cell());
    for (let left = processes; left > 0; left -= 1) this.#putProcess(from);
    for (let left = requests; left > 0; left -= 1)
      this.#sql.putRequest.run(from.cell(), from.cell(), from.cell(), from.cell());
    for (let left = removed; left > 0; left -= 1) this.#sql.removeSchedule.run(from.cell());
    for (let left = schedules; left > 0; left -= 1) this.#sql.putSchedule.run(from.cell(), from.cell());
    for (let left = sources; left > 0; left -= 1) this.#sql.putSource.run(from.cell(), from.cell());
    return null;
  }

  #append(cells: Row, { pid, expected, count, at }: PackedJournal): void {
    const head = this.#head(pid) ?? this.#newJournal(pid);
    if (count === 0) return;
    let n = (this.#last ??= Number(this.#sql.newest.get()?.["n"] ?? 0));
    for (let event = 0; event < count; event += 1) {
      const seq = expected + event;
      const cell = at + event * 3;
      n += 1;
      this.#sql.putEvent.run(
        n,
        head.journal,
        seq,
        head.last,
        cells[cell] ?? null,
        cells[cell + 1] ?? null,
        cells[cell + 2] ?? null,
      );
      if ((seq + 1) % MARK_EVERY_EVENTS === 0) this.#sql.putMark.run(head.journal, seq, n);
      head.last = n;
    }
    head.events = expected + count;
    this.#last = n;
    this.#sql.moveHead.run(head.events, n, head.journal);
  }

  #putProcess(from: Unpacker): void {
    const pid = from.text();
    const [parent, root, state, wakeMs, record] = [from.cell(), from.cell(), from.cell(), from.cell(), from.cell()];
    const { journal } = this.#head(pid) ?? this.#newJournal(pid);
    // Most often only the record is new, and then no index needs to be touched.
    const { changes } = this.#sql.putRecord.run(record, journal, state, wakeMs, parent, root);
    if (changes === 0) this.#sql.putProcess.run(journal, parent, root, state, wakeMs, record);
  }

  #head(pid: string): Head | undefined {
    const known = this.#heads.get(pid);
    if (known !== undefined) return known;
    const row = this.#sql.head.get(pid) as Head | undefined;
    if (row !== undefined) this.#heads.set(pid, row);
    return row;
  }

  #newJournal(pid: string): Head {
    const head = { journal: Number(this.#sql.newJournal.run(pid).lastInsertRowid), events: 0, last: 0 };
    this.#heads.set(pid, head);
    return head;
  }

  #key({ subject, fresh }: KeyRequest): Uint8Array {
    this.#sql.putKey.run(subject, fresh);
    return this.#sql.key.get(subject)?.["key"] as Uint8Array;
  }
}

function conflictOf({ pid, expected }: PackedJournal, found: number): ErrorRecord | null {
  if (found === expected) return null;
  const message = `The journal of ${pid} holds ${found} events and not ${expected}: somebody else appended to it, or it was read too long ago. Nothing of this batch was written; read the journal again.`;
  return { code: "conflict", message, retryable: false, data: { what: "journal", id: pid, expected, found } };
}

function prepare(db: DatabaseSync): { readonly [name in keyof typeof SQL]: StatementSync } {
  const entries = Object.entries(SQL).map(([name, sql]) => [name, db.prepare(sql)] as const);
  return Object.fromEntries(entries) as { [name in keyof typeof SQL]: StatementSync };
}

const SQL = {
  begin: "BEGIN IMMEDIATE",
  commit: "COMMIT",
  rollback: "ROLLBACK",
  head: "SELECT journal, events, last FROM journals WHERE pid = ?",
  newest: "SELECT max(n) AS n FROM events",
  newJournal: "INSERT INTO journals (pid, events, last) VALUES (?, 0, 0)",
  moveHead: "UPDATE journals SET events = ?, last = ? WHERE journal = ?",
  putEvent: "INSERT INTO events (n, journal, seq, prev, header, hash, inline) VALUES (?, ?, ?, ?, ?, ?, ?)",
  putMark: "INSERT INTO marks (journal, seq, n) VALUES (?, ?, ?)",
  putPayload: "INSERT INTO payloads (address, subject, text) VALUES (?, ?, ?) ON CONFLICT (address) DO NOTHING",
  putRecord:
    "UPDATE processes SET record = ? WHERE journal = ? AND state = ? AND wake_ms IS ? AND parent IS ? AND root = ?",
  putProcess: `INSERT INTO processes (journal, parent, root, state, wake_ms, record) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (journal) DO UPDATE SET parent = excluded.parent, root = excluded.root, state = excluded.state, wake_ms = excluded.wake_ms, record = excluded.record`,
  putRequest: `INSERT INTO requests (id, pid, open, record) VALUES (?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET pid = excluded.pid, open = excluded.open, record = excluded.record`,
  removeSchedule: "DELETE FROM schedules WHERE name = ?",
  putSchedule:
    "INSERT INTO schedules (name, record) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET record = excluded.record",
  putSource:
    "INSERT INTO sources (name, record) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET record = excluded.record",
  putKey: "INSERT INTO subjects (subject, key) VALUES (?, ?) ON CONFLICT (subject) DO NOTHING",
  key: "SELECT key FROM subjects WHERE subject = ?",
} as const;

// Answers questions from the database. Runs on the store's thread, between commits, so it sees what was acknowledged and no more.
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { OsError } from "../../abi/errors.ts";
import type { ProcessQuery } from "../../ports/store.ts";
import { bytesOf, durabilityOf } from "./database.ts";
import { storeFailed } from "./faults.ts";
import { SCHEMA_VERSION } from "./migrations.ts";
import type { Cell, ReadKind, Reads, Row, Totals } from "./wire.ts";

type Head = { readonly journal: number; readonly events: number; readonly last: number };

/**
 * Walks a journal backwards, since each event knows the one before it: from row n, which has to hold this seq of this
 * journal, to `first`; gives the events before `end`. A link that leads astray ends the walk.
 */
const WALK = `
  WITH RECURSIVE walk (n, journal, seq, prev) AS (
    SELECT n, journal, seq, prev FROM events WHERE n = ?1 AND journal = ?2 AND seq = ?3
    UNION ALL
    SELECT earlier.n, earlier.journal, earlier.seq, earlier.prev
      FROM walk CROSS JOIN events AS earlier ON earlier.n = walk.prev
     WHERE walk.seq > ?4 AND earlier.journal = walk.journal AND earlier.seq = walk.seq - 1
  )
  SELECT header, hash, inline FROM walk CROSS JOIN events ON events.n = walk.n WHERE walk.seq < ?5`;

export class Reader {
  readonly #db: DatabaseSync;
  readonly #folder: string;
  readonly #walk: StatementSync;
  /** By their text: a query of processes has as many as there are combinations of its fields. */
  readonly #statements = new Map<string, StatementSync>();

  constructor(db: DatabaseSync, folder: string) {
    this.#db = db;
    this.#folder = folder;
    this.#walk = db.prepare(WALK);
    this.#walk.setReturnArrays(true);
  }

  answer<Kind extends ReadKind>(kind: Kind, ask: Reads[Kind]["ask"]): Reads[Kind]["answer"] {
    return this.#answers[kind](ask);
  }

  readonly #answers: { readonly [Kind in ReadKind]: (ask: Reads[Kind]["ask"]) => Reads[Kind]["answer"] } = {
    events: ({ pid, from, limit }) => this.#events(pid, from, limit),
    last: ({ pid }) => this.#newest(pid),
    payloads: ({ addresses }) => this.#payloads(addresses),
    process: ({ pid }) => this.#text("SELECT record AS text FROM processes NATURAL JOIN journals WHERE pid = ?", pid),
    processes: ({ query }) => this.#processes(query),
    due: ({ untilMs, limit }) =>
      this.#texts(
        "SELECT pid AS text FROM processes INDEXED BY processes_wake NATURAL JOIN journals WHERE state = 'waiting' AND wake_ms <= ? ORDER BY wake_ms, journal LIMIT ?",
        untilMs,
        limit,
      ),
    nextWakeMs: () =>
      (this.#one(
        "SELECT min(wake_ms) AS at FROM processes INDEXED BY processes_wake WHERE state = 'waiting' AND wake_ms IS NOT NULL",
      )?.["at"] ?? null) as number | null,
    request: ({ id }) => this.#text("SELECT record AS text FROM requests WHERE id = ?", id),
    openRequests: ({ pid, limit }) =>
      pid === null
        ? this.#texts("SELECT record AS text FROM requests WHERE open = 1 ORDER BY n LIMIT ?", limit)
        : this.#texts("SELECT record AS text FROM requests WHERE open = 1 AND pid = ? ORDER BY n LIMIT ?", pid, limit),
    schedule: ({ name }) => this.#text("SELECT record AS text FROM schedules WHERE name = ?", name),
    schedules: () => this.#texts("SELECT record AS text FROM schedules ORDER BY name"),
    source: ({ name }) => this.#text("SELECT record AS text FROM sources WHERE name = ?", name),
    report: () => this.#totals(),
  };

  #events(pid: string, from: number, limit: number): Row {
    const head = this.#head(pid);
    const first = Math.max(from, 0);
    const end = Math.min(first + limit, head?.events ?? 0);
    if (head === undefined || first >= end) return [];
    const mark = this.#one(
      "SELECT seq, n FROM marks WHERE journal = ? AND seq >= ? ORDER BY seq LIMIT 1",
      head.journal,
      end - 1,
    );
    const [seq, n] = [Number(mark?.["seq"] ?? head.events - 1), Number(mark?.["n"] ?? head.last)];
    const rows = this.#walk.all(n, head.journal, seq, first, end) as unknown as readonly Row[];
    if (rows.length !== end - first) throw this.#gap(head.journal, end - 1 - rows.length);
    // Newest first, as the walk went.
    const cells: Cell[] = [];
    for (let at = rows.length - 1; at >= 0; at -= 1) cells.push(...(rows[at] ?? []));
    return cells;
  }

  #newest(pid: string): Row {
    const head = this.#head(pid);
    if (head === undefined || head.events === 0) return [];
    const seq = head.events - 1;
    const [newest] = this.#walk.all(head.last, head.journal, seq, seq, seq + 1) as unknown as readonly Row[];
    if (newest === undefined) throw this.#gap(head.journal, seq);
    return [seq, ...newest];
  }

  #head(pid: string): Head | undefined {
    return this.#one("SELECT journal, events, last FROM journals WHERE pid = ?", pid) as Head | undefined;
  }

  #gap(journal: number, seq: number): OsError {
    return storeFailed(
      this.#folder,
      "corrupt",
      `event ${seq} of journal number ${journal} is not where the event after it says`,
    );
  }

  #payloads(addresses: readonly string[]): readonly string[] {
    const found: string[] = [];
    for (const address of addresses) {
      const text = this.#text("SELECT text FROM payloads WHERE address = ?", address);
      if (text !== undefined) found.push(address, text);
    }
    return found;
  }

  /** Creation order is that of journal numbers. One pass for each state that is asked for, each along an index, and the best of all of them. */
  #processes(query: ProcessQuery): readonly string[] {
    const sign = query.order === "oldest" ? 1 : -1;
    const found: { readonly journal: number; readonly text: string }[] = [];
    for (const state of query.states === undefined ? [null] : new Set(query.states)) {
      const { sql, values } = processSql(query, state);
      found.push(...(this.#statement(sql).all(...values) as typeof found));
    }
    found.sort((a, b) => sign * (a.journal - b.journal));
    return found.slice(0, query.limit).map(({ text }) => text);
  }

  #totals(): Totals {
    const events = Number(this.#one("SELECT max(n) AS count FROM events")?.["count"] ?? 0);
    const processes = Number(this.#one("SELECT count(*) AS count FROM processes")?.["count"]);
    return {
      schemaVersion: SCHEMA_VERSION,
      bytes: bytesOf(this.#db, this.#folder),
      processes,
      events,
      ...durabilityOf(this.#db),
    };
  }

  #text(sql: string, ...values: Cell[]): string | undefined {
    return this.#one(sql, ...values)?.["text"] as string | undefined;
  }

  #texts(sql: string, ...values: Cell[]): readonly string[] {
    return this.#statement(sql)
      .all(...values)
      .map((row) => row["text"] as string);
  }

  #one(sql: string, ...values: Cell[]): ReturnType<StatementSync["get"]> {
    return this.#statement(sql).get(...values);
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/** A unary plus keeps the planner from an index that another condition of the query makes pointless. */
function processSql(
  { root, parent, prefix, before, order, limit }: ProcessQuery,
  state: string | null,
): { readonly sql: string; readonly values: Cell[] } {
  const narrow = root !== undefined || parent !== undefined || prefix !== undefined;
  const conditions: string[] = [];
  const values: Cell[] = [];
  const add = (condition: string, ...bound: Cell[]): void => {
    conditions.push(condition);
    values.push(...bound);
  };
  if (prefix !== undefined) add("pid >= ? AND pid < ?", prefix, `${prefix}\u{10ffff}`);
  if (root !== undefined) add("root = ?", root);
  if (parent !== undefined) add("parent = ?", parent);
  if (state !== null) add(narrow ? "+state = ?" : "state = ?", state);
  if (before !== undefined) add("journal < (SELECT journal FROM journals WHERE pid = ?)", before);
  const where = conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`;
  const direction = order === "oldest" ? "ASC" : "DESC";
  return {
    sql: `SELECT processes.journal, record AS text FROM processes ${prefix === undefined ? "" : "NATURAL JOIN journals"} ${where} ORDER BY ${narrow ? "+" : ""}processes.journal ${direction} LIMIT ?`,
    values: [...values, limit],
  };
}

// The child process in which SQLite runs: a remote control for one connection, started by sqlite-link.ts.
//
// It is a process and not a thread since what SQLite computes can be ended in no other way: Node gives no interrupt, and a
// thread in the engine ends when the engine is done.
//
// Invariants:
//   K1. A statement runs under an authoriser that allows what its tool may do, whatever a parser made of it.
//   K2. It ends with its parent, also while a statement runs, and when it takes more memory than it is given.
import { constants, DatabaseSync, type Session, type SQLInputValue } from "node:sqlite";
import { Worker } from "node:worker_threads";
import { FUNCTIONS_REFUSED, PRAGMAS_READ } from "./classify-sqlite.ts";
import type { Order, Ran, Reply } from "./sqlite-link.ts";
import { Gathered, jsonOfSqlite } from "./values.ts";

/** All that the process holds. Bytes. */
const MEMORY_BYTES_MAX = 512 * 1024 * 1024;
/** One value, or one row as it is stored. Bytes. */
const VALUE_BYTES_MAX = 16 * 1024 * 1024;
/** What one call may add to the file, committed or not: a statement that is rolled back has filled the disk before. Bytes. */
const GROWTH_BYTES_MAX = 256 * 1024 * 1024;
/** What is handed over of the rows that were touched: the parent reads it while others wait. Bytes. */
const CHANGESET_BYTES_MAX = 4 * 1024 * 1024;

// The engine blocks this thread, so another looks after it.
const watch = new Worker(
  `const parent = ${process.ppid};
   setInterval(() => {
     if (process.ppid !== parent || process.memoryUsage.rss() > ${MEMORY_BYTES_MAX}) process.kill(process.pid, "SIGKILL");
   }, 100);`,
  { eval: true },
);
watch.unref();

let database: DatabaseSync | undefined;
let session: Session | undefined;

const {
  SQLITE_OK: OK,
  SQLITE_DENY: DENY,
  SQLITE_SELECT,
  SQLITE_READ,
  SQLITE_FUNCTION,
  SQLITE_RECURSIVE,
  SQLITE_PRAGMA,
  SQLITE_INSERT,
  SQLITE_UPDATE,
  SQLITE_DELETE,
} = constants;
const READS = new Set([SQLITE_SELECT, SQLITE_READ, SQLITE_RECURSIVE]);
const CHANGES = new Set([SQLITE_INSERT, SQLITE_UPDATE, SQLITE_DELETE]);
const DEFINES = new Set([
  constants.SQLITE_CREATE_INDEX,
  constants.SQLITE_CREATE_TABLE,
  constants.SQLITE_CREATE_VIEW,
  constants.SQLITE_DROP_INDEX,
  constants.SQLITE_DROP_TABLE,
  constants.SQLITE_DROP_TRIGGER,
  constants.SQLITE_DROP_VIEW,
  constants.SQLITE_DROP_VTABLE,
  constants.SQLITE_ALTER_TABLE,
  constants.SQLITE_REINDEX,
]);

type Allow = Extract<Order, { op: "run" }>["allow"];

function verdict(allow: Allow, action: number, first: string | null, second: string | null): number {
  if (READS.has(action)) return OK;
  if (action === SQLITE_FUNCTION) return FUNCTIONS_REFUSED.has((second ?? "").toLowerCase()) ? DENY : OK;
  if (action === SQLITE_PRAGMA) return PRAGMAS_READ.has((first ?? "").toLowerCase()) ? OK : DENY;
  if (allow === "read") return DENY;
  if (CHANGES.has(action)) return allow === "define" || !(first ?? "").toLowerCase().startsWith("sqlite_") ? OK : DENY;
  return allow === "define" && DEFINES.has(action) ? OK : DENY;
}

function perform(order: Order): Ran | null {
  if (order.op === "open") {
    close();
    const address = new URL(`file://${order.file.split("/").map(encodeURIComponent).join("/")}`);
    address.searchParams.set("mode", order.write ? "rw" : "ro");
    database = new DatabaseSync(address, {
      readOnly: !order.write,
      timeout: order.busyMs,
      limits: { length: VALUE_BYTES_MAX, attach: 0 },
    });
    // Sorting on disk would be bounded by nothing.
    database.exec(
      `PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;${order.write ? "" : " PRAGMA query_only = ON;"}`,
    );
    if (order.write) {
      const pages = single(database, "PRAGMA page_count") + GROWTH_BYTES_MAX / single(database, "PRAGMA page_size");
      database.exec(`PRAGMA max_page_count = ${Math.ceil(pages)}`);
    }
    return null;
  }
  if (order.op === "close") {
    close();
    return null;
  }
  if (database === undefined) throw new Error("No database is open.");
  if (order.op === "run") return run(database, order);
  database.setAuthorizer(null);
  database.exec(order.op);
  return null;
}

function close(): void {
  session = undefined;
  database?.close();
  database = undefined;
}

function run(open: DatabaseSync, order: Extract<Order, { op: "run" }>): Ran {
  const total = totalOf(open);
  if (order.record) session = open.createSession();
  open.setAuthorizer((action, first, second) => verdict(order.allow, action, first, second));
  const statement = open.prepare(order.sql);
  statement.setReadBigInts(true);
  statement.setReturnArrays(true);
  const gathered = new Gathered(order.rowsMax);
  const params = order.params as readonly SQLInputValue[];
  const columns = statement.columns().map(({ name }) => name);
  if (columns.length === 0) statement.run(...params);
  else
    for (const row of statement.iterate(...params) as Iterable<unknown>)
      if (!gathered.add((row as unknown[]).map(jsonOfSqlite))) {
        // Rows that a change answers with are counted on; those of a query are left where they are.
        if (order.allow === "read") break;
      }
  open.setAuthorizer(null);
  const changeset = session?.changeset();
  session?.close();
  session = undefined;
  const { rows, cut } = gathered;
  return {
    ...{ columns, rows, cut },
    ...changesOf(open, total),
    // A view of a part would carry the whole with it.
    changeset: changeset === undefined ? null : changeset.slice(0, CHANGESET_BYTES_MAX),
    changesetCut: (changeset?.length ?? 0) > CHANGESET_BYTES_MAX,
  };
}

const single = (open: DatabaseSync, sql: string): number =>
  Number(Object.values(open.prepare(sql).get() ?? {})[0] ?? 0);
function totalOf(open: DatabaseSync): number {
  open.setAuthorizer(null);
  return single(open, "SELECT total_changes()");
}
/** What the statement touched itself, and with all that followed from it. */
function changesOf(open: DatabaseSync, before: number): { readonly changes: number; readonly followed: number } {
  const all = totalOf(open) - before;
  const changes = all === 0 ? 0 : single(open, "SELECT changes()");
  return { changes, followed: all - changes };
}

process.on("message", (order: Order) => {
  let reply: Reply;
  try {
    reply = { ok: perform(order) };
  } catch (error) {
    // Which code it is tells the parent what to say; the rest is the engine's sentence.
    const { errcode } = error as { errcode?: number };
    reply = { error: error instanceof Error ? error.message : String(error), code: errcode ?? 0 };
  }
  process.send?.(reply);
});
process.on("disconnect", () => process.exit(0));

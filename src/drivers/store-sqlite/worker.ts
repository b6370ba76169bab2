// The store's thread: owns the folder and the database, and takes one group after another. Started by store.ts, with what it is
// to do as its data: `serve` until told to close, or `check` beside the one that serves, and end.
import { parentPort, workerData } from "node:worker_threads";
import type { MessagePort } from "node:worker_threads";
import type { DatabaseSync } from "node:sqlite";
import { checkDatabase } from "./check.ts";
import { closeDatabase, openDatabase, openForReading, prepareFolder } from "./database.ts";
import { faultOf } from "./faults.ts";
import type { Ownership } from "./owner.ts";
import { takeOwnership } from "./owner.ts";
import { Reader } from "./reader.ts";
import { Vigil } from "./vigil.ts";
import type { FromThread, ReadRequest, ToThread } from "./wire.ts";
import { Writer } from "./writer.ts";

export type ThreadTask = { readonly folder: string; readonly task: "serve" | "check" };

/** Does the work of a call and gives its result, or the error as a record, for the way to the other thread. */
function attempt<T>(folder: string, work: () => T): T | ReturnType<ReturnType<typeof faultOf>["toJSON"]> {
  try {
    return work();
  } catch (error) {
    return faultOf(error, folder).toJSON();
  }
}

function open(folder: string): { readonly owner: Ownership; readonly db: DatabaseSync } {
  prepareFolder(folder);
  const owner = takeOwnership(folder);
  try {
    return { owner, db: openDatabase(folder) };
  } catch (error) {
    owner.release();
    throw error;
  }
}

function serve(folder: string, port: MessagePort): void {
  const tell = (message: FromThread): void => port.postMessage(message);
  const opened = attempt(folder, () => open(folder));
  if ("code" in opened) return tell({ kind: "refused", error: opened });
  const { db, owner } = opened;
  const writer = new Writer(db);
  const reader = new Reader(db, folder);
  const vigil = new Vigil();
  port.on("message", (message: ToThread) => {
    vigil.end();
    if (message.kind === "close") return close();
    const written = attempt(folder, () => writer.commit(message.cells, message.keys));
    const reads = message.reads.map(({ kind, ask }: ReadRequest) =>
      attempt(folder, () => ({ answer: reader.answer(kind, ask) })),
    );
    tell({ kind: "group", written, reads });
    if (message.awake) vigil.begin();
  });
  const close = (): void => {
    const failed = attempt(folder, () => {
      try {
        closeDatabase(db);
      } finally {
        owner.release();
      }
      return null;
    });
    tell({ kind: "closed", error: failed });
    port.close();
  };
  tell({ kind: "opened" });
}

function check(folder: string, port: MessagePort): void {
  const db = openForReading(folder);
  try {
    port.postMessage({ kind: "checked", damage: checkDatabase(db) } satisfies FromThread);
  } finally {
    db.close();
  }
}

const { folder, task } = workerData as ThreadTask;
if (parentPort === null) throw new Error("worker.ts is the store's thread; it is started by store.ts.");
if (task === "serve") serve(folder, parentPort);
else check(folder, parentPort);

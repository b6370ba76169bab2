// The embedded store: SQLite by `node:sqlite`, on a thread of its own, in one folder.
//
// Boundary: this file is the port's face. The thread (worker.ts) owns the folder (owner.ts) and the database (database.ts),
// commits (writer.ts) and answers (reader.ts); the line between them (link.ts) gathers calls into groups.
import { resolve } from "node:path";
import { Worker } from "node:worker_threads";
import { OsError } from "../../abi/errors.ts";
import type { Address, ProcessId, RequestId, SubjectId } from "../../abi/ids.ts";
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
} from "../../ports/store.ts";
import { storeFailed } from "./faults.ts";
import { firstWord, ThreadLink } from "./link.ts";
import type { Row } from "./wire.ts";
import { packBatch } from "./wire.ts";
import type { ThreadTask } from "./worker.ts";

/** The length of a subject's key. Bytes. */
const KEY_BYTES = 32;

/**
 * Opens the store in `folder`, which is made if it is not there. Rejects with `store_busy` if it is open elsewhere, and with
 * `store_failed` (data.reason: full, read_only, corrupt, io, version) if it cannot be used; nothing is changed then.
 */
export async function openSqliteStore(options: { readonly folder: string }): Promise<Store> {
  const folder = resolve(options.folder);
  const worker = startThread({ folder, task: "serve" });
  // Listened for from the start: a thread that refuses may end in the same breath.
  const ended = new Promise((done) => worker.once("exit", done));
  const word = await firstWord(worker, folder);
  if (word.kind === "refused") {
    await ended;
    throw OsError.from(word.error);
  }
  return new SqliteStore(new ThreadLink(worker, folder), folder);
}

/** The thread's file has the ending of this one: .ts from source, .js as built. */
function startThread(task: ThreadTask): Worker {
  const ending = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return new Worker(new URL(`worker.${ending}`, import.meta.url), {
    workerData: task,
    name: `reeve-store-${task.task}`,
    execArgv: [],
  });
}

class SqliteStore implements Store {
  readonly #link: ThreadLink;
  readonly #folder: string;
  readonly #checks = new Set<Worker>();

  constructor(link: ThreadLink, folder: string) {
    this.#link = link;
    this.#folder = folder;
  }

  append(batch: Batch): Promise<void> {
    return this.#link.write((cells) => packBatch(cells, batch));
  }

  async events(pid: ProcessId, from: number, limit: number): Promise<readonly StoredEvent[]> {
    const cells = await this.#link.read("events", { pid, from, limit });
    const first = Math.max(from, 0);
    return Array.from({ length: cells.length / 3 }, (_, at) =>
      storedEvent(pid, first + at, cells.slice(at * 3, at * 3 + 3)),
    );
  }

  async lastEvent(pid: ProcessId): Promise<StoredEvent | undefined> {
    const [seq, ...cells] = await this.#link.read("last", { pid });
    return typeof seq === "number" ? storedEvent(pid, seq, cells) : undefined;
  }

  async payloads(addresses: readonly Address[]): Promise<ReadonlyMap<Address, string>> {
    const cells = await this.#link.read("payloads", { addresses });
    const texts = new Map<Address, string>();
    for (let at = 0; at < cells.length; at += 2) texts.set(cells[at] as Address, cells[at + 1] as string);
    return texts;
  }

  async process(pid: ProcessId): Promise<ProcessRecord | undefined> {
    return parsed(await this.#link.read("process", { pid })) as ProcessRecord | undefined;
  }

  async processes(query: ProcessQuery): Promise<readonly ProcessRecord[]> {
    return (await this.#link.read("processes", { query })).map(parsed) as ProcessRecord[];
  }

  async due(untilMs: number, limit: number): Promise<readonly ProcessId[]> {
    return (await this.#link.read("due", { untilMs, limit })) as readonly ProcessId[];
  }

  nextWakeMs(): Promise<number | null> {
    return this.#link.read("nextWakeMs", {});
  }

  async request(id: RequestId): Promise<RequestRecord | undefined> {
    return parsed(await this.#link.read("request", { id })) as RequestRecord | undefined;
  }

  async openRequests({
    pid,
    limit,
  }: {
    readonly pid?: ProcessId;
    readonly limit: number;
  }): Promise<readonly RequestRecord[]> {
    return (await this.#link.read("openRequests", { pid: pid ?? null, limit })).map(parsed) as RequestRecord[];
  }

  async schedule(name: string): Promise<ScheduleRecord | undefined> {
    return parsed(await this.#link.read("schedule", { name })) as ScheduleRecord | undefined;
  }

  async schedules(): Promise<readonly ScheduleRecord[]> {
    return (await this.#link.read("schedules", {})).map(parsed) as ScheduleRecord[];
  }

  async source(name: string): Promise<SourceRecord | undefined> {
    return parsed(await this.#link.read("source", { name })) as SourceRecord | undefined;
  }

  async subjectKey(subject: SubjectId, fresh: Uint8Array): Promise<Uint8Array> {
    if (fresh.length !== KEY_BYTES)
      throw new OsError("internal", `A subject's key has ${KEY_BYTES} bytes, not ${fresh.length}. Please report it.`);
    return this.#link.key({ subject, fresh: Uint8Array.from(fresh) });
  }

  async report(): Promise<StoreReport> {
    return { driver: "sqlite", location: this.#folder, ...(await this.#link.read("report", {})) };
  }

  /** On a thread of its own, since it reads everything and appends should not wait for that. */
  async check(): Promise<readonly string[]> {
    this.#link.assertOpen();
    const worker = startThread({ folder: this.#folder, task: "check" });
    this.#checks.add(worker);
    try {
      const word = await firstWord(worker, this.#folder);
      if (word.kind !== "checked") throw storeFailed(this.#folder, "io", "its check gave no answer");
      return word.damage;
    } finally {
      this.#checks.delete(worker);
    }
  }

  async close(): Promise<void> {
    // A reader that is still open would keep the log from being copied into the database.
    await Promise.all([...this.#checks].map((worker) => worker.terminate()));
    await this.#link.close();
  }
}

function storedEvent(pid: ProcessId, seq: number, [header, hash, inline]: Row): StoredEvent {
  return { pid, seq, header: header as string, hash: hash as string, inline: inline as string | null };
}

/** A record as it was stored; the port's types say what it is. */
const parsed = (text: string | undefined): unknown => (text === undefined ? undefined : JSON.parse(text));

// The line to the store's thread.
//
//   L1. One group is under way at a time; whatever is called meanwhile makes up the next. This is what commits many with one flush.
//   L2. Calls keep their order, within a group and between groups.
//   L3. When the thread dies, every call that waits and every later one is rejected.
//   L4. Where few wait for a group, both sides stay awake for what comes next (vigil.ts), if that pays (wakefulness.ts).
import type { Worker } from "node:worker_threads";
import type { ErrorRecord } from "../../abi/errors.ts";
import { OsError } from "../../abi/errors.ts";
import { faultOf, storeClosed, storeFailed } from "./faults.ts";
import { Vigil } from "./vigil.ts";
import { Wakefulness } from "./wakefulness.ts";
import type { Cell, FromThread, KeyRequest, ReadKind, ReadRequest, Reads, ToThread, WriteOutcome } from "./wire.ts";
import { isError } from "./wire.ts";

type Waiter<T> = { readonly resolve: (value: T) => void; readonly reject: (error: OsError) => void };

type Group = {
  readonly cells: Cell[];
  readonly batches: Waiter<void>[];
  readonly keys: KeyRequest[];
  readonly keyWaiters: Waiter<Uint8Array>[];
  readonly reads: ReadRequest[];
  readonly readWaiters: Waiter<unknown>[];
  chars: number;
};

/** A group takes no more when it has so much text or so many questions, so that neither memory nor waiting grows without bound. */
const GROUP_CHARS_MAX = 16 * 1024 * 1024;
const GROUP_READS_MAX = 64;

/** So many batches of one turn go ahead of the rest of it, so that the thread works while the turn goes on. */
const EARLY_BATCHES = 32;

/** Where more than so many wait for a group there is other work meanwhile. */
const FEW_CALLS = 4;

const newGroup = (): Group => ({
  cells: [],
  batches: [],
  keys: [],
  keyWaiters: [],
  reads: [],
  readWaiters: [],
  chars: 0,
});
const isFull = (group: Group): boolean => group.chars >= GROUP_CHARS_MAX || group.reads.length >= GROUP_READS_MAX;
const isSmall = ({ batches, reads }: Group): boolean => batches.length + reads.length <= FEW_CALLS;

export class ThreadLink {
  readonly #worker: Worker;
  readonly #folder: string;
  readonly #waiting: Group[] = [];
  #flying: Group | null = null;
  #scheduled = false;
  readonly #vigil = new Vigil();
  readonly #wakefulness = new Wakefulness();
  #sentMs = 0;
  /** Why no more calls are taken. */
  #over: OsError | null = null;
  #closing: { readonly promise: Promise<void>; readonly waiter: Waiter<void>; sent: boolean } | null = null;

  /** `worker` runs worker.ts and has said that it is open. */
  constructor(worker: Worker, folder: string) {
    this.#worker = worker;
    this.#folder = folder;
    worker.on("message", (message: FromThread) => this.#receive(message));
    worker.on("error", (error) => this.#die(error));
    worker.on("messageerror", (error) => this.#die(error));
    worker.on("exit", (code) => this.#die(new Error(`it ended with status ${code}`)));
    if (worker.threadId === -1) this.#die(new Error("it ended at once"));
    // An idle store does not keep the program alive; a call that waits does.
    worker.unref();
  }

  /** Throws what a call would be rejected with now, if no more are taken. */
  assertOpen(): void {
    if (this.#over !== null) throw this.#over;
  }

  /** `pack` adds the batch to the cells and gives its size in characters; what it throws is the answer. */
  write(pack: (cells: Cell[]) => number): Promise<void> {
    return this.#join((group, waiter) => {
      group.chars += pack(group.cells);
      group.batches.push(waiter);
    });
  }

  key(request: KeyRequest): Promise<Uint8Array> {
    return this.#join((group, waiter) => {
      group.keys.push(request);
      group.keyWaiters.push(waiter);
    });
  }

  read<Kind extends ReadKind>(kind: Kind, ask: Reads[Kind]["ask"]): Promise<Reads[Kind]["answer"]> {
    return this.#join((group, waiter) => {
      group.reads.push({ kind, ask } as ReadRequest);
      group.readWaiters.push(waiter as Waiter<unknown>);
    });
  }

  /** Lets what was called before finish, then closes. Idempotent. */
  close(): Promise<void> {
    if (this.#closing !== null) return this.#closing.promise;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#closing = { promise, waiter: { resolve, reject }, sent: false };
    if (this.#over !== null) resolve();
    else this.#schedule();
    this.#over ??= storeClosed(this.#folder);
    return promise;
  }

  #join<T>(enter: (group: Group, waiter: Waiter<T>) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.assertOpen();
      let group = this.#waiting.at(-1);
      if (group === undefined || isFull(group)) {
        group = newGroup();
        this.#waiting.push(group);
      }
      enter(group, { resolve, reject });
      if (this.#flying === null && group.batches.length >= EARLY_BATCHES) this.#send();
      else this.#schedule();
    });
  }

  /** At the end of this turn of the event loop, so that all that are called in it travel together. */
  #schedule(): void {
    if (this.#scheduled || this.#flying !== null) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#send();
    });
  }

  #send(): void {
    if (this.#flying !== null) return;
    const group = this.#waiting.shift();
    if (group !== undefined) {
      const { cells, keys, reads } = group;
      const awake = isSmall(group) && this.#wakefulness.awake;
      this.#flying = group;
      this.#sentMs = performance.now();
      this.#post({ kind: "group", cells, keys, reads, awake });
      if (awake) this.#vigil.begin();
    } else if (this.#closing === null) {
      this.#worker.unref();
    } else if (!this.#closing.sent) {
      this.#closing.sent = true;
      this.#post({ kind: "close" });
    }
  }

  #post(message: ToThread): void {
    this.#worker.ref();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- to a thread, not to a window
    this.#worker.postMessage(message);
  }

  #receive(message: FromThread): void {
    if (message.kind === "closed") return this.#finish(message.error);
    const group = this.#flying;
    if (message.kind !== "group" || group === null) return;
    this.#flying = null;
    this.#vigil.end();
    if (isSmall(group)) this.#wakefulness.took(performance.now() - this.#sentMs);
    // The thread gets its next group before this one's callers hear of theirs, so that both sides work at once.
    this.#send();
    if (isError(message.written)) rejectAll([...group.batches, ...group.keyWaiters], message.written);
    else settleWrites(group, message.written);
    for (const [at, read] of message.reads.entries()) {
      const waiter = group.readWaiters[at];
      if (isError(read)) waiter?.reject(OsError.from(read));
      else waiter?.resolve(read.answer);
    }
  }

  #finish(error: ErrorRecord | null): void {
    const waiter = this.#closing?.waiter;
    if (error === null) waiter?.resolve();
    else waiter?.reject(OsError.from(error));
  }

  #die(cause: unknown): void {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const error = storeFailed(
      this.#folder,
      "io",
      `its thread has died (${reason}); a call that was under way may or may not have been written. Start again to reopen it`,
      cause,
    );
    this.#over ??= error;
    const groups = this.#flying === null ? this.#waiting : [this.#flying, ...this.#waiting];
    for (const group of groups.splice(0))
      rejectAll([...group.batches, ...group.keyWaiters, ...group.readWaiters], error);
    this.#flying = null;
    this.#waiting.length = 0;
    this.#closing?.waiter.reject(error);
  }
}

function settleWrites(group: Group, { conflicts, keys }: WriteOutcome): void {
  for (const { at, error } of conflicts) group.batches[at]?.reject(OsError.from(error));
  // Those that were rejected stay so; the others are durable now.
  for (const waiter of group.batches) waiter.resolve();
  for (const [at, key] of keys.entries()) group.keyWaiters[at]?.resolve(key);
}

function rejectAll(waiters: readonly Pick<Waiter<never>, "reject">[], error: ErrorRecord): void {
  for (const waiter of waiters) waiter.reject(OsError.from(error));
}

/**
 * The first word of a thread that was just started. Rejects with `store_failed` if it died without one. The listeners stay, since
 * a thread whose error nobody listens to would end the program.
 */
export function firstWord(worker: Worker, folder: string): Promise<FromThread> {
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", (error) => reject(faultOf(error, folder)));
    worker.once("exit", (code) =>
      reject(storeFailed(folder, "io", `its thread ended with status ${code} before it could begin`)),
    );
  });
}

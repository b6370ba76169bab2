// The one way to the store for everything that changes: commits in the order of preparation, then tells.
import type { ProcessId } from "../abi/ids.ts";
import type { Store } from "../ports/store.ts";
import type { Bus } from "./journal/bus.ts";
import { batchOf, type Prepared } from "./process.ts";

export class Commits {
  readonly #store: Store;
  readonly #bus: Bus;
  readonly #onFailure: (error: unknown) => void;
  readonly #underWay = new Map<ProcessId, Promise<void>>();

  /** `onFailure` hears of every batch that the store refused: what is in memory is then ahead of the journal. */
  constructor(parts: { store: Store; bus: Bus; onFailure: (error: unknown) => void }) {
    this.#store = parts.store;
    this.#bus = parts.bus;
    this.#onFailure = parts.onFailure;
  }

  /**
   * Makes what was prepared durable, all or nothing. Must be called in the same turn as the preparation,
   * so that batches reach the store in the order of their seqs.
   */
  commit(...parts: readonly Prepared[]): Promise<void> {
    const batch = batchOf(parts);
    const done = this.#store.append(batch).then(
      () => this.#bus.publish(batch),
      (error: unknown) => {
        this.#onFailure(error);
        throw error;
      },
    );
    // A row that is new comes with its journal or alone; tracked twice is tracked once.
    for (const { pid } of batch.journals) this.#track(pid, done);
    for (const { pid } of batch.processes ?? []) this.#track(pid, done);
    return done;
  }

  /** Resolves when everything that was committed for the process so far is on disk, or has failed. */
  async settled(pid: ProcessId): Promise<void> {
    await this.#underWay.get(pid);
  }

  #track(pid: ProcessId, done: Promise<void>): void {
    // Whoever committed hears of a failure; here only the end matters.
    const over = (): void => {
      if (this.#underWay.get(pid) === ended) this.#underWay.delete(pid);
    };
    const ended = done.then(over, over);
    this.#underWay.set(pid, ended);
  }
}

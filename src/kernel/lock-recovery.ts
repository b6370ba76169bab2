// Locks across restarts: what processes held when the system stopped is taken back before anybody is given a lock.
import type { ProcessId } from "../abi/ids.ts";
import type { Locks } from "../ports/scheduler.ts";
import type { Store } from "../ports/store.ts";
import { ALIVE, rowsOf } from "./rows.ts";
import type { ProcessTable } from "./table.ts";

export class LockRecovery {
  readonly #store: Store;
  readonly #table: ProcessTable;
  readonly #locks: Locks;
  #restored: Promise<void> | undefined;

  constructor(parts: { store: Store; table: ProcessTable; locks: Locks }) {
    this.#store = parts.store;
    this.#table = parts.table;
    this.#locks = parts.locks;
  }

  /** Resolves when what the table says is held is held. Read once, when the first lock is asked for: most systems use none. */
  restored(): Promise<void> {
    this.#restored ??= this.#restore().catch((error: unknown) => {
      this.#restored = undefined;
      throw error;
    });
    return this.#restored;
  }

  /** What is in memory is no longer the truth: it is read again. */
  clear(): void {
    this.#restored = undefined;
  }

  async #restore(): Promise<void> {
    for await (const { pid, locks, waits } of rowsOf(this.#store, { states: ALIVE })) {
      if (locks.length === 0) continue;
      await this.#takeBack(pid);
      for (const wait of waits) if (wait.on === "process") this.#locks.waitsForExit(pid, wait.call, wait.pid);
    }
  }

  /** It may have ended since its row was read. */
  #takeBack(pid: ProcessId): Promise<void> {
    return this.#table.with(pid, (process) => {
      if (!process.over) this.#locks.restore(process.standing, process.record.locks);
    });
  }
}

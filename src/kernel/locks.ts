// Locks across restarts: what processes held when the system stopped is taken back before anybody is given a lock.
import type { ProcessId } from "../abi/ids.ts";
import type { Locks } from "../ports/scheduler.ts";
import type { Store } from "../ports/store.ts";
import type { ProcessTable } from "./table.ts";

const PAGE = 1000;
const ALIVE = ["ready", "running", "waiting", "stopped"] as const;

export class HeldLocks {
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
    for (let before: ProcessId | undefined; ;) {
      const page = await this.#store.processes({
        states: ALIVE,
        limit: PAGE,
        ...(before === undefined ? {} : { before }),
      });
      for (const { pid, locks, waits } of page) {
        if (locks.length === 0) continue;
        await this.#takeBack(pid);
        for (const wait of waits) if (wait.on === "process") this.#locks.waitsForExit(pid, wait.call, wait.pid);
      }
      before = page.at(-1)?.pid;
      if (page.length < PAGE) return;
    }
  }

  /** It may have ended since its row was read. */
  #takeBack(pid: ProcessId): Promise<void> {
    return this.#table.with(pid, (process) => {
      if (!process.over) this.#locks.restore(process.standing, process.record.locks);
    });
  }
}

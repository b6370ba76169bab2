// Workspaces that go by age: of processes that have been over for as long as the configuration keeps them, and with nothing in them that is
// nowhere else.
//
// Invariants:
//   R1. A round looks for a bounded time and goes on in the next one where it stopped: however many there are, the rest of the system
//       has the disk for itself most of the time.
//   R2. What cannot be removed now is left, and told once: a round never fails.
import { errorRecord, OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Services } from "./services.ts";
import { finishRemovals } from "./workspaces.ts";

/** After the start, when those who wait for it have been served; and from one round to the next. Milliseconds. */
const FIRST_MS = 60_000;
const ROUND_MS = 3_600_000;
/** How long one round may look. Milliseconds. */
const LOOKING_MS_MAX = 30_000;
/** In the journals of those whose workspaces go. */
const BY = "reeve";

export class Retention {
  readonly #services: Services;
  readonly #keepMs: number | undefined;
  readonly #told = new Set<ProcessId>();
  /** The last one of the round before, if that did not come to an end. */
  #after: ProcessId | undefined;
  #cancel = (): void => {};
  #closed = false;

  constructor(services: Services) {
    this.#services = services;
    this.#keepMs = services.options.limits.keepWorkspacesMs;
  }

  /** Finishes what a crash has cut off, and begins the rounds if anything is to go by age. */
  async start(): Promise<void> {
    await finishRemovals(this.#services);
    if (this.#keepMs !== undefined) this.#next(FIRST_MS);
  }

  #next(ms: number): void {
    if (this.#closed) return;
    this.#cancel = this.#services.ports.clock.after(ms, () => void this.#round().finally(() => this.#next(ROUND_MS)));
  }

  async #round(): Promise<void> {
    const { workspaces, clock } = this.#services.ports;
    const endMs = clock.nowMs() + LOOKING_MS_MAX;
    try {
      const all = await workspaces.list();
      const from = this.#after;
      const pids = from === undefined ? all : all.filter((pid) => pid > from);
      this.#after = undefined;
      for (const pid of pids) {
        if (this.#closed) return;
        await this.#remove(pid);
        if (clock.nowMs() < endMs) continue;
        this.#after = pid;
        return;
      }
    } catch (error) {
      this.#trouble(error);
    }
  }

  async #remove(pid: ProcessId): Promise<void> {
    const { store, workspaces, clock } = this.#services.ports;
    const record = await store.process(pid);
    if (record?.state !== "exited" || record.updatedMs > clock.nowMs() - (this.#keepMs ?? Infinity)) return;
    try {
      // A look costs little where nobody has been there since the last; most that stay are found so.
      if ((await workspaces.look(pid)).changed > 0) return;
      await this.#services.removals.remove({ pid, discard: false }, BY);
    } catch (error) {
      // It has come into use, has been changed, or is gone: its time comes again.
      if (OsError.is(error, "conflict") || OsError.is(error, "not_found")) return;
      if (this.#told.has(pid)) return;
      this.#told.add(pid);
      this.#trouble(error, pid);
    }
  }

  #trouble(error: unknown, pid?: ProcessId): void {
    const what = pid === undefined ? "Old workspaces were" : `The workspace of ${pid} was`;
    if (!this.#closed) this.#services.options.onTrouble(`${what} not removed: ${errorRecord(error).message}`);
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
  }
}

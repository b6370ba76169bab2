// A thread that expects a message at once stays awake for it: its event loop turns without sleeping.
//
// To fall asleep and be woken costs a thread tens of microseconds, most of all where the processor itself goes to sleep. A lone
// process pays that twice for each of its steps, on the way to the store's thread and on the way back, and it adds up to nearly as
// much as the flush.
//
//   G1. A vigil is kept only where the last wait was short enough to be worth it, and never for longer than that: a store that is
//       asked now and then, or a slow disk, has none.
//   G2. Each turn is a whole turn of the event loop: timers, sockets and other messages are served as ever.
//   G3. None is kept on a single processor, where it would hold up the very thread that it waits for.
import { availableParallelism } from "node:os";

/** What is waited for longer than this is slept for. Milliseconds: a few flushes of a fast disk. */
export const VIGIL_MS = 0.5;

export type Watch = {
  readonly nowMs: () => number;
  /** Has this called in the next turn of the event loop. */
  readonly nextTurn: (turn: () => void) => void;
  readonly processors: number;
};

const watch: Watch = {
  nowMs: () => performance.now(),
  nextTurn: (turn) => void setImmediate(turn),
  processors: availableParallelism(),
};

export class Vigil {
  readonly #watch: Watch;
  #fromMs = 0;
  /** The message has not come yet. */
  #waiting = false;
  #awake = false;
  #worthwhile = false;
  readonly #turn = (): void => {
    this.#awake = this.#waiting && this.#waitedMs() <= VIGIL_MS;
    if (this.#awake) this.#watch.nextTurn(this.#turn);
  };

  constructor(parts: Watch = watch) {
    this.#watch = parts;
  }

  /** The message may come from now on. */
  begin(): void {
    this.#fromMs = this.#watch.nowMs();
    this.#waiting = true;
    if (!this.#worthwhile || this.#awake) return;
    this.#awake = true;
    this.#watch.nextTurn(this.#turn);
  }

  /** It has come. Does nothing where none was expected. */
  end(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#worthwhile = this.#watch.processors > 1 && this.#waitedMs() <= VIGIL_MS;
  }

  #waitedMs(): number {
    return this.#watch.nowMs() - this.#fromMs;
  }
}

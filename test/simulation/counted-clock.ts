// A clock that knows how many of the timers that were set through it are still to come.
import type { Clock } from "../../src/ports/clock.ts";

export class CountedClock implements Clock {
  readonly #clock: Clock;
  #set = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get set(): number {
    return this.#set;
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  after(ms: number, fire: () => void): () => void {
    const timer = { set: true };
    this.#set += 1;
    const end = (): void => {
      if (timer.set) this.#set -= 1;
      timer.set = false;
    };
    const cancel = this.#clock.after(ms, () => {
      end();
      fire();
    });
    return () => {
      end();
      cancel();
    };
  }
}

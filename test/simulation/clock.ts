// Time that stands still until the simulation moves it.
import type { Clock } from "../../src/ports/clock.ts";

type Timer = { readonly atMs: number; readonly order: number; readonly fire: () => void };

export class SimulatedClock implements Clock {
  #nowMs = 1_800_000_000_000;
  #order = 0;
  readonly #timers = new Set<Timer>();

  nowMs(): number {
    return this.#nowMs;
  }

  after(ms: number, fire: () => void): () => void {
    const timer: Timer = { atMs: this.#nowMs + ms, order: (this.#order += 1), fire };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Moves to the next timer and fires it; false if there is none until `untilMs`, and then it is that time. */
  advance(untilMs = Infinity): boolean {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (next === undefined || timer.atMs < next.atMs || (timer.atMs === next.atMs && timer.order < next.order))
        next = timer;
    }
    if (next === undefined || next.atMs > untilMs) {
      if (untilMs < Infinity) this.#nowMs = Math.max(this.#nowMs, untilMs);
      return false;
    }
    this.#timers.delete(next);
    this.#nowMs = Math.max(this.#nowMs, next.atMs);
    next.fire();
    return true;
  }

  /** What was set by a system that is gone. */
  forget(): void {
    this.#timers.clear();
  }
}

// The time of one call: it ends when the manifest's time is up, or when the caller gives the call up.
import { OsError } from "../abi/errors.ts";
import type { Clock } from "../ports/clock.ts";
import type { GivenUp } from "./outcome.ts";

/** How long a source may take to say what it knows of a call after that was given up. */
const ABORT_GRACE_MS = 250;

/**
 * The limits under way of each caller's signal. A signal lives as long as a process is in memory and a limit as long as a call, so
 * one listener is added for all of them and stays as long as the signal does.
 */
const underWay = new WeakMap<AbortSignal, Set<Limit>>();

function limitsOf(signal: AbortSignal): Set<Limit> {
  const known = underWay.get(signal);
  if (known !== undefined) return known;
  const limits = new Set<Limit>();
  underWay.set(signal, limits);
  signal.addEventListener("abort", () => limits.forEach((limit) => limit.cancel()), { once: true });
  return limits;
}

/** What a race answers when the time was up first. */
export const GIVEN_UP: unique symbol = Symbol("given up");

export class Limit {
  #controller: AbortController | undefined;
  readonly #clock: Clock;
  readonly #cancelTimer: () => void;
  readonly #siblings: Set<Limit>;
  readonly #aborted = Promise.withResolvers<typeof GIVEN_UP>();
  #givenUp: GivenUp | undefined;

  constructor(timeoutMs: number, caller: AbortSignal, clock: Clock) {
    this.#clock = clock;
    this.#cancelTimer = clock.after(timeoutMs, () => this.#giveUp({ why: "timeout", afterMs: timeoutMs }));
    this.#siblings = limitsOf(caller).add(this);
    if (caller.aborted) this.cancel();
  }

  /** Made when it is first asked for: most calls are never given up, and many sources never look. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#givenUp !== undefined) this.#abort(this.#givenUp);
    }
    return this.#controller.signal;
  }

  get givenUp(): GivenUp | undefined {
    return this.#givenUp;
  }

  reason(): GivenUp {
    return this.#givenUp ?? { why: "cancelled" };
  }

  async race<T>(work: Promise<T>): Promise<T | typeof GIVEN_UP> {
    return Promise.race([this.#aborted.promise, work]);
  }

  /** As `race`, but leaves the work a moment to say what it knows of its own end. */
  async raceWithGrace<T>(work: Promise<T>): Promise<T | typeof GIVEN_UP> {
    let cancelGrace = (): void => {};
    const grace = new Promise<typeof GIVEN_UP>((resolve) => {
      const over = (): void => resolve(GIVEN_UP);
      void this.#aborted.promise.then(() => {
        cancelGrace = this.#clock.after(ABORT_GRACE_MS, over);
      });
    });
    return Promise.race([work, grace]).finally(() => cancelGrace());
  }

  end(): void {
    this.#cancelTimer();
    this.#siblings.delete(this);
  }

  /** The caller gives the call up. */
  cancel(): void {
    this.#giveUp({ why: "cancelled" });
  }

  #giveUp(givenUp: GivenUp): void {
    if (this.#givenUp !== undefined) return;
    this.#givenUp = givenUp;
    this.#aborted.resolve(GIVEN_UP);
    this.#abort(givenUp);
  }

  #abort({ why }: GivenUp): void {
    this.#controller?.abort(new OsError(why === "timeout" ? "timeout" : "cancelled", "The call was given up."));
  }
}

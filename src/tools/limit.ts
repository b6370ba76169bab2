// The time of one call: it ends when the manifest's time is up, or when the caller gives the call up.
import { OsError } from "../abi/errors.ts";
import type { Clock } from "../ports/clock.ts";
import type { GivenUp } from "./outcome.ts";

/** How long a source may take to say what it knows of a call after that was given up. */
const ABORT_GRACE_MS = 250;

/** What a race answers when the time was up first. */
export const GIVEN_UP: unique symbol = Symbol("given up");

export class Limit {
  #controller: AbortController | undefined;
  readonly #clock: Clock;
  readonly #cancelTimer: () => void;
  readonly #caller: AbortSignal;
  readonly #aborted = Promise.withResolvers<typeof GIVEN_UP>();
  #givenUp: GivenUp | undefined;

  constructor(timeoutMs: number, caller: AbortSignal, clock: Clock) {
    this.#caller = caller;
    this.#clock = clock;
    this.#cancelTimer = clock.after(timeoutMs, () => this.#giveUp({ why: "timeout", afterMs: timeoutMs }));
    if (caller.aborted) this.#cancelled();
    else caller.addEventListener("abort", this.#cancelled, { once: true });
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
    this.#caller.removeEventListener("abort", this.#cancelled);
  }

  readonly #cancelled = (): void => this.#giveUp({ why: "cancelled" });

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

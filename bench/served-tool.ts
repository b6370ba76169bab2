// A tool of few slots that takes a fixed time, and what it sees: when calls enter it, and how much of its slots' time is used.
//
// Whoever issues a call that is to be looked at says so with `issue`, and gives the call that name; its wait is the time from
// there to the tool's entry, with all that the system does between. Both are read from one clock.
import { setTimeout as delay } from "node:timers/promises";
import type { JsonObject } from "../src/abi/json.ts";
import { done, type NativeTool } from "./native-system.ts";

type Seen = { readonly issuedMs: number; enteredMs?: number };

export class ServedTool {
  readonly slots: number;
  readonly tool: NativeTool;
  readonly #serviceMs: number;
  readonly #calls = new Map<string, Seen>();
  #running = 0;
  #busyMs = 0;
  #sinceMs = performance.now();
  #longestMs = 0;
  #served = 0;

  constructor({ slots, serviceMs }: { readonly slots: number; readonly serviceMs: number }) {
    this.slots = slots;
    this.#serviceMs = serviceMs;
    this.tool = { declared: { effect: "read", concurrency: slots }, run: (args) => this.#serve(args) };
  }

  /** The longest time of service so far, by the clock. */
  get longestMs(): number {
    return this.#longestMs;
  }
  get served(): number {
    return this.#served;
  }

  /** A call of this name is issued now. Of a program that runs again on its journal the first time counts. */
  issue(name: string): void {
    if (!this.#calls.has(name)) this.#calls.set(name, { issuedMs: performance.now() });
  }

  /** Milliseconds from issue to entry, by name; what has not entered has waited until now. */
  waits(beginning: string): ReadonlyMap<string, { readonly waitedMs: number; readonly entered: boolean }> {
    const nowMs = performance.now();
    const named = [...this.#calls].filter(([name]) => name.startsWith(beginning));
    return new Map(
      named.map(([name, { issuedMs, enteredMs }]) => [
        name,
        { waitedMs: (enteredMs ?? nowMs) - issuedMs, entered: enteredMs !== undefined },
      ]),
    );
  }

  /** Slot time used so far: milliseconds in which a call ran, summed over the slots. */
  busyMs(): number {
    this.#account();
    return this.#busyMs;
  }

  async #serve({ name }: JsonObject): Promise<ReturnType<typeof done>> {
    this.#account();
    this.#running += 1;
    const enteredMs = this.#sinceMs;
    const seen = typeof name === "string" ? this.#calls.get(name) : undefined;
    if (seen !== undefined) seen.enteredMs ??= enteredMs;
    await delay(this.#serviceMs);
    this.#account();
    this.#running -= 1;
    this.#served += 1;
    this.#longestMs = Math.max(this.#longestMs, this.#sinceMs - enteredMs);
    return done("served");
  }

  #account(): void {
    const nowMs = performance.now();
    this.#busyMs += this.#running * (nowMs - this.#sinceMs);
    this.#sinceMs = nowMs;
  }
}

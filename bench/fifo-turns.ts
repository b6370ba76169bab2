// Turns first come, first served: what a system without classes does, for comparison.
//
// The same port and the same duties as the product's: a call whose process has left memory keeps its place, the process is called
// back when its turn has come, and meanwhile the next call that is there is served, so no slot is idle. Nothing else: no
// classes, no shares, no limits by the minute.
//
// Invariants:
//   1. At most `concurrency` slots of a resource are out; a slot is given back once.
//   2. Of the calls whose processes are in memory the one that came first is served first.
import type { ProcessId } from "../src/abi/ids.ts";
import { OsError } from "../src/abi/errors.ts";
import { CLASSES } from "../src/abi/scheduling.ts";
import type { Resource, ResourceLoad, Slot, Standing, Turns, TurnWait } from "../src/ports/scheduler.ts";

type Waiter = {
  who: Standing;
  readonly call: number;
  readonly sinceMs: number;
  /** Undefined while the process is out of memory. */
  grant: ((slot: Slot) => void) | undefined;
  summoned: boolean;
};

type Line = { readonly name: string; slots: number; inUse: number; readonly waiters: Set<Waiter> };

const AHEAD_MAX = 5;

export class FifoTurns implements Turns {
  readonly #summon: (pid: ProcessId) => void;
  readonly #lines = new Map<string, Line>();

  constructor(summon: (pid: ProcessId) => void) {
    this.#summon = summon;
  }

  take(
    who: Standing,
    { call, resource }: { readonly call: number; readonly resource: Resource },
    signal: AbortSignal,
  ): Promise<Slot> | Slot {
    const line = this.#lineOf(resource);
    const known = waitersOf(line, who.pid).find((waiter) => waiter.call === call);
    if (known === undefined && line.inUse < line.slots && line.waiters.size === 0) return this.#occupy(line);
    const waiter: Waiter = known ?? { who, call, sinceMs: Date.now(), grant: undefined, summoned: false };
    line.waiters.add(waiter);
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        // One that was parked is given up by its run as well, and stays in the line.
        if (waiter.grant !== grant) return;
        line.waiters.delete(waiter);
        reject(new OsError("cancelled", `The call was given up while it waited for ${resource.name}.`));
      };
      const grant = (slot: Slot): void => {
        signal.removeEventListener("abort", leave);
        resolve(slot);
      };
      waiter.grant = grant;
      signal.addEventListener("abort", leave, { once: true });
      this.#serve(line);
    });
  }

  park(pid: ProcessId): void {
    for (const line of this.#lines.values())
      for (const waiter of waitersOf(line, pid)) Object.assign(waiter, { grant: undefined, summoned: false });
  }

  forget(pid: ProcessId): void {
    for (const line of this.#lines.values()) for (const waiter of waitersOf(line, pid)) line.waiters.delete(waiter);
  }

  leave(pid: ProcessId, call: number): void {
    for (const line of this.#lines.values())
      for (const waiter of waitersOf(line, pid)) if (waiter.call === call) line.waiters.delete(waiter);
  }

  restand(...moved: readonly Standing[]): void {
    for (const who of moved)
      for (const line of this.#lines.values()) for (const waiter of waitersOf(line, who.pid)) waiter.who = who;
  }

  report(): void {}

  waits(pid: ProcessId): readonly TurnWait[] {
    return [...this.#lines.values()].flatMap((line) => {
      const ahead = [...line.waiters];
      return waitersOf(line, pid).map(({ call, sinceMs, ...waiter }) => {
        const position = ahead.findIndex((other) => other.who === waiter.who && other.call === call);
        const before = ahead.slice(0, Math.min(position, AHEAD_MAX)).map(({ who }) => who);
        const { name: resource, inUse, slots } = line;
        return { call, resource, position, ahead: before, inUse, slots, held: null, estimateMs: null, sinceMs };
      });
    });
  }

  estimateMs(): null {
    return null;
  }

  load(): readonly ResourceLoad[] {
    return [...this.#lines.values()].map(({ name, slots, inUse, waiters }) => {
      const waiting = Object.fromEntries(
        CLASSES.map((wanted) => [wanted, [...waiters].filter(({ who }) => who.class === wanted).length]),
      ) as ResourceLoad["waiting"];
      return { name, slots, inUse, waiting, meanServiceMs: null };
    });
  }

  #lineOf({ name, concurrency }: Resource): Line {
    const line = this.#lines.get(name) ?? { name, slots: concurrency, inUse: 0, waiters: new Set<Waiter>() };
    line.slots = concurrency;
    this.#lines.set(name, line);
    return line;
  }

  #occupy(line: Line): Slot {
    line.inUse += 1;
    let out = true;
    return {
      release: () => {
        if (!out) return;
        out = false;
        line.inUse -= 1;
        this.#serve(line);
      },
    };
  }

  #serve(line: Line): void {
    let absent = 0;
    for (const waiter of line.waiters) {
      if (line.inUse >= line.slots) return;
      if (waiter.grant !== undefined) {
        line.waiters.delete(waiter);
        waiter.grant(this.#occupy(line));
        continue;
      }
      absent += 1;
      // Only as many are called back at once as there are slots: not the whole flood.
      if (waiter.summoned || absent > line.slots) continue;
      waiter.summoned = true;
      this.#summon(waiter.who.pid);
    }
  }
}

const waitersOf = (line: Line, pid: ProcessId): Waiter[] => [...line.waiters].filter(({ who }) => who.pid === pid);

// A crowd at the scheduler's door, on a simulated clock: for its tests.
import { SimulatedClock } from "../../test/simulation/clock.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Class } from "../abi/scheduling.ts";
import type { Resource, Slot, Standing, Turns } from "../ports/scheduler.ts";
import { createTurns, type TurnsOptions } from "./turns.ts";

export const pidOf = (name: string | number): ProcessId => `p_${name}` as ProcessId;

/** A root of the default tenant, unless it is said otherwise. */
export const standing = (name: string | number, how: Partial<Standing> = {}): Standing => ({
  pid: pidOf(name),
  root: how.root ?? pidOf(name),
  tenant: "default",
  class: "standard",
  weight: 1,
  ...how,
});

export type Served = {
  readonly who: Standing;
  readonly call: number;
  readonly askedMs: number;
  readonly fromMs: number;
};

export type Demand = {
  readonly serviceMs: number;
  readonly tokens?: number;
  /** Asks again at its end, for ever. */
  readonly again?: boolean;
  readonly signal?: AbortSignal;
};

/** Calls that take their time on the simulated clock. */
export class Crowd {
  readonly clock = new SimulatedClock();
  readonly startMs = this.clock.nowMs();
  readonly turns: Turns;
  readonly resource: Resource;
  readonly summoned: ProcessId[] = [];
  /** In the order in which they had their turns. */
  readonly served: Served[] = [];
  #calls = 0;

  constructor(resource: Partial<Resource>, options: Partial<TurnsOptions> = {}) {
    this.resource = { name: "r", concurrency: 1, ...resource };
    this.turns = createTurns({
      clock: this.clock,
      summon: (pid) => this.summoned.push(pid),
      agingMs: 1_000_000_000,
      weightOf: () => 1,
      ...options,
    });
  }

  get nowMs(): number {
    return this.clock.nowMs() - this.startMs;
  }

  /** The call's number. */
  ask(who: Standing, demand: Demand): number {
    this.#calls += 1;
    const call = this.#calls;
    this.askAs(who, call, demand);
    return call;
  }

  askAs(who: Standing, call: number, demand: Demand): void {
    const askedMs = this.nowMs;
    const { signal = new AbortController().signal, tokens = 0 } = demand;
    const serve = (slot: Slot): void => {
      this.served.push({ who, call, askedMs, fromMs: this.nowMs });
      this.clock.after(demand.serviceMs, () => {
        slot.release();
        if (demand.again === true) this.ask(who, demand);
      });
    };
    const turn = this.turns.take(who, { call, resource: this.resource, tokens }, signal);
    if (turn instanceof Promise) turn.then(serve, () => undefined);
    else serve(turn);
  }

  at(ms: number, act: () => void): void {
    this.clock.after(ms - this.nowMs, act);
  }

  /** Lets time pass up to then; all of it if nothing is said and the crowd comes to an end. */
  async run(untilMs = Number.POSITIVE_INFINITY): Promise<void> {
    const end = { come: false };
    if (untilMs !== Number.POSITIVE_INFINITY) this.at(untilMs, () => (end.come = true));
    await settle();
    while (!end.come && this.clock.advance()) await settle();
  }

  /** How many had their turns in that time, by a name. */
  count(nameOf: (who: Standing) => string, [fromMs, toMs]: readonly [number, number]): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { who, fromMs: atMs } of this.served)
      if (atMs >= fromMs && atMs < toMs) counts[nameOf(who)] = (counts[nameOf(who)] ?? 0) + 1;
    return counts;
  }

  order(): readonly string[] {
    return this.served.map(({ who }) => who.pid.slice(2));
  }
}

/** Lets promises that are settled be heard. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn += 1) await Promise.resolve();
}

/** So many processes of one class and tenant, each a root of its own. */
export const roots = (prefix: string, count: number, how: { class?: Class; tenant?: string } = {}): Standing[] =>
  Array.from({ length: count }, (_, at) => standing(`${prefix}${at}`, how));

// The scheduler, joined: turns, the order of ready processes, budgets and locks. What joins them is inheritance: a
// process that others wait for at a lock stands everywhere in the class that it has from them (lock-table.ts).
//
// Invariants:
//   1. A call waits for its turn, and a ready process for memory, in its process's effective class. When that changes they move.
//   2. Callers say the class that a process has of itself, and never need to know of the other one.
import type { ProcessId } from "../abi/ids.ts";
import type { Clock } from "../ports/clock.ts";
import type { ReadyOrder, Scheduler, Standing, Turns } from "../ports/scheduler.ts";
import { createBudgets } from "./budgets.ts";
import { createLocks } from "./locks.ts";
import { createReadyOrder } from "./ready.ts";
import { createTurns } from "./turns.ts";

export type SchedulerOptions = {
  readonly clock: Clock;
  /** Told of a parked process whose turn has come, at a resource or a lock. */
  readonly summon: (pid: ProcessId) => void;
  /** A class that has waited so long without a turn gets one. Milliseconds. */
  readonly agingMs: number;
  /** Shares of tenants; one that is not named has 1. */
  readonly tenants: { readonly [name: string]: { readonly weight: number } };
  /** At least 0, below 1. */
  readonly random: () => number;
};

/** `config.scheduler` gives the ageing and the tenants. */
export function createScheduler(options: SchedulerOptions): Scheduler {
  const { clock, summon, agingMs, random } = options;
  const tenants = new Map(Object.entries(options.tenants));
  const weightOf = (tenant: string): number => tenants.get(tenant)?.weight ?? 1;
  const turns = createTurns({ clock, summon, agingMs, weightOf, random });
  const ready = createReadyOrder({ clock, agingMs, weightOf });
  const locks = createLocks({
    clock,
    summon,
    onRestand: (moved) => {
      turns.restand(...moved);
      for (const who of moved) if (ready.has(who.pid)) ready.add(who);
    },
  });
  const raised = (who: Standing): Standing => {
    const effective = locks.effectiveClass(who);
    return effective === who.class ? who : { ...who, class: effective };
  };
  return { ready: readyAs(ready, raised), turns: turnsAs(turns, raised), budgets: createBudgets(), locks };
}

type Raise = (who: Standing) => Standing;

const readyAs = (ready: ReadyOrder, raised: Raise): ReadyOrder => ({
  add: (who) => ready.add(raised(who)),
  delete: (pid) => ready.delete(pid),
  has: (pid) => ready.has(pid),
  next: () => ready.next(),
  get nextClass() {
    return ready.nextClass;
  },
  get size() {
    return ready.size;
  },
  clear: () => ready.clear(),
});

const turnsAs = (turns: Turns, raised: Raise): Turns => ({
  take: (who, ask, signal) => turns.take(raised(who), ask, signal),
  park: (pid) => turns.park(pid),
  leave: (pid, call) => turns.leave(pid, call),
  forget: (pid) => turns.forget(pid),
  restand: (...moved) => turns.restand(...moved.map((who) => raised(who))),
  report: (resource, report) => turns.report(resource, report),
  waits: (pid) => turns.waits(pid),
  estimateMs: (who, resource) => turns.estimateMs(raised(who), resource),
  load: () => turns.load(),
});

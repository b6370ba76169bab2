// A circle of waits: which call gives way, and what it is told.
import { OsError } from "../abi/errors.ts";
import { rankOf } from "../abi/scheduling.ts";
import { type Claimant, firstOther, type Waiter } from "./lock-table.ts";
import type { Edge } from "./waits-for.ts";

/** Steps of a circle that a message names; `data.cycle` has them all. */
const STEPS_NAMED_MAX = 8;

/**
 * Which waiter of a circle gives way: the one of the lowest class, of several the latest. The class is the one that its process
 * has apart from the circle, its own or that of a waiter from outside: within a circle each would inherit from all.
 * Undefined where nobody in it waits for a lock.
 */
export function victimOf(circle: readonly Edge<Waiter>[]): Waiter | undefined {
  const members = new Set(circle.map(({ from }) => from));
  const rankApart = ({ who, held }: Claimant): number => {
    const firsts = [...held.values()].map((lock) => firstOther(lock, ({ claimant }) => members.has(claimant.who.pid)));
    return Math.min(rankOf(who.class), ...firsts.flatMap((first) => first?.claimant.rank ?? []));
  };
  const waiters = circle.flatMap(({ by }) => (by === null ? [] : [{ waiter: by, rank: rankApart(by.claimant) }]));
  waiters.sort((one, other) => other.rank - one.rank || other.waiter.arrival - one.waiter.arrival);
  return waiters[0]?.waiter;
}

/** The error of the call that gives way. Its `cycle` begins with that call's process, each waiting for the next, the last for the first. */
export function deadlock(circle: readonly Edge<Waiter>[], victim: Waiter): OsError {
  const start = circle.findIndex(({ by }) => by === victim);
  const steps = [...circle.slice(start), ...circle.slice(0, start)];
  const named = steps.slice(0, STEPS_NAMED_MAX).map(({ from, to, by }) => {
    const what = by === null ? `the exit of ${to}` : `the lock "${by.lock.key}", which ${to} has`;
    return `${from} waits for ${what}`;
  });
  const more = steps.length > named.length ? ` (${steps.length} processes in all)` : "";
  return new OsError(
    "deadlock",
    `The call did not get the lock "${victim.lock.key}": processes wait for one another in a circle (${named.join("; ")})${more}, and this call was ` +
      "chosen to give way, as the latest of the lowest class. Release the locks that others wait for, then ask again.",
    { data: { key: victim.lock.key, cycle: steps.map(({ from }) => from) } },
  );
}

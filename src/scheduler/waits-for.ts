// The graph of who waits for whom, and the search for a circle in it. Pure: the edges are asked for, one process at a time.
//
// A process may have several calls waiting at once, and each is an edge of its own. The model is AND: every edge counts as
// blocking, whatever the process's other calls do. A process with another call under way is not blocked itself, but the
// calls of a circle are: none of them can be granted before another one of the same circle gives way. So a circle is a
// deadlock, and it stays one, unless a lease in it runs out; a lease is a bound against crashes and measured in minutes, so
// nobody waits for that.
//
// Sources: R. C. Holt, Some Deadlock Properties of Computer Systems, ACM Computing Surveys 4(3), 1972 (resources of one unit: a
// circle is necessary and sufficient); E. Knapp, Deadlock Detection in Distributed Databases, ACM Computing Surveys 19(4), 1987
// (the AND model).
import type { ProcessId } from "../abi/ids.ts";

/** `from` waits for `to`: by a waiter of a lock, or (null) for its exit. */
export type Edge<Waiter> = { readonly from: ProcessId; readonly to: ProcessId; readonly by: Waiter | null };

/**
 * A circle through `start`, from it and back to it; null if there is none. Visits each process that `start` waits for, over
 * any number of steps, once at most.
 */
export function findCircle<Waiter>(
  start: ProcessId,
  edgesFrom: (pid: ProcessId) => Iterable<Edge<Waiter>>,
): readonly Edge<Waiter>[] | null {
  const visited = new Set<ProcessId>();
  const trail: Edge<Waiter>[] = [];
  const open = [edgesFrom(start)[Symbol.iterator]()];
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const step: IteratorResult<Edge<Waiter>, unknown> = top.next();
    if (step.done === true) {
      open.pop();
      trail.pop();
      continue;
    }
    const edge = step.value;
    if (edge.to === start) return [...trail, edge];
    if (visited.has(edge.to)) continue;
    visited.add(edge.to);
    trail.push(edge);
    open.push(edgesFrom(edge.to)[Symbol.iterator]());
  }
  return null;
}

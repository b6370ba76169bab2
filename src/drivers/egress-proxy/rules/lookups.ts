// Looking up names, in turns: the machine's resolver works on threads that Reeve's files need as well, and a name may be asked for that
// nobody answers for.
//
// Invariants:
//   N1. At most LOOKUPS_MAX names are looked up at once, and of one asker's at most LOOKUPS_EACH_MAX; askers take turns.
//   N2. A name that an asker has under way is not looked up by it again.
import { LOOKUPS_EACH_MAX, LOOKUPS_MAX } from "../bounds.ts";
import type { Resolve } from "./addresses.ts";

type Asker = { readonly waiting: Map<string, Task>; underWay: number };
type Task = { readonly found: Promise<readonly string[]>; readonly begin: () => Promise<unknown>; wanted: number };

export class Lookups {
  readonly #resolve: Resolve;
  /** Those who have names that wait; who was served last stands last. */
  readonly #askers = new Set<Asker>();
  #underWay = 0;

  constructor(resolve: Resolve) {
    this.#resolve = resolve;
  }

  /** A way of asking for one who takes turns with the others. Whoever gives up by `signal` is not waited for. */
  asker(): Resolve {
    const asker: Asker = { waiting: new Map(), underWay: 0 };
    const open = new Map<string, Task>();
    return async (host, signal) => {
      const task = open.get(host) ?? this.#task(host, () => open.delete(host));
      if (!open.has(host)) {
        open.set(host, task);
        asker.waiting.set(host, task);
        this.#askers.add(asker);
      }
      task.wanted += 1;
      const leave = (): void => {
        task.wanted -= 1;
        if (task.wanted > 0 || !asker.waiting.delete(host)) return;
        open.delete(host);
        if (asker.waiting.size === 0) this.#askers.delete(asker);
      };
      signal?.addEventListener("abort", leave, { once: true });
      this.#next();
      return task.found.finally(() => signal?.removeEventListener("abort", leave));
    };
  }

  #task(host: string, onEnd: () => void): Task {
    const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>();
    // Nobody may be there any more to hear of it.
    promise.catch(() => {});
    const begin = (): Promise<unknown> => this.#resolve(host).then(resolve, reject).finally(onEnd);
    return { found: promise, begin, wanted: 0 };
  }

  #next(): void {
    while (this.#underWay < LOOKUPS_MAX) {
      const asker = this.#whoseTurn();
      const [first] = asker?.waiting ?? [];
      if (asker === undefined || first === undefined) return;
      const [host, task] = first;
      asker.waiting.delete(host);
      this.#askers.delete(asker);
      if (asker.waiting.size > 0) this.#askers.add(asker);
      asker.underWay += 1;
      this.#underWay += 1;
      void task.begin().finally(() => {
        asker.underWay -= 1;
        this.#underWay -= 1;
        this.#next();
      });
    }
  }

  /** Whoever has the fewest under way; of several the one who was not served for longest. */
  #whoseTurn(): Asker | undefined {
    let turn: Asker | undefined;
    for (const asker of this.#askers)
      if (asker.underWay < Math.min(turn?.underWay ?? LOOKUPS_EACH_MAX, LOOKUPS_EACH_MAX)) turn = asker;
    return turn;
  }
}

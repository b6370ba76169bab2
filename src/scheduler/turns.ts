// The scheduler, first form: each resource serves a bounded number of calls at once, first come, first served, and a
// process spends no more than its budget.
//
// Invariants:
//   Q1. At most `concurrency` leases of a resource are out at a time.
//   Q2. Calls leave a resource's queue in the order in which they came.
//   Q3. A call that is given up while it waits leaves the queue; a lease is given back once, whoever asks twice.
//   Q4. Calls under way count against the budget, so that a burst cannot pass it.
import { OsError } from "../abi/errors.ts";
import type { ProcessView } from "../ports/process.ts";
import type { Lease, Resource, Scheduler } from "../ports/scheduler.ts";

type Waiter = { readonly process: ProcessView; readonly admit: (lease: Lease) => void };
type Queue = { used: number; readonly waiters: Set<Waiter> };

const cancelled = (resource: Resource): OsError =>
  new OsError("cancelled", `The call was given up while it waited for ${resource.name}.`);

function exhausted(
  process: ProcessView,
  what: "calls" | "tokens",
  { max, spent }: { max: number; spent: number },
): OsError {
  return new OsError(
    "budget_exhausted",
    `Process ${process.pid} has a budget of ${max} ${what} and has used ${spent}. Raise the agent's \`budget.${what}\`, or give the task a larger one.`,
    { data: { budget: what, max, spent } },
  );
}

export const createScheduler = (): Scheduler => new Turns();

class Turns implements Scheduler {
  readonly #queues = new Map<string, Queue>();
  readonly #underWay = new WeakMap<ProcessView, number>();

  admit(process: ProcessView, resource: Resource, signal: AbortSignal): Promise<Lease> | Lease {
    this.#checkBudget(process);
    if (signal.aborted) throw cancelled(resource);
    const queue = this.#queueOf(resource);
    this.#count(process, 1);
    if (queue.used >= resource.concurrency || queue.waiters.size > 0)
      return this.#wait(process, resource, { queue, signal });
    queue.used += 1;
    return this.#lease(process, resource, queue);
  }

  #queueOf({ name }: Resource): Queue {
    const queue = this.#queues.get(name) ?? { used: 0, waiters: new Set<Waiter>() };
    this.#queues.set(name, queue);
    return queue;
  }

  #checkBudget(process: ProcessView): void {
    const { budget, spent } = process;
    const calls = spent.calls + (this.#underWay.get(process) ?? 0);
    const tokens = spent.inputTokens + spent.outputTokens;
    if (budget.calls !== undefined && calls >= budget.calls)
      throw exhausted(process, "calls", { max: budget.calls, spent: calls });
    if (budget.tokens !== undefined && tokens >= budget.tokens)
      throw exhausted(process, "tokens", { max: budget.tokens, spent: tokens });
  }

  #count(process: ProcessView, by: 1 | -1): void {
    this.#underWay.set(process, (this.#underWay.get(process) ?? 0) + by);
  }

  #lease(process: ProcessView, resource: Resource, queue: Queue): Lease {
    let out = true;
    const release = (): void => {
      if (!out) return;
      out = false;
      queue.used -= 1;
      this.#count(process, -1);
      this.#next(resource, queue);
    };
    return { release };
  }

  #next(resource: Resource, queue: Queue): void {
    for (const waiter of queue.waiters) {
      if (queue.used >= resource.concurrency) return;
      queue.waiters.delete(waiter);
      queue.used += 1;
      waiter.admit(this.#lease(waiter.process, resource, queue));
    }
    if (queue.used === 0 && queue.waiters.size === 0) this.#queues.delete(resource.name);
  }

  #wait(
    process: ProcessView,
    resource: Resource,
    { queue, signal }: { queue: Queue; signal: AbortSignal },
  ): Promise<Lease> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        process,
        admit: (granted) => {
          signal.removeEventListener("abort", leave);
          resolve(granted);
        },
      };
      const leave = (): void => {
        queue.waiters.delete(waiter);
        this.#count(process, -1);
        reject(cancelled(resource));
      };
      signal.addEventListener("abort", leave, { once: true });
      queue.waiters.add(waiter);
    });
  }
}

// What a simulated process does: its script, step by step. Each call is made again, by the same number, when the process comes
// back into memory. S6 is checked here: no lock has two holders.
import { OsError } from "../../src/abi/errors.ts";
import type { ProcessId } from "../../src/abi/ids.ts";
import type { Spent } from "../../src/abi/process.ts";
import type { HeldLock, Scheduler, Slot } from "../../src/ports/scheduler.ts";
import type { Book } from "./scheduler-book.ts";
import type { Plan, Step, Use } from "./scheduler-load.ts";
import { amountsOf, CALLS_IN_STEP, callOf, NOTHING, type Row, type Run, standingOf, sum } from "./scheduler-rows.ts";

/** The simulation, as scripts see it. */
export type Surroundings = {
  readonly scheduler: () => Scheduler;
  readonly book: () => Book;
  /** Counts the crashes: what was asked before one is answered no more. */
  readonly boot: () => number;
  readonly nowMs: () => number;
  readonly do: (action: () => void) => void;
  readonly later: (ms: number, action: () => void) => void;
  readonly note: (what: string, detail: string) => void;
  readonly fault: (what: string) => void;
  readonly observe: () => void;
  readonly spawn: (plan: Plan, tenant: string, parent: Row) => void;
  readonly end: (row: Row) => void;
  readonly wakeAt: (row: Row) => void;
};

const lockName = ({ tenant }: Row, key: string): string => `${tenant}/${key}`;

export class Scripts {
  readonly #around: Surroundings;
  /** Who was given which lock, until when. */
  readonly #holders = new Map<string, { readonly pid: ProcessId; readonly untilMs: number }>();

  constructor(around: Surroundings) {
    this.#around = around;
  }

  /** After a crash: what the scheduler has taken back. */
  restored(row: Row): void {
    const { pid } = row;
    for (const { key, untilMs } of this.#around.scheduler().locks.held(pid))
      this.#holders.set(lockName(row, key), { pid, untilMs });
  }

  /** The process holds nothing any more; without one, nobody does. */
  forget(row?: Row): void {
    for (const [name, { pid }] of this.#holders) if (row === undefined || pid === row.pid) this.#holders.delete(name);
  }

  /** The process goes on from where it stands. */
  proceed(run: Run): void {
    const { row } = run;
    if (run.over || row.exited) return;
    run.begun = true;
    if (row.wakeMs !== null) {
      if (row.wakeMs > this.#around.nowMs()) return;
      row.wakeMs = null;
      return this.#next(run);
    }
    const step = row.plan.steps[row.at];
    if (step === undefined) return this.#around.end(row);
    this.#perform(run, step);
  }

  #next(run: Run): void {
    run.row.at += 1;
    run.row.done.clear();
    this.#around.do(() => this.proceed(run));
  }

  #perform(run: Run, step: Step): void {
    const { row } = run;
    if (step.do === "use") return this.#use(run, step.calls);
    if (step.do === "lock") return this.#lock(run, step);
    if (step.do === "unlock") {
      this.#unlock(row, step.key);
      return this.#next(run);
    }
    if (step.do === "spawn") {
      this.#around.spawn(step.plan, row.tenant, row);
      return this.#next(run);
    }
    if (step.do === "sleep") {
      row.wakeMs = this.#around.nowMs() + step.ms;
      return this.#around.wakeAt(row);
    }
    const living = row.children.filter(({ exited }) => !exited);
    if (living.length === 0) return this.#next(run);
    for (const child of living) this.#around.scheduler().locks.waitsForExit(row.pid, callOf(row, child.pid), child.pid);
  }

  #use(run: Run, calls: readonly Use[]): void {
    const { row } = run;
    calls.forEach((use, at) => {
      const call = row.at * CALLS_IN_STEP + at;
      if (row.done.has(call) || run.asked.has(call) || run.slots.has(call)) return;
      run.asked.add(call);
      // One at a time, as everything.
      this.#around.do(() => this.#take(run, call, use));
    });
    if (calls.length === row.done.size) this.#next(run);
  }

  #take(run: Run, call: number, use: Use): void {
    if (run.over) return;
    const { row } = run;
    this.#around.book().asks(standingOf(row), call, use.resource);
    const ask = { call, resource: use.resource, tokens: use.tokens };
    const answer = this.#around.scheduler().turns.take(standingOf(row), ask, run.abort.signal);
    const boot = this.#around.boot();
    const granted = (slot: Slot): void => {
      if (boot !== this.#around.boot()) return;
      // It had its turn in the step in which its process ended.
      if (run.over) return slot.release({ tokens: 0 });
      this.#around.observe();
      this.#around.note("turn", `${row.pid}.${call} ${use.resource.name}`);
      this.#around.book().granted(row.pid, call);
      run.asked.delete(call);
      run.slots.set(call, { slot, use });
      this.#around.do(() => this.#begin(run, call));
    };
    if (!(answer instanceof Promise)) return granted(answer);
    answer.then(granted, (error: unknown) => {
      if (!run.over) this.#around.fault(`S7: ${row.pid}.${call} was refused: ${String(error)}`);
    });
  }

  #begin(run: Run, call: number): void {
    const { row } = run;
    const taken = run.slots.get(call);
    if (taken === undefined || run.over) return;
    const { tokens, serviceMs } = taken.use;
    const shortage = this.#around.scheduler().budgets.reserve(row.pid, call, amountsOf(tokens), this.#around.nowMs());
    if (shortage !== null) {
      this.#around.note("short", `${row.pid}.${call} ${shortage.budget}`);
      return this.#finish(run, call, null);
    }
    row.reserved.set(call, amountsOf(tokens));
    this.#around.later(serviceMs, () => this.#finish(run, call, amountsOf(taken.use.charged)));
  }

  #finish(run: Run, call: number, charged: Spent | null): void {
    const { row } = run;
    const taken = run.slots.get(call);
    if (taken === undefined || run.over) return;
    run.slots.delete(call);
    if (charged === null) row.done.add(call);
    else this.settle(row, call, charged);
    this.release(row, call, taken);
    this.#around.do(() => this.proceed(run));
  }

  release(row: Row, call: number, { slot, use }: { readonly slot: Slot; readonly use: Use }): void {
    this.#around.book().released(row.pid, call, use.resource);
    slot.release({ tokens: use.charged });
    slot.release({ tokens: use.charged });
  }

  /** Null: it did not happen, and nothing is charged. */
  settle(row: Row, call: number, charged: Spent | null): void {
    this.#around.scheduler().budgets.settle(row.pid, call, charged ?? NOTHING);
    row.reserved.delete(call);
    if (charged === null) return;
    row.spent = sum(row.spent, charged);
    row.done.add(call);
  }

  #lock(run: Run, { key, leaseMs }: Extract<Step, { do: "lock" }>): void {
    const { row } = run;
    const call = row.at * CALLS_IN_STEP;
    if (run.asked.has(call)) return;
    run.asked.add(call);
    const answer = this.#around.scheduler().locks.acquire(standingOf(row), { call, key, leaseMs }, run.abort.signal);
    const boot = this.#around.boot();
    const granted = (held: HeldLock): void => {
      if (boot !== this.#around.boot() || run.over) return;
      run.asked.delete(call);
      this.#gotLock(row, held);
      this.#around.do(() => this.proceed(run));
    };
    if (!(answer instanceof Promise)) return granted(answer);
    answer.then(granted, (error: unknown) => {
      if (boot !== this.#around.boot() || run.over) return;
      if (!OsError.is(error, "deadlock"))
        return this.#around.fault(`S7: ${row.pid}.${call} was refused: ${String(error)}`);
      this.#around.note("deadlock", `${row.pid}.${call}`);
      run.asked.delete(call);
      // As programs are told to: it gives back what others wait for, and goes on without.
      for (const held of this.#around.scheduler().locks.held(row.pid)) this.#unlock(row, held.key);
      this.#next(run);
    });
  }

  #gotLock(row: Row, held: HeldLock): void {
    const name = lockName(row, held.key);
    const holder = this.#holders.get(name);
    if (holder !== undefined && holder.pid !== row.pid && holder.untilMs > this.#around.nowMs())
      this.#around.fault(`S6: ${name} was given to ${row.pid} while ${holder.pid} held it`);
    this.#around.note("lock", `${row.pid} ${name}`);
    this.#holders.set(name, { pid: row.pid, untilMs: held.untilMs });
    row.locks = [...this.#around.scheduler().locks.held(row.pid)];
    row.at += 1;
  }

  #unlock(row: Row, key: string): void {
    if (this.#holders.get(lockName(row, key))?.pid === row.pid) this.#holders.delete(lockName(row, key));
    this.#around.scheduler().locks.release(row.pid, key);
    row.locks = [...this.#around.scheduler().locks.held(row.pid)];
  }
}

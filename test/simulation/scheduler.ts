// One simulated workload: the joined scheduler, and around it the least of a kernel that it needs, with rows that survive a
// crash and processes in memory that do not. One thing happens at a time, so that each decision can be seen by itself.
//
// Beside what the book says:
//   S5. No budget is overrun, and the accounts are what the rows say.
//   S6. No lock has two holders.
//   S7. Everything ends: whoever is alive at a still time waits for something that will come.
//   S8. In the end nothing is left: no slot, no place, no reservation, no lock, no timer.
import { OsError } from "../../src/abi/errors.ts";
import type { ProcessId } from "../../src/abi/ids.ts";
import { CLASSES, type Class } from "../../src/abi/scheduling.ts";
import type { Scheduler } from "../../src/ports/scheduler.ts";
import { createScheduler, type SchedulerOptions } from "../../src/scheduler/scheduler.ts";
import { Chance } from "./chance.ts";
import { CountedClock } from "./counted-clock.ts";
import { SimulatedClock } from "./clock.ts";
import { Book } from "./scheduler-book.ts";
import { type Disturbance, drawWorkload, type Plan, type Size, type Workload } from "./scheduler-load.ts";
import { callOf, checkTree, type Row, rowOf, type Run, standingOf, sum } from "./scheduler-rows.ts";
import { Scripts } from "./scheduler-script.ts";

const MOVES_MAX = 50_000;
const SMALL: Size = { roots: 4, steps: 5, horizonMs: 1500 };
export type Outcome = {
  readonly faults: readonly string[];
  /** Everything that was decided, in order. */
  readonly trace: readonly string[];
  readonly seen: { readonly [what: string]: number };
};

export type Played = {
  readonly size?: Size;
  /** The scheduler that is played; another one shows that the invariants notice. */
  readonly create?: (options: SchedulerOptions) => Scheduler;
};

/** Plays the workload of a seed to its end. Beyond the first fault it may say more that follows from it. */
export async function simulateScheduler(
  seed: number,
  { size = SMALL, create = createScheduler }: Played = {},
): Promise<Outcome> {
  const simulation = new Simulation(seed, drawWorkload(new Chance(seed), size), create);
  await simulation.play();
  return simulation.outcome();
}

class Simulation {
  readonly #load: Workload;
  readonly #chance: Chance;
  readonly #create: (options: SchedulerOptions) => Scheduler;
  readonly #clock = new SimulatedClock();
  readonly #startMs = this.#clock.nowMs();
  readonly #rows = new Map<ProcessId, Row>();
  readonly #runs = new Map<ProcessId, Run>();
  readonly #faults: string[] = [];
  readonly #trace: string[] = [];
  readonly #seen: { [what: string]: number } = {};
  #actions: (() => void)[] = [];
  #timers = new CountedClock(this.#clock);
  #boots = 0;
  #rootsLeft: Workload["roots"];
  #disturbancesLeft: readonly Disturbance[];
  #scheduler: Scheduler;
  #book: Book;
  readonly #scripts: Scripts;

  constructor(seed: number, load: Workload, create: (options: SchedulerOptions) => Scheduler) {
    this.#load = load;
    this.#create = create;
    this.#chance = new Chance(seed ^ 0x5eed);
    this.#rootsLeft = load.roots;
    this.#disturbancesLeft = load.disturbances;
    this.#scheduler = this.#newScheduler();
    this.#book = this.#newBook();
    this.#scripts = new Scripts({
      scheduler: () => this.#scheduler,
      book: () => this.#book,
      boot: () => this.#boots,
      nowMs: () => this.#clock.nowMs(),
      do: (action) => this.#do(action),
      later: (ms, action) => this.#later(ms, action),
      note: (what, detail) => this.#note(what, detail),
      fault: (what) => this.#fault(what),
      observe: () => this.#observe(),
      spawn: (plan, tenant, parent) => this.#spawn(plan, tenant, parent),
      end: (row) => this.#end(row),
      wakeAt: (row) => this.#wakeAt(row),
    });
  }

  async play(): Promise<void> {
    this.#setTimes();
    for (let moves = 0; moves < MOVES_MAX && this.#faults.length === 0; moves += 1) {
      await this.#drain();
      const nowMs = this.#clock.nowMs();
      const faults = this.#whileStill();
      const advanced = this.#clock.advance();
      // Unless something else was due at the same time, it was still.
      if (!advanced || this.#clock.nowMs() > nowMs) this.#faults.unshift(...faults);
      if (!advanced) return this.#checkEnd();
      // Timers may have decided something by themselves.
      await this.#afterStep();
    }
    if (this.#faults.length === 0) this.#fault("S7: it does not come to an end");
  }

  outcome(): Outcome {
    return { faults: this.#faults, trace: this.#trace, seen: this.#seen };
  }

  #fault(what: string): void {
    this.#faults.push(`at ${this.#clock.nowMs() - this.#startMs} ms: ${what}`);
  }

  #note(what: string, detail: string): void {
    this.#seen[what] = (this.#seen[what] ?? 0) + 1;
    this.#trace.push(`${this.#clock.nowMs() - this.#startMs} ${what} ${detail}`);
  }

  #newScheduler(): Scheduler {
    const { agingMs, tenants } = this.#load;
    const boot = this.#boots;
    this.#timers = new CountedClock(this.#clock);
    return this.#create({
      clock: this.#timers,
      agingMs,
      tenants,
      random: () => this.#chance.number(),
      summon: (pid) => {
        this.#note("summon", pid);
        this.#do(() => boot === this.#boots && this.#wake(pid));
      },
    });
  }

  #newBook(): Book {
    return new Book({
      agingMs: this.#load.agingMs,
      nowMs: () => this.#clock.nowMs(),
      scheduler: () => this.#scheduler,
      fault: (what) => this.#fault(what),
    });
  }

  #do(action: () => void): void {
    this.#actions.push(action);
  }

  #later(ms: number, action: () => void): void {
    this.#clock.after(ms, () => this.#do(action));
  }

  async #drain(): Promise<void> {
    for (let action = this.#actions.shift(); action !== undefined; action = this.#actions.shift()) {
      action();
      await this.#afterStep();
    }
    this.#fill();
    if (this.#actions.length > 0) await this.#drain();
  }

  async #afterStep(): Promise<void> {
    // A granted promise takes two turns to be heard; a few more do no harm.
    for (let turn = 0; turn < 4; turn += 1) await Promise.resolve();
    this.#observe();
  }

  #observe(): void {
    this.#book.observe((pid) => standingOf(this.#row(pid)));
  }

  #row(pid: ProcessId): Row {
    return this.#rows.get(pid) as Row;
  }

  // Time: roots, disturbances and sleepers, set anew after a crash.

  #setTimes(): void {
    const boot = this.#boots;
    const at = (atMs: number, action: () => void): void =>
      this.#later(Math.max(0, this.#startMs + atMs - this.#clock.nowMs()), () => boot === this.#boots && action());
    for (const root of this.#rootsLeft)
      at(root.atMs, () => {
        this.#rootsLeft = this.#rootsLeft.filter((other) => other !== root);
        this.#spawn(root.plan, root.tenant, null);
      });
    for (const disturbance of this.#disturbancesLeft)
      at(disturbance.atMs, () => {
        this.#disturbancesLeft = this.#disturbancesLeft.filter((other) => other !== disturbance);
        this.#disturb(disturbance);
      });
  }

  #disturb({ what, which }: Disturbance): void {
    const living = [...this.#rows.values()].filter(({ exited }) => !exited);
    const row = living[which % Math.max(1, living.length)];
    this.#note(what, row?.pid ?? "nobody");
    if (what === "crash") return this.#crash();
    if (what === "pause") {
      const { name } = this.#load.resources[which % this.#load.resources.length] ?? { name: "" };
      this.#book.paused(name);
      return this.#scheduler.turns.report(name, { pausedUntilMs: this.#clock.nowMs() + which });
    }
    if (row === undefined) return;
    if (what === "kill") return this.#end(row);
    row.class = CLASSES[which % CLASSES.length] as Class;
    this.#scheduler.turns.restand(standingOf(row));
    this.#scheduler.locks.restand(standingOf(row));
    if (this.#scheduler.ready.has(row.pid)) this.#scheduler.ready.add(standingOf(row));
  }

  /** Everything in memory is gone; the rows are read back. */
  #crash(): void {
    this.#boots += 1;
    this.#actions = [];
    this.#clock.forget();
    for (const run of this.#runs.values()) run.over = true;
    this.#runs.clear();
    this.#scripts.forget();
    this.#scheduler = this.#newScheduler();
    const { bounded, aged } = this.#book;
    this.#book = this.#newBook();
    Object.assign(this.#book, { bounded, aged });
    for (const row of this.#rows.values()) this.#readBack(row);
    for (const row of this.#rows.values()) if (!row.exited) this.#wakeAt(row);
    this.#setTimes();
  }

  #readBack(row: Row): void {
    const { pid, parent, plan, createdMs, spent, exited } = row;
    const reserved = [...row.reserved].map(([call, amounts]) => ({ call, amounts }));
    this.#scheduler.budgets.open(
      { pid, parent: parent?.pid ?? null, budget: plan.budget, createdMs, spent, reserved, exited },
      { restored: true },
    );
    if (exited) return;
    // What became of calls under way is unknown for some, and they stay charged; others did not happen, and are repeated.
    for (const [call, amounts] of row.reserved)
      this.#scripts.settle(row, call, this.#chance.below(2) === 0 ? amounts : null);
    this.#scheduler.locks.restore(standingOf(row), row.locks);
    this.#scripts.restored(row);
  }

  #wakeAt(row: Row): void {
    if (row.wakeMs === null) return this.#wake(row.pid);
    const boot = this.#boots;
    this.#later(Math.max(0, row.wakeMs - this.#clock.nowMs()), () => boot === this.#boots && this.#wake(row.pid));
  }

  // Processes: creation, memory, exit.

  #spawn(plan: Plan, tenant: string, parent: Row | null): void {
    const pid = `p_${this.#rows.size + 1}` as ProcessId;
    const row = rowOf(plan, { pid, tenant, parent, createdMs: this.#clock.nowMs() });
    const { createdMs, spent, exited } = row;
    const account = { pid, parent: parent?.pid ?? null, budget: plan.budget, createdMs, spent, reserved: [], exited };
    try {
      this.#scheduler.budgets.open(account);
    } catch (error) {
      if (!OsError.is(error, "budget_exhausted")) throw error;
      return this.#note("refused", pid);
    }
    this.#rows.set(pid, row);
    parent?.children.push(row);
    this.#wake(pid);
  }

  /** It has something to do. */
  #wake(pid: ProcessId): void {
    const row = this.#row(pid);
    if (row.exited) return;
    const run = this.#runs.get(pid);
    if (run !== undefined) return this.#scripts.proceed(run);
    if (!this.#book.ready(standingOf(row))) return;
    this.#scheduler.ready.add(standingOf(row));
  }

  /** Brings in who is ready, and makes room by parking who only waits. */
  #fill(): void {
    while (this.#scheduler.ready.size > 0) {
      if (this.#runs.size >= this.#load.memory && !this.#park()) return;
      const pid = this.#scheduler.ready.next();
      if (pid === undefined || !this.#book.broughtIn(pid)) return;
      const row = this.#row(pid);
      const run: Run = {
        row,
        abort: new AbortController(),
        slots: new Map(),
        asked: new Set(),
        begun: false,
        over: false,
      };
      this.#runs.set(row.pid, run);
      this.#do(() => this.#scripts.proceed(run));
    }
    this.#book.checkNoneReady();
  }

  #park(): boolean {
    const waiting = [...this.#runs.values()].filter(
      (run) => run.begun && run.slots.size === 0 && !this.#hasWork(run.row),
    );
    if (waiting.length === 0) return false;
    const run = this.#chance.pick(waiting);
    const { pid } = run.row;
    this.#scheduler.turns.park(pid);
    this.#scheduler.locks.park(pid);
    this.#book.parked(pid);
    this.#leaveMemory(run);
    this.#note("park", pid);
    return true;
  }

  /** Whether it is about to go on. */
  #hasWork({ pid }: Row): boolean {
    const waits = this.#scheduler.turns.waits(pid).length + this.#scheduler.locks.waits(pid).length;
    const row = this.#row(pid);
    const step = row.plan.steps[row.at];
    const asleep =
      (row.wakeMs ?? 0) > this.#clock.nowMs() || (step?.do === "join" && row.children.some(({ exited }) => !exited));
    return waits === 0 && !asleep;
  }

  #leaveMemory(run: Run): void {
    run.over = true;
    run.abort.abort();
    this.#runs.delete(run.row.pid);
  }

  /** The process is over, by itself or killed, and its descendants with it. */
  #end(row: Row): void {
    if (row.exited) return;
    const { budgets, locks, ready, turns } = this.#scheduler;
    for (const child of row.children) this.#end(child);
    row.exited = true;
    const run = this.#runs.get(row.pid);
    if (run !== undefined) this.#leaveMemory(run);
    this.#book.over(row.pid);
    turns.forget(row.pid);
    for (const [call, { slot, use }] of run?.slots ?? []) this.#scripts.release(row, call, { slot, use });
    this.#scripts.forget(row);
    locks.forget(row.pid);
    ready.delete(row.pid);
    budgets.close(row.pid);
    for (const amounts of row.reserved.values()) row.spent = sum(row.spent, amounts);
    row.reserved.clear();
    row.locks = [];
    this.#note("exit", row.pid);
    const { parent } = row;
    if (parent === null || parent.exited) return;
    const step = parent.plan.steps[parent.at];
    if (step?.do === "join") locks.waitsForExit(parent.pid, callOf(parent, row.pid), null);
    this.#do(() => this.#wake(parent.pid));
  }

  // What must hold when nothing more happens at this time, and in the end.

  #whileStill(): string[] {
    const before = this.#faults.length;
    this.#book.checkQuiet();
    for (const row of this.#rows.values())
      if (row.parent === null) checkTree(row, this.#scheduler.budgets, (what) => this.#fault(what));
    return this.#faults.splice(before);
  }

  #checkEnd(): void {
    const { budgets, locks, ready, turns } = this.#scheduler;
    for (const row of this.#rows.values()) {
      const { pid, exited } = row;
      const step = row.plan.steps[row.at];
      if (!exited)
        this.#fault(
          `S7: ${pid} waits for ever, at ${step?.do ?? "its end"}, ${this.#runs.has(pid) ? "in memory" : "parked"}`,
        );
      const places = turns.waits(pid).length + locks.waits(pid).length + locks.held(pid).length;
      if (places > 0) this.#fault(`S8: ${pid} is over and has places or locks`);
      const { reserved } = budgets.total(pid);
      if (reserved.calls > 0 || reserved.inputTokens > 0) this.#fault(`S8: something is reserved for ${pid}`);
    }
    for (const { name, inUse, waiting } of turns.load())
      if (inUse > 0 || Object.values(waiting).some((count) => count > 0)) this.#fault(`S8: ${name} is not free`);
    if (ready.size > 0) this.#fault("S8: somebody is ready");
    if (this.#timers.set > 0) this.#fault(`S8: ${this.#timers.set} timers are set`);
    this.#seen["bounded"] = this.#book.bounded;
    this.#seen["aged"] = this.#book.aged;
  }
}

// The runner: which processes are in memory, and when each is run, parked and taken out.
//
// Boundary: starts programs and hears what becomes of them; what their calls do is the path's affair.
//
// Invariants:
//   N1. At most `processesInMemory` programs are in memory. The ready ones wait in the scheduler's order; one that only
//       waits makes room at once when it is needed, and by itself after `parkAfterMs`. One that waits for its turn at a
//       resource makes room for a more urgent one, or where nothing else does, and keeps its place in the queue.
//   N2. What is taken out of memory can be brought back: its journal holds all that it knew.
//   N3. When the store refuses a batch, memory is ahead of the journal: everything in memory is dropped and, once the
//       store works again, read back. Nothing that was acknowledged is lost.
import { type ErrorRecord, errorRecord, OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Json, JsonObject } from "../abi/json.ts";
import { rankOf } from "../abi/scheduling.ts";
import type { ReadyOrder } from "../ports/scheduler.ts";
import { end } from "./lifecycle.ts";
import { entryOf, type Process, standingOf } from "./process.ts";
import { least } from "./amounts.ts";
import { Recall } from "./journal/recall.ts";
import { rowsOf } from "./rows.ts";
import { type Issued, type Notice, Run, type RunEvents } from "./run.ts";
import type { Runs, Services } from "./services.ts";
import { syscall } from "./syscall.ts";

/** How long the runner waits before it tries a store that failed again. */
const RETRY_MS = [500, 1000, 2000, 5000, 10_000];
/** After so long without a failure the store is taken to work. */
const CALM_MS = 60_000;
const LOOK_AGAIN_MS = 250;
/** Processes that are woken at once. */
const DUE_TOGETHER = 1000;
const TIMER_MS_MAX = 2 ** 31 - 1;

export class Runner implements Runs {
  #services: Services | undefined;
  readonly #runs = new Map<ProcessId, Run>();
  /** Processes whose row is being read, to learn where they stand. */
  readonly #looking = new Set<ProcessId>();
  readonly #starting = new Set<ProcessId>();
  /** Runs that only wait, oldest first, with what cancels their way out of memory. */
  readonly #parked = new Map<ProcessId, () => void>();
  readonly #events: RunEvents = {
    issued: (run, issued) => this.#issued(run, issued),
    idle: (run) => this.#idle(run),
    finished: (run, result) => this.#finished(run, result),
    failed: (run, error) => this.failed(run, error),
  };
  #alarmMs = Infinity;
  #cancelAlarm: (() => void) | undefined;
  /** Failures since the store last worked. */
  #failures = 0;
  #failedMs = -Infinity;
  /** Counts the times that memory was dropped: what was begun before is not gone on with. */
  #generation = 0;
  /** Nothing is run before `start`, nor after a failure of the store until it works again. */
  #halted = true;
  #closed = false;

  /** Joins the runner to the rest of the kernel; before anything else is called. */
  join(services: Services): void {
    this.#services = services;
  }

  /** Lets every process go on that has something to do. Until then nothing is run, only remembered. */
  async start(): Promise<void> {
    this.#halted = false;
    await this.#recover();
  }

  /** Takes everything out of memory. Journals hold what was known; calls under way are settled at the next start. */
  close(): void {
    this.#closed = true;
    this.#cancelAlarm?.();
    this.#forget();
  }

  get size(): number {
    return this.#runs.size;
  }
  /** Processes that wait for room in memory. */
  get queued(): number {
    return this.#services === undefined ? 0 : this.#ready.size + this.#looking.size;
  }

  get(pid: ProcessId): Run | undefined {
    return this.#runs.get(pid);
  }

  wake(pid: ProcessId): void {
    const run = this.#runs.get(pid);
    if (run !== undefined && !run.disposed) {
      this.#unpark(pid);
      run.poke();
      return;
    }
    this.#enqueue(pid);
  }

  /** Has a process stand in line for room in memory. */
  #enqueue(pid: ProcessId): void {
    if (this.#closed || this.#looking.has(pid) || this.#ready.has(pid)) return;
    const { table, ports } = this.#of();
    const loaded = table.loaded(pid);
    if (loaded !== undefined) {
      this.#ready.add(loaded.standing);
      return this.#pump();
    }
    const generation = this.#generation;
    this.#looking.add(pid);
    ports.store.process(pid).then(
      (record) => {
        if (generation !== this.#generation || !this.#looking.delete(pid)) return;
        if (record !== undefined && record.state !== "exited") this.#ready.add(standingOf(record));
        this.#pump();
      },
      (error: unknown) => this.halt(error),
    );
  }

  get #ready(): ReadyOrder {
    return this.#of().ports.scheduler.ready;
  }

  notice(pid: ProcessId, notice: Notice): void {
    this.#unpark(pid);
    this.#runs.get(pid)?.notice(notice);
    this.wake(pid);
  }

  drop(pid: ProcessId): void {
    this.#unpark(pid);
    this.#ready.delete(pid);
    this.#looking.delete(pid);
    const run = this.#runs.get(pid);
    if (run === undefined) return;
    run.dispose();
    this.#runs.delete(pid);
    const { table, commits } = this.#of();
    // What is on its way to disk is not there yet for whoever would load the process now.
    void commits.settled(pid).then(() => table.unpin(run.process));
    this.#pump();
  }

  freeze(pid: ProcessId): void {
    this.#unpark(pid);
    this.#runs.get(pid)?.freeze();
  }

  alarm(atMs: number): void {
    if (atMs >= this.#alarmMs || this.#closed) return;
    this.#alarmMs = atMs;
    this.#cancelAlarm?.();
    const { clock } = this.#of().ports;
    this.#cancelAlarm = clock.after(Math.min(Math.max(0, atMs - clock.nowMs()), TIMER_MS_MAX), () => this.#ring());
  }

  failed(run: Run, error: unknown): void {
    if (run.disposed) return;
    const { pid } = run.process;
    // It, or a process above it, is being ended: that takes the run out of memory, when it has seen what is under way.
    if (OsError.is(error, "process_gone")) return;
    if (OsError.is(error, "store_failed")) return this.halt(error);
    if (OsError.is(error, "replay_divergence")) return this.diverged(run, error);
    const record = errorRecord(error);
    this.#of().options.onTrouble(`Process ${pid} met a fault of Reeve's own and was stopped: ${record.message}`);
    this.#stop(run, record);
  }

  diverged(run: Run, error: OsError): void {
    this.#of().options.onTrouble(`Process ${run.process.pid} was stopped: ${error.message}`);
    this.#stop(run, error.toJSON());
  }

  /** The store refused a batch: see N3. */
  halt(error: unknown): void {
    this.#generation += 1;
    this.#of().trees.clear();
    this.#of().locks.clear();
    if (this.#halted || this.#closed) return this.#of().table.clear();
    this.#halted = true;
    const { options, ports } = this.#of();
    // A failure long after the one before it is the first of its kind.
    if (ports.clock.nowMs() - this.#failedMs > CALM_MS) this.#failures = 0;
    this.#failedMs = ports.clock.nowMs();
    const waitMs = RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)] ?? 10_000;
    this.#failures += 1;
    options.onTrouble(`${errorRecord(error).message} Everything waits; the next attempt is in ${waitMs / 1000} s.`);
    this.#forget();
    this.#of().table.clear();
    ports.clock.after(waitMs, () => {
      this.#halted = false;
      if (!this.#closed) this.#recover().catch((again: unknown) => this.halt(again));
    });
  }

  /** Queues everything that was ready when the system stopped, oldest first, and sets the alarm for what waits. */
  async #recover(): Promise<void> {
    const { store } = this.#of().ports;
    const ready = await Array.fromAsync(rowsOf(store, { states: ["ready", "running"] }));
    for (const record of ready.reverse()) this.#ready.add(standingOf(record));
    this.#alarmMs = Infinity;
    this.alarm((await store.nextWakeMs()) ?? Infinity);
    this.#pump();
  }

  /**
   * Takes out one that only waits, to make room for the next one that is ready; false if there is none. The least urgent
   * goes first; of one class, whoever waits for something from outside before those that wait for a turn, the oldest
   * first. Nobody leaves for a less urgent one: what waits for long leaves by itself.
   */
  #park(): boolean {
    const next = this.#ready.nextClass;
    let idlest: { readonly run: Run; readonly worth: number } | undefined;
    for (const pid of [...this.#parked.keys()]) {
      const run = this.#runs.get(pid);
      // Its own timer has set it going since.
      if (run?.idle !== true) {
        this.#unpark(pid);
        continue;
      }
      const rank = rankOf(run.process.standing.class);
      if (next !== undefined && rank < rankOf(next)) continue;
      const worth = rank * 2 + (run.queued ? 0 : 1);
      if (idlest === undefined || worth > idlest.worth) idlest = { run, worth };
    }
    if (idlest === undefined) return false;
    const { run } = idlest;
    const { pid } = run.process;
    if (run.queued) {
      const { turns, locks } = this.#of().ports.scheduler;
      turns.park(pid);
      locks.park(pid);
    }
    this.drop(pid);
    return true;
  }

  #of(): Services {
    if (this.#services === undefined) throw new Error("The runner has not been joined to the kernel.");
    return this.#services;
  }

  #forget(): void {
    for (const cancel of this.#parked.values()) cancel();
    for (const run of this.#runs.values()) run.dispose();
    this.#parked.clear();
    const { turns, locks } = this.#of().ports.scheduler;
    for (const pid of this.#runs.keys()) {
      turns.forget(pid);
      // What it held durably is read back; what was on its way to the journal is not.
      locks.forget(pid);
    }
    this.#runs.clear();
    this.#ready.clear();
    this.#looking.clear();
    this.#starting.clear();
  }

  #pump(): void {
    if (this.#halted || this.#closed) return;
    const { limits } = this.#of().options;
    while (this.#ready.size > 0) {
      if (this.#runs.size + this.#starting.size >= limits.processesInMemory) {
        // Whoever leaves lets others in by itself: is there still room?
        if (!this.#park()) return;
        continue;
      }
      const pid = this.#ready.next();
      if (pid !== undefined && !this.#starting.has(pid)) this.#bringIn(pid);
    }
  }

  #bringIn(pid: ProcessId): void {
    const generation = this.#generation;
    this.#starting.add(pid);
    this.#load(pid)
      .catch((error: unknown) => {
        if (OsError.is(error, "store_failed")) this.halt(error);
        else this.#of().options.onTrouble(`Process ${pid} cannot be run: ${errorRecord(error).message}`);
      })
      .finally(() => {
        if (generation === this.#generation) this.#starting.delete(pid);
        this.#pump();
      });
  }

  async #load(pid: ProcessId): Promise<void> {
    const { table, ports, commits } = this.#of();
    const generation = this.#generation;
    const process = await table.pin(pid);
    const { state, wakeMs } = process.record;
    const due = state === "waiting" && wakeMs !== null && wakeMs <= ports.clock.nowMs();
    const stale = this.#halted || this.#closed || generation !== this.#generation || this.#runs.has(pid);
    if (stale || process.over || (state !== "ready" && !due)) return table.unpin(process);
    if (this.#isLate(process)) return this.#endLate(process).finally(() => table.unpin(process));
    // From here on events that are appended from outside reach the run; the ones before are read back.
    const recall = new Recall(ports.store, pid, { end: process.record.events });
    const run = new Run(process, { recall, clock: ports.clock, events: this.#events });
    this.#runs.set(pid, run);
    try {
      await commits.settled(pid);
      if (!run.disposed) run.start(ports.programs);
    } catch (error) {
      if (!run.disposed) this.drop(pid);
      throw error;
    }
  }

  /** Whether a process is past its deadline; if that is to come, it will be looked at then. */
  #isLate({ deadlineMs }: Process): boolean {
    if (deadlineMs === null) return false;
    const late = this.#of().ports.clock.nowMs() >= deadlineMs;
    if (!late) this.alarm(deadlineMs);
    return late;
  }

  async #endLate(process: Process): Promise<void> {
    const deadlineMs = process.deadlineMs ?? 0;
    const error = new OsError(
      "deadline_exceeded",
      `Process ${process.pid} was not over by its deadline, ${new Date(deadlineMs).toISOString()}, and was ended with all that it had started.`,
      { data: { deadlineMs, neededMs: 0 } },
    );
    await end(this.#of(), process, { how: "failed", error: error.toJSON() }, "reeve");
  }

  /** The earliest deadline to come of those in memory. */
  #nextDeadlineMs(nowMs: number): number | undefined {
    const deadlines = [...this.#runs.values()].flatMap(({ process: { deadlineMs } }) => deadlineMs ?? []);
    return least(...deadlines.filter((deadlineMs) => deadlineMs > nowMs));
  }

  #issued(run: Run, issued: Issued): void {
    const { process } = run;
    this.#unpark(process.pid);
    // A program that has been heard of does not only wait, whatever its row was made to say.
    const ready = process.prepareReady();
    if (ready !== undefined)
      this.#of()
        .commits.commit(ready)
        .catch(() => {});
    syscall(this.#of(), run, issued).catch((error: unknown) => this.failed(run, error));
  }

  /** The process only waits: that is written down, and after a while it leaves memory. */
  #idle(run: Run): void {
    const { pid, record } = run.process;
    const { commits, options, ports } = this.#of();
    if (run.frozen) {
      this.drop(pid);
      // Whoever let it go on while its last calls were under way has been waiting for this.
      if (record.state === "ready") this.wake(pid);
      return;
    }
    if (this.#parked.has(pid)) return;
    if (run.queued) {
      // Ready in the table's eyes: after a restart it asks for its turn again.
      this.#parked.set(pid, () => {});
    } else {
      const cancel = ports.clock.after(options.limits.parkAfterMs, () => {
        this.#parked.delete(pid);
        if (run.idle && !run.queued) this.drop(pid);
      });
      this.#parked.set(pid, cancel);
      const waiting = run.process.prepareWaiting();
      // A refusal halts the runner; there is nobody else to tell.
      if (waiting !== undefined) commits.commit(waiting).catch(() => {});
    }
    this.alarm(record.wakeMs ?? Infinity);
    // Whoever waits for room need not wait until this one leaves by itself.
    if (this.#ready.size > 0) this.#pump();
  }

  #unpark(pid: ProcessId): void {
    this.#parked.get(pid)?.();
    this.#parked.delete(pid);
  }

  #finished(run: Run, result: { readonly result: Json } | { readonly error: unknown }): void {
    const { process } = run;
    if ("error" in result && OsError.is(result.error, "replay_divergence")) return this.diverged(run, result.error);
    const missing = run.unissued;
    if (missing !== undefined) return this.diverged(run, unissuedCall(missing));
    process.recount(run.recall.spent);
    const { name } = process.manifest;
    const exit =
      "result" in result
        ? ({ how: "completed", result: result.result } as const)
        : ({ how: "failed", error: errorRecord(result.error, "program_failed", { agent: name }) } as const);
    end(this.#of(), process, exit, process.pid).catch((error: unknown) => this.failed(run, error));
  }

  #stop(run: Run, reason: ErrorRecord): void {
    const { process } = run;
    const header = { kind: "process.stopped", by: "reeve" } as const;
    const prepared = process.prepare([entryOf(header, { reason: reason as unknown as JsonObject })]);
    this.drop(process.pid);
    this.#of()
      .commits.commit(prepared)
      .catch(() => {});
  }

  #ring(): void {
    this.#alarmMs = Infinity;
    const { ports } = this.#of();
    const nowMs = ports.clock.nowMs();
    for (const { process } of [...this.#runs.values()])
      if (this.#isLate(process)) this.#endLate(process).catch((error: unknown) => this.halt(error));
    const due = async (): Promise<void> => {
      const pids = await ports.store.due(nowMs, DUE_TOGETHER);
      for (const pid of pids) this.wake(pid);
      // Those just woken stand as due until they have gone on; what is still due then is looked at again.
      const nextMs = least(await ports.store.nextWakeMs(), this.#nextDeadlineMs(nowMs));
      if (nextMs !== undefined) this.alarm(nextMs <= nowMs ? nowMs + LOOK_AGAIN_MS : nextMs);
    };
    due().catch((error: unknown) => this.halt(error));
  }
}

const unissuedCall = (number: number): OsError =>
  new OsError(
    "replay_divergence",
    `The program ended without issuing call ${number}, which its journal holds. Programs must be deterministic between system calls; if the agent's source was changed, bring back the version that the process was started with.`,
    {
      data: { call: number, field: "issued", recorded: number, issued: null },
    },
  );

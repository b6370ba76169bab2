// Schedules: processes that nobody starts by hand.
//
// Boundary: knows when, and notes what came of it. A process is started by the road of operators, which is handed in, in the name of
// whoever made the schedule. Until `start`, and in a system that runs nothing, schedules can be made and changed all the same.
//
// Invariants:
//   S1. Each time of a schedule has at most one process: it is started under the key `schedule:NAME:CREATED_MS:TIME_MS`, and a key
//       stands for one process. So a crash between the start and the note of it, which makes it start again, starts nothing.
//   S2. A schedule's times are noted in their order: `nextMs` moves on only over times that have a process, or a reason for none.
//   S3. What happens to one schedule happens one at a time: it cannot be removed or paused between a start and the note.
//   S4. A failure that may pass (the store's, a tool that is away) leaves the time due; it is tried again every RETRY_MS.
import { errorRecord, OsError } from "../abi/errors.ts";
import type { ErrorRecord } from "../abi/errors.ts";
import type { Actor } from "../abi/events.ts";
import type { ProcessId } from "../abi/ids.ts";
import { MISSED_RUNS_MAX, SCHEDULES_MAX } from "../abi/schedules.ts";
import type { SkipReason } from "../abi/schedules.ts";
import type { Args, Output } from "../abi/syscalls.ts";
import type { Calendar } from "../ports/calendar.ts";
import type { Clock } from "../ports/clock.ts";
import type { AgentSource } from "../ports/program.ts";
import type { ScheduleRecord, Store } from "../ports/store.ts";
import { type Due, dueOf, isDue, LATE_MS, timeAfter } from "./due.ts";

/** How long until a time whose process could not be started is tried again. */
const RETRY_MS = 15_000;
/** The longest sleep: a machine that was suspended, or whose clock was set, is noticed after so long. */
const LOOK_AGAIN_MS = 60_000;

export type ScheduleParts = {
  readonly store: Pick<Store, "append" | "process" | "schedule" | "schedules">;
  readonly clock: Clock;
  readonly calendar: Calendar;
  readonly agents: Pick<AgentSource, "find">;
  /** An operator's `process.spawn`. */
  readonly spawn: (args: Args<"process.spawn">, by: Actor) => Promise<{ readonly pid: ProcessId }>;
  /** Told of what nobody waits for. */
  readonly onTrouble: (message: string) => void;
};

type Attempt = { readonly pid: ProcessId; readonly createdMs: number } | { readonly error: ErrorRecord };

export class Schedules {
  readonly #parts: ScheduleParts;
  /** When to look at a schedule again; those that are paused, over, or being looked at have no entry. */
  readonly #alarms = new Map<string, number>();
  /** The last thing under way for a name. */
  readonly #turns = new Map<string, Promise<void>>();
  #cancel: (() => void) | undefined;
  #running = false;
  #newestMs = 0;

  constructor(parts: ScheduleParts) {
    this.#parts = parts;
  }

  /** Lets schedules start processes from now on, beginning with what was missed. Rejects with `store_failed`. */
  async start(): Promise<void> {
    const records = await this.#parts.store.schedules();
    this.#running = true;
    for (const record of records) this.#watch(record);
    this.#arm();
  }

  /** Starts nothing any more. What is under way is gone on with at the next start. */
  close(): void {
    this.#running = false;
    this.#cancel?.();
    this.#alarms.clear();
  }

  /**
   * Rejects with `conflict` for a name in use, `invalid_argument` for an expression, zone or time that cannot be,
   * `not_found` or `agent_invalid` for the agent, `limit_exceeded` beyond SCHEDULES_MAX.
   */
  create(args: Args<"schedule.create">, by: Actor): Promise<Output<"schedule.create">> {
    // One at a time, whatever their names, so that they can be counted.
    return this.#alone("", () => this.#alone(args.name, () => this.#create(args, by)));
  }

  async list(): Promise<Output<"schedule.list">> {
    return { schedules: [...(await this.#parts.store.schedules())] };
  }

  /** Rejects with `not_found`. To pause what is paused changes nothing. */
  change({ name, paused }: Args<"schedule.change">): Promise<Output<"schedule.change">> {
    return this.#alone(name, async () => {
      const record = await this.#record(name);
      if (record.paused === paused) return { schedule: record };
      const schedule = { ...record, paused };
      await this.#write(schedule);
      return { schedule };
    });
  }

  /** Rejects with `not_found`. */
  remove({ name }: Args<"schedule.remove">): Promise<Output<"schedule.remove">> {
    return this.#alone(name, async () => {
      const schedule = await this.#record(name);
      await this.#parts.store.append({ journals: [], removedSchedules: [name] });
      this.#alarms.delete(name);
      return { schedule };
    });
  }

  async #create(args: Args<"schedule.create">, by: Actor): Promise<Output<"schedule.create">> {
    const { store, agents, clock } = this.#parts;
    const known = await store.schedules();
    assertRoom(args.name, known);
    await agents.find(args.agent);
    // Never the same twice, so that the keys of a schedule that was removed are not those of the next of its name.
    this.#newestMs = Math.max(clock.nowMs(), this.#newestMs + 1);
    const schedule = this.#begun({
      ...args,
      cron: args.cron?.trim() ?? null,
      atMs: args.atMs ?? null,
      createdBy: by,
      createdMs: this.#newestMs,
      nextMs: null,
      lastMs: null,
      lastPid: null,
      runs: 0,
      lastSkippedMs: null,
      lastSkippedWhy: null,
      lastError: null,
    });
    await this.#write(schedule);
    return { schedule };
  }

  /** The schedule with its first time. A time that has just passed is taken to be meant. */
  #begun(schedule: ScheduleRecord): ScheduleRecord {
    const { calendar, clock } = this.#parts;
    const nowMs = clock.nowMs();
    const nextMs = timeAfter(schedule, calendar, schedule.cron === null ? nowMs - LATE_MS : nowMs);
    if (nextMs === null) throw neverDue(schedule);
    return { ...schedule, nextMs };
  }

  async #record(name: string): Promise<ScheduleRecord> {
    const record = await this.#parts.store.schedule(name);
    if (record !== undefined) return record;
    throw new OsError("not_found", `There is no schedule ${name}. \`reeve schedule\` lists those that there are.`, {
      data: { what: "schedule", id: name },
    });
  }

  /** `lookMs`: when to look at it again, if not at its next time. */
  async #write(record: ScheduleRecord, lookMs: number | null = record.nextMs): Promise<void> {
    await this.#parts.store.append({ journals: [], schedules: [record] });
    this.#watch(record, lookMs);
    this.#arm();
  }

  /** Runs `work` when everything that was begun for the name before is over. */
  #alone<T>(name: string, work: () => Promise<T>): Promise<T> {
    const done = (this.#turns.get(name) ?? Promise.resolve()).then(work);
    const over = (): void => {
      if (this.#turns.get(name) === ended) this.#turns.delete(name);
    };
    const ended = done.then(over, over);
    this.#turns.set(name, ended);
    return done;
  }

  #watch({ name, paused, nextMs }: ScheduleRecord, atMs: number | null = nextMs): void {
    if (paused || atMs === null) this.#alarms.delete(name);
    else this.#alarms.set(name, atMs);
  }

  #arm(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    if (!this.#running || this.#alarms.size === 0) return;
    const { clock } = this.#parts;
    const waitMs = Math.max(0, Math.min(...this.#alarms.values()) - clock.nowMs());
    this.#cancel = clock.after(Math.min(waitMs, LOOK_AGAIN_MS), () => this.#ring());
  }

  #ring(): void {
    const nowMs = this.#parts.clock.nowMs();
    for (const [name, atMs] of this.#alarms) {
      if (atMs > nowMs) continue;
      this.#alarms.delete(name);
      this.#alone(name, () => this.#fire(name)).catch((error: unknown) => this.#failed(name, errorRecord(error)));
    }
    this.#arm();
  }

  /** What the store refused is tried again: nothing was noted, so nothing is lost. */
  #failed(name: string, { code, message }: ErrorRecord): void {
    if (!this.#running) return;
    this.#parts.onTrouble(`The schedule ${name} could not be dealt with and is tried again: ${code}: ${message}`);
    this.#alarms.set(name, this.#parts.clock.nowMs() + RETRY_MS);
    this.#arm();
  }

  async #fire(name: string): Promise<void> {
    const { store, clock, calendar } = this.#parts;
    const record = await store.schedule(name);
    if (record === undefined || !this.#running) return;
    const nowMs = clock.nowMs();
    if (!isDue(record, nowMs)) {
      this.#watch(record);
      return this.#arm();
    }
    const due = dueOf(record, calendar, nowMs);
    const { starts, missedMs, nextMs } = due;
    const noted = missedMs === null ? record : passed(record, missedMs, "missed");
    const [firstMs] = starts;
    if (firstMs === undefined) return this.#write({ ...noted, nextMs });
    if (record.overlap === "skip" && (await this.#isAlive(record.lastPid)))
      return this.#write({ ...passed(noted, firstMs, "overlap"), nextMs });
    const known = noted === record ? record.lastError : null;
    return this.#startAll(noted, due, { nowMs, known });
  }

  /** Starts a process for each time, and notes what came of it. `known`: the failure that is noted already, if nothing else is new. */
  async #startAll(
    noted: ScheduleRecord,
    { starts, leftOutMs, nextMs }: Due,
    { nowMs, known }: { readonly nowMs: number; readonly known: ErrorRecord | null },
  ): Promise<void> {
    const { calendar } = this.#parts;
    let record = noted;
    let goesOnMs = nextMs;
    for (const atMs of starts) {
      const attempt = await this.#attempt(record, atMs);
      // The keys make it harmless that what was started is not noted.
      if (!this.#running) return;
      if ("error" in attempt) {
        const { error } = attempt;
        if (error.retryable) return this.#postpone({ ...record, nextMs: atMs }, error, record === noted ? known : null);
        this.#tell(record.name, `started nothing for ${timeText(atMs)}`, error);
        record = { ...passed(record, atMs, "failed"), lastError: error };
        continue;
      }
      const { pid, createdMs } = attempt;
      record = { ...record, runs: record.runs + 1, lastMs: createdMs, lastPid: pid, lastError: null };
      // One that was started before a crash, which kept the note from being made, stands for its time and not for those since.
      if (record.missed === "once" && createdMs < nowMs) goesOnMs = timeAfter(record, calendar, atMs);
    }
    if (leftOutMs !== null) {
      this.#parts.onTrouble(
        `The schedule ${record.name} missed more than ${MISSED_RUNS_MAX} times. Those from ${timeText(starts[0])} on are made up for, those from ${timeText(leftOutMs)} on left out.`,
      );
      record = passed(record, leftOutMs, "limit");
    }
    await this.#write({ ...record, nextMs: goesOnMs });
  }

  /** The time stays due. The failure is told and noted once, and not at every attempt. */
  async #postpone(record: ScheduleRecord, error: ErrorRecord, known: ErrorRecord | null): Promise<void> {
    const lookMs = this.#parts.clock.nowMs() + RETRY_MS;
    if (known?.code === error.code && known.message === error.message) {
      this.#watch(record, lookMs);
      return this.#arm();
    }
    this.#tell(record.name, "cannot start a process now, and tries again", error);
    await this.#write({ ...record, lastError: error }, lookMs);
  }

  #tell(name: string, what: string, { code, message }: ErrorRecord): void {
    this.#parts.onTrouble(`The schedule ${name} ${what}: ${code}: ${message}`);
  }

  async #attempt(record: ScheduleRecord, atMs: number): Promise<Attempt> {
    const { store, spawn, clock } = this.#parts;
    const { name, agent, task, budget, class: urgency, tenant, createdMs, createdBy } = record;
    try {
      const { pid } = await spawn(
        {
          agent,
          task,
          ...(budget && { budget }),
          ...(urgency && { class: urgency }),
          ...(tenant && { tenant }),
          key: `schedule:${name}:${createdMs}:${atMs}`,
        },
        createdBy,
      );
      return { pid, createdMs: (await store.process(pid))?.createdMs ?? clock.nowMs() };
    } catch (error) {
      return { error: errorRecord(error) };
    }
  }

  async #isAlive(pid: ProcessId | null): Promise<boolean> {
    if (pid === null) return false;
    const process = await this.#parts.store.process(pid);
    return process !== undefined && process.state !== "exited";
  }
}

/** The record with the note of a time that passed without a process. */
const passed = (record: ScheduleRecord, atMs: number, why: SkipReason): ScheduleRecord => ({
  ...record,
  lastSkippedMs: atMs,
  lastSkippedWhy: why,
});

const timeText = (ms: number | undefined): string => (ms === undefined ? "" : new Date(ms).toISOString());

function assertRoom(name: string, known: readonly ScheduleRecord[]): void {
  if (known.some((record) => record.name === name))
    throw new OsError(
      "conflict",
      `The name ${name} is in use: there is such a schedule. Take another name, or remove that one first: \`reeve schedule remove ${name}\`.`,
      { data: { what: "schedule", id: name } },
    );
  if (known.length >= SCHEDULES_MAX)
    throw new OsError(
      "limit_exceeded",
      `There are ${SCHEDULES_MAX} schedules, and no more are kept. Remove some that are over or not needed: \`reeve schedule remove NAME\`.`,
      { data: { limit: "schedules", max: SCHEDULES_MAX } },
    );
}

function neverDue({ cron, atMs }: ScheduleRecord): OsError {
  const [field, what] =
    cron === null
      ? ["atMs", `${timeText(atMs ?? 0)} is in the past. Give a time to come.`]
      : ["cron", `The cron expression ${JSON.stringify(cron)} names no day that exists, so it would never be due.`];
  return new OsError("invalid_argument", what, { data: { issues: [`${field}: is never due`] } });
}

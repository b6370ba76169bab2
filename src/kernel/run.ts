// One run of a process's program: its calls under way, and the order in which it sees their outcomes.
//
// Boundary: knows the program and the journal's memory (recall); what happens to a call is the path's affair (syscall.ts).
//
// Invariants:
//   U1. The program sees outcomes in the order of their events, one in a turn of the event loop, so what it does
//       between two of them is the same in every run: this is what makes replay exact.
//   U2. Recorded outcomes come first; a live one is delivered when the journal has none left.
//   U3. A wait that is poked between its check and its sleep does not sleep: no wake-up is lost.
//   U4. A program is idle when all its calls wait and it says itself that it has nothing else to do (or has nobody to ask,
//       since it runs in this event loop). One that does not say so, truly or not, is busy: until it is given
//       an outcome or issues a call, when it is asked anew, or until COMPUTE_BESIDE_WAITS_MS_MAX after it was asked, when it counts
//       as idle whatever it does. One that says so falsely loses what it was computing, and nothing else.
//   U5. A stopped run starts nothing: calls that are being performed are seen to their end and recorded, the others are
//       forgotten with the run and issued anew by the next one.
//   U6. After `dispose` the program hears nothing and nothing that it does is heard.
import { OsError } from "../abi/errors.ts";
import type { Actor, EventHeader } from "../abi/events.ts";
import type { RequestId } from "../abi/ids.ts";
import type { Json } from "../abi/json.ts";
import { CALLS_IN_FLIGHT_MAX, COMPUTE_BESIDE_WAITS_MS_MAX } from "../abi/limits.ts";
import type { ProcessCall } from "../abi/syscalls.ts";
import type { ToolDefinition } from "../abi/tools.ts";
import type { Decision } from "../abi/requests.ts";
import type { Clock } from "../ports/clock.ts";
import type { CallView } from "../ports/process.ts";
import type { ProgramHost, ProgramRun } from "../ports/program.ts";
import type { Process } from "./process.ts";
import type { Mail, Outcome, Recall, RecordedCall } from "./journal/recall.ts";

/** `crowded`: more calls are under way than may be; it is refused. */
export type Issued = {
  readonly number: number;
  readonly syscall: ProcessCall;
  readonly args: Json;
  readonly crowded?: boolean;
};

/** A call that the program issued and has not seen the outcome of. */
type Pending = {
  waiting: boolean;
  /** It waits for what the scheduler gives. */
  queued: boolean;
  dispatched: boolean;
  /** Somebody does it, or its outcome is on its way to disk. */
  performing: boolean;
  /** What a model or a tool was asked for, if one was. */
  doing: Doing | undefined;
  readonly resolve: (value: Json) => void;
  readonly reject: (error: OsError) => void;
};

/** A call of a model or a tool, as it is told to people. */
export type Doing = Pick<CallView, "number" | "syscall" | "args" | "effect"> & {
  readonly tool: ToolDefinition | undefined;
};

export type Decided = Decision & { readonly by: Actor };

/** An event that did not come from the program. */
export type Notice = { readonly header: EventHeader; readonly payload: Json; readonly seq: number };

export type ProgramEnd = { readonly result: Json } | { readonly error: unknown };

export type RunEvents = {
  /** A call came in. */
  readonly issued: (run: Run, issued: Issued) => void;
  /** All that the program does is wait. */
  readonly idle: (run: Run) => void;
  /** The program has ended, and its whole journal has been read. */
  readonly finished: (run: Run, end: ProgramEnd) => void;
  /** The journal could not be read on. */
  readonly failed: (run: Run, error: unknown) => void;
};

export class Run {
  readonly process: Process;
  readonly #recall: Recall;
  readonly #clock: Clock;
  readonly #events: RunEvents;
  readonly #abort = new AbortController();
  readonly #pending = new Map<number, Pending>();
  /** Recorded calls that the program has issued again, with the same bytes. */
  readonly #reissued = new Set<number>();
  readonly #answers: { readonly number: number; readonly outcome: Outcome }[] = [];
  readonly #decisions = new Map<RequestId, Decided>();
  readonly #sleepers = new Set<() => void>();
  /** Rejected when the run is disposed of. */
  readonly #gone = Promise.withResolvers<never>();
  /** The last of its calls that is to be alone with a key, by key. */
  readonly #alone = new Map<string, Promise<void>>();
  #mail: Mail[] | undefined;
  readonly #lateMail: Mail[] = [];
  #program: ProgramRun | undefined;
  #delivering = false;
  #idleCheck = false;
  /** Whether the program has said that it is idle, and nothing has come from it or gone to it since (U4). */
  #saidIdle = false;
  /** It has been asked whether it is idle; this forgets that. */
  #unask: (() => void) | undefined;
  #frozen = false;
  #ended = false;
  /** How many calls the program has issued in this run. */
  #issuedCalls = 0;
  #disposed = false;
  #pokes = 0;

  constructor(process: Process, parts: { recall: Recall; clock: Clock; events: RunEvents }) {
    this.process = process;
    this.#recall = parts.recall;
    this.#clock = parts.clock;
    this.#events = parts.events;
    // Most runs have nobody waiting when they end.
    this.#gone.promise.catch(() => {});
  }

  /** Fires when the process's calls are to be given up. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }
  get disposed(): boolean {
    return this.#disposed;
  }
  /** Whether it was told to start nothing new. */
  get frozen(): boolean {
    return this.#frozen;
  }
  get recall(): Recall {
    return this.#recall;
  }
  /** How often the run was told that something may have changed. */
  get pokes(): number {
    return this.#pokes;
  }
  /** Calls whose effect was dispatched and whose outcome is not known. */
  get dispatched(): number[] {
    return [...this.#pending].flatMap(([number, { dispatched }]) => (dispatched ? [number] : []));
  }
  /** Calls of models and tools that are being made. `uncertain`: an effect that was dispatched. */
  get doing(): { readonly call: Doing; readonly uncertain: boolean }[] {
    return [...this.#pending.values()].flatMap(({ doing, waiting, performing, dispatched }) =>
      doing !== undefined && (dispatched || (performing && !waiting)) ? [{ call: doing, uncertain: dispatched }] : [],
    );
  }
  /** The first recorded call, of those read so far, that the program has not issued. */
  get unissued(): number | undefined {
    return this.#recall.firstCallFrom(this.#issuedCalls);
  }

  start(host: ProgramHost): void {
    const { pid, spec, task, record } = this.process;
    this.#program = host.start({
      pid,
      agent: spec.agent,
      task,
      createdMs: record.createdMs,
      issue: (number, syscall, args) => this.#issue({ number, syscall, args }),
    });
    this.#program.result.then(
      (result) => this.#end({ result }),
      (error: unknown) => this.#end({ error }),
    );
    this.#pump();
  }

  /** Whether the program left out a call can be said only when its journal has been read to the end. */
  async #end(end: ProgramEnd): Promise<void> {
    if (this.#disposed) return;
    this.#ended = true;
    try {
      while (!this.#recall.exhausted) {
        await this.#recall.readOn();
        // The calls that it issued and did not wait for are compared with what was read before anything is concluded.
        await new Promise((resolve) => setImmediate(resolve));
      }
    } catch (error) {
      if (!this.#disposed) this.#events.failed(this, error);
      return;
    }
    // What a stopped program has to say is not heard: it says it again when it goes on.
    if (!this.#disposed && !this.#frozen) this.#events.finished(this, end);
  }

  #issue(issued: Issued): Promise<Json> {
    return new Promise((resolve, reject) => {
      if (this.#disposed || this.#frozen) return;
      // How many are under way when a call arrives can differ from run to run, so the refusal is an outcome like any other:
      // recorded, and read back.
      const crowded = this.#pending.size >= CALLS_IN_FLIGHT_MAX;
      const idle = { waiting: false, queued: false, dispatched: false, performing: false, doing: undefined };
      this.#pending.set(issued.number, { ...idle, resolve, reject });
      this.#active();
      this.#issuedCalls = Math.max(this.#issuedCalls, issued.number + 1);
      this.#events.issued(this, crowded ? { ...issued, crowded } : issued);
    });
  }

  /** The program issued a call whose outcome the journal holds: it gets it when its turn comes. */
  reissued(recorded: RecordedCall): void {
    this.#reissued.add(recorded.number);
    this.#pump();
  }

  /** The outcome of a live call; durable by now. */
  answer(number: number, outcome: Outcome): void {
    const pending = this.#pending.get(number);
    if (pending !== undefined) {
      pending.dispatched = pending.performing = false;
      pending.doing = undefined;
    }
    this.#answers.push({ number, outcome });
    this.#pump();
    if (this.#frozen) this.#scheduleIdleCheck();
  }

  /**
   * The call is about to be performed; false if it must not be, since the process was stopped before (U5). `doing` for a
   * call of a model or a tool.
   */
  begin(number: number, doing: Doing | undefined): boolean {
    const pending = this.#pending.get(number);
    if (pending !== undefined) {
      pending.performing = !this.#frozen;
      pending.doing = doing;
    }
    // It may have been the last one that the run was waiting for.
    if (this.#frozen) this.#scheduleIdleCheck();
    return !this.#frozen;
  }

  /** Whether a call has no outcome, whatever became of it on its way: the process was stopped before it was performed. */
  withholds(number: number): boolean {
    return this.#frozen && this.#pending.get(number)?.performing !== true;
  }

  markDispatched(number: number): void {
    const pending = this.#pending.get(number);
    if (pending !== undefined) pending.dispatched = true;
  }

  /** Sleeps until something may have changed since `pokes` was read, or until the time has come. */
  async sleep(
    number: number,
    options: { readonly pokes: number; readonly untilMs?: number | undefined },
  ): Promise<void> {
    const pending = this.#pending.get(number);
    // Nothing of a run that was disposed of goes on (U6): whoever sleeps in it is forgotten with it.
    if (this.#disposed || pending === undefined) return new Promise(() => {});
    if (this.#pokes !== options.pokes) return;
    pending.waiting = true;
    this.#scheduleIdleCheck();
    await new Promise<void>((resolve) => {
      const timer: { cancel?: () => void } = {};
      const wake = (): void => {
        this.#sleepers.delete(wake);
        timer.cancel?.();
        if (timer.cancel !== undefined) this.signal.removeEventListener("abort", timer.cancel);
        resolve();
      };
      this.#sleepers.add(wake);
      if (options.untilMs === undefined) return;
      const leftMs = Math.min(Math.max(0, options.untilMs - this.#clock.nowMs()), 2 ** 31 - 1);
      timer.cancel = this.#clock.after(leftMs, wake);
      this.signal.addEventListener("abort", timer.cancel, { once: true });
    });
    pending.waiting = false;
  }

  /** A call waits for what the scheduler gives, and the process with it: it holds nothing, and may leave memory. */
  async queue<T>(number: number, given: Promise<T>): Promise<T> {
    const pending = this.#pending.get(number);
    if (pending === undefined) return given;
    pending.waiting = true;
    pending.queued = true;
    this.#scheduleIdleCheck();
    try {
      // Of a run that is disposed of, what was taken on the way here is given back; its place in the queue may be kept.
      return await Promise.race([given, this.#gone.promise]);
    } finally {
      pending.waiting = false;
      pending.queued = false;
    }
  }

  /** Waits until no other call of this run is at a key; gives what lets the next one in. */
  async alone(number: number, key: string): Promise<() => void> {
    const before = this.#alone.get(key);
    const left = Promise.withResolvers<void>();
    this.#alone.set(key, left.promise);
    if (before !== undefined) await this.queue(number, before);
    return () => {
      if (this.#alone.get(key) === left.promise) this.#alone.delete(key);
      left.resolve();
    };
  }

  /** Whether any of its calls waits for what the scheduler gives. */
  get queued(): boolean {
    for (const { queued } of this.#pending.values()) if (queued) return true;
    return false;
  }

  /** Something may have changed: every waiting call looks again. */
  poke(): void {
    this.#pokes += 1;
    if (this.#disposed || this.#frozen) return;
    for (const wake of [...this.#sleepers]) wake();
  }

  /** An event that was appended to the journal from outside. One that the recall reads back anyway is not taken twice. */
  notice({ header, payload, seq }: Notice): void {
    if (seq >= this.#recall.end) this.#take(header, payload);
    this.poke();
  }

  #take(header: EventHeader, payload: Json): void {
    if (header.kind === "message.delivered")
      this.#lateMail.push({ id: header.message, from: header.from, topic: header.topic, body: payload });
    if (header.kind === "request.decided")
      this.#decisions.set(header.request, { ...(payload as Decision), by: header.by });
  }

  decision(request: RequestId): Decided | undefined {
    return this.#decisions.get(request);
  }

  /** Takes the oldest message of a topic. Only for a call that is live, when the journal has been read to its end. */
  takeMail(topic: string | undefined): Mail | undefined {
    this.#mail ??= this.#recall.mail;
    this.#mail.push(...this.#lateMail.splice(0));
    const at = this.#mail.findIndex((mail) => topic === undefined || mail.topic === topic);
    return at === -1 ? undefined : this.#mail.splice(at, 1)[0];
  }

  /** Keeps what is under way going and starts nothing new; the program is not heard any more. */
  freeze(): void {
    this.#frozen = true;
    this.#scheduleIdleCheck();
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#active();
    this.#abort.abort();
    this.#gone.reject(new OsError("cancelled", "The call was given up: its process has ended, or has left memory."));
    this.#program?.dispose();
    this.#pending.clear();
    this.#sleepers.clear();
  }

  #pump(): void {
    if (this.#delivering || this.#disposed || this.#frozen || this.#ended) return;
    const next = this.#next();
    if (next === undefined) return;
    this.#delivering = true;
    this.#active();
    const pending = this.#pending.get(next.number);
    this.#pending.delete(next.number);
    this.#reissued.delete(next.number);
    if (next.outcome.ok) pending?.resolve(next.outcome.value);
    else pending?.reject(OsError.from(next.outcome.error));
    setImmediate(() => {
      this.#delivering = false;
      this.#pump();
      if (this.#pending.size > 0) this.#scheduleIdleCheck();
    });
  }

  #next(): { readonly number: number; readonly outcome: Outcome } | undefined {
    const head = this.#recall.nextOutcome;
    if (head !== undefined) {
      if (!this.#reissued.has(head)) return undefined;
      const { number, outcome } = this.#recall.take();
      return outcome === undefined ? undefined : { number, outcome };
    }
    if (this.#recall.exhausted) return this.#answers.shift();
    this.#recall.readOn().then(
      () => this.#pump(),
      (error: unknown) => this.#disposed || this.#events.failed(this, error),
    );
    return undefined;
  }

  #scheduleIdleCheck(): void {
    if (this.#idleCheck) return;
    this.#idleCheck = true;
    setImmediate(() => {
      this.#idleCheck = false;
      if (this.idle) this.#events.idle(this);
      else if (!this.#disposed && this.#callsWait()) this.#askIdle();
    });
  }

  /** The program has something to do, or is heard of: what it said before about being idle holds no longer. */
  #active(): void {
    this.#saidIdle = false;
    this.#unask?.();
    this.#unask = undefined;
  }

  #askIdle(): void {
    if (this.#unask !== undefined) return;
    const said = this.#program?.idle?.();
    if (said === undefined) return;
    let forgotten = false;
    const takeAsIdle = (): void => {
      if (forgotten) return;
      this.#active();
      this.#saidIdle = true;
      this.#scheduleIdleCheck();
    };
    const cancel = this.#clock.after(COMPUTE_BESIDE_WAITS_MS_MAX, takeAsIdle);
    this.#unask = () => {
      forgotten = true;
      cancel();
    };
    void said.then(takeAsIdle);
  }

  /** Whether nothing happens until something comes from outside. */
  get idle(): boolean {
    if (this.#disposed || !this.#callsWait()) return false;
    return this.#frozen || this.#saidIdle || this.#program?.idle === undefined;
  }

  #callsWait(): boolean {
    const settled =
      this.#frozen || (this.#recall.exhausted && this.#recall.nextOutcome === undefined && this.#answers.length === 0);
    const calls = [...this.#pending.values()];
    return (
      settled &&
      (this.#frozen || calls.length > 0) &&
      calls.every(({ waiting, performing }) => waiting || (this.#frozen && !performing))
    );
  }
}

// What a decision of the scheduler costs: a slot is given back, and of all calls that wait the next one gets it.
//
// The scheduler's own code, in this process, on the machine's clock. Calls of all classes, of many tenants, with many
// trees each and each with a signal of its own, wait at one resource; ageing is short, so that turns by class and turns by age both occur. A decision is one
// `release` with all that follows from it: the account of the slot, the choice, the grant. What keeps the number of waiting calls
// the same is done between the decisions and is not counted. Sizes are measured in turns, so that a change in the
// machine's load falls on them alike.
//
// Two things tell the algorithm from the machine. Comparisons of keys are counted, which is the work that grows with the
// number of calls; on a simulated clock, so the count is the same on every machine. And a control keeps as many calls, of the same objects, in no
// order at all, and grants any one of them: it does the same number of steps however many there are, so what it takes longer
// with more of them is the way from the processor to memory.
import type { ProcessId } from "../../src/abi/ids.ts";
import { CLASSES } from "../../src/abi/scheduling.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { Slot, Standing, Turns } from "../../src/ports/scheduler.ts";
import type { Work } from "../../src/scheduler/heap.ts";
import { createTurns } from "../../src/scheduler/turns.ts";
import { countOption, type Benchmark, type Context, type Result } from "../benchmark.ts";
import { chance, quantile } from "../statistics.ts";
import { figure } from "../table.ts";

const SLOTS = 32;
const TENANTS = 50;
const TREES = 40;
const AGING_MS = 5;
const ROUNDS = 4;
const WARM_UP_DECISIONS = 2_000;
const FREE_TAKES = 200_000;
const MANY = 100_000;
const FEW = 1_000;

const SIZES = [FEW, 10_000, 30_000];
const COUNTED_DECISIONS = 20_000;

const machine: Clock = {
  nowMs: () => Date.now(),
  after: (ms, fire) => {
    const timer = setTimeout(fire, ms);
    return () => clearTimeout(timer);
  },
};

/** A clock on which a millisecond passes with each decision. */
class Counter implements Clock {
  #nowMs = 0;

  nowMs(): number {
    return this.#nowMs;
  }

  after(): () => void {
    return () => undefined;
  }

  tick(): void {
    this.#nowMs += 1;
  }
}

const make = (clock: Clock, work?: Work): Turns =>
  createTurns({ clock, summon: () => undefined, agingMs: AGING_MS, weightOf: () => 1, ...(work && { work }) });

type Where = Pick<Standing, "class" | "tenant" | "root">;

function draw(random: () => number): Where {
  const tenant = `tenant-${Math.floor(random() * TENANTS)}`;
  return {
    class: CLASSES[Math.floor(random() * CLASSES.length)] ?? "batch",
    tenant,
    root: `p_${tenant}-${Math.floor(random() * TREES)}` as ProcessId,
  };
}

/** So many calls that wait, and slots that were taken. */
class Queue {
  readonly #turns: Turns;
  readonly #resource = { name: "bench", concurrency: SLOTS };
  readonly #slots: Slot[] = [];
  readonly #granted: Standing[] = [];
  #calls = 0;

  constructor(waiting: number, { random, turns }: { readonly random: () => number; readonly turns: Turns }) {
    this.#turns = turns;
    for (let at = 0; at < waiting + SLOTS; at += 1) this.#ask(at, draw(random));
  }

  #ask(at: number, where: Where): void {
    const who: Standing = { ...where, pid: `p_${at}` as ProcessId, weight: 1 };
    this.#calls += 1;
    const { signal } = new AbortController();
    const turn = this.#turns.take(who, { call: this.#calls, resource: this.#resource }, signal);
    void Promise.resolve(turn).then((slot) => {
      this.#slots.push(slot);
      this.#granted.push(who);
    });
  }

  /** So many decisions, each handed to `measure`. */
  async decide(decisions: number, measure: (decide: () => void) => void): Promise<void> {
    await Promise.resolve();
    for (let at = 0; at < decisions; at += 1) {
      const slot = this.#slots.shift();
      const gone = this.#granted.shift();
      if (slot === undefined || gone === undefined) throw new Error("Nobody got the slot that was given back.");
      measure(() => slot.release());
      // Whoever was granted the slot is heard, and another one like the one that has gone comes to wait.
      await Promise.resolve();
      await Promise.resolve();
      this.#ask(-this.#calls, gone);
    }
  }
}

type Kept = { readonly who: Standing; readonly signal: AbortSignal; grant: () => void; handleEvent(): void };

/** The same calls in no order: any one of them is granted. */
class Unordered {
  readonly #random: () => number;
  readonly #calls: Kept[] = [];
  readonly #byProcess = new Map<ProcessId, { readonly calls: readonly Kept[] }>();
  #asked = 0;

  constructor(waiting: number, { random }: { readonly random: () => number }) {
    this.#random = random;
    for (let at = 0; at < waiting; at += 1) this.#ask(draw(random));
  }

  #ask(where: Where): void {
    this.#asked += 1;
    const who: Standing = { ...where, pid: `p_${this.#asked}` as ProcessId, weight: 1 };
    const { signal } = new AbortController();
    const kept: Kept = { who, signal, grant: () => undefined, handleEvent: () => undefined };
    signal.addEventListener("abort", kept);
    void new Promise<void>((resolve) => (kept.grant = resolve)).then(() => this.#ask(who));
    this.#calls.push(kept);
    this.#byProcess.set(who.pid, { calls: [kept] });
  }

  async decide(decisions: number, measure: (decide: () => void) => void): Promise<void> {
    for (let at = 0; at < decisions; at += 1) {
      const place = Math.floor(this.#random() * this.#calls.length);
      measure(() => this.#grant(place));
      await Promise.resolve();
      await Promise.resolve();
    }
  }

  #grant(place: number): void {
    const kept = this.#calls[place];
    const last = this.#calls.pop();
    if (kept === undefined || last === undefined) return;
    if (kept !== last) this.#calls[place] = last;
    const known = this.#byProcess.get(kept.who.pid);
    if (known?.calls[0] === kept) this.#byProcess.delete(kept.who.pid);
    kept.signal.removeEventListener("abort", kept);
    kept.grant();
  }
}

/** Comparisons of keys that a decision takes, in the mean. */
async function comparisons(waiting: number, random: () => number): Promise<number> {
  const work = { comparisons: 0 };
  const clock = new Counter();
  const queue = new Queue(waiting, { random, turns: make(clock, work) });
  let counted = 0;
  await queue.decide(COUNTED_DECISIONS, (decide) => {
    const before = work.comparisons;
    clock.tick();
    decide();
    counted += work.comparisons - before;
  });
  return counted / COUNTED_DECISIONS;
}

/** Adds the microseconds of what it is given to the samples. */
const timing =
  (samples: number[]) =>
  (decide: () => void): void => {
    const fromMs = performance.now();
    decide();
    samples.push((performance.now() - fromMs) * 1000);
  };

/** Nanoseconds to take a free slot and give it back, nobody waiting. */
function freeTakes(): number {
  const turns = make(machine);
  const resource = { name: "free", concurrency: SLOTS };
  const { signal } = new AbortController();
  const crowd = Array.from({ length: 64 }, (_, at): Standing => {
    const pid = `p_${at}` as ProcessId;
    return { pid, root: pid, tenant: `tenant-${at % 4}`, class: "standard", weight: 1 };
  });
  const round = (): number => {
    const fromMs = performance.now();
    for (let call = 0; call < FREE_TAKES; call += 1) {
      const who = crowd[call % crowd.length];
      if (who === undefined) continue;
      const slot = turns.take(who, { call, resource }, signal);
      if (slot instanceof Promise) throw new Error("A free slot had to be waited for.");
      slot.release();
    }
    return ((performance.now() - fromMs) * 1e6) / FREE_TAKES;
  };
  round();
  return quantile(Array.from({ length: 5 }, round), 0.5);
}

type Measured = { readonly decision: number[]; readonly control: number[] };

async function measureAll(context: Context, sizes: readonly number[]): Promise<ReadonlyMap<number, Measured>> {
  const decisions = countOption(context, "decisions");
  const random = chance(countOption(context, "seed", 0));
  const crowds = sizes.map((size) => ({
    size,
    queue: new Queue(size, { random, turns: make(machine) }),
    unordered: new Unordered(size, { random }),
    measured: { decision: [] as number[], control: [] as number[] },
  }));
  for (let round = 0; round < ROUNDS; round += 1)
    for (const { size, queue, unordered, measured } of crowds) {
      const each = Math.ceil(decisions / ROUNDS);
      await queue.decide(WARM_UP_DECISIONS, timing([]));
      await queue.decide(each, timing(measured.decision));
      await unordered.decide(WARM_UP_DECISIONS, timing([]));
      await unordered.decide(each, timing(measured.control));
      const so = figure(quantile(measured.decision, 0.5));
      context.progress(`round ${round + 1}: ${size} waiting, p50 so far ${so} us`);
    }
  return new Map(crowds.map(({ size, measured }) => [size, measured]));
}

async function run(context: Context): Promise<Result> {
  const waiting = countOption(context, "waiting");
  const sizes = [...SIZES.filter((size) => size < waiting), waiting];
  const least = Math.min(...sizes);
  const measured = await measureAll(context, sizes);
  const steps = new Map<number, number>();
  for (const size of sizes) steps.set(size, await comparisons(size, chance(countOption(context, "seed", 0))));
  const of = (size: number, what: keyof Measured, q: number): number => quantile(measured.get(size)?.[what] ?? [], q);
  const free = freeTakes();
  const growth = (what: keyof Measured): number => of(waiting, what, 0.5) / of(least, what, 0.5);
  const stepsOf = (size: number): number => steps.get(size) ?? 0;
  const logarithmic = Math.log(waiting) / Math.log(least);
  return {
    measures: {
      decision_p50_us: of(waiting, "decision", 0.5),
      decision_p50_us_1k: of(least, "decision", 0.5),
      decision_p50_us_10k: measured.has(10_000) ? of(10_000, "decision", 0.5) : null,
      decision_p50_us_30k: measured.has(30_000) ? of(30_000, "decision", 0.5) : null,
      decision_p99_us: of(waiting, "decision", 0.99),
      decision_p99_us_1k: of(least, "decision", 0.99),
      control_p50_us: of(waiting, "control", 0.5),
      control_p50_us_1k: of(least, "control", 0.5),
      comparisons: stepsOf(waiting),
      comparisons_1k: stepsOf(least),
      growth_ratio: growth("decision"),
      growth_comparisons_ratio: stepsOf(waiting) / stepsOf(least),
      growth_control_ratio: growth("control"),
      growth_logarithmic_ratio: logarithmic,
      free_take_ns: free,
    },
    tables: [
      {
        title: "A slot is given back and granted to the next of those that wait; p50, p99 and max in microseconds",
        columns: ["waiting", "comparisons", "p50", "p99", "max", "control p50", "p50 beyond the control"],
        rows: sizes.map((size) => [
          size.toLocaleString("en"),
          figure(stepsOf(size)),
          ...[0.5, 0.99, 1].map((q) => figure(of(size, "decision", q))),
          figure(of(size, "control", 0.5)),
          figure(of(size, "decision", 0.5) - of(size, "control", 0.5)),
        ]),
      },
    ],
    notes: [
      `${figure(waiting / least)} times the calls: ${figure(stepsOf(waiting) / stepsOf(least))} times the comparisons and ${figure(growth("decision"))} times the time; a logarithm of their number is ${figure(logarithmic)} times.`,
      `The control grants any one of as many calls and compares nothing: ${figure(growth("control"))} times the time. That growth is the machine's memory, and a decision has it as well.`,
      `A free slot is taken and given back in ${figure(free)} ns while nobody waits.`,
    ],
  };
}

export const dispatch: Benchmark = {
  name: "dispatch",
  doc: "what a decision of the scheduler costs with many calls waiting",
  options: {
    waiting: { default: String(MANY), doc: "calls that wait, beside runs with 1,000, 10,000 and 30,000" },
    decisions: { default: "20000", doc: "measured decisions for each number of waiting calls" },
    seed: { default: "1", doc: "for classes, tenants and trees of the calls" },
  },
  run,
};

// What a decision of the scheduler costs: a slot is given back, and of all calls that wait the next one gets it.
//
// The scheduler's own code, in this process, on the machine's clock. Calls of all classes, of many tenants, with many
// trees each and each with a signal of its own, wait at one resource; ageing is short, so that turns by class and turns by age both occur. A decision is one
// `release` with all that follows from it: the account of the slot, the choice, the grant. What keeps the number of waiting calls
// the same is done between the decisions and is not counted. Sizes are measured in turns, so that a change in the
// machine's load falls on them alike.
import type { ProcessId } from "../../src/abi/ids.ts";
import { CLASSES } from "../../src/abi/scheduling.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { Slot, Standing, Turns } from "../../src/ports/scheduler.ts";
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

const clock: Clock = {
  nowMs: () => Date.now(),
  after: (ms, fire) => {
    const timer = setTimeout(fire, ms);
    return () => clearTimeout(timer);
  },
};

const make = (): Turns => createTurns({ clock, summon: () => undefined, agingMs: AGING_MS, weightOf: () => 1 });

/** So many calls that wait, and slots that were taken. */
class Queue {
  readonly #turns = make();
  readonly #resource = { name: "bench", concurrency: SLOTS };
  readonly #slots: Slot[] = [];
  readonly #granted: Standing[] = [];
  #calls = 0;

  constructor(waiting: number, random: () => number) {
    for (let at = 0; at < waiting + SLOTS; at += 1) this.#ask(at, this.#draw(random));
  }

  #draw(random: () => number): Pick<Standing, "class" | "tenant" | "root"> {
    const tenant = `tenant-${Math.floor(random() * TENANTS)}`;
    return {
      class: CLASSES[Math.floor(random() * CLASSES.length)] ?? "batch",
      tenant,
      root: `p_${tenant}-${Math.floor(random() * TREES)}` as ProcessId,
    };
  }

  #ask(at: number, where: Pick<Standing, "class" | "tenant" | "root">): void {
    const who: Standing = { ...where, pid: `p_${at}` as ProcessId, weight: 1 };
    this.#calls += 1;
    const { signal } = new AbortController();
    const turn = this.#turns.take(who, { call: this.#calls, resource: this.#resource }, signal);
    void Promise.resolve(turn).then((slot) => {
      this.#slots.push(slot);
      this.#granted.push(who);
    });
  }

  /** Microseconds of each decision. */
  async decide(decisions: number): Promise<number[]> {
    await Promise.resolve();
    const samples: number[] = [];
    for (let at = 0; at < decisions; at += 1) {
      const slot = this.#slots.shift();
      const gone = this.#granted.shift();
      if (slot === undefined || gone === undefined) throw new Error("Nobody got the slot that was given back.");
      const fromMs = performance.now();
      slot.release();
      samples.push((performance.now() - fromMs) * 1000);
      // Whoever was granted the slot is heard, and another one like the one that has gone comes to wait.
      await Promise.resolve();
      await Promise.resolve();
      this.#ask(-this.#calls, gone);
    }
    return samples;
  }
}

/** Nanoseconds to take a free slot and give it back, nobody waiting. */
function freeTakes(): number {
  const turns = make();
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

async function run(context: Context): Promise<Result> {
  const decisions = countOption(context, "decisions");
  const waiting = countOption(context, "waiting");
  const random = chance(countOption(context, "seed", 0));
  const sizes = new Map(
    [FEW, waiting].map((size) => [size, { queue: new Queue(size, random), samples: [] as number[] }]),
  );
  for (let round = 0; round < ROUNDS; round += 1)
    for (const [size, { queue, samples }] of sizes) {
      await queue.decide(WARM_UP_DECISIONS);
      samples.push(...(await queue.decide(Math.ceil(decisions / ROUNDS))));
      context.progress(`round ${round + 1}: ${size} waiting, p50 so far ${figure(quantile(samples, 0.5))} us`);
    }
  const of = (size: number, q: number): number => quantile(sizes.get(size)?.samples ?? [], q);
  const free = freeTakes();
  const growth = of(waiting, 0.5) / of(FEW, 0.5);
  const logarithmic = Math.log(waiting) / Math.log(FEW);
  return {
    measures: {
      decision_p50_us: of(waiting, 0.5),
      decision_p50_us_1k: of(FEW, 0.5),
      decision_p99_us: of(waiting, 0.99),
      decision_p99_us_1k: of(FEW, 0.99),
      growth_ratio: growth,
      growth_logarithmic_ratio: logarithmic,
      free_take_ns: free,
    },
    tables: [
      {
        title: "A slot is given back and granted to the next of those that wait, microseconds",
        columns: ["waiting", "p50", "p99", "max"],
        rows: [...sizes.keys()].map((size) => [
          size.toLocaleString("en"),
          ...[of(size, 0.5), of(size, 0.99), of(size, 1)].map(figure),
        ]),
      },
    ],
    notes: [
      `${figure(growth)} times the cost for ${figure(waiting / FEW)} times the calls; a cost that is a logarithm of their number would be ${figure(logarithmic)} times.`,
      `A free slot is taken and given back in ${figure(free)} ns while nobody waits.`,
    ],
  };
}

export const dispatch: Benchmark = {
  name: "dispatch",
  doc: "what a decision of the scheduler costs with many calls waiting",
  options: {
    waiting: { default: String(MANY), doc: "calls that wait, beside a run with 1,000" },
    decisions: { default: "20000", doc: "measured decisions for each number of waiting calls" },
    seed: { default: "1", doc: "for classes, tenants and trees of the calls" },
  },
  run,
};

// Whether tenants get their shares of a resource: the scheduler's own code on a simulated clock, so that only its decisions
// are measured and not the machine.
//
// First, ten tenants whose demands differ a hundredfold, and whose calls differ in length, want three times what there is.
// A tenant's fair share is max-min: one that asks for less than an equal part gets all it asks for, and the others share the rest
// equally. Jain's index (R. Jain, D. Chiu, W. Hawe: "A Quantitative Measure of Fairness and Discrimination", 1984) is taken of
// slot time over fair share; 1 is perfect. Then three tenants with weights 1, 2 and 4 all want more than they can get. Inside each tenant
// there are trees of different sizes and weights, which must get their shares of it too. The same demands are served first come, first served,
// by a queue that knows no tenants, for comparison.
import type { ProcessId } from "../../src/abi/ids.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { Resource, Slot, Standing } from "../../src/ports/scheduler.ts";
import { Heap, PRESENT, type Queued } from "../../src/scheduler/heap.ts";
import { createTurns } from "../../src/scheduler/turns.ts";
import { countOption, type Benchmark, type Context, type Result } from "../benchmark.ts";
import { chance } from "../statistics.ts";
import { figure, type Table } from "../table.ts";

const SLOTS = 8;
const TENANTS = 10;
/** Of the slots, what the most modest and the greediest ask for. */
const DEMAND_MIN = 0.1;
const DEMAND_MAX = 10;
const SERVICE_MS = [20, 35, 50, 65, 80] as const;
const WEIGHTS = { one: 1, two: 2, four: 4 } as const;
const CALLERS = 16;

type Timer = Queued & { readonly atMs: number; readonly fire: () => void };

/** Time that moves from event to event. */
class SimulatedClock implements Clock {
  readonly #timers = new Heap<Timer>(PRESENT, { comparisons: 0 });
  #nowMs = 0;
  #order = 0;

  nowMs(): number {
    return this.#nowMs;
  }

  after(ms: number, fire: () => void): () => void {
    this.#order += 1;
    const timer: Timer = { atMs: this.#nowMs + ms, hereHandle: -1, awayHandle: -1, fire };
    this.#timers.set(timer, timer.atMs, this.#order);
    return () => this.#timers.delete(timer);
  }

  async run(untilMs: number): Promise<void> {
    for (let next = this.#timers.top; next !== undefined && next.atMs <= untilMs; next = this.#timers.top) {
      this.#timers.delete(next);
      this.#nowMs = next.atMs;
      next.fire();
      // Whoever got a slot hears of it.
      for (let turn = 0; turn < 3; turn += 1) await Promise.resolve();
    }
  }
}

type Take = (who: Standing, call: number, signal: AbortSignal) => Promise<Slot> | Slot;

/** First come, first served, with no word of tenants. */
function firstCome(slots: number): Take {
  const waiting: ((slot: Slot) => void)[] = [];
  let [free, head] = [slots, 0];
  const slot: Slot = {
    release: () => {
      const next = waiting[head];
      if (next === undefined) free += 1;
      else {
        head += 1;
        next(slot);
      }
    },
  };
  return () => {
    if (free === 0) return new Promise((resolve) => waiting.push(resolve));
    free -= 1;
    return slot;
  };
}

/** Calls on a simulated clock, and the slot time that they got. */
class World {
  readonly clock = new SimulatedClock();
  readonly #take: Take;
  readonly #signal = new AbortController().signal;
  readonly #fromMs: number;
  readonly #untilMs: number;
  #calls = 0;
  /** Milliseconds of slot time by tenant, and by tree, in the time that counts. */
  readonly got = new Map<string, number>();
  /** What was asked for in it. */
  readonly asked = new Map<string, number>();

  constructor([fromMs, untilMs]: readonly [number, number], scheduled: boolean) {
    this.#fromMs = fromMs;
    this.#untilMs = untilMs;
    const resource: Resource = { name: "bench", concurrency: SLOTS };
    const weightOf = (tenant: string): number => (tenant in WEIGHTS ? WEIGHTS[tenant as keyof typeof WEIGHTS] : 1);
    const turns = createTurns({ clock: this.clock, summon: () => undefined, agingMs: 10_000, weightOf });
    this.#take = scheduled ? (who, call, signal) => turns.take(who, { call, resource }, signal) : firstCome(SLOTS);
  }

  call(who: Standing, serviceMs: number, over: () => void = () => undefined): void {
    this.#calls += 1;
    if (this.clock.nowMs() >= this.#fromMs) add(this.asked, who.tenant, serviceMs);
    const serve = (slot: Slot): void => {
      const startMs = this.clock.nowMs();
      this.clock.after(serviceMs, () => {
        const ms = Math.min(this.clock.nowMs(), this.#untilMs) - Math.max(startMs, this.#fromMs);
        for (const name of [who.tenant, who.root]) add(this.got, name, Math.max(0, ms));
        slot.release();
        over();
      });
    };
    const turn = this.#take(who, this.#calls, this.#signal);
    if (turn instanceof Promise) void turn.then(serve);
    else serve(turn);
  }

  /** Calls under way at the end have their parts of it too: it goes on until they are over. */
  async run(): Promise<void> {
    await this.clock.run(this.#untilMs + Math.max(...SERVICE_MS));
  }
}

const add = (to: Map<string, number>, name: string, ms: number): void => void to.set(name, (to.get(name) ?? 0) + ms);

const member = (tenant: string, tree: string, number: number, weight = 1): Standing => ({
  pid: `p_${tenant}-${tree}-${number}` as ProcessId,
  root: `${tenant}/${tree}` as ProcessId,
  tenant,
  class: "standard",
  weight,
});

/** Everyone gets the least of what it asks for and an equal part of what is left. */
function maxMin(demands: ReadonlyMap<string, number>, capacity: number): Map<string, number> {
  const shares = new Map<string, number>();
  let left = capacity;
  const modestFirst = [...demands].toSorted(([, one], [, other]) => one - other);
  for (const [at, [name, demand]] of modestFirst.entries()) {
    const share = Math.min(demand, left / (modestFirst.length - at));
    shares.set(name, share);
    left -= share;
  }
  return shares;
}

const jainOf = (values: readonly number[]): number => {
  const sum = values.reduce((a, b) => a + b, 0);
  const squares = values.reduce((a, b) => a + b * b, 0);
  return sum ** 2 / (values.length * squares);
};

type Spread = { readonly jain: number; readonly rows: readonly (readonly [string, number, number, number])[] };

/** Ten tenants; in each the first tree asks for most of what its tenant asks for. */
async function tenDemands(span: readonly [number, number], seed: number, scheduled: boolean): Promise<Spread> {
  const world = new World(span, scheduled);
  const random = chance(seed);
  for (let at = 0; at < TENANTS; at += 1) {
    const tenant = `tenant-${at}`;
    const slots = DEMAND_MIN * (DEMAND_MAX / DEMAND_MIN) ** (at / (TENANTS - 1));
    const meanMs = SERVICE_MS[at % SERVICE_MS.length] ?? 50;
    const arrive = (number: number): void => {
      if (world.clock.nowMs() >= span[1]) return;
      const tree = random() < 0.7 ? "large" : random() < 0.5 ? "middle" : "small";
      world.call(member(tenant, tree, number), meanMs * (0.5 + random()));
      world.clock.after((-Math.log(1 - random()) * meanMs) / slots, () => arrive(number + 1));
    };
    world.clock.after(random() * meanMs, () => arrive(0));
  }
  await world.run();
  const window = span[1] - span[0];
  const fair = maxMin(world.asked, SLOTS * window);
  const rows = [...world.asked].map(([name, asked]) => {
    const [share, got] = [fair.get(name) ?? 0, world.got.get(name) ?? 0];
    return [name, asked / window, share / window, got / window] as const;
  });
  return { jain: jainOf(rows.map(([, , share, got]) => got / share)), rows };
}

type Shares = { readonly error: number; readonly treeError: number; readonly rows: readonly (readonly string[])[] };

/** Three tenants, each with a small tree of weight 3 and a large one of weight 1, all asking without end. */
async function weights(span: readonly [number, number]): Promise<Shares> {
  const world = new World(span, true);
  const names = Object.keys(WEIGHTS) as (keyof typeof WEIGHTS)[];
  for (const [at, tenant] of names.entries()) {
    const serviceMs = SERVICE_MS[at * 2] ?? 50;
    const again = (who: Standing): void => world.call(who, serviceMs, () => again(who));
    for (let number = 0; number < CALLERS; number += 1) again(member(tenant, "small", number, 3));
    for (let number = 0; number < 10 * CALLERS; number += 1) again(member(tenant, "large", number, 1));
  }
  await world.run();
  const all = SLOTS * (span[1] - span[0]);
  const sum = names.reduce((total, name) => total + WEIGHTS[name], 0);
  const off = (name: string, share: number): number => Math.abs((world.got.get(name) ?? 0) / all / share - 1);
  const rows = names.flatMap((name) => {
    const share = WEIGHTS[name] / sum;
    const parts = [
      [name, share],
      [`${name}/small`, share * 0.75],
      [`${name}/large`, share * 0.25],
    ] as const;
    return parts.map(([part, fair]) => [part, figure(fair), figure((world.got.get(part) ?? 0) / all)]);
  });
  const trees = names.flatMap((name) => {
    const share = WEIGHTS[name] / sum;
    return [off(`${name}/small`, share * 0.75), off(`${name}/large`, share * 0.25)];
  });
  return {
    error: Math.max(...names.map((name) => off(name, WEIGHTS[name] / sum))),
    treeError: Math.max(...trees),
    rows,
  };
}

const spreadTable = (title: string, { rows }: Spread): Table => ({
  title,
  columns: ["", "asked", "fair share", "got"],
  rows: rows.map(([name, ...values]) => [name, ...values.map(figure)]),
});

async function run(context: Context): Promise<Result> {
  const seconds = countOption(context, "seconds");
  const seed = countOption(context, "seed", 0);
  const span = [5_000, 5_000 + seconds * 1_000] as const;
  const ours = await tenDemands(span, seed, true);
  context.progress(`ten tenants: Jain ${figure(ours.jain)}`);
  const firstCame = await tenDemands(span, seed, false);
  const weighted = await weights(span);
  return {
    measures: {
      jain: ours.jain,
      fifo_jain: firstCame.jain,
      weight_error: weighted.error,
      tree_weight_error: weighted.treeError,
    },
    tables: [
      spreadTable(`Ten tenants at ${SLOTS} slots, slots in use on average`, ours),
      spreadTable("The same, first come, first served", firstCame),
      {
        title: "Weights 1, 2 and 4, and 3 to 1 among trees: parts of all slot time",
        columns: ["", "fair", "got"],
        rows: weighted.rows,
      },
    ],
    notes: [`On a simulated clock, ${seconds} s of it after a start of 5 s.`],
  };
}

export const fair: Benchmark = {
  name: "fair",
  doc: "whether tenants and trees get their shares of a resource, on a simulated clock",
  options: {
    seconds: { default: "120", doc: "simulated seconds that count" },
    seed: { default: "1", doc: "for arrivals and times of service" },
  },
  run,
};

// Workloads for the scheduler, drawn from a seed: resources, tenants, trees of processes with scripts, and what disturbs them.
import { type Budget } from "../../src/abi/agents.ts";
import { CLASSES, type Class } from "../../src/abi/scheduling.ts";
import type { Resource } from "../../src/ports/scheduler.ts";
import type { Chance } from "./chance.ts";

/** The longest time that a call has its slot. Milliseconds. */
export const SERVICE_MS_MAX = 80;

export type Use = {
  readonly resource: Resource;
  /** What is reserved; a part of it is charged in the end. */
  readonly tokens: number;
  readonly charged: number;
  readonly serviceMs: number;
};

export type Step =
  | { readonly do: "use"; readonly calls: readonly Use[] }
  | { readonly do: "lock"; readonly key: string; readonly leaseMs: number }
  | { readonly do: "unlock"; readonly key: string }
  | { readonly do: "spawn"; readonly plan: Plan }
  | { readonly do: "join" }
  | { readonly do: "sleep"; readonly ms: number };

/** What a process is going to do. */
export type Plan = {
  readonly class: Class;
  readonly weight: number;
  readonly budget: Budget;
  readonly steps: readonly Step[];
};

export type Disturbance = {
  readonly atMs: number;
  readonly what: "crash" | "kill" | "restand" | "pause";
  /** Chooses whom it meets. */
  readonly which: number;
};

export type Workload = {
  readonly agingMs: number;
  readonly tenants: { readonly [name: string]: { readonly weight: number } };
  readonly resources: readonly Resource[];
  readonly roots: readonly { readonly atMs: number; readonly tenant: string; readonly plan: Plan }[];
  /** Processes that may be in memory at once. */
  readonly memory: number;
  readonly disturbances: readonly Disturbance[];
};

export type Size = { readonly roots: number; readonly steps: number; readonly horizonMs: number };

const TENANTS = ["one", "two", "three"];
const KEYS = ["order", "ledger", "mail"];

export function drawWorkload(chance: Chance, { roots, steps, horizonMs }: Size): Workload {
  const tenants = TENANTS.slice(0, 1 + chance.below(TENANTS.length));
  const resources = Array.from({ length: 1 + chance.below(3) }, (_, at) => drawResource(chance, `r${at}`));
  return {
    agingMs: chance.pick([20, 100, 400]),
    tenants: Object.fromEntries(tenants.map((name) => [name, { weight: chance.pick([0.5, 1, 4]) }])),
    resources,
    roots: Array.from({ length: 2 + chance.below(roots) }, () => ({
      atMs: chance.below(horizonMs / 2),
      tenant: chance.pick(tenants),
      plan: drawPlan(chance, { resources, steps, depth: 0 }),
    })),
    memory: 2 + chance.below(8),
    disturbances: Array.from({ length: chance.below(5) }, () => ({
      atMs: chance.below(horizonMs),
      what: chance.pick(["crash", "kill", "restand", "restand", "pause"] as const),
      which: chance.below(1000),
    })),
  };
}

function drawResource(chance: Chance, name: string): Resource {
  const concurrency = 1 + chance.below(4);
  const reserved = { [chance.pick(CLASSES.slice(0, 2))]: 1 };
  return {
    name,
    concurrency,
    ...(concurrency > 1 && chance.below(4) === 0 ? { reserved } : {}),
    ...(chance.below(6) === 0 ? { requestsPerMinute: 1200 } : {}),
    ...(chance.below(8) === 0 ? { tokensPerMinute: 60_000 } : {}),
  };
}

type Place = { readonly resources: readonly Resource[]; readonly steps: number; readonly depth: number };

function drawPlan(chance: Chance, place: Place): Plan {
  const steps: Step[] = [];
  for (let left = 1 + chance.below(place.steps); left > 0; left -= 1) steps.push(...drawSteps(chance, place));
  const calls = { calls: 1 + chance.below(12) };
  const tokens = { tokens: 200 + chance.below(3000) };
  return {
    class: chance.pick(CLASSES),
    weight: chance.pick([0.5, 1, 1, 3]),
    budget: chance.pick<Budget>([{}, {}, calls, tokens, { ...calls, ...tokens }]),
    steps,
  };
}

/** One thing to do, or several that belong together. */
function drawSteps(chance: Chance, place: Place): Step[] {
  const use = drawUse(chance, place);
  const key = chance.pick(KEYS);
  const lock: Step = { do: "lock", key, leaseMs: 30 + chance.below(600) };
  const unlock: Step = { do: "unlock", key };
  const kind = chance.below(10);
  if (kind < 4) return [use];
  if (kind < 6) return [lock, use, unlock];
  // Two locks in any order: circles come about. What is not given back here is so at the exit, or by its lease.
  if (kind === 6) return [lock, use, { ...lock, key: chance.pick(KEYS) }, use, unlock];
  if (kind === 7 || place.depth === 2) return [{ do: "sleep", ms: chance.below(150) }];
  const spawn = (): Step => ({ do: "spawn", plan: drawPlan(chance, { ...place, depth: place.depth + 1 }) });
  if (kind === 8) return [spawn(), spawn(), use, { do: "join" }];
  // A parent that waits for a child which may want the parent's lock.
  return [lock, spawn(), { do: "join" }, unlock];
}

function drawUse(chance: Chance, { resources }: Place): Step {
  const calls = Array.from({ length: chance.pick([1, 1, 1, 2, 3]) }, (): Use => {
    const tokens = chance.below(400);
    return {
      resource: chance.pick(resources),
      tokens,
      charged: chance.below(tokens + 1),
      serviceMs: 1 + chance.below(SERVICE_MS_MAX),
    };
  });
  return { do: "use", calls };
}

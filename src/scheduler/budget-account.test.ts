// Goal: the invariants B1 to B4 of budgets, over random trees under random operations. Method: beside the accounts a kernel keeps its
// rows, as it would store them; a second reckoning goes over all rows each time, by the definition and with no
// sums kept, and must come to the same. A crash is a rebuild from the rows.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Budget } from "../abi/agents.ts";
import { OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Spent } from "../abi/process.ts";
import type { Account, Budgets } from "../ports/scheduler.ts";
import { createBudgets } from "./budgets.ts";

const NOW = 1000;
const NANO = 1e9;
const FIELDS = ["calls", "inputTokens", "outputTokens", "costUsd"] as const;
const DIMENSIONS = [...FIELDS, "tokens"] as const;
type Dimension = (typeof DIMENSIONS)[number];

const plus = (one: Spent, other: Spent): Spent => ({
  calls: one.calls + other.calls,
  inputTokens: one.inputTokens + other.inputTokens,
  outputTokens: one.outputTokens + other.outputTokens,
  costUsd: one.costUsd + other.costUsd,
});
const NOTHING: Spent = { calls: 0, inputTokens: 0, outputTokens: 0, costUsd: 0 };
const sum = (list: readonly Spent[]): Spent => list.reduce(plus, NOTHING);
/** In whole units, so that the second reckoning does not drift. */
const units = (amounts: Spent, dimension: Dimension): number =>
  dimension === "tokens"
    ? amounts.inputTokens + amounts.outputTokens
    : dimension === "costUsd"
      ? Math.round(amounts.costUsd * NANO)
      : amounts[dimension];
const boundOf = ({ budget }: Row, dimension: Dimension): number | undefined => {
  const bound = budget[dimension];
  return bound === undefined || dimension !== "costUsd" ? bound : Math.round(bound * NANO);
};

type Row = {
  readonly pid: ProcessId;
  readonly parent: ProcessId | null;
  readonly createdMs: number;
  budget: Budget;
  spent: Spent;
  reserved: { readonly call: number; readonly amounts: Spent }[];
  exited: boolean;
};

/** Rows, and budgets that are told of the same things. */
class World {
  budgets: Budgets = createBudgets();
  readonly rows: Row[] = [];
  readonly charges: Spent[] = [];

  living = (): Row[] => this.rows.filter(({ exited }) => !exited);

  spawn(parent: Row | undefined, budget: Budget): void {
    const pid = `p_${this.rows.length}` as ProcessId;
    const row = {
      pid,
      parent: parent?.pid ?? null,
      createdMs: NOW,
      budget,
      spent: NOTHING,
      reserved: [],
      exited: false,
    };
    if (refused(() => this.budgets.open(row))) return;
    this.rows.push(row);
  }

  reserve(row: Row, call: number, amounts: Spent): void {
    const shortage = this.budgets.shortage(row.pid, amounts, NOW);
    const refusal = this.budgets.reserve(row.pid, call, amounts, NOW);
    if (JSON.stringify(refusal) !== JSON.stringify(shortage)) throw new Error("`shortage` foretold something else.");
    if (refusal === null) row.reserved.push({ call, amounts });
  }

  settle(row: Row, call: number, charge: (reserved: Spent) => Spent): void {
    const charged = charge(sum(row.reserved.filter((one) => one.call === call).map(({ amounts }) => amounts)));
    this.budgets.settle(row.pid, call, charged);
    row.reserved = row.reserved.filter((one) => one.call !== call);
    row.spent = plus(row.spent, charged);
    this.charges.push(charged);
  }

  change(row: Row, budget: Budget): void {
    if (!refused(() => this.budgets.change(row.pid, budget))) row.budget = budget;
  }

  /** With its end all its descendants end; in which order is the caller's. */
  close(row: Row, childrenFirst: boolean): void {
    const ending = this.rows.filter((one) => !one.exited && this.line(one).includes(row));
    for (const one of childrenFirst ? ending.toReversed() : ending) {
      this.budgets.close(one.pid);
      this.charges.push(...one.reserved.map(({ amounts }) => amounts));
      one.exited = true;
    }
  }

  line(row: Row): Row[] {
    const parent = this.rows.find(({ pid }) => pid === row.parent);
    return parent === undefined ? [row] : [row, ...this.line(parent)];
  }

  rebuilt(): Budgets {
    const budgets = createBudgets();
    for (const row of this.rows) budgets.open(row satisfies Account, { restored: true });
    return budgets;
  }

  /** The same by the definition, in numbers. */
  used(row: Row, dimension: Dimension): { spent: number; reserved: number } {
    const pending = units(sum(row.reserved.map(({ amounts }) => amounts)), dimension);
    let spent = units(row.spent, dimension) + (row.exited ? pending : 0);
    let reserved = row.exited ? 0 : pending;
    for (const child of this.rows.filter(({ parent }) => parent === row.pid)) {
      const below = this.used(child, dimension);
      const bound = child.exited ? undefined : boundOf(child, dimension);
      if (bound === undefined) [spent, reserved] = [spent + below.spent, reserved + below.reserved];
      else reserved += Math.max(bound, below.spent + below.reserved);
    }
    return { spent, reserved };
  }
}

/** Whether the operation was refused with a reason that it may have. */
function refused(operation: () => void): boolean {
  try {
    operation();
    return false;
  } catch (error) {
    if (OsError.is(error, "budget_exhausted") || OsError.is(error, "conflict")) return true;
    throw error;
  }
}

const view = (budgets: Budgets, rows: readonly Row[]): unknown =>
  rows.map(({ pid, exited }) => [
    pid,
    budgets.left(pid, NOW),
    budgets.total(pid),
    budgets.bounded(pid),
    exited || FIELDS.map((field) => budgets.shortage(pid, { ...NOTHING, [field]: 1e6 }, NOW)),
  ]);

/** The dimensions in which the process and its descendants have spent and reserved more than it may. */
function overruns(world: World, row: Row): Dimension[] {
  const { spent, reserved } = world.budgets.total(row.pid);
  return DIMENSIONS.filter((dimension) => {
    const bound = boundOf(row, dimension);
    if (bound === undefined) return false;
    const shown = world.used(row, dimension);
    return units(spent, dimension) + units(reserved, dimension) > bound || shown.spent + shown.reserved > bound;
  });
}

/** What is left, by the definition. */
function leftOf(world: World, row: Row): Record<string, number> {
  const left: Record<string, number> = {};
  for (const dimension of DIMENSIONS) {
    const wall = world.line(row).find((one) => !one.exited && boundOf(one, dimension) !== undefined);
    if (wall === undefined) continue;
    const { spent, reserved } = world.used(wall, dimension);
    const amount = Math.max(0, (boundOf(wall, dimension) ?? 0) - spent - reserved);
    left[dimension] = dimension === "costUsd" ? amount / NANO : amount;
  }
  return left;
}

/** Evenly spread, where fast-check prefers the ends: most budgets would be too small for anything to happen. */
const from = (min: number, max: number): fc.Arbitrary<number> => fc.noBias(fc.integer({ min, max }));
const nanoDollars = (max: number): fc.Arbitrary<number> => from(1, max).map((nano) => nano / NANO);
const someBudget: fc.Arbitrary<Budget> = fc.record(
  {
    calls: from(1, 20),
    tokens: from(1, 1500),
    inputTokens: from(1, 1000),
    outputTokens: from(1, 800),
    costUsd: nanoDollars(2_000_000_000),
  },
  { requiredKeys: [] },
);
const someAmounts: fc.Arbitrary<Spent> = fc.record({
  calls: fc.nat(2),
  inputTokens: fc.nat(200),
  outputTokens: fc.nat(200),
  costUsd: nanoDollars(300_000_000),
});

type Step = { readonly who: number; readonly act: (world: World, row: Row) => void };
const act = (make: fc.Arbitrary<Step["act"]>): fc.Arbitrary<Step> => fc.record({ who: fc.nat(1000), act: make });
const call = fc.nat(4);
const spawn = act(someBudget.map((budget) => (world, row) => world.spawn(row, budget)));
const reserve = act(
  fc.tuple(call, someAmounts).map(
    ([number, amounts]) =>
      (world, row) =>
        world.reserve(row, number, amounts),
  ),
);
const part = (amounts: Spent, share: number): Spent => ({
  calls: Math.floor(amounts.calls * share),
  inputTokens: Math.floor(amounts.inputTokens * share),
  outputTokens: Math.floor(amounts.outputTokens * share),
  costUsd: Math.floor(amounts.costUsd * NANO * share) / NANO,
});
const settle = act(
  fc.tuple(call, fc.integer({ min: 0, max: 4 })).map(
    ([number, quarters]) =>
      (world, row) =>
        world.settle(row, number, (reserved) => part(reserved, quarters / 4)),
  ),
);
const overcharge = act(
  fc.tuple(call, someAmounts).map(
    ([number, more]) =>
      (world, row) =>
        world.settle(row, number, (reserved) => plus(reserved, more)),
  ),
);
const change = act(someBudget.map((budget) => (world, row) => world.change(row, budget)));
const close = act(fc.boolean().map((first) => (world, row) => row.parent !== null && world.close(row, first)));
const crash = act(fc.constant((world) => void (world.budgets = world.rebuilt())));

const honest = [spawn, spawn, reserve, reserve, reserve, settle, settle, change, close, crash];
const runs = (steps: fc.Arbitrary<Step>[]): fc.Arbitrary<{ root: Budget; steps: Step[] }> =>
  fc.record({ root: someBudget, steps: fc.array(fc.oneof(...steps), { maxLength: 60, size: "max" }) });

function play({ root, steps }: { root: Budget; steps: Step[] }, check: (world: World) => void): World {
  const world = new World();
  world.spawn(undefined, root);
  for (const step of steps) {
    const living = world.living();
    const row = living[step.who % living.length];
    if (row !== undefined) step.act(world, row);
    check(world);
  }
  return world;
}

describe("in any tree, whatever happens to it", () => {
  test("no process and its descendants spend and reserve more than its budget, if no call is charged more than it reserved", () => {
    fc.assert(
      fc.property(runs(honest), (run) => {
        play(run, (world) => {
          expect(world.living().flatMap((row) => overruns(world, row))).toEqual([]);
        });
      }),
      { numRuns: 800 },
    );
  });

  test("the accounts are what the definition says, overcharged calls included", () => {
    fc.assert(
      fc.property(runs([...honest, overcharge]), (run) => {
        play(run, (world) => {
          for (const row of world.rows) expect(world.budgets.left(row.pid, NOW)).toEqual(leftOf(world, row));
        });
      }),
      { numRuns: 400 },
    );
  });

  test("a crash changes nothing: opened again from the rows, the accounts are the same", () => {
    fc.assert(
      fc.property(runs([...honest, overcharge]), (run) => {
        play(run, (world) => {
          expect(view(world.rebuilt(), world.rows)).toEqual(view(world.budgets, world.rows));
        });
      }),
      { numRuns: 400 },
    );
  });

  test("nothing leaks: at the end nothing is reserved, and the root has spent the sum of all charges", () => {
    fc.assert(
      fc.property(runs([...honest, overcharge]), fc.boolean(), (run, childrenFirst) => {
        const world = play(run, () => undefined);
        const [root] = world.rows;
        if (root === undefined) throw new Error("a root is always opened");
        world.close(root, childrenFirst);
        for (const { pid } of world.rows) expect(world.budgets.total(pid).reserved).toEqual(NOTHING);
        const { spent } = world.budgets.total(root.pid);
        const charged = sum(world.charges);
        for (const dimension of DIMENSIONS) expect(units(spent, dimension)).toBe(units(charged, dimension));
        world.budgets.forget(root.pid);
        expect(world.rows.some(({ pid }) => world.budgets.has(pid))).toBe(false);
      }),
      { numRuns: 800 },
    );
  });
});

// What the processes of a simulated workload are: their rows, which survive a crash, and their runs in memory, which do not.
import type { ProcessId } from "../../src/abi/ids.ts";
import type { Spent } from "../../src/abi/process.ts";
import { type Class, lowerClass } from "../../src/abi/scheduling.ts";
import type { Budgets, HeldLock, Slot, Standing } from "../../src/ports/scheduler.ts";
import type { Plan, Use } from "./scheduler-load.ts";

/** Numbers of calls in one step. */
export const CALLS_IN_STEP = 4;
export const NOTHING: Spent = { calls: 0, inputTokens: 0, outputTokens: 0, costUsd: 0 };

export const amountsOf = (tokens: number): Spent => ({ ...NOTHING, calls: 1, inputTokens: tokens });
export const sum = (one: Spent, other: Spent): Spent => ({
  calls: one.calls + other.calls,
  inputTokens: one.inputTokens + other.inputTokens,
  outputTokens: 0,
  costUsd: 0,
});

const same = (one: Spent, other: Spent): boolean => one.calls === other.calls && one.inputTokens === other.inputTokens;

/** What is durable. */
export type Row = {
  readonly pid: ProcessId;
  readonly parent: Row | null;
  readonly root: ProcessId;
  readonly tenant: string;
  readonly plan: Plan;
  readonly createdMs: number;
  readonly children: Row[];
  /** Calls that were performed and not yet settled, with what is reserved for them. */
  readonly reserved: Map<number, Spent>;
  readonly done: Set<number>;
  class: Class;
  at: number;
  spent: Spent;
  locks: HeldLock[];
  wakeMs: number | null;
  exited: boolean;
};

type Birth = Pick<Row, "pid" | "tenant" | "parent" | "createdMs">;

/** A process that has done nothing yet. Its class is never above its parent's. */
export const rowOf = (plan: Plan, birth: Birth): Row => ({
  ...birth,
  plan,
  root: birth.parent?.root ?? birth.pid,
  children: [],
  reserved: new Map(),
  done: new Set(),
  class: birth.parent === null ? plan.class : lowerClass(birth.parent.class, plan.class),
  at: 0,
  spent: NOTHING,
  locks: [],
  wakeMs: null,
  exited: false,
});

/** A process in memory. */
export type Run = {
  readonly row: Row;
  readonly abort: AbortController;
  readonly slots: Map<number, { readonly slot: Slot; readonly use: Use }>;
  /** Calls that wait for a turn. */
  readonly asked: Set<number>;
  begun: boolean;
  over: boolean;
};

export const standingOf = ({ pid, root, tenant, class: of, plan: { weight } }: Row): Standing => ({
  pid,
  root,
  tenant,
  class: of,
  weight,
});

/** The number of the call with which a process waits for the exit of a child. */
export const callOf = (parent: Row, child: ProcessId): number =>
  parent.at * CALLS_IN_STEP * 1000 + parent.children.findIndex(({ pid }) => pid === child);

/** Holds the accounts of a tree against its rows (S5). Gives what the tree has used, as the rows say. */
export function checkTree(
  row: Row,
  budgets: Budgets,
  fault: (what: string) => void,
): { spent: Spent; reserved: Spent } {
  let spent = row.spent;
  let reserved = [...row.reserved.values()].reduce(sum, NOTHING);
  for (const child of row.children) {
    const below = checkTree(child, budgets, fault);
    spent = sum(spent, below.spent);
    reserved = sum(reserved, below.reserved);
  }
  const said = budgets.total(row.pid);
  if (!same(said.spent, spent) || !same(said.reserved, reserved))
    fault(
      `S5: the account of ${row.pid} says ${JSON.stringify(said)}, and the rows ${JSON.stringify({ spent, reserved })}`,
    );
  const { calls = Infinity, tokens = Infinity } = row.plan.budget;
  const used = sum(spent, reserved);
  if (used.calls > calls || used.inputTokens > tokens) fault(`S5: ${row.pid} has overrun its budget`);
  return { spent, reserved };
}

// Budgets as trees of reservations: what a process and its descendants may use up, reserved before it is used (K10).
//
// Boundary: amounts come from outside (estimates, usage), and so does the time; this keeps the accounts. It is memory: after
// a restart the kernel opens the accounts anew, from the rows of the process table.
//
// How the dimensions compose. Calls, input tokens, output tokens, tokens and dollars are five separate books. A call of 100
// input and 50 output tokens is entered in three of them, as 100, 50 and 150, each time at the nearest account of its line that
// bounds that dimension. A child's bound is carved from the nearest ancestor that bounds the same dimension, and from no other:
// a child of `inputTokens: 600` below a parent of `tokens: 1000` carves nothing, may use at most 600 input tokens, and
// each of its calls draws its input and output from the parent's 1000. Since every call is entered in every book, no combination
// of bounds allows an overrun in any of them. What a carving guarantees, it guarantees in its own dimension.
//
// Wall time is no amount and is not carved: it is over when the earliest end of the line is (createdMs + wallMs).
//
// Invariants:
//   B1. In each account, spent + reserved is at most its bound, as long as no call is charged more than was reserved for it.
//       A call that is charged more shows in its account as an overrun by that call's excess, and up the line at once.
//   B2. A reservation is made in all dimensions or in none.
//   B3. Once every process is closed, nothing is reserved, and what the root has spent is the sum of all charges.
//   B4. The accounts are a function of the rows (budget, own spending, own reservations, exited or not) and of nothing else:
//       opened from rows after a restart, they are what they were (budget-account.ts, T1).
//   B5. Each operation costs at most a step for each ancestor, except `forget`.
//
// Trees of reservations are hierarchical token buckets without the refilling; that a class with a bound of its own is set apart from
// what its parent shares out is the idea of hierarchical link sharing (Floyd and Jacobson, 1995).
import type { Budget } from "../abi/agents.ts";
import { OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { JsonObject } from "../abi/json.ts";
import type { Spent } from "../abi/process.ts";
import type { Account, Budgets, Shortage } from "../ports/scheduler.ts";
import { alter, book, leftAt, Ledger, passedOn, wallOf } from "./budget-account.ts";
import { add, type Amounts, amountsOf, boundsOf, DIMENSIONS, nothing, numberOf, spentOf } from "./budget-amounts.ts";

type Left = ReturnType<Budgets["left"]>;

export const createBudgets = (): Budgets => new LedgerTrees();

class LedgerTrees implements Budgets {
  readonly #ledgers = new Map<ProcessId, Ledger>();
  /** The processes of a tree, by its root. */
  readonly #trees = new Map<ProcessId, ProcessId[]>();

  open(account: Account, options: { readonly restored?: boolean } = {}): void {
    if (this.#ledgers.has(account.pid)) throw new Error(`Process ${account.pid} has an account already.`);
    const parent = account.parent === null ? undefined : this.#of(account.parent);
    const ledger = new Ledger(account, parent);
    if (options.restored !== true) assertRoom(ledger, account.budget);
    this.#enter(ledger);
    ledger.closed = account.exited;
    alter(ledger, () => ledger.bind(account.budget));
    book(ledger, amountsOf(account.spent), nothing());
    for (const { call, amounts } of account.reserved) {
      if (account.exited) book(ledger, amountsOf(amounts), nothing());
      else setAside(ledger, call, amountsOf(amounts));
    }
  }

  has(pid: ProcessId): boolean {
    return this.#ledgers.has(pid);
  }

  bounded(pid: ProcessId): boolean {
    for (let at: Ledger | undefined = this.#of(pid); at !== undefined; at = at.parent) {
      const { closed, wallMs, bounds } = at;
      if (!closed && (wallMs !== undefined || DIMENSIONS.some((name) => bounds[name] !== undefined))) return true;
    }
    return false;
  }

  shortage(pid: ProcessId, amounts: Spent, nowMs: number): Shortage | null {
    return shortageOf(this.#living(pid), amountsOf(amounts), nowMs);
  }

  reserve(pid: ProcessId, call: number, amounts: Spent, nowMs: number): Shortage | null {
    const ledger = this.#living(pid);
    const asked = amountsOf(amounts);
    const shortage = shortageOf(ledger, asked, nowMs);
    if (shortage === null) setAside(ledger, call, asked);
    return shortage;
  }

  settle(pid: ProcessId, call: number, charged: Spent): void {
    const ledger = this.#ledgers.get(pid);
    // What was under way when a process ended has been charged already, in full.
    if (ledger === undefined || ledger.closed) return;
    const pending = ledger.pending.get(call) ?? nothing();
    ledger.pending.delete(call);
    book(ledger, amountsOf(charged), negative(pending));
  }

  left(pid: ProcessId, nowMs: number): Left {
    const ledger = this.#of(pid);
    const left: { -readonly [name in keyof Left]: Left[name] } = {};
    for (const dimension of DIMENSIONS) {
      const wall = wallOf(ledger, dimension);
      if (wall === undefined) continue;
      const amount = leftAt(wall, dimension);
      left[dimension] = amount > 0n ? numberOf(dimension, amount) : 0;
    }
    const ends = earliest(ledger);
    if (ends !== undefined) left.wallMs = Math.max(0, ends.endMs - nowMs);
    return left;
  }

  total(pid: ProcessId): { readonly spent: Spent; readonly reserved: Spent } {
    const { treeSpent, treeReserved } = this.#of(pid);
    return { spent: spentOf(treeSpent), reserved: spentOf(treeReserved) };
  }

  change(pid: ProcessId, budget: Budget): void {
    const ledger = this.#living(pid);
    assertNotUsedUp(ledger, budget);
    assertRoom(ledger, budget);
    alter(ledger, () => ledger.bind(budget));
  }

  close(pid: ProcessId): void {
    const ledger = this.#ledgers.get(pid);
    if (ledger === undefined || ledger.closed) return;
    for (const pending of ledger.pending.values()) book(ledger, pending, negative(pending));
    ledger.pending.clear();
    alter(ledger, () => (ledger.closed = true));
  }

  forget(root: ProcessId): void {
    for (const pid of this.#trees.get(root) ?? []) this.#ledgers.delete(pid);
    this.#trees.delete(root);
  }

  #enter(ledger: Ledger): void {
    let root = ledger;
    while (root.parent !== undefined) root = root.parent;
    const members = this.#trees.get(root.pid) ?? [];
    members.push(ledger.pid);
    this.#trees.set(root.pid, members);
    this.#ledgers.set(ledger.pid, ledger);
  }

  #of(pid: ProcessId): Ledger {
    const ledger = this.#ledgers.get(pid);
    if (ledger === undefined) throw new Error(`Process ${pid} has no account: it was not opened, or is forgotten.`);
    return ledger;
  }

  #living(pid: ProcessId): Ledger {
    const ledger = this.#of(pid);
    if (!ledger.closed) return ledger;
    throw new OsError("process_gone", `Process ${pid} is over, and its budget with it.`, { data: { pid } });
  }
}

function setAside(ledger: Ledger, call: number, amounts: Amounts): void {
  const pending = ledger.pending.get(call) ?? nothing();
  add(pending, amounts);
  ledger.pending.set(call, pending);
  book(ledger, nothing(), amounts);
}

function negative(amounts: Amounts): Amounts {
  const result = nothing();
  add(result, amounts, -1n);
  return result;
}

/** The living process of the line whose time is over first. */
function earliest(ledger: Ledger): Ledger | undefined {
  let first: Ledger | undefined;
  for (let at: Ledger | undefined = ledger; at !== undefined; at = at.parent)
    if (!at.closed && at.wallMs !== undefined && at.endMs < (first?.endMs ?? Infinity)) first = at;
  return first;
}

function shortageOf(ledger: Ledger, asked: Amounts, nowMs: number): Shortage | null {
  const ends = earliest(ledger);
  if (ends !== undefined && nowMs >= ends.endMs) {
    const max = ends.endMs - ends.createdMs;
    return { pid: ends.pid, budget: "wallMs", max, spent: nowMs - ends.createdMs, reserved: 0, asked: 0 };
  }
  for (const dimension of DIMENSIONS) {
    // Nothing more of what is used up is no shortage: a tool may be called when no tokens are left.
    if (asked[dimension] === 0n) continue;
    const wall = wallOf(ledger, dimension);
    if (wall !== undefined && asked[dimension] > leftAt(wall, dimension))
      return missing(wall, dimension, asked[dimension]);
  }
  return null;
}

function missing(wall: Ledger, dimension: (typeof DIMENSIONS)[number], asked: bigint): Shortage {
  return {
    pid: wall.pid,
    budget: dimension,
    max: numberOf(dimension, wall.wall(dimension) ?? 0n),
    spent: numberOf(dimension, wall.spent[dimension]),
    reserved: numberOf(dimension, wall.reserved[dimension]),
    asked: numberOf(dimension, asked),
  };
}

/** Whether the line above has what this budget takes from it beyond what it takes already. Changes nothing. */
function assertRoom(ledger: Ledger, budget: Budget): void {
  const bounds = boundsOf(budget);
  for (const dimension of DIMENSIONS) {
    const wall = wallOf(ledger.parent, dimension);
    if (wall === undefined) continue;
    const now = passedOn(ledger, dimension, ledger.wall(dimension));
    const then = passedOn(ledger, dimension, bounds[dimension]);
    const more = then.spent + then.reserved - (now.spent + now.reserved);
    if (more <= 0n || more <= leftAt(wall, dimension)) continue;
    throw notLeft(ledger.pid, missing(wall, dimension, more));
  }
}

const WORDS: { readonly [name in Shortage["budget"]]: string } = {
  calls: "calls",
  inputTokens: "input tokens",
  outputTokens: "output tokens",
  tokens: "tokens",
  costUsd: "US dollars",
  wallMs: "milliseconds",
};

function notLeft(child: ProcessId, shortage: Shortage): OsError {
  const { pid, budget, max, spent, reserved, asked } = shortage;
  return new OsError(
    "budget_exhausted",
    `Process ${child} cannot be given ${asked} ${WORDS[budget]} more: they would be carved from the budget of process ${pid}, which has ${max}, with ${spent} spent and ${reserved} reserved. Give less, or raise the budget of ${pid} first.`,
    { data: shortage satisfies JsonObject },
  );
}

function assertNotUsedUp(ledger: Ledger, budget: Budget): void {
  const bounds = boundsOf(budget);
  for (const dimension of DIMENSIONS) {
    const bound = bounds[dimension];
    const used = ledger.used(dimension);
    if (bound === undefined || bound === ledger.bounds[dimension] || bound >= used) continue;
    const [asked, taken] = [numberOf(dimension, bound), numberOf(dimension, used)];
    throw new OsError(
      "conflict",
      `The budget of process ${ledger.pid} cannot be ${asked} ${WORDS[dimension]}: ${taken} are spent or reserved already. Give at least that much, or kill the process.`,
      { data: { what: "budget", id: ledger.pid, budget: dimension, used: taken } },
    );
  }
}

// One account of a tree of budgets, and how a change in it is passed on to the accounts above.
//
// Every process has an account, whether or not it bounds anything. In each dimension an account shows two sums, `spent` and
// `reserved`, and passes something of them on to its parent:
//   - an account that bounds nothing here, or is closed, passes both on: its parent's account is charged directly;
//   - one that bounds the dimension is a wall. It passes on one reservation, which is its whole bound, however little of it
//     is used: that is what "carved" means. Should it be used beyond its bound, the reservation grows by the excess.
// So what an account shows is a function of what its subtree is now, and of nothing else: neither of the order in which
// things happened nor of what the accounts were before. Invariants:
//   T1. spent = own spending + what the children pass on; reserved = own reservations + what the children pass on.
//   T2. A change is passed on step by step and stops where nothing changes, so it costs at most one step for each ancestor.
import type { Budget } from "../abi/agents.ts";
import type { ProcessId } from "../abi/ids.ts";
import { type Amounts, type Bounds, boundsOf, type Dimension, DIMENSIONS, nothing } from "./budget-amounts.ts";

export class Ledger {
  readonly pid: ProcessId;
  readonly parent: Ledger | undefined;
  readonly createdMs: number;
  bounds: Bounds = boundsOf({});
  wallMs: number | undefined;
  closed = false;
  /** Of calls under way, by call. */
  readonly pending = new Map<number, Amounts>();
  readonly spent = nothing();
  readonly reserved = nothing();
  /** The same over the whole tree below, walls or not: only what was really spent, and reserved by calls. */
  readonly treeSpent = nothing();
  readonly treeReserved = nothing();

  /** It bounds nothing yet, and so passes nothing on. */
  constructor(process: { readonly pid: ProcessId; readonly createdMs: number }, parent: Ledger | undefined) {
    this.pid = process.pid;
    this.parent = parent;
    this.createdMs = process.createdMs;
  }

  bind(budget: Budget): void {
    this.bounds = boundsOf(budget);
    this.wallMs = budget.wallMs;
  }

  /** When its time is over. Milliseconds since 1970. */
  get endMs(): number {
    return this.wallMs === undefined ? Infinity : this.createdMs + this.wallMs;
  }

  /** What bounds the dimension here now; nothing does once the account is closed. */
  wall(dimension: Dimension): bigint | undefined {
    return this.closed ? undefined : this.bounds[dimension];
  }

  used(dimension: Dimension): bigint {
    return this.spent[dimension] + this.reserved[dimension];
  }
}

/** The nearest account, from this one upwards, that bounds the dimension. */
export function wallOf(from: Ledger | undefined, dimension: Dimension): Ledger | undefined {
  for (let at = from; at !== undefined; at = at.parent) if (at.wall(dimension) !== undefined) return at;
  return undefined;
}

/** What is left at a wall; negative after an overrun. */
export const leftAt = (wall: Ledger, dimension: Dimension): bigint =>
  (wall.wall(dimension) ?? 0n) - wall.used(dimension);

/** What a call spends and reserves, taken into the accounts of the whole line. Differences, so they may be negative. */
export function book(ledger: Ledger, spent: Amounts, reserved: Amounts): void {
  for (const dimension of DIMENSIONS) {
    const flow = { spent: spent[dimension], reserved: reserved[dimension] };
    if (flow.spent === 0n && flow.reserved === 0n) continue;
    for (let at: Ledger | undefined = ledger; at !== undefined; at = at.parent) {
      at.treeSpent[dimension] += flow.spent;
      at.treeReserved[dimension] += flow.reserved;
    }
    pass(ledger, dimension, flow);
  }
}

/** Changes what an account is (its bounds, whether it is closed) and passes on what that makes different. */
export function alter(ledger: Ledger, change: () => void): void {
  const before = DIMENSIONS.map((dimension) => passedOn(ledger, dimension, ledger.wall(dimension)));
  change();
  DIMENSIONS.forEach((dimension, index) => {
    const now = passedOn(ledger, dimension, ledger.wall(dimension));
    const was = before[index] ?? now;
    pass(ledger.parent, dimension, { spent: now.spent - was.spent, reserved: now.reserved - was.reserved });
  });
}

type Flow = { readonly spent: bigint; readonly reserved: bigint };

/** What an account passes on to its parent if this is its bound. */
export function passedOn(ledger: Ledger, dimension: Dimension, bound: bigint | undefined): Flow {
  if (bound === undefined) return { spent: ledger.spent[dimension], reserved: ledger.reserved[dimension] };
  return { spent: 0n, reserved: most(bound, ledger.used(dimension)) };
}

function pass(from: Ledger | undefined, dimension: Dimension, flow: Flow): void {
  let { spent, reserved } = flow;
  for (let at = from; at !== undefined && (spent !== 0n || reserved !== 0n); at = at.parent) {
    const used = at.used(dimension);
    at.spent[dimension] += spent;
    at.reserved[dimension] += reserved;
    const bound = at.wall(dimension);
    if (bound === undefined) continue;
    spent = 0n;
    reserved = most(bound, at.used(dimension)) - most(bound, used);
  }
}

const most = (one: bigint, other: bigint): bigint => (one > other ? one : other);

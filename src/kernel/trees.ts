// Trees of processes, as far as they are in memory: how far each has grown, and the accounts of its budgets.
//
// A tree is opened from the process table when one of its processes first spawns, or makes a call that a budget bounds.
// Most processes do neither, and cost nothing here.
//
// Invariants:
//   E1. A process is counted, and its budget carved, in the very turn in which it is created: of two that spawn at the
//       same time for the last place, one is refused, before anything happens.
//   E2. What is open here is what the table says, changed by what has happened since: an exit waits until its tree has
//       been opened, if that is under way.
import { OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import { TREE_BREADTH_MAX, TREE_DEPTH_MAX, TREE_TOTAL_MAX } from "../abi/limits.ts";
import type { TreeBounds } from "../abi/scheduling.ts";
import type { Life } from "../ports/process.ts";
import type { Budgets } from "../ports/scheduler.ts";
import type { ProcessRecord, Store } from "../ports/store.ts";
import { treeOf } from "./rows.ts";

type Node = {
  readonly parent: Node | null;
  readonly pid: ProcessId;
  readonly depth: number;
  readonly bounds: TreeBounds;
  /** Living children. */
  alive: number;
  /** Descendants over its lifetime. */
  total: number;
};
type Tree = Map<ProcessId, Node>;

/** Whether anything bounds what a process uses up. */
export function isBounded(life: Life): boolean {
  for (let member: Life | null = life; member !== null; member = member.parent) {
    const { whenExhausted, ...bounds } = member.budget;
    if (Object.keys(bounds).length > 0) return true;
  }
  return false;
}

/** What every tree is bound by where the configuration says nothing else. */
export const ROOT_BOUNDS = { depth: TREE_DEPTH_MAX, breadth: TREE_BREADTH_MAX, total: TREE_TOTAL_MAX } as const;

export class Trees {
  readonly #store: Store;
  readonly #budgets: Budgets;
  readonly #trees = new Map<ProcessId, Tree>();
  readonly #opening = new Map<ProcessId, Promise<void>>();

  constructor(parts: { store: Store; budgets: Budgets }) {
    this.#store = parts.store;
    this.#budgets = parts.budgets;
  }

  /** Opens the tree; undefined if it is open. */
  ensure(root: ProcessId): Promise<void> | undefined {
    if (this.#trees.has(root)) return undefined;
    const known = this.#opening.get(root);
    if (known !== undefined) return known;
    const opening = this.#open(root).finally(() => {
      if (this.#opening.get(root) === opening) this.#opening.delete(root);
    });
    this.#opening.set(root, opening);
    return opening;
  }

  /** Resolves when the tree is open, if somebody is opening it. */
  async settled(root: ProcessId): Promise<void> {
    await this.#opening.get(root);
  }

  /**
   * Takes in a child that is being created; its tree is open. Throws `limit_exceeded` where the tree has grown as far as it
   * may, `budget_exhausted` where the child's budget is not left, and has changed nothing then.
   */
  add(record: ProcessRecord): void {
    const tree = this.#trees.get(record.root);
    const parent = record.parent === null ? undefined : tree?.get(record.parent);
    if (tree === undefined || parent === undefined)
      throw new OsError("cancelled", `Process ${record.pid} was not created: its tree has left memory meanwhile.`);
    assertRoom(parent, record.depth);
    this.#budgets.open(accountOf(record));
    enter(tree, parent, record);
  }

  /** These are over. */
  close(ended: readonly ProcessRecord[]): void {
    for (const { pid, root, parent } of ended) {
      const tree = this.#trees.get(root);
      if (tree === undefined) continue;
      const above = parent === null ? undefined : tree.get(parent);
      if (above !== undefined) above.alive -= 1;
      this.#budgets.close(pid);
      if (pid === root) this.#forget(root);
    }
  }

  /** What is in memory is no longer the truth. */
  clear(): void {
    this.#opening.clear();
    for (const root of [...this.#trees.keys()]) this.#forget(root);
  }

  #forget(root: ProcessId): void {
    this.#trees.delete(root);
    this.#budgets.forget(root);
  }

  async #open(root: ProcessId): Promise<void> {
    const records = await treeOf(this.#store, root);
    if (!this.#opening.has(root) || this.#trees.has(root)) return;
    const tree: Tree = new Map();
    this.#trees.set(root, tree);
    for (const record of records) {
      const parent = record.parent === null ? null : (tree.get(record.parent) ?? null);
      this.#budgets.open(accountOf(record), { restored: true });
      enter(tree, parent, record);
    }
  }
}

function enter(tree: Tree, parent: Node | null, { pid, depth, tree: bounds, state }: ProcessRecord): void {
  tree.set(pid, { parent, pid, depth, bounds, alive: 0, total: 0 });
  if (parent !== null && state !== "exited") parent.alive += 1;
  for (let above = parent; above !== null; above = above.parent) above.total += 1;
}

const accountOf = (record: ProcessRecord): Parameters<Budgets["open"]>[0] => ({
  pid: record.pid,
  parent: record.parent,
  budget: record.budget,
  createdMs: record.createdMs,
  spent: record.spent,
  reserved: record.reservations,
  exited: record.state === "exited",
});

function assertRoom(parent: Node, depth: number): void {
  for (let above: Node | null = parent; above !== null; above = above.parent) {
    const { bounds, pid } = above;
    if (bounds.depth !== undefined && depth - above.depth > bounds.depth)
      throw full("depth", bounds.depth, `the tree below process ${pid} is at most ${bounds.depth} deep`);
    if (bounds.breadth !== undefined && parent.alive >= bounds.breadth)
      throw full(
        "breadth",
        bounds.breadth,
        `a process has at most ${bounds.breadth} living children in the tree of process ${pid}, and ${parent.pid} has ${parent.alive}`,
      );
    if (bounds.total !== undefined && above.total >= bounds.total)
      throw full(
        "total",
        bounds.total,
        `process ${pid} and its descendants may start ${bounds.total} processes in all, and have`,
      );
  }
}

const full = (bound: keyof TreeBounds, max: number, why: string): OsError =>
  new OsError(
    "limit_exceeded",
    `The process was not started: ${why}. Let it do the work itself, or raise the agent's \`tree.${bound}\`.`,
    { data: { limit: `tree_${bound}`, max } },
  );

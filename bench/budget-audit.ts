// Whether any tree used more than it might: from the journals as they lie on the disk, and from what the tools and the
// model wrote down themselves.
//
// Shares no reckoning with the product: sums are taken over all events, by the words of docs/scheduler.md.
import type { Budget } from "../src/abi/agents.ts";
import type { EventHeader } from "../src/abi/events.ts";
import type { ProcessId } from "../src/abi/ids.ts";
import type { Spent } from "../src/abi/process.ts";
import { openSqliteStore } from "../src/drivers/store-sqlite/store.ts";
import type { ProcessRecord, Store } from "../src/ports/store.ts";
import type { Use } from "./usage-log.ts";

const PAGE = 1_000;
/** Sums of dollars are sums of binary fractions. */
const ROUNDING = 1e-9;
const NOTHING: Spent = { calls: 0, inputTokens: 0, outputTokens: 0, costUsd: 0 };
const DIMENSIONS = ["calls", "inputTokens", "outputTokens", "tokens", "costUsd"] as const;
type Dimension = (typeof DIMENSIONS)[number];

export type Audit = {
  readonly processes: number;
  readonly exited: number;
  readonly calls: number;
  readonly refused: number;
  /** Budgets (a process and a dimension) that were looked at, and those of them that were crossed. */
  readonly budgets: number;
  readonly chargedBeyond: readonly string[];
  readonly usedBeyond: readonly string[];
  /** Processes under a budget that were charged less than they used. */
  readonly undercharged: readonly string[];
  /** Rows of processes that are over and still have something reserved. */
  readonly reserved: readonly string[];
  /** Rows that do not say what the journal says. */
  readonly untrue: readonly string[];
  /** Budgets of which nine tenths or more were used up. */
  readonly tight: number;
};

/** What a process itself was charged, by its journal, and the budget that it has. */
export type Charged = {
  readonly spent: Spent;
  readonly calls: number;
  readonly refused: number;
  readonly budget: Budget;
};

const plus = (one: Spent, other: Spent): Spent => ({
  calls: one.calls + other.calls,
  inputTokens: one.inputTokens + other.inputTokens,
  outputTokens: one.outputTokens + other.outputTokens,
  costUsd: one.costUsd + other.costUsd,
});

const amountOf = (spent: Spent, name: Dimension): number =>
  name === "tokens" ? spent.inputTokens + spent.outputTokens : spent[name];

const isCounted = ({ syscall }: { readonly syscall: string }): boolean =>
  syscall === "model.generate" || syscall === "tool.call";

/** What an outcome was charged: what its event says, and where it says nothing one call and its usage if it went well. */
function chargeOf(header: Extract<EventHeader, { kind: "call.completed" }>): Spent {
  if (!isCounted(header)) return NOTHING;
  if (header.charged !== undefined) return header.charged;
  if (header.error !== undefined) return NOTHING;
  const { inputTokens = 0, outputTokens = 0, costUsd = 0 } = header.usage ?? {};
  return { calls: 1, inputTokens, outputTokens, costUsd };
}

async function* headersOf(store: Store, pid: ProcessId): AsyncGenerator<EventHeader> {
  for (let from = 0; ;) {
    const page = await store.events(pid, from, PAGE);
    for (const { header } of page) yield JSON.parse(header) as EventHeader;
    from += page.length;
    if (page.length < PAGE) return;
  }
}

/** What a process itself was charged: its outcomes, and at its end all that was reserved for calls without one. */
async function chargedTo(store: Store, pid: ProcessId): Promise<Charged> {
  let spent = NOTHING;
  let budget: Budget = {};
  let [calls, refused, over] = [0, 0, false];
  const pending = new Map<number, Spent>();
  for await (const header of headersOf(store, pid)) {
    if (header.kind === "process.created" || header.kind === "process.limited") budget = header.budget;
    if (header.kind === "process.exited") over = true;
    if (header.kind === "call.reserved")
      pending.set(header.call, plus(pending.get(header.call) ?? NOTHING, header.amounts));
    if (header.kind !== "call.completed") continue;
    if (isCounted(header)) calls += 1;
    if (header.error === "budget_exhausted") refused += 1;
    spent = plus(spent, chargeOf(header));
    pending.delete(header.call);
  }
  if (over) for (const amounts of pending.values()) spent = plus(spent, amounts);
  return { spent, calls, refused, budget };
}

async function allProcesses(store: Store): Promise<ProcessRecord[]> {
  const records: ProcessRecord[] = [];
  for (;;) {
    const before = records.at(-1)?.pid;
    const page = await store.processes({ limit: PAGE, ...(before === undefined ? {} : { before }) });
    records.push(...page);
    if (page.length < PAGE) return records;
  }
}

/** What each process used with its descendants. */
function sums(records: readonly ProcessRecord[], own: ReadonlyMap<ProcessId, Spent>): Map<ProcessId, Spent> {
  const byPid = new Map(records.map((record) => [record.pid, record]));
  const total = new Map<ProcessId, Spent>();
  for (const { pid } of records) {
    const used = own.get(pid) ?? NOTHING;
    for (let at: ProcessId | null = pid; at !== null; at = byPid.get(at)?.parent ?? null)
      total.set(at, plus(total.get(at) ?? NOTHING, used));
  }
  return total;
}

const differ = (one: Spent, other: Spent): boolean =>
  DIMENSIONS.some((name) => Math.abs(amountOf(one, name) - amountOf(other, name)) > ROUNDING);

const below = (one: Spent, other: Spent): boolean =>
  DIMENSIONS.some((name) => amountOf(one, name) < amountOf(other, name) - ROUNDING);

/** Compares every budget with what its subtree was charged, and with what it used. */
export function judge(
  records: readonly ProcessRecord[],
  charged: ReadonlyMap<ProcessId, Charged>,
  uses: readonly Use[],
): Audit {
  const own = new Map([...charged].map(([pid, { spent }]) => [pid, spent]));
  const logged = new Map<ProcessId, Spent>();
  for (const { pid, used } of uses) logged.set(pid, plus(logged.get(pid) ?? NOTHING, used));
  const chargedSums = sums(records, own);
  const usedSums = sums(records, logged);
  const byPid = new Map(records.map((record) => [record.pid, record]));
  const isBounded = (pid: ProcessId | null): boolean =>
    pid !== null &&
    (Object.keys(charged.get(pid)?.budget ?? {}).length > 0 || isBounded(byPid.get(pid)?.parent ?? null));
  const walls = records.flatMap(({ pid, root }) =>
    DIMENSIONS.flatMap((name) => {
      const max = charged.get(pid)?.budget[name];
      if (max === undefined) return [];
      const amounts = [chargedSums, usedSums].map((of) => amountOf(of.get(pid) ?? NOTHING, name));
      const [spent = 0, used = 0] = amounts;
      return [{ words: `${pid} in tree ${root}: ${max} ${name}, charged ${spent}, used ${used}`, max, spent, used }];
    }),
  );
  const wordsOf = (list: typeof walls): string[] => list.map(({ words }) => words);
  const all = [...charged.values()];
  return {
    processes: records.length,
    exited: records.filter(({ state }) => state === "exited").length,
    calls: all.reduce((sum, { calls }) => sum + calls, 0),
    refused: all.reduce((sum, { refused }) => sum + refused, 0),
    budgets: walls.length,
    tight: walls.filter(({ max, spent }) => spent >= 0.9 * max).length,
    chargedBeyond: wordsOf(walls.filter(({ max, spent }) => spent > max + ROUNDING)),
    usedBeyond: wordsOf(walls.filter(({ max, used }) => used > max + ROUNDING)),
    undercharged: records.flatMap(({ pid }) => {
      const [paid, used] = [own.get(pid) ?? NOTHING, logged.get(pid) ?? NOTHING];
      return isBounded(pid) && below(paid, used)
        ? [`${pid} was charged ${JSON.stringify(paid)} and used ${JSON.stringify(used)}`]
        : [];
    }),
    reserved: records.flatMap(({ pid, state, reserved, reservations }) =>
      state === "exited" && (reservations.length > 0 || differ(reserved, NOTHING))
        ? [`${pid}: ${JSON.stringify(reserved)}`]
        : [],
    ),
    untrue: records.flatMap(({ pid, spent }) =>
      differ(spent, own.get(pid) ?? NOTHING)
        ? [`${pid}: its row says ${JSON.stringify(spent)}, its journal ${JSON.stringify(own.get(pid))}`]
        : [],
    ),
  };
}

/** Of a data folder that nothing has open. */
export async function auditBudgets(dataFolder: string, uses: readonly Use[]): Promise<Audit> {
  const store = await openSqliteStore({ folder: dataFolder });
  try {
    const records = await allProcesses(store);
    const charged = new Map<ProcessId, Charged>();
    for (const { pid } of records) charged.set(pid, await chargedTo(store, pid));
    return judge(records, charged, uses);
  } finally {
    await store.close();
  }
}

// Goal: the reckoning that finds no overruns would find one. Method: a parent and a child by hand, with planted faults.
import { describe, expect, test } from "vitest";
import type { ProcessId } from "../src/abi/ids.ts";
import type { Spent } from "../src/abi/process.ts";
import type { ProcessRecord } from "../src/ports/store.ts";
import { judge, type Charged } from "./budget-audit.ts";

const [PARENT, CHILD] = ["p_parent", "p_child"] as ProcessId[] as [ProcessId, ProcessId];
const calls = (count: number): Spent => ({ calls: count, inputTokens: 0, outputTokens: 0, costUsd: 0 });

const row = (pid: ProcessId, parent: ProcessId | null, fields: Partial<ProcessRecord>): ProcessRecord =>
  // Only what the reckoning reads.
  ({ pid, parent, root: PARENT, state: "exited", reserved: calls(0), reservations: [], ...fields }) as ProcessRecord;

const charged = (count: number, budget: Charged["budget"]): Charged => ({
  spent: calls(count),
  calls: count,
  refused: 0,
  budget,
});

/** The parent may use three calls with its child, and is charged one; the child is charged `child`. */
function audit(child: number, used: number) {
  const records = [row(PARENT, null, { spent: calls(1) }), row(CHILD, PARENT, { spent: calls(child) })];
  const books = new Map([
    [PARENT, charged(1, { calls: 3 })],
    [CHILD, charged(child, {})],
  ]);
  const uses = [
    { pid: PARENT, used: calls(1) },
    ...Array.from({ length: used }, () => ({ pid: CHILD, used: calls(1) })),
  ];
  return judge(records, books, uses);
}

describe("the audit of budgets", () => {
  test("passes what is within", () => {
    expect(audit(2, 2)).toMatchObject({
      budgets: 1,
      tight: 1,
      chargedBeyond: [],
      usedBeyond: [],
      undercharged: [],
      reserved: [],
      untrue: [],
    });
  });

  test("finds a budget that a descendant crossed by what it was charged", () => {
    expect(audit(3, 2).chargedBeyond).toEqual([expect.stringContaining("3 calls, charged 4, used 3")]);
  });

  test("finds use that nobody was charged for, and the budget that it crossed", () => {
    const { usedBeyond, undercharged, chargedBeyond } = audit(2, 3);
    expect(chargedBeyond).toEqual([]);
    expect(usedBeyond).toEqual([expect.stringContaining("charged 3, used 4")]);
    expect(undercharged).toEqual([expect.stringContaining(CHILD)]);
  });

  test("finds what is still reserved, and rows that are not as their journal", () => {
    const left = [{ call: 7, amounts: calls(1) }];
    const records = [row(PARENT, null, { spent: calls(0), reserved: calls(1), reservations: left })];
    const found = judge(records, new Map([[PARENT, charged(1, {})]]), []);
    expect(found.reserved).toEqual([expect.stringContaining(PARENT)]);
    expect(found.untrue).toEqual([expect.stringContaining(PARENT)]);
  });
});

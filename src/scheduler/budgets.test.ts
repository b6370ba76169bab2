// Goal: budgets, case by case: what is carved, drawn, refused, given back. The invariants are held against random trees in
// budget-account.test.ts.
import { describe, expect, test } from "vitest";
import type { Budget } from "../abi/agents.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Spent } from "../abi/process.ts";
import type { Budgets } from "../ports/scheduler.ts";
import { createBudgets } from "./budgets.ts";

const pid = (name: string): ProcessId => `p_${name}` as ProcessId;
const amounts = (some: Partial<Spent> = {}): Spent => ({
  calls: 0,
  inputTokens: 0,
  outputTokens: 0,
  costUsd: 0,
  ...some,
});
const code = (name: string): unknown => expect.objectContaining({ code: name });

type Tree = Readonly<Record<string, readonly [parent: string | null, budget: Budget]>>;
function open(tree: Tree): Budgets {
  const budgets = createBudgets();
  for (const [name, [parent, budget]] of Object.entries(tree)) add(budgets, name, [parent, budget]);
  return budgets;
}
function add(budgets: Budgets, name: string, [parent, budget]: Tree[string]): void {
  const above = parent === null ? null : pid(parent);
  budgets.open({
    pid: pid(name),
    parent: above,
    budget,
    createdMs: 1000,
    spent: amounts(),
    reserved: [],
    exited: false,
  });
}
const reserve = (budgets: Budgets, name: string, call: number, some: Partial<Spent>) =>
  budgets.reserve(pid(name), call, amounts(some), 1000);
const left = (budgets: Budgets, name: string) => budgets.left(pid(name), 1000);

describe("a call", () => {
  test("is reserved, settled for what it was, and the rest comes back", () => {
    const budgets = open({ root: [null, { tokens: 100 }] });
    expect(reserve(budgets, "root", 1, { inputTokens: 20, outputTokens: 60 })).toBeNull();
    expect(left(budgets, "root")).toEqual({ tokens: 20 });
    expect(budgets.total(pid("root"))).toEqual({
      spent: amounts(),
      reserved: amounts({ inputTokens: 20, outputTokens: 60 }),
    });
    budgets.settle(pid("root"), 1, amounts({ inputTokens: 21, outputTokens: 4 }));
    expect(left(budgets, "root")).toEqual({ tokens: 75 });
    expect(budgets.total(pid("root"))).toEqual({
      spent: amounts({ inputTokens: 21, outputTokens: 4 }),
      reserved: amounts(),
    });
  });

  test("that would cross the line reserves nothing, in any dimension, and says whose line it is", () => {
    const budgets = open({ root: [null, { calls: 5, costUsd: 0.5 }], child: ["root", { calls: 2 }] });
    expect(reserve(budgets, "child", 1, { calls: 1, costUsd: 0.4 })).toBeNull();
    expect(reserve(budgets, "child", 2, { calls: 1, costUsd: 0.2 })).toEqual({
      pid: pid("root"),
      budget: "costUsd",
      max: 0.5,
      spent: 0,
      reserved: 0.4,
      asked: 0.2,
    });
    expect(left(budgets, "child")).toEqual({ calls: 1, costUsd: 0.1 });
    expect(budgets.shortage(pid("child"), amounts({ calls: 2 }), 1000)).toMatchObject({
      pid: pid("child"),
      budget: "calls",
    });
    expect(budgets.shortage(pid("child"), amounts({ calls: 1 }), 1000)).toBeNull();
  });

  test("that is tried again adds to what its unknown attempts reserved; its outcome settles them all", () => {
    const budgets = open({ root: [null, { calls: 3 }] });
    expect(reserve(budgets, "root", 1, { calls: 1 })).toBeNull();
    expect(reserve(budgets, "root", 1, { calls: 1 })).toBeNull();
    expect(left(budgets, "root")).toEqual({ calls: 1 });
    budgets.settle(pid("root"), 1, amounts({ calls: 2 }));
    expect(left(budgets, "root")).toEqual({ calls: 1 });
    expect(budgets.total(pid("root")).reserved).toEqual(amounts());
  });

  test("that is charged more than was reserved overruns by that alone, at once up the line, and nothing is left below zero", () => {
    const budgets = open({ root: [null, { tokens: 100 }], child: ["root", { tokens: 50 }], other: ["root", {}] });
    expect(reserve(budgets, "child", 1, { inputTokens: 50 })).toBeNull();
    budgets.settle(pid("child"), 1, amounts({ inputTokens: 70 }));
    expect(left(budgets, "child")).toEqual({ tokens: 0 });
    expect(left(budgets, "other")).toEqual({ tokens: 30 });
    expect(reserve(budgets, "child", 2, { inputTokens: 1 })).toMatchObject({ budget: "tokens", spent: 70, max: 50 });
    expect(reserve(budgets, "child", 2, { calls: 1 })).toBeNull();
    budgets.close(pid("child"));
    expect(left(budgets, "root")).toEqual({ tokens: 30 });
  });

  test("of dollars adds up without drifting", () => {
    const budgets = open({ root: [null, { costUsd: 1 }] });
    for (let call = 0; call < 10; call++) expect(reserve(budgets, "root", call, { costUsd: 0.1 })).toBeNull();
    expect(left(budgets, "root")).toEqual({ costUsd: 0 });
    for (let call = 0; call < 10; call++) budgets.settle(pid("root"), call, amounts({ costUsd: 0.1 }));
    expect(budgets.total(pid("root")).spent.costUsd).toBe(1);
  });
});

describe("a child's budget", () => {
  test("is carved: it counts above as reserved until the child is over, and then only what was spent", () => {
    const budgets = open({ root: [null, { costUsd: 1 }] });
    add(budgets, "child", ["root", { costUsd: 0.6 }]);
    expect(left(budgets, "root")).toEqual({ costUsd: 0.4 });
    expect(() => add(budgets, "second", ["root", { costUsd: 0.5 }])).toThrow(code("budget_exhausted"));
    expect(budgets.has(pid("second"))).toBe(false);
    reserve(budgets, "child", 1, { costUsd: 0.2 });
    budgets.settle(pid("child"), 1, amounts({ costUsd: 0.15 }));
    expect(left(budgets, "root")).toEqual({ costUsd: 0.4 });
    budgets.close(pid("child"));
    expect(left(budgets, "root")).toEqual({ costUsd: 0.85 });
  });

  test("in one dimension draws the others from above, and overlapping ones are kept apart", () => {
    const budgets = open({ root: [null, { tokens: 1000 }], child: ["root", { inputTokens: 600 }] });
    expect(left(budgets, "root")).toEqual({ tokens: 1000 });
    expect(reserve(budgets, "child", 1, { inputTokens: 500, outputTokens: 400 })).toBeNull();
    expect(left(budgets, "child")).toEqual({ inputTokens: 100, tokens: 100 });
    expect(reserve(budgets, "child", 2, { inputTokens: 80, outputTokens: 30 })).toMatchObject({
      pid: pid("root"),
      budget: "tokens",
      asked: 110,
    });
    const reverse = open({ root: [null, { inputTokens: 500, outputTokens: 500 }], child: ["root", { tokens: 800 }] });
    expect(reserve(reverse, "child", 1, { inputTokens: 500, outputTokens: 200 })).toBeNull();
    expect(left(reverse, "child")).toEqual({ inputTokens: 0, outputTokens: 300, tokens: 100 });
  });

  test("passes a generation that bounds nothing", () => {
    const budgets = open({
      root: [null, { calls: 10 }],
      middle: ["root", {}],
      child: ["middle", { calls: 4 }],
    });
    expect(left(budgets, "middle")).toEqual({ calls: 6 });
    reserve(budgets, "child", 1, { calls: 1 });
    budgets.settle(pid("child"), 1, amounts({ calls: 1 }));
    // Whichever ends first: the carving of a child whose parent is over stays with the parent's parent.
    budgets.close(pid("middle"));
    expect(left(budgets, "root")).toEqual({ calls: 6 });
    budgets.close(pid("child"));
    expect(left(budgets, "root")).toEqual({ calls: 9 });
  });

  test("of more dollars than can be counted bounds nothing that happens", () => {
    const budgets = open({ root: [null, { costUsd: Number.MAX_VALUE }] });
    expect(reserve(budgets, "root", 1, { costUsd: 1e9 })).toBeNull();
    expect(reserve(budgets, "root", 2, { costUsd: Number.MAX_VALUE })).toMatchObject({ budget: "costUsd" });
  });

  test("of as much as there are numbers stays exact, however many bound it", () => {
    const budgets = open({ root: [null, {}], one: ["root", { tokens: Number.MAX_SAFE_INTEGER }] });
    for (let n = 0; n < 10; n++) add(budgets, `more${n}`, ["root", { tokens: Number.MAX_SAFE_INTEGER, costUsd: 1e9 }]);
    for (let n = 0; n < 10; n++) budgets.close(pid(`more${n}`));
    reserve(budgets, "one", 1, { inputTokens: 3 });
    budgets.change(pid("root"), { tokens: Number.MAX_SAFE_INTEGER });
    expect(left(budgets, "root")).toEqual({ tokens: 0 });
    budgets.close(pid("one"));
    expect(left(budgets, "root")).toEqual({ tokens: Number.MAX_SAFE_INTEGER - 3 });
  });
});

describe("wall time", () => {
  test("is over when the earliest of the line is, and is not carved", () => {
    const budgets = open({ root: [null, { wallMs: 500 }], child: ["root", { wallMs: 9000 }] });
    expect(budgets.left(pid("child"), 1400)).toEqual({ wallMs: 100 });
    expect(budgets.shortage(pid("child"), amounts({ calls: 1 }), 1499)).toBeNull();
    expect(budgets.reserve(pid("child"), 1, amounts(), 1500)).toEqual({
      pid: pid("root"),
      budget: "wallMs",
      max: 500,
      spent: 500,
      reserved: 0,
      asked: 0,
    });
    expect(budgets.left(pid("child"), 99_000)).toEqual({ wallMs: 0 });
  });
});

describe("a process that is over", () => {
  test("stays charged for what it had under way; a late outcome changes nothing", () => {
    const budgets = open({ root: [null, { calls: 5 }], child: ["root", {}] });
    reserve(budgets, "child", 1, { calls: 2 });
    budgets.close(pid("child"));
    budgets.close(pid("child"));
    budgets.settle(pid("child"), 1, amounts({ calls: 1 }));
    expect(budgets.total(pid("root"))).toEqual({ spent: amounts({ calls: 2 }), reserved: amounts() });
    expect(() => reserve(budgets, "child", 2, { calls: 1 })).toThrow(code("process_gone"));
    expect(() => budgets.change(pid("child"), {})).toThrow(code("process_gone"));
  });

  test("with its whole tree is forgotten, and another tree is not", () => {
    const budgets = open({ root: [null, { calls: 5 }], child: ["root", {}], elsewhere: [null, {}] });
    budgets.forget(pid("root"));
    expect(["root", "child", "elsewhere"].map((name) => budgets.has(pid(name)))).toEqual([false, false, true]);
    budgets.settle(pid("child"), 1, amounts({ calls: 1 }));
    budgets.close(pid("child"));
    expect(() => budgets.left(pid("child"), 0)).toThrow("has no account");
  });
});

describe("a change", () => {
  test("raises what a call was refused for, and takes the difference from above", () => {
    const budgets = open({ root: [null, { calls: 10 }], child: ["root", { calls: 2 }] });
    expect(reserve(budgets, "child", 1, { calls: 3 })).toMatchObject({ pid: pid("child") });
    budgets.change(pid("child"), { calls: 6 });
    expect(reserve(budgets, "child", 1, { calls: 3 })).toBeNull();
    expect(left(budgets, "root")).toEqual({ calls: 4 });
    expect(() => budgets.change(pid("child"), { calls: 11 })).toThrow(code("budget_exhausted"));
    expect(left(budgets, "root")).toEqual({ calls: 4 });
  });

  test("lowers as far as what is used up, in no dimension further", () => {
    const budgets = open({ root: [null, { calls: 10, tokens: 50 }] });
    reserve(budgets, "root", 1, { calls: 4, inputTokens: 10 });
    expect(() => budgets.change(pid("root"), { calls: 8, tokens: 9 })).toThrow(code("conflict"));
    expect(left(budgets, "root")).toEqual({ calls: 6, tokens: 40 });
    budgets.change(pid("root"), { calls: 4 });
    expect(left(budgets, "root")).toEqual({ calls: 0 });
  });

  test("may bound what was not bounded: what was used up below counts", () => {
    const budgets = open({ root: [null, { calls: 10 }], child: ["root", {}], leaf: ["child", { calls: 2 }] });
    reserve(budgets, "child", 1, { calls: 3 });
    expect(() => budgets.change(pid("child"), { calls: 4 })).toThrow(code("conflict"));
    budgets.change(pid("child"), { calls: 6 });
    expect([left(budgets, "root"), left(budgets, "child")]).toEqual([{ calls: 4 }, { calls: 1 }]);
    budgets.change(pid("child"), {});
    expect(left(budgets, "child")).toEqual({ calls: 5 });
    expect(budgets.bounded(pid("child"))).toBe(true);
    budgets.change(pid("root"), {});
    expect(budgets.bounded(pid("child"))).toBe(false);
    expect(budgets.bounded(pid("leaf"))).toBe(true);
  });
});

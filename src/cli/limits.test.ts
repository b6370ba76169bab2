// Goal: what a process may use up, how urgent it is and when it runs can be said, seen and changed.
// Method: every command runs in this process on a fake host; its output is compared as text, and what it asked of the system.
import { describe, expect, test } from "vitest";
import { FAKE_NOW_MS, type FakeProcess } from "../gateway/system.fake.ts";
import { bare, eachTestOn, FakeHost, json, lines } from "./host.fake.ts";
import { time } from "./terminal/figures.ts";

let host: FakeHost;
eachTestOn((fresh) => (host = fresh));

/** What the system was asked last under a name. */
const asked = (name: string): unknown => host.system.operated.findLast((each) => each.name === name)?.args;

const NOW_MS = FAKE_NOW_MS + 90_000;
const HOUR_MS = 3_600_000;

/** A process of 10 dollars, of which its tree has used 4, reserved 1, and given 2 to a child that has not used them. */
function spending(): FakeProcess {
  const process = host.system.create("manager");
  const spent = { calls: 40, inputTokens: 50_000, outputTokens: 6000, costUsd: 3 };
  process.change({
    spent,
    budget: { costUsd: 10, wallMs: HOUR_MS, whenExhausted: "ask" },
    tree: { depth: 2, breadth: 5 },
    deadlineMs: NOW_MS + 2 * HOUR_MS,
  });
  const child = host.system.create("researcher", { parent: process });
  child.change({ class: "batch", budget: { costUsd: 3 }, spent: { ...spent, calls: 2, costUsd: 1 } });
  host.system.explained.set(process.pid, {
    left: { costUsd: 3, wallMs: HOUR_MS - 90_000, calls: 58 },
    tree: {
      spent: { calls: 42, inputTokens: 100_000, outputTokens: 12_000, costUsd: 4 },
      reserved: { calls: 1, inputTokens: 0, outputTokens: 0, costUsd: 1 },
      locks: ["order:17"],
    },
  });
  return process;
}

describe("limits", () => {
  test("tells of each budget what is used, reserved, given to children and left, and what else bounds it", async () => {
    spending();
    const { out, status } = await host.reeve("limits", "04");
    expect(status).toBe(0);
    expect(out).toBe(
      lines(
        "manager p_040g2081040g",
        "",
        "BUDGET               MAX     USED  RESERVED  FOR CHILDREN     LEFT",
        "cost              $10.00    $4.00     $1.00         $2.00    $3.00",
        "calls      an ancestor's       42         1             -       58",
        "tokens         unlimited  112,000         -             -",
        "wall time             1h   1m 30s         -             -  58m 30s",
        "",
        "class           standard, tenant default",
        "when exhausted  a human is asked for more",
        "tree            at most 2 deep below it, 5 living children of one process (it has 1)",
        "locks           order:17",
        `deadline        ${time(NOW_MS + 2 * HOUR_MS)} (in 2h)`,
        "",
        "alive below it",
        "PID             AGENT       CLASS  SPENT                            BUDGET",
        "p_081040g20810  researcher  batch  2 calls · 56,000 tokens · $1.00  $3.00",
      ),
    );
    expect(json(await host.reeve("limits", "04", "--json"))).toMatchObject({
      budget: { costUsd: 10 },
      left: { costUsd: 3 },
      tree: { locks: ["order:17"] },
      bounds: { depth: 2 },
    });
    expect(asked("process.limit")).toBeUndefined();
  });

  test("on a terminal a bar stands beside each, where there is room", async () => {
    host = new FakeHost({ terminal: true });
    spending();
    expect(bare((await host.reeve("limits", "04")).out)).toContain("$3.00  ████████▒▒▒▒▒▒░░░░░░\n");
    host = new FakeHost({ terminal: true, columns: 70 });
    spending();
    const { out } = await host.reeve("limits", "04");
    expect(out).not.toContain("█");
    expect(bare(out)).toContain("$2.00    $3.00\n");
  });

  test("options change what they name, and the rest is left alone", async () => {
    const process = spending();
    const { out } = await host.reeve(
      "limits",
      process.pid,
      ...["--cost-usd", "$25.50", "--calls", "500", "--tokens", "9", "--input-tokens", "7", "--output-tokens", "8"],
      ...["--wall", "1d12h", "--when-exhausted", "fail"],
    );
    expect(asked("process.limit")).toEqual({
      pid: process.pid,
      budget: {
        costUsd: 25.5,
        calls: 500,
        tokens: 9,
        inputTokens: 7,
        outputTokens: 8,
        wallMs: 36 * HOUR_MS,
        whenExhausted: "fail",
      },
    });
    expect(out).toContain("$25.50");
    expect(out).toContain("the call is refused");
  });

  test.each([
    ["--cost-usd", "0"],
    ["--cost-usd", "five"],
    ["--calls", "0"],
    ["--wall", "90"],
    ["--when-exhausted", "maybe"],
  ])("%s %s is misuse", async (...argv) => {
    const process = host.system.create("a");
    expect(await host.reeve("limits", process.pid, ...argv)).toMatchObject({ status: 2, out: "" });
    expect(host.system.operated).toEqual([]);
  });

  test("without a process it tells of the resources; a budget needs one", async () => {
    host.system.resources = [
      {
        name: "model:openai",
        slots: 4,
        inUse: 4,
        waiting: { critical: 0, interactive: 2, standard: 0, batch: 1940 },
        meanServiceMs: 2300,
      },
      {
        name: "tool:shop.refund",
        slots: 1,
        inUse: 0,
        waiting: { critical: 0, interactive: 0, standard: 0, batch: 0 },
        meanServiceMs: null,
      },
      ...["p_grows", "p_calm"].map((pid, at) => ({
        name: `spawn:${pid}`,
        slots: 256,
        inUse: 0,
        waiting: { critical: 0, interactive: 0, standard: at === 0 ? 12 : 0, batch: 0 },
        meanServiceMs: 0,
      })),
    ];
    expect(await host.reeve("limits")).toEqual({
      status: 0,
      out: lines(
        "memory  3 of at most 1,000 processes, 12 more wait for room",
        "",
        "RESOURCE          SLOTS  IN USE  MEAN TIME  WAITING",
        "model:openai          4       4         2s  2 interactive, 1,940 batch",
        "tool:shop.refund      1       0          -",
        "",
        "The tree of p_grows waits to grow: 12 standard",
      ),
      err: expect.stringContaining("npx reeve up") as string,
    });
    const { out } = await host.reeve("doctor");
    expect(out).toContain("memory   3 of at most 1,000 processes, 12 more wait for room\n");
    expect(out).toContain("2 interactive, 1,940 batch\n");
    expect(await host.reeve("limits", "--cost-usd", "5")).toMatchObject({
      status: 2,
      err: expect.stringContaining("reeve limits PID") as string,
    });
  });
});

describe("nice", () => {
  test("changes class and weight, and says what came of it", async () => {
    const process = host.system.create("refunds");
    expect(await host.reeve("nice", "04", "--class", "batch")).toMatchObject({
      status: 0,
      out: `${process.pid} is batch\n`,
    });
    expect(asked("process.nice")).toEqual({ pid: process.pid, class: "batch" });
    expect((await host.reeve("nice", "04", "--weight", "2.5")).out).toBe(`${process.pid} is batch, weight 2.5\n`);
    expect((await host.reeve("nice", "04", "--class", "batch")).out).toContain("as it was");
    expect(json(await host.reeve("nice", "04", "--weight", "1", "--json"))).toEqual({ pids: [process.pid] });
    const { out } = await host.reeve("journal", "04");
    expect(out).toMatch(/process\.reclassed {2}batch, weight 2\.5 \(by operator\)\n/);
  });

  test.each([[[]], [["--class", "urgent"]], [["--weight", "0"]], [["--weight", "101"]], [["--weight", "1e1"]]])(
    "%j is misuse",
    async (argv) => {
      expect(await host.reeve("nice", host.system.create("refunds").pid, ...argv)).toMatchObject({ status: 2 });
      expect(host.system.operated).toEqual([]);
    },
  );
});

describe("run", () => {
  const spawned = async (...argv: readonly string[]): Promise<unknown> => {
    host.system.scripts.set("sum", async (process) => process.exits({ how: "completed", result: null }));
    await host.reeve("run", "sum", "--detach", ...argv);
    return asked("process.spawn");
  };

  test("says whose work it is, how urgent, when it begins and is over, and what it may use up", async () => {
    expect(
      await spawned(
        ...["--class", "interactive", "--tenant", "acme", "--weight", "4", "--after", "30m", "--deadline", "2h"],
        ...["--budget-cost-usd", "0.5", "--budget-wall", "PT1H", "--budget-when-exhausted", "ask"],
      ),
    ).toEqual({
      agent: "sum",
      task: "",
      class: "interactive",
      tenant: "acme",
      weight: 4,
      startMs: NOW_MS + 0.5 * HOUR_MS,
      deadlineMs: NOW_MS + 2.5 * HOUR_MS,
      budget: { costUsd: 0.5, wallMs: HOUR_MS, whenExhausted: "ask" },
    });
  });

  test("without any of that it leaves all to the agent", async () => {
    expect(await spawned()).toEqual({ agent: "sum", task: "", budget: {} });
  });

  test("a deadline that is past, or before the start, is misuse", async () => {
    host.system.scripts.set("sum", async () => undefined);
    for (const argv of [
      ["--deadline", "2020-01-01"],
      ["--deadline", new Date(NOW_MS + HOUR_MS).toISOString(), "--after", "2h"],
      ["--after", "soon"],
    ])
      expect(await host.reeve("run", "sum", ...argv)).toMatchObject({ status: 2, out: "" });
    expect(host.system.operated).toEqual([]);
  });
});

// Goal: `run` and `wait` show what happens, end with the documented status, and say how to go on.
// Method: every command runs in this process on a fake host; its output is compared as text and as JSON.
import { describe, expect, test } from "vitest";
import { OsError } from "../abi/errors.ts";
import type { FakeProcess } from "../gateway/system.fake.ts";
import { eachTestOn, FakeHost, giveRefunds, json, jsonLines, lines } from "./host.fake.ts";

let host: FakeHost;
eachTestOn((fresh) => (host = fresh));

describe("run", () => {
  test("shows what happens, and ends with 6 where only a human can help", async () => {
    giveRefunds(host);
    host.notices = ["A rehearsal plays the model."];
    const { status, out, err } = await host.reeve("run", "refunds", "Settle", "ticket 17");
    expect(out).toBe(
      lines(
        "A rehearsal plays the model.",
        "refunds p_040g2081040g",
        "Settle ticket 17",
        "",
        "  Let me look.",
        "  rehearsal/plain · 1,000 in, 20 out · $0.0042",
        "",
        '● shop.look {"order":17}',
        "  480.00 EUR, delivered",
        "",
        "? Refund 480.00 EUR?",
        "  approval · shop.refund · destroy",
        "  r_040g2081040g · destroy-asks: the effect is destroy",
        "",
        "waiting for a human · 2 calls · 1,020 tokens · $0.0042",
        "",
        "  Refund 480.00 EUR?",
        "  approval · shop.refund · destroy",
        "  npx reeve approve r_040g2081040g",
        "  npx reeve reject r_040g2081040g --reason TEXT",
        "",
        "npx reeve journal p_040g2081040g  each event",
      ),
    );
    expect({ status, err }).toEqual({ status: 6, err: "" });
    expect(host.booted).toEqual(["embed run", "closed"]);
  });

  test("ends with the result and ways to look closer", async () => {
    host.system.scripts.set("sum", async (process) => {
      process.exits({ how: "completed", result: { total: 3 } });
    });
    const { status, out } = await host.reeve("--config", "my shop.ts", "run", "sum");
    expect(status).toBe(0);
    expect(out).toContain(lines("", "completed in 0ms · 0 calls · 0 tokens", "", "  {", '    "total": 3', "  }", ""));
    expect(out).toContain("npx reeve --config 'my shop.ts' replay p_040g2081040g --verify");
    expect(host.booted[0]).toBe("embed run my shop.ts");
  });

  test.each([
    ["tool_failed", 1],
    ["invalid_argument", 1],
    ["denied", 3],
    ["replay_divergence", 5],
    ["outcome_unknown", 6],
  ] as const)("a process that failed with %s ends it with %i", async (code, expected) => {
    host.system.scripts.set("bad", async (process) => {
      process.exits({ how: "failed", error: new OsError(code, "It broke.").toJSON() });
    });
    const { status, out } = await host.reeve("run", "bad");
    expect(status).toBe(expected);
    expect(out).toContain(`failed in 0ms · 0 calls · 0 tokens\n  ${code}: It broke.`);
  });

  test("with --json each event is a line and the summary the last", async () => {
    giveRefunds(host);
    const ended = await host.reeve("run", "refunds", "--json", "Settle");
    const list = jsonLines(ended);
    expect(list.slice(0, -1).map((line) => (line as { event: { seq: number } }).event.seq)).toEqual([0, 1, 2, 3, 4]);
    expect(list.at(-1)).toMatchObject({
      kind: "summary",
      state: "waiting",
      ended: "waiting",
      exit: null,
      requests: [{ question: "Refund 480.00 EUR?" }],
    });
    expect(ended.status).toBe(6);
  });

  test("passes on the task of a file and the budget", async () => {
    host.system.scripts.set("sum", async (process) => process.exits({ how: "completed", result: null }));
    await host.reeve("run", "sum", "--task-file", "package.json", "--budget-calls", "3", "--budget-tokens", "500");
    const spawned = host.system.operated.find(({ name }) => name === "process.spawn")?.args;
    expect(spawned).toMatchObject({ agent: "sum", task: { name: "reeve" }, budget: { calls: 3, tokens: 500 } });
    expect(await host.reeve("run", "sum", "--task-file", "nowhere.txt")).toMatchObject({
      status: 4,
      err: expect.stringContaining("nowhere.txt") as string,
    });
    expect(await host.reeve("run", "sum", "twice", "--task-file", "package.json")).toMatchObject({ status: 2 });
    expect(await host.reeve("run", "sum", "--budget-calls", "few")).toMatchObject({
      status: 2,
      err: expect.stringContaining("whole number") as string,
    });
  });

  test("--detach starts it and leaves; without a server it does not run yet", async () => {
    giveRefunds(host);
    expect(await host.reeve("run", "refunds", "--detach")).toEqual({
      status: 0,
      out: "p_040g2081040g\n",
      err: expect.stringContaining("npx reeve wait p_040g2081040g") as string,
    });
    expect(host.booted).toEqual(["embed read", "closed"]);
    expect(json(await host.reeve("run", "refunds", "--detach", "--json"))).toEqual({
      pid: expect.stringMatching(/^p_/) as string,
    });
  });

  test("an agent that is not there is an error that names those that are", async () => {
    giveRefunds(host);
    expect(await host.reeve("run", "refund")).toMatchObject({
      status: 4,
      err: 'error not_found: There is no agent "refund". There are: refunds.\n',
    });
    expect(json(await host.reeve("run", "refund", "--json"))).toMatchObject({ error: { code: "not_found" } });
  });

  test("Ctrl-C detaches and says how to come back; a second one ends it at once", async () => {
    const running = Promise.withResolvers<FakeProcess>();
    host.system.scripts.set("slow", async (process) => running.resolve(process));
    const ended = host.reeve("run", "slow");
    await running.promise;
    await expect.poll(() => host.system.following).toBe(1);
    host.interrupt();
    const { status, out } = await ended;
    expect(status).toBe(130);
    expect(out).toContain(
      lines(
        "Detached. p_040g2081040g is parked on disk. Nothing is lost; it goes on with either of",
        "  npx reeve wait p_040g2081040g",
        "  npx reeve up",
      ),
    );
    expect(host.booted.at(-1)).toBe("closed");

    host = new FakeHost({ server: true });
    host.system.scripts.set("slow", async () => undefined);
    const atServer = host.reeve("run", "slow");
    await expect.poll(() => host.system.following).toBe(1);
    host.interrupt();
    host.interrupt();
    expect((await atServer).status).toBe(130);
  });

  test("at a server the process goes on there", async () => {
    host = new FakeHost({ server: true });
    giveRefunds(host);
    const { status, out } = await host.reeve("run", "refunds");
    expect(status).toBe(6);
    expect(out).toContain(lines("", "Follow it: npx reeve wait p_040g2081040g", ""));
    expect(host.booted).toEqual([]);
  });

  test("what a child asks is told as well", async () => {
    host.system.scripts.set("parent", async (process) => {
      const child = host.system.create("child", { parent: process });
      process.waits(
        { on: "process", call: process.nextCall(), pid: child.pid },
        { syscall: "process.wait", args: { pid: child.pid } },
      );
      await child.asks({ kind: "question", question: "Which one?", options: ["red", "blue"] });
    });
    const { status, out } = await host.reeve("run", "parent");
    expect(status).toBe(6);
    expect(out).toContain('  Which one?\n  question\n  npx reeve approve r_040g2081040g --answer "red"');
  });

  test("what agents say cannot steer the terminal", async () => {
    host.system.scripts.set("evil", async (process) => {
      process.says("\u001b[2J\u202eyes");
      process.calls("x.y\u001b]0;t\u0007", { a: "\u009b1m" }, "\u0007\u200bdone");
      process.exits({ how: "completed", result: "\u001b[1mend\r\n" });
    });
    const { out } = await host.reeve("run", "evil", "\u001b[31mred");
    // oxlint-disable-next-line no-control-regex -- Control characters are what must not be there.
    expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u202e]/);
    expect(out).toContain("\\u001b[2J\\u202eyes");
  });
});

describe("wait", () => {
  test("follows from here on, and ends as the process does", async () => {
    host = new FakeHost({ server: true });
    const process = host.system.create("refunds");
    process.says("before");
    const waiting = host.reeve("wait", "p_04");
    await expect.poll(() => host.system.following).toBe(1);
    process.says("after");
    process.exits({ how: "killed", by: "ada", reason: "enough" });
    const { status, out } = await waiting;
    expect(status).toBe(1);
    expect(out).toContain("refunds p_040g2081040g · running · 2 events so far");
    expect(out).not.toContain("before");
    expect(out).toContain("  after\n");
    expect(out).toContain("killed by ada: enough");
  });

  test("knows what a call is about that began before", async () => {
    host = new FakeHost({ server: true });
    const process = host.system.create("refunds");
    const call = process.nextCall();
    const args = { tool: "shop.refund", args: { order: 17 } };
    process.append({ kind: "call.intended", call, syscall: "tool.call", effect: "write", key: "k" }, { args });
    const waiting = host.reeve("wait", process.pid);
    await expect.poll(() => host.system.following).toBe(1);
    process.append(
      { kind: "call.completed", call, syscall: "tool.call", effect: "write" },
      { value: { text: "paid" } },
    );
    process.exits({ how: "completed", result: null });
    expect((await waiting).out).toContain(lines('● shop.refund {"order":17}', "  paid"));
  });

  test("at a server it stays while a human is waited for; --timeout gives up", async () => {
    host = new FakeHost({ server: true });
    const process = host.system.create("refunds");
    void process.asks({ kind: "approval" });
    const { status, err } = await host.reeve("wait", process.pid, "--timeout", "5");
    expect({ status, err }).toMatchObject({
      status: 1,
      err: expect.stringContaining("has not exited within 5 s") as string,
    });
  });

  test("with --json it prints the summary alone", async () => {
    const process = host.system.create("refunds");
    process.exits({ how: "completed", result: 1 });
    expect(json(await host.reeve("wait", process.pid, "--json"))).toMatchObject({
      kind: "summary",
      exit: { how: "completed", result: 1 },
      ended: "exited",
    });
  });

  test("a wait for a message or a stopped process is told so", async () => {
    const process = host.system.create("chat");
    process.waits({ on: "message", call: 0, topic: "customer" }, { syscall: "message.receive", args: {} });
    expect(await host.reeve("wait", process.pid)).toMatchObject({
      status: 6,
      out: expect.stringContaining("waiting for a message") as string,
    });
    process.change({ state: "stopped" });
    expect(await host.reeve("wait", process.pid)).toMatchObject({
      status: 6,
      out: expect.stringContaining("stopped · 0 calls") as string,
    });
  });
});

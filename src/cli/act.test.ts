// Goal: the commands that act or check (kill, stop, cont, approve, reject, replay, doctor, up) do what was typed and say what came of it.
// Method: every command runs in this process on a fake host; its output is compared as text and as JSON.
import { describe, expect, test } from "vitest";
import { OsError } from "../abi/errors.ts";
import { SYSCALLS } from "../abi/syscalls.ts";
import { eachTestOn, FakeHost, giveRefunds, json, lines } from "./host.fake.ts";

let host: FakeHost;
eachTestOn((fresh) => (host = fresh));

describe("kill, stop, cont", () => {
  test("tell what came of each, and end with the status of the first that failed", async () => {
    const root = host.system.create("manager");
    const child = host.system.create("child", { parent: root });
    child.change({ state: "waiting", waits: [{ on: "message", call: 0, topic: "news" }] });
    const other = host.system.create("other");
    expect(await host.reeve("stop", other.pid, "--reason", "tea")).toMatchObject({
      status: 0,
      out: `${other.pid} stopped\n`,
    });
    expect(host.system.operated.find(({ name }) => name === "process.signal")?.args).toEqual({
      pid: other.pid,
      signal: "stop",
      reason: "tea",
    });
    expect(await host.reeve("cont", other.pid)).toMatchObject({
      status: 0,
      out: `${other.pid} continued\n`,
      err: expect.stringContaining("npx reeve up") as string,
    });
    expect(await host.reeve("kill", root.pid, "p_zz", other.pid)).toMatchObject({
      status: 4,
      out: lines(
        `${root.pid} killed, with 1 of its descendants`,
        `  ${root.pid}  manager, was running`,
        `  ${child.pid}  child, was waiting, on message news`,
        `${other.pid} killed`,
        `  ${other.pid}  other, was running`,
      ),
      err: expect.stringContaining('error p_zz: No process begins with "p_zz"') as string,
    });
    // Nothing ran on before it was stopped.
    expect(host.booted.filter((what) => what.startsWith("embed"))).toEqual(["embed read", "embed read", "embed read"]);
    expect(json(await host.reeve("kill", root.pid, "--json"))).toEqual({
      results: [{ error: expect.objectContaining({ code: "process_gone" }) as unknown }],
    });
  });
});

describe("kill", () => {
  test("names the calls of the tree that it ended, and those whose effects are uncertain", async () => {
    const root = host.system.create("manager");
    const child = host.system.create("refunds", { parent: root });
    const { pid } = child;
    child.underWay = [
      { pid, call: 3, effect: "destroy", what: 'shop.refund {"order":17}', uncertain: true },
      { pid, call: 4, effect: "read", what: `shop.find {"name":"a\nb"}`, uncertain: false },
    ];
    expect(await host.reeve("kill", root.pid)).toMatchObject({
      status: 0,
      out: lines(
        `${root.pid} killed, with 1 of its descendants`,
        `  ${root.pid}  manager, was running`,
        `  ${child.pid}  refunds, was running`,
        '    uncertain: #3 shop.refund {"order":17} may or may not have happened',
        '    ended: #4 shop.find {"name":"a b"}',
      ),
    });
  });
});

describe("send", () => {
  test("puts a message into the mailbox, as text or as a value of a file", async () => {
    const process = host.system.create("chat");
    expect(await host.reeve("send", "04", "Hello", "there", "--topic", "customer")).toMatchObject({
      status: 0,
      out: expect.stringMatching(/^m_\w+ sent to p_040g2081040g\n$/) as string,
      err: expect.stringContaining("npx reeve wait p_040g2081040g") as string,
    });
    expect(host.system.operated.at(-1)?.args).toEqual({ pid: process.pid, topic: "customer", body: "Hello there" });
    expect(json(await host.reeve("send", "04", "--body-file", "package.json", "--json"))).toMatchObject({
      pid: process.pid,
    });
    expect(host.system.operated.at(-1)?.args).toEqual({
      pid: process.pid,
      body: expect.objectContaining({ name: "reeve" }) as unknown,
    });
    // Nothing ran on while it was sent.
    expect(host.booted.filter((what) => what.startsWith("embed"))).toEqual(["embed read", "embed read"]);
  });

  test("needs a message, and one alone", async () => {
    host.system.create("chat");
    expect(await host.reeve("send", "04")).toMatchObject({ status: 2, out: "" });
    expect(await host.reeve("send", "04", "Hello", "--body-file", "package.json")).toMatchObject({ status: 2 });
    expect(await host.reeve("send", "04", "--body-file", "nowhere.txt")).toMatchObject({ status: 4 });
    expect(host.system.operated).toEqual([]);
  });
});

describe("approve and reject", () => {
  test("at a server the decision is taken and the process goes on there", async () => {
    host = new FakeHost({ server: true });
    giveRefunds(host);
    await host.reeve("run", "refunds");
    expect(await host.reeve("approve", "r_0", "--note", "fine")).toEqual({
      status: 0,
      err: "",
      out: "r_040g2081040g approved. p_040g2081040g goes on at http://127.0.0.1:4180: npx reeve wait p_040g2081040g\n",
    });
    expect(host.system.operated.at(-1)?.args).toEqual({
      request: "r_040g2081040g",
      decision: { verdict: "approved", note: "fine" },
    });
    expect(await host.reeve("approve", "r_040g2081040g")).toMatchObject({
      status: 1,
      err: "error conflict: r_040g2081040g was decided before: approved.\n",
    });
    expect(await host.reeve("approve", "r_0")).toMatchObject({ status: 4 });
  });

  test("without a server the process goes on in the command", async () => {
    giveRefunds(host);
    await host.reeve("run", "refunds");
    const { status, out } = await host.reeve("approve", "r_0");
    expect(status).toBe(0);
    expect(out).toContain(
      lines("  ✓ approved by operator", "", '● shop.refund {"order":17}', "  refunded", "", "  Refunded."),
    );
    expect(out).toContain("completed in");
  });

  test("reject tells the agent why", async () => {
    giveRefunds(host);
    await host.reeve("run", "refunds");
    const { status, out } = await host.reeve("reject", "r_0", "--reason", "too much");
    expect(status).toBe(0);
    expect(out).toContain(
      lines("  ✗ rejected by operator: too much", "", '✗ shop.refund {"order":17}', "  denied: A human said no."),
    );
    expect(host.system.operated.find(({ name }) => name === "human.decide")?.args).toMatchObject({
      decision: { verdict: "rejected", note: "too much" },
    });
  });

  test.each([
    ["red", "red"],
    ["42", "42"],
    ['{"a":1}', { a: 1 }],
    ["plain words", "plain words"],
  ])("an answer %s is given as %j", async (typed, answer) => {
    host = new FakeHost({ server: true });
    host.system.open(host.system.create("refunds"), { kind: "question", options: ["red", "42"] });
    await host.reeve("approve", "r_0", "--answer", typed);
    expect(host.system.operated.at(-1)?.args).toMatchObject({ decision: { verdict: "answered", answer } });
  });

  test("a settlement says what became of the effect", async () => {
    host = new FakeHost({ server: true });
    host.system.open(host.system.create("refunds"), { kind: "settlement" });
    expect(await host.reeve("approve", "r_0")).toMatchObject({
      status: 2,
      err: expect.stringContaining("--outcome not_done") as string,
    });
    expect(await host.reeve("approve", "r_0", "--outcome", "maybe")).toMatchObject({ status: 2 });
    expect(await host.reeve("approve", "r_0", "--outcome", "done")).toMatchObject({
      status: 2,
      err: expect.stringContaining("--result") as string,
    });
    expect(await host.reeve("reject", "r_0")).toMatchObject({
      status: 2,
      err: expect.stringContaining("--outcome failed") as string,
    });
    expect(await host.reeve("approve", "r_0", "--outcome", "done", "--result", "paid")).toMatchObject({ status: 0 });
    expect(host.system.operated.at(-1)?.args).toMatchObject({
      decision: { verdict: "settled", outcome: "done", result: { text: "paid" } },
    });
  });

  test("a budget is raised to what is named, or refused", async () => {
    host = new FakeHost({ server: true });
    const process = host.system.create("refunds");
    host.system.open(process, { kind: "budget", rule: "budget.calls" });
    expect((await host.reeve("inbox")).out).toContain(
      lines(
        "  type  npx reeve approve r_040g2081040g --calls <n>",
        "        npx reeve reject r_040g2081040g --reason TEXT",
      ),
    );
    expect(await host.reeve("approve", "r_0")).toMatchObject({
      status: 2,
      err: expect.stringContaining("from now on: --calls <n>") as string,
    });
    expect(await host.reeve("approve", "r_0", "--answer", "yes", "--calls", "9")).toMatchObject({ status: 2 });
    expect(await host.reeve("approve", "r_0", "--calls", "200", "--cost-usd", "5", "--note", "fine")).toMatchObject({
      status: 0,
      out: expect.stringContaining("r_040g2081040g raised.") as string,
    });
    expect(host.system.operated.at(-1)?.args).toMatchObject({
      decision: { verdict: "raised", budget: { calls: 200, costUsd: 5 }, note: "fine" },
    });
    // What becomes of a request that is not in the inbox any more, the system says.
    expect(await host.reeve("approve", "r_040g2081040g", "--calls", "300")).toMatchObject({
      status: 1,
      err: "error conflict: r_040g2081040g was decided before: raised.\n",
    });
    const { request } = host.system.open(process, { kind: "budget", rule: "budget.costUsd" });
    expect(await host.reeve("reject", request, "--reason", "enough")).toMatchObject({ status: 0 });
    expect(host.system.operated.at(-1)?.args).toMatchObject({ decision: { verdict: "rejected", note: "enough" } });
  });

  test("flags that do not fit the kind are explained", async () => {
    host = new FakeHost({ server: true });
    const process = host.system.create("refunds");
    const approval = host.system.open(process, { kind: "approval" });
    const question = host.system.open(process, { kind: "question", question: "Which?", options: ["red"] });
    expect(await host.reeve("approve", approval.request, "--answer", "yes")).toMatchObject({
      status: 2,
      err: expect.stringContaining("is an approval") as string,
    });
    expect(await host.reeve("approve", approval.request, "--cost-usd", "5")).toMatchObject({
      status: 2,
      err: expect.stringContaining("is an approval and asks for no budget") as string,
    });
    expect(await host.reeve("approve", question.request)).toMatchObject({
      status: 2,
      err: expect.stringContaining('"Which?". Answer it with --answer TEXT (red)') as string,
    });
    expect(host.system.operated.filter(({ name }) => name === "human.decide")).toEqual([]);
  });
});

describe("replay", () => {
  test("says what was compared, or names the first difference", async () => {
    const process = host.system.create("refunds");
    expect(await host.reeve("replay", process.pid, "--verify")).toMatchObject({
      status: 0,
      out: lines(
        "identical  p_040g2081040g  4 calls of 12 events in 3ms",
        "No model was asked and no effect performed.",
      ),
    });
    host.system.verified = {
      identical: false,
      difference: { call: 3, field: "args", recorded: { order: 17 }, issued: "text" },
    };
    expect(await host.reeve("replay", process.pid, "--verify")).toMatchObject({
      status: 5,
      out: lines(
        "different  p_040g2081040g  4 calls of 12 events in 3ms",
        "The first difference is in call #3, in args:",
        "  recorded  {",
        '              "order": 17',
        "            }",
        "  issued    text",
      ),
    });
    host.system.verified = { chain: { intact: false, brokenAt: 7 } };
    expect(await host.reeve("replay", process.pid, "--verify")).toMatchObject({
      status: 5,
      out: expect.stringContaining("broken at event 7") as string,
    });
    expect(await host.reeve("replay", process.pid)).toMatchObject({
      status: 2,
      err: expect.stringContaining("--verify") as string,
    });
  });
});

describe("doctor", () => {
  test("lists the checks, and ends with 1 if one failed", async () => {
    host.system.checks = [
      { name: "store", state: "ok", detail: "sound" },
      { name: "openai", state: "off", detail: "OPENAI_API_KEY is not set" },
    ];
    expect(await host.reeve("doctor")).toMatchObject({
      status: 0,
      out: expect.stringContaining(
        lines("STATE  CHECK   FOUND", "ok     store   sound", "off    openai  OPENAI_API_KEY is not set"),
      ) as string,
    });
    host.system.checks = [{ name: "store", state: "failed", detail: "damaged" }];
    expect((await host.reeve("doctor")).status).toBe(1);
  });

  // Over HTTP it travels as text, which the schema of the call reads.
  test("tries every escape anew only if told to", async () => {
    await host.reeve("doctor");
    expect(host.system.operated.at(-1)).toMatchObject({ name: "system.inspect", args: { full: "false" } });
    await host.reeve("doctor", "--full");
    expect(host.system.operated.at(-1)).toMatchObject({ name: "system.inspect", args: { full: "true" } });
    const { input } = SYSCALLS["system.inspect"];
    expect([{}, { full: "true" }, { full: "false" }, { full: true }].map((args) => input.parse(args).full)).toEqual([
      false,
      true,
      false,
      true,
    ]);
    expect(input.safeParse({ full: "perhaps" }).success).toBe(false);
  });

  test("a system that does not start is a failed check", async () => {
    host.bootError = new OsError("store_busy", "Another process owns the folder.");
    expect(await host.reeve("doctor", "--json")).toMatchObject({
      status: 1,
      out: expect.stringContaining("store_busy: Another process owns the folder.") as string,
    });
  });
});

describe("up", () => {
  test("says where it is, and stops at Ctrl-C", async () => {
    void host.system.create("refunds").asks({ kind: "approval" });
    host.notices = ["A rehearsal plays the model."];
    const ended = host.reeve("up");
    await expect.poll(() => host.stdout.text).toContain("Ctrl-C");
    host.interrupt();
    const { status, out, err } = await ended;
    expect(status).toBe(0);
    expect(out).toMatch(/Reeve 0\.1\.0 is up at http:\/\/127\.0\.0\.1:\d+\n/);
    for (const part of [
      "token  the-token",
      "data   /tmp/project/.reeve",
      "alive  1 process",
      "inbox  1 request waiting for a human: npx reeve inbox",
      "A rehearsal plays the model.",
    ])
      expect(out).toContain(part);
    expect(err).toContain("goes on at the next start");
    expect(host.booted).toEqual(["serve", "closed"]);
  });

  test("with --json it prints one document", async () => {
    const ended = host.reeve("up", "--json");
    await expect.poll(() => host.stdout.text).toContain("\n");
    host.interrupt();
    expect(json(await ended)).toMatchObject({
      token: "the-token",
      folder: "/tmp/project/.reeve",
      inbox: 0,
      processes: 0,
    });
  });

  test("a server that runs already, and a port that is taken, are named", async () => {
    host.bootError = new OsError("address_in_use", "Port 4180 is taken.");
    expect(await host.reeve("up")).toMatchObject({ status: 1, err: "error address_in_use: Port 4180 is taken.\n" });
    host = new FakeHost({ server: true });
    expect(await host.reeve("up")).toMatchObject({
      status: 1,
      err: expect.stringContaining("http://127.0.0.1:4180") as string,
    });
  });
});

// Goal: the commands that look (ps, show, journal, inbox) print what is there, aligned, whole with --json, and change nothing.
// Method: every command runs in this process on a fake host; its output is compared as text and as JSON.
import { describe, expect, test } from "vitest";
import { OsError } from "../abi/errors.ts";
import type { Event } from "../abi/events.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Wait } from "../abi/process.ts";
import { FAKE_NOW_MS, type FakeProcess } from "../gateway/system.fake.ts";
import { eachTestOn, FakeHost, giveRefunds, json, jsonLines, lines } from "./host.fake.ts";
import { Ledger } from "../drivers/egress-proxy/rules/ledger.ts";
import { EventLines } from "./process/event-line.ts";
import { time } from "./terminal/figures.ts";

let host: FakeHost;
eachTestOn((fresh) => (host = fresh));

describe("ps", () => {
  function populate(): { readonly root: FakeProcess; readonly child: FakeProcess } {
    const root = host.system.create("manager", { createdMs: FAKE_NOW_MS - 3 * 3_600_000 });
    const child = host.system.create("researcher", { parent: root });
    child.change({
      state: "waiting",
      waits: [{ on: "message", call: 3, topic: "news" }],
      spent: { calls: 1234, inputTokens: 50_000, outputTokens: 60, costUsd: 1.5 },
    });
    host.system.create("grandchild", { parent: child }).change({
      state: "ready",
      class: "batch",
      waits: [{ on: "turn", call: 0, resource: "model:openai" }],
    });
    const failed = host.system.create("old", { createdMs: FAKE_NOW_MS - 2 * 86_400_000 });
    failed.exits({ how: "failed", error: new OsError("tool_failed", "no").toJSON() });
    return { root, child };
  }

  test("shows trees, newest first, and what each waits on", async () => {
    populate();
    const { out } = await host.reeve("ps", "--all");
    expect(out).toBe(
      lines(
        "PID             AGENT           STATE    CLASS     WAITING ON          CALLS  TOKENS   COST  AGE",
        "p_0g2081040g20  old             failed   standard  tool_failed             0       0      -   2d",
        "p_040g2081040g  manager         running  standard                          0       0      -   3h",
        "p_081040g20810  └ researcher    waiting  standard  message news        1,234  50,060  $1.50   1m",
        "p_0c1g60r30c1g    └ grandchild  ready    batch     turn: model:openai      0       0      -   1m",
      ),
    );
  });

  test("leaves out what exited long ago, and says nothing is there when nothing is", async () => {
    expect((await host.reeve("ps")).out).toBe("No processes. Start one: npx reeve run AGENT TASK\n");
    populate();
    expect((await host.reeve("ps")).out).not.toContain("old");
    expect(json(await host.reeve("ps", "--json"))).toMatchObject({
      processes: [{ agent: "grandchild" }, { agent: "researcher" }, { agent: "manager" }],
    });
    expect(host.booted).toEqual(["embed read", "closed", "embed read", "closed", "embed read", "closed"]);
  });

  test("says when there are more than it lists", async () => {
    populate();
    expect(await host.reeve("ps", "-n", "2")).toMatchObject({
      err: "Only the newest 2 are listed; --limit N lists more.\n",
    });
  });

  test("a column says in short what each waits on", async () => {
    const asking = host.system.create("asking");
    void asking.asks({ kind: "question" });
    const waiting = (agent: string, wait: Wait): void =>
      host.system.create(agent).change({ state: "waiting", waits: [wait] });
    const later = new Date(host.nowMs() + 3_600_000);
    waiting("locked", { on: "lock", call: 0, key: "order:17" });
    waiting("parent", { on: "process", call: 0, pid: asking.pid });
    waiting("asleep", { on: "time", call: 0, untilMs: later.getTime() });
    const far = new Date(2030, 0, 31, 14, 5);
    waiting("far", { on: "message", call: 0, untilMs: far.getTime() });
    const { out } = await host.reeve("ps");
    const clock = `${String(later.getHours()).padStart(2, "0")}:${String(later.getMinutes()).padStart(2, "0")}`;
    const sameDay = later.getDate() === new Date(host.nowMs()).getDate();
    for (const words of [
      "question r_040g2081040g ",
      "lock: order:17 ",
      `exit of ${asking.pid} `,
      sameDay ? `until ${clock} ` : clock,
      "message until 2030-01-31 14:05 ",
    ])
      expect(out).toContain(words);
  });

  test("where a terminal is narrow, figures make room for what each waits on", async () => {
    host = new FakeHost({ terminal: true, columns: 80 });
    host.env["NO_COLOR"] = "1";
    populate();
    const narrow = (await host.reeve("ps")).out.split("\n");
    expect(narrow[0]).toBe("PID             AGENT           STATE    CLASS     WAITING ON          AGE");
    expect(narrow.join("\n")).toContain("turn: model:openai");
    host = new FakeHost({ terminal: true, columns: 62 });
    host.env["NO_COLOR"] = "1";
    populate();
    expect((await host.reeve("ps")).out.split("\n")[0]).toBe("PID             AGENT           STATE    WAITING ON");
  });

  test("on a terminal lines are cut to its width", async () => {
    host = new FakeHost({ terminal: true });
    host.env["NO_COLOR"] = "1";
    const process = host.system.create("an-agent-with-a-very-long-name-indeed");
    process.change({ waits: [{ on: "message", call: 0, topic: "t".repeat(90) }], state: "waiting" });
    const { out } = await host.reeve("ps");
    expect(Math.max(...out.split("\n").map((line) => line.length))).toBeLessThanOrEqual(100);
    expect(out).toContain("…");
  });
});

describe("show, journal, inbox", () => {
  test("show tells everything about a process", async () => {
    giveRefunds(host);
    await host.reeve("run", "refunds", "Settle");
    const { out, status } = await host.reeve("show", "04");
    expect(status).toBe(0);
    for (const part of [
      "refunds p_040g2081040g",
      "waits for\n  #2 A human is asked: r_040g2081040g.",
      "task\n  Settle",
      "shop.refund  destroy  eeeeeeeeeeee",
      "npx reeve approve r_040g2081040g",
    ])
      expect(out).toContain(part);
    expect(json(await host.reeve("show", "04", "--json"))).toMatchObject({
      process: { agent: "refunds" },
      task: "Settle",
    });
  });

  test("what a program was given as its standard input is counted for people, and stands in the JSON", async () => {
    const args = { command: ["sort"], input: "c\nb\na\n" };
    const counted = "6 bytes (--json shows them)";
    host.system.scripts.set("sort", async (process) => {
      process.calls("reeve.exec", args, "[exit status 0]");
      process.exits({ how: "completed", result: null });
    });
    host.stdin.end(args.input);
    await host.reeve("exec", "--stdin", "--detach", "--", "sort");
    const pid = [...host.system.processes.keys()][0] ?? "";
    expect((await host.reeve("show", pid)).out).toContain(`"input": "${counted}"`);
    expect(json(await host.reeve("show", pid, "--json"))).toMatchObject({ task: args });
    const { out: journal } = await host.reeve("journal", pid);
    expect(journal).toContain(`#0 reeve.exec {"command":["sort"],"input":"${counted}"}`);
    expect((await host.reeve("journal", pid, "--json")).out).toContain(JSON.stringify(args));

    const [created] = host.system.process(pid as ProcessId).events;
    const spec = { agent: { program: { kind: "command", command: args.command } } };
    const lineOf = (payloads: Event["payloads"]): string =>
      new EventLines().text({ ...(created as Event), payloads: { ...created?.payloads, ...payloads } });
    expect(lineOf({ spec })).toContain(`"input":"${counted}"`);
    expect(lineOf({})).not.toContain(counted);
  });

  test("show tells why each call waits, who is before it, and what is left", async () => {
    const process = host.system.create("refunds");
    const other = host.system.create("urgent");
    process.change({ class: "batch", weight: 2, tenant: "acme", deadlineMs: FAKE_NOW_MS, budget: { costUsd: 2 } });
    const wait = { position: null, ahead: [], estimateMs: null, sinceMs: null };
    host.system.explained.set(process.pid, {
      left: { costUsd: 0.5, calls: 7 },
      tree: { spent: process.row.spent, reserved: process.row.reserved, locks: ["order:17"] },
      waiting: [
        {
          call: 3,
          on: "turn",
          what: "model:openai",
          reason: "All 4 slots of model:openai are in use.",
          position: 1,
          ahead: [{ pid: other.pid, agent: "urgent", class: "interactive" }],
          estimateMs: 12_000,
          sinceMs: FAKE_NOW_MS,
        },
        { ...wait, call: -1, on: "stopped", what: process.pid, reason: "It was stopped." },
      ],
    });
    const { out } = await host.reeve("show", process.pid);
    for (const part of [
      "class     batch, weight 2\n",
      "tenant    acme\n",
      "budget    $2.00\n",
      "left      $0.5000, 7 calls\n",
      "locks     order:17\n",
      `deadline  ${time(FAKE_NOW_MS)} (1m 30s ago)\n`,
      lines(
        "waits for",
        "  #3 All 4 slots of model:openai are in use.",
        "     1 before it · about 12s to go · for 1m 30s",
        `     before it  ${other.pid} urgent (interactive)`,
        "  It was stopped.",
      ),
    ])
      expect(out).toContain(part);
  });

  test("journal tells of reservations, classes, budgets and locks", async () => {
    const process = host.system.create("refunds");
    const amounts = { calls: 1, inputTokens: 2000, outputTokens: 310, costUsd: 0.25 };
    process.append({ kind: "call.reserved", call: 3, syscall: "model.generate", amounts });
    process.append(
      {
        kind: "call.completed",
        call: 3,
        syscall: "model.generate",
        effect: "read",
        error: "timeout",
        charged: { ...amounts, costUsd: 0 },
      },
      { args: {} },
    );
    process.append({ kind: "process.reclassed", class: "batch", weight: 1, by: "ada" });
    process.append({ kind: "process.limited", budget: { costUsd: 5, whenExhausted: "ask" }, by: "ada" });
    process.append(
      { kind: "call.completed", call: 4, syscall: "lock.acquire", effect: "none" },
      { args: { key: "order:17" }, value: { untilMs: FAKE_NOW_MS } },
    );
    const { out } = await host.reeve("journal", process.pid);
    for (const part of [
      "#3 model.generate reserves 1 call, 2,310 tokens, $0.2500",
      "#3 model.generate → timeout (charged 1 call, 2,310 tokens)",
      "process.reclassed  batch (by ada)",
      "process.limited    $5.00; more is asked of a human (by ada)",
      `#4 lock.acquire order:17 → held until ${time(FAKE_NOW_MS)} at most`,
    ])
      expect(out).toContain(`${part}\n`);
  });

  test("journal and whoever watches tell what wanted to leave, and with what, as a door writes it", async () => {
    host.system.scripts.set("caller", async (process) => {
      const call = process.nextCall();
      const ledger = new Ledger({
        id: "d",
        bytesMax: 10_000,
        clean: (text) => text,
        onOver: () => {},
        notes: {
          requested: async ({ request, ...header }) =>
            process.append({ kind: "egress.requested", call, ...header }, { request }),
          ended: async (header) => process.append({ kind: "egress.ended", call, ...header }),
        },
      });
      const api = { method: "GET", scheme: "https", host: "api.example.com", port: 443, path: "/shop?q=1" };
      const entry = await ledger.allowed("https://api.example.com", { ...api, leaked: ["MAPS"] }, ["KEY"]);
      entry.leak(["MAPS"]);
      entry.end();
      for (const wanted of [
        { ...api, method: "DELETE" },
        { method: "GET", scheme: "http", host: "[::1]", port: 8080, path: "/" },
        { method: "CONNECT", host: "example.com", port: 443 },
      ])
        await ledger.denied({ rule: "none" } as never, wanted);
      process.exits({ how: "completed", result: null });
    });
    const refused = [
      "DELETE https://api.example.com/shop?q=1",
      "GET http://[::1]:8080/",
      "CONNECT example.com:443",
    ] as const;
    const { out: watched } = await host.reeve("run", "caller");
    for (const request of refused) expect(watched).toContain(`✗ refused: ${request} (none)\n`);
    const { out } = await host.reeve("journal", "p_0");
    for (const part of [
      "d.1 allow GET https://api.example.com/shop?q=1 (rule https://api.example.com, with the secrets KEY, placeholders not replaced: MAPS)",
      "d.1 ended: 0 bytes sent, 0 received, placeholders not replaced: MAPS",
      ...refused.map((request, at) => `d.${at + 2} deny ${request} (rule none)`),
    ])
      expect(out).toContain(`${part}\n`);
  });

  test("journal prints each event on a line, whole with --json", async () => {
    giveRefunds(host);
    await host.reeve("run", "refunds", "Settle");
    const { out } = await host.reeve("journal", "p_0", "--from", "2");
    expect(out.split("\n")[0]).toMatch(
      /^ {4}2 {2}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.002 {2}call\.completed {5}#1 shop\.look \{"order":17\} → 480\.00 EUR, delivered$/,
    );
    expect(out.split("\n")[1]).toContain(
      'call.waiting       #2 shop.refund {"order":17} → waits: human r_040g2081040g',
    );
    const events = jsonLines(await host.reeve("journal", "p_0", "--json"));
    expect(events).toEqual(JSON.parse(JSON.stringify([...host.system.processes.values()][0]?.events)));
  });

  test("journal --follow goes on until the process exits, or Ctrl-C", async () => {
    host = new FakeHost({ server: true });
    const process = host.system.create("refunds");
    const following = host.reeve("journal", process.pid, "-f", "--json");
    await expect.poll(() => host.system.following).toBe(1);
    process.exits({ how: "completed", result: 1 });
    const ended = await following;
    expect(ended.status).toBe(0);
    expect(jsonLines(ended)).toMatchObject([{ seq: 0 }, { seq: 1, header: { kind: "process.exited" } }]);

    const other = host.system.create("refunds");
    const left = host.reeve("journal", other.pid, "-f");
    await expect.poll(() => host.system.following).toBe(1);
    host.interrupt();
    expect((await left).status).toBe(130);
  });

  test("inbox tells what is asked, why, with what, and what to type", async () => {
    expect((await host.reeve("inbox")).out).toBe("Nothing waits for a human.\n");
    const process = host.system.create("refunds");
    host.system.open(
      process,
      { kind: "approval", question: "Refund 480.00 EUR?", tool: "shop.refund", args: { order: 17 }, effect: "destroy" },
      4,
    );
    host.system.open(process, {
      kind: "question",
      question: "Which?",
      options: ["red", "dark blue"],
      rule: "human.ask",
      reason: "the agent asks",
    });
    expect((await host.reeve("inbox")).out).toBe(
      lines(
        "r_040g2081040g  Refund 480.00 EUR?",
        "  what  approval · shop.refund · destroy",
        "  why   destroy-asks: the effect is destroy",
        "  from  refunds p_040g2081040g, call #4, 1m ago",
        "  with  {",
        '          "order": 17',
        "        }",
        "  type  npx reeve approve r_040g2081040g",
        "        npx reeve reject r_040g2081040g --reason TEXT",
        "",
        "r_081040g20810  Which?",
        "  what     question",
        "  why      human.ask: the agent asks",
        "  from     refunds p_040g2081040g, call #0, 1m ago",
        "  choices  red | dark blue",
        '  type     npx reeve approve r_081040g20810 --answer "red"',
        "           npx reeve reject r_081040g20810 --reason TEXT",
      ),
    );
    expect(json(await host.reeve("inbox", "--json", "--pid", process.pid))).toMatchObject({
      requests: [{ kind: "approval" }, { kind: "question" }],
    });
  });

  test("inbox begins to tell what a call would do, inbox of one process and show tell all of it, and nothing of it is obeyed", async () => {
    const process = host.system.create("refunds");
    const text = [
      "8 rows of orders are touched.",
      ...Array.from({ length: 8 }, (_, at) => `  ~ orders { id: ${at} }\u001b[2J`),
    ];
    host.system.open(process, {
      kind: "approval",
      question: "UPDATE orders …",
      tool: "db.change",
      args: {},
      effect: "write",
      preview: { text: text.join("\n"), digest: "d" },
    });
    const listed = (await host.reeve("inbox")).out;
    expect(listed).toContain("  preview  8 rows of orders are touched.\n             ~ orders { id: 0 }\\u001b[2J\n");
    expect(listed).toContain(`… 4 more lines: npx reeve inbox --pid ${process.pid}`);
    expect(listed).not.toContain("id: 4");
    for (const command of [
      ["inbox", "--pid", process.pid],
      ["show", process.pid],
    ]) {
      const { out } = await host.reeve(...command);
      expect(out).toContain("id: 7");
      expect(out).not.toContain("more lines");
      expect(out).not.toContain("\u001b[2J");
    }
  });
});

describe("what a request asks", () => {
  test("an argument with line breaks cannot pass for a fact of the request", async () => {
    const process = host.system.create("refunds");
    const question = "Refund 5.00 EUR\n  what  approval · shop.look · read";
    host.system.open(process, { kind: "approval", question, tool: "shop.refund", args: {}, effect: "destroy" });
    host.system.open(process, { kind: "question", question: "Which?\n  what  approval" });
    const { out } = await host.reeve("inbox");
    expect(out).toContain(
      "Refund 5.00 EUR what approval · shop.look · read\n  what  approval · shop.refund · destroy\n",
    );
    expect(out).toContain("Which?\n      what  approval\n  what  question\n");
  });
});

describe("ids", () => {
  test("a unique beginning will do, an ambiguous one lists the candidates", async () => {
    for (let at = 0; at < 2; at += 1) host.system.create("refunds");
    expect((await host.reeve("show", "P_081")).out).toContain("p_081040g20810");
    const ambiguous = await host.reeve("show", "p_0");
    expect(ambiguous).toMatchObject({
      status: 1,
      err: expect.stringContaining("  p_081040g20810  refunds  running\n  p_040g2081040g  refunds  running") as string,
    });
    expect(await host.reeve("show", "p_9")).toMatchObject({ status: 4 });
    expect(await host.reeve("show", "p_hello")).toMatchObject({ status: 2 });
    expect(await host.reeve("show", "p_zzzzzzzzzzzz")).toMatchObject({ status: 4 });
  });
});

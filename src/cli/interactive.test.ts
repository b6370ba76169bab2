// Goal: somebody who sits at the terminal is asked what a process asks, once, and what he types is what is decided.
// Method: commands run on a fake terminal; keys are typed into its input when the question stands on the screen.
import { expect, test } from "vitest";
import { requestIdSchema } from "../abi/ids.ts";
import type { Decision } from "../abi/requests.ts";
import type { FakeProcess } from "../gateway/system.fake.ts";
import { bare, eachTestOn, type FakeHost, KEYS } from "./host.fake.ts";

let host: FakeHost;
let decided: Decision[];

eachTestOn(
  (fresh) => {
    host = fresh;
    decided = [];
  },
  { terminal: true },
);

const screen = (): string => bare(host.stdout.text);
const shows = (text: string): Promise<void> => expect.poll(screen).toContain(text);

/** Presses keys, each when the screen has taken in the one before. */
async function press(...keys: readonly string[]): Promise<void> {
  for (const key of keys) {
    const before = host.stdout.text.length;
    host.stdin.write(key);
    await expect.poll(() => host.stdout.text.length).toBeGreaterThan(before);
  }
}

function asking(asked: Parameters<FakeProcess["asks"]>[0]): void {
  host.system.scripts.set("refunds", async (process) => {
    decided.push(await process.asks(asked));
    process.exits({ how: "completed", result: "over" });
  });
}

const APPROVAL = {
  kind: "approval",
  question: "Refund 480.00 EUR?",
  tool: "shop.refund",
  args: { order: 17 },
  effect: "destroy",
} as const;

test("an approval shows what, why and with what, and Approve approves it", async () => {
  asking(APPROVAL);
  const ended = host.reeve("run", "refunds");
  await shows("Decide later");
  for (const part of [
    "Refund 480.00 EUR?",
    "approval · shop.refund · destroy",
    "destroy-asks: the effect is destroy",
    '"order": 17',
  ])
    expect(screen()).toContain(part);
  await press(KEYS.down, KEYS.enter);
  expect((await ended).status).toBe(0);
  expect(decided).toEqual([{ verdict: "approved" }]);
  expect(screen()).toContain("completed");
});

test("what a call would do is shown whole, before it can be answered", async () => {
  const rows = Array.from({ length: 12 }, (_, at) => `  ~ orders { id: ${at} } status: "open" → "held"`);
  asking({ ...APPROVAL, preview: { text: ["12 rows are touched.", ...rows].join("\n"), digest: "d" } });
  const ended = host.reeve("run", "refunds");
  await shows("Decide later");
  const shown = screen();
  expect(shown).toContain("preview  12 rows are touched.");
  for (const row of rows) expect(shown.indexOf(row)).toBeGreaterThan(0);
  expect(shown.indexOf(rows.at(-1) ?? "")).toBeLessThan(shown.indexOf("May it be done?"));
  await press(KEYS.down, KEYS.enter);
  expect((await ended).status).toBe(0);
});

test("a rejection asks for the reason", async () => {
  asking(APPROVAL);
  const ended = host.reeve("run", "refunds");
  await shows("Decide later");
  await press(KEYS.down, KEYS.down, KEYS.enter);
  await shows("Why not?");
  await press("too much", KEYS.enter);
  expect((await ended).status).toBe(0);
  expect(decided).toEqual([{ verdict: "rejected", note: "too much" }]);
});

test("Enter alone decides later: nobody is asked twice, and the summary says how to decide", async () => {
  asking(APPROVAL);
  const ended = host.reeve("run", "refunds");
  await shows("Decide later");
  await press(KEYS.enter);
  const { status, out } = await ended;
  expect(status).toBe(6);
  expect(decided).toEqual([]);
  expect(bare(out)).toContain("npx reeve approve r_040g2081040g");
});

test("Ctrl-C at a question detaches", async () => {
  asking(APPROVAL);
  const ended = host.reeve("run", "refunds");
  await shows("Decide later");
  await press(KEYS.ctrlC);
  const { status, out } = await ended;
  expect(status).toBe(130);
  expect(out).toContain("Detached.");
});

test("a question offers its options, and takes another answer", async () => {
  asking({ kind: "question", question: "Which colour?", options: ["red", "blue"] });
  const first = host.reeve("run", "refunds");
  await shows("blue");
  await press(KEYS.down, KEYS.down, KEYS.enter);
  expect((await first).status).toBe(0);
  const second = host.reeve("run", "refunds");
  await shows("another answer");
  await press(KEYS.down, KEYS.down, KEYS.down, KEYS.enter);
  await shows("Answer (text or JSON)");
  await press("green", KEYS.enter);
  await second;
  expect(decided).toEqual([
    { verdict: "answered", answer: "blue" },
    { verdict: "answered", answer: "green" },
  ]);
});

test("a settlement asks what became of the effect", async () => {
  asking({ kind: "settlement", question: "Was 480.00 EUR refunded?", tool: "shop.refund" });
  const ended = host.reeve("run", "refunds");
  await shows("It happened");
  await press(KEYS.down, KEYS.enter);
  await shows("What did it answer?");
  await press("paid", KEYS.enter);
  await ended;
  expect(decided).toEqual([{ verdict: "settled", outcome: "done", result: { text: "paid" } }]);
});

test("a budget is raised by an amount, which is asked again until it is one", async () => {
  asking({ kind: "budget", question: "Raise the budget?", rule: "budget.costUsd", reason: "2.00 of 2.00 are used" });
  const ended = host.reeve("run", "refunds");
  await shows("Give it more");
  await press(KEYS.down, KEYS.enter);
  await shows("How much in all from now on? (US dollars)");
  await press("much", KEYS.enter);
  await shows("It must be an amount of US dollars");
  await press(...Array<string>(4).fill(KEYS.backspace), "5", KEYS.enter);
  expect((await ended).status).toBe(0);
  expect(decided).toEqual([{ verdict: "raised", budget: { costUsd: 5 } }]);
  expect(screen()).toContain("raised by operator: $5.00");
});

test("a budget whose request does not say what is short is asked for by its parts, and can be refused", async () => {
  asking({ kind: "budget", question: "Raise the budget?", rule: "budget" });
  const first = host.reeve("run", "refunds");
  await shows("Give it more");
  await press(KEYS.down, KEYS.enter);
  await shows("More of what?");
  await press(KEYS.down, KEYS.down, KEYS.enter);
  await shows("(calls of models and tools)");
  await press("20", KEYS.enter);
  await first;
  const second = host.reeve("run", "refunds");
  await shows("Give it more");
  await press(KEYS.down, KEYS.down, KEYS.enter);
  await shows("Why not?");
  await press(KEYS.enter);
  await second;
  expect(decided).toEqual([{ verdict: "raised", budget: { calls: 20 } }, { verdict: "rejected" }]);
});

test("a question that is decided elsewhere is taken back", async () => {
  asking(APPROVAL);
  const ended = host.reeve("run", "refunds");
  await shows("Decide later");
  await host.system.operate(
    "human.decide",
    { request: requestIdSchema.parse("r_040g2081040g"), decision: { verdict: "rejected" } },
    "ada",
  );
  const { status, out } = await ended;
  expect(status).toBe(0);
  expect(bare(out)).toContain("decided elsewhere");
  expect(bare(out)).toContain("rejected by ada");
});

test("a process that waits for a message is given one", async () => {
  host.system.scripts.set("chat", async (process) => {
    process.waits({ on: "message", call: 0, topic: "customer" }, { syscall: "message.receive", args: {} });
    await expect.poll(() => process.events.at(-1)?.header.kind).toBe("message.delivered");
    process.exits({ how: "completed", result: "over" });
  });
  const ended = host.reeve("run", "chat");
  await shows("Message to chat");
  await press("hello", KEYS.enter);
  expect((await ended).status).toBe(0);
  expect(host.system.operated.find(({ name }) => name === "message.send")?.args).toMatchObject({
    topic: "customer",
    body: "hello",
  });
});

test("the model's words are written as they come, once", async () => {
  const running = Promise.withResolvers<FakeProcess>();
  host.system.scripts.set("talk", async (process) => running.resolve(process));
  const ended = host.reeve("run", "talk");
  const process = await running.promise;
  const call = process.nextCall();
  process.delta(call, "Good ");
  await shows("Good ");
  expect(screen()).not.toContain("rehearsal/plain");
  process.delta(call, "morning.");
  await shows("Good morning.");
  process.said(call, "Good morning.");
  process.exits({ how: "completed", result: "Good morning." });
  expect((await ended).status).toBe(0);
  expect(screen().match(/Good morning\./g)).toHaveLength(1);
});

test("progress is drawn on standard error and wiped", async () => {
  host.system.scripts.set("slow", async (process) => {
    await expect.poll(() => bare(host.stderr.text)).toContain("working");
    process.exits({ how: "completed", result: 1 });
  });
  const { err, out } = await host.reeve("run", "slow");
  expect(err.endsWith("\r\u001b[2K")).toBe(true);
  expect(bare(out)).not.toContain("working");
});

test("it is seen at once that something starts, and what comes unasked stands on lines of its own", async () => {
  const begun = Promise.withResolvers<void>();
  host.system.scripts.set("slow", async (process) => {
    await begun.promise;
    process.exits({ how: "completed", result: 1 });
  });
  const { system } = host;
  const operate = system.operate.bind(system);
  system.operate = async (name, args, by) => {
    if (name !== "process.spawn") return operate(name, args, by);
    await expect.poll(() => bare(host.stderr.text)).toContain("starting");
    return operate(name, args, by);
  };
  const ended = host.reeve("run", "slow");
  await expect.poll(() => bare(host.stderr.text)).toContain("working");
  host.tells("p_1: \u001b]0;owned\u0007\u001b[2Jout, see `reeve tools`");
  begun.resolve();
  const { err } = await ended;
  expect(err).toContain("\r\u001b[2Kp_1: \\u001b]0;owned\\u0007\\u001b[2Jout, see `npx reeve tools`\n");
});

test("what a program says while it runs is not shown as the model's words", async () => {
  host.system.scripts.set("shell", async (process) => {
    const call = process.nextCall();
    process.append({ kind: "call.intended", call, syscall: "tool.call", effect: "write", key: "k" });
    process.delta(call, "from the program");
    process.says("From the model.");
    process.exits({ how: "completed", result: 1 });
  });
  const { out } = await host.reeve("run", "shell");
  expect(bare(out)).toContain("From the model.");
  expect(bare(out)).not.toContain("from the program");
});

// Goal: a script is played as written, each turn by the request alone, and a bad one is refused with file and line.
import { expect, test } from "vitest";
import type { Message } from "../../abi/messages.ts";
import type { ModelRequest } from "../../ports/model.ts";
import { createRehearsalProvider } from "./provider.ts";

const SCRIPT = `# a rehearsal: what the model would say, turn by turn
turns:
  - say: I will look at the open tickets first.
    call: [{ tool: shop.tickets, input: {} }]
  - call:
      - { tool: shop.refund, input: { order: 1001, cents: 4900 } }
      - tool: shop.close
  - when_denied: { say: "The refund was refused.", call: [{ tool: shop.note }] }
    say: |
      The refund  is done.
      Goodbye.
`;

const containing = (text: string): unknown => expect.stringContaining(text);
const rehearsal = (scriptText = SCRIPT) =>
  createRehearsalProvider("rehearsal", { scriptText, file: "rehearsal.yaml", concurrency: 4 });

async function play(messages: readonly Message[], signal = new AbortController().signal) {
  const deltas: string[] = [];
  const answer = await rehearsal().generate(
    "any",
    { model: "rehearsal/any", messages, tools: [], settings: {} },
    { signal, onDelta: (text) => void deltas.push(text) },
  );
  return { ...answer, deltas };
}

const user: Message = { role: "user", content: "Settle the tickets." };
const said: Message = { role: "assistant", content: [{ type: "text", text: "…" }] };
const result = (isError: boolean): Message => ({
  role: "tool",
  content: [{ type: "tool-result", id: "1", name: "shop.refund", output: "…", isError }],
});

test("the turns follow each other, by the model's messages in the history", async () => {
  const first = await play([user]);
  expect(first).toMatchObject({
    content: [
      { type: "text", text: "I will look at the open tickets first." },
      { type: "tool-call", id: "rehearsal_0_0", name: "shop.tickets", input: {} },
    ],
    finishReason: "tool-calls",
  });
  expect((await play([user, said, result(false)])).content).toEqual([
    { type: "tool-call", id: "rehearsal_1_0", name: "shop.refund", input: { order: 1001, cents: 4900 } },
    { type: "tool-call", id: "rehearsal_1_1", name: "shop.close", input: {} },
  ]);
  expect(await play([user])).toEqual(first);
});

test("words come one by one and make up the text", async () => {
  const { deltas, content, finishReason } = await play([user, said, result(false), said, result(false)]);
  expect(content).toEqual([{ type: "text", text: "The refund  is done.\nGoodbye.\n" }]);
  expect(deltas).toEqual(["The ", "refund  ", "is ", "done.\n", "Goodbye.\n"]);
  expect(finishReason).toBe("stop");
});

test("when_denied is played only if one of the results just given is an error", async () => {
  const denied = await play([user, said, result(false), said, result(false), result(true)]);
  expect(denied.content).toMatchObject([
    { type: "text", text: "The refund was refused." },
    { type: "tool-call", name: "shop.note" },
  ]);
  const earlier = await play([user, said, result(true), said, result(false)]);
  expect(earlier.content).toMatchObject([{ type: "text", text: containing("The refund  is done.") }]);
});

test("after the last turn it says that it has ended", async () => {
  const { content, finishReason } = await play([user, said, said, said]);
  expect(content).toMatchObject([
    { type: "text", text: containing("The rehearsal has ended: its script has 3 turns.") },
  ]);
  expect(finishReason).toBe("stop");
});

test("usage is a quarter of the characters", async () => {
  const { content, usage } = await play([user]);
  expect(usage).toEqual({
    inputTokens: Math.ceil(JSON.stringify([user]).length / 4),
    outputTokens: Math.ceil(JSON.stringify(content).length / 4),
  });
});

test("it uses what it estimated, costs nothing, and breaks off at the output that it is allowed", async () => {
  const { own, generate } = rehearsal();
  const request = (maxOutputTokens?: number): ModelRequest => ({
    model: "rehearsal/any",
    messages: [user],
    tools: [],
    settings: maxOutputTokens === undefined ? {} : { maxOutputTokens },
  });
  const call = (asked: ModelRequest) =>
    generate("any", asked, { signal: new AbortController().signal, onDelta: () => undefined });
  expect(own?.price).toEqual({ input: 0, output: 0 });
  const whole = await call(request());
  expect(own?.estimate(request())).toEqual(whole.usage);
  for (const max of [0, 1, 10, 15, 20, 30, whole.usage.outputTokens - 1]) {
    const { content, finishReason, usage } = await call(request(max));
    expect(finishReason).toBe("length");
    expect(usage.outputTokens).toBeLessThanOrEqual(Math.max(1, max));
    expect(content.filter(({ type }) => type === "tool-call")).toEqual([]);
    expect(own?.estimate(request(max))).toEqual(usage);
  }
  expect((await call(request(whole.usage.outputTokens))).content).toEqual(whole.content);
});

test("a call that was given up is cancelled, and nothing more is said", async () => {
  const controller = new AbortController();
  const deltas: string[] = [];
  const onDelta = (text: string): void => {
    deltas.push(text);
    controller.abort();
  };
  const call = rehearsal().generate(
    "any",
    { model: "rehearsal/any", messages: [user], tools: [], settings: {} },
    { signal: controller.signal, onDelta },
  );
  await expect(call).rejects.toMatchObject({ code: "cancelled" });
  expect(deltas).toEqual(["I "]);
});

test("the check says plainly what it is", () => {
  expect(rehearsal().check()).toMatchObject({
    name: "model:rehearsal",
    state: "warning",
    detail: containing("a rehearsal, no model: it plays the 3 turns of rehearsal.yaml"),
  });
  expect(rehearsal().concurrency).toBe(4);
});

test.each([
  ["turns:\n  - say: hello\n    shout: loud\n", 'line 2: turns.0: Unrecognized key: "shout"'],
  ["turns:\n  - say: hello\n  - when_denied: { say: no }\n", "line 3: turns.1: has neither `say` nor `call`"],
  ["turns:\n  - say: hello\n    call:\n      - input: {}\n", "line 4: turns.0.call.0.tool: "],
  ["turns:\n  - say: hello\n    when_denied: {}\n", "line 3: turns.0.when_denied: has neither"],
  ["turns:\n  - say: 7\n", "line 2: turns.0.say: "],
  ["turns: []\n", "line 1: turns: "],
  ["", "line 1: (whole): "],
  ["turns:\n  - say: hello\n   call: [\n", "line 3: "],
  ["turns: &a [*b]\n", "alias"],
])("a bad script is refused: %j", (text, issue) => {
  const issues: unknown = expect.arrayContaining([containing(issue)]);
  expect(() => rehearsal(text)).toThrow(
    expect.objectContaining({
      code: "config_invalid",
      message: containing("rehearsal.yaml"),
      data: { file: "rehearsal.yaml", issues },
    }),
  );
});

// The loop against a scripted kernel: each test gives the answers in order and looks at what the loop issued.
import { expect, test } from "vitest";
import { OsError } from "../abi/errors.ts";
import type { ErrorCode } from "../abi/errors.ts";
import type { Json, JsonObject } from "../abi/json.ts";
import { loop } from "./loop.ts";
import type { LoopOptions } from "./loop.ts";
import { makeSys } from "./sys.ts";

type Issued = { syscall: string; args: JsonObject };
type Step = Json | OsError | (() => Promise<Json>);

/** Answers the n-th call with the n-th step; a call too many fails the test. */
function kernel(steps: readonly Step[]) {
  const issued: Issued[] = [];
  const sys = makeSys(async (number, syscall, args) => {
    issued.push({ syscall, args: args as JsonObject });
    const step = steps[number];
    if (step === undefined) throw new Error(`the script has no answer for call ${number}, ${syscall}`);
    if (OsError.is(step)) throw step;
    return typeof step === "function" ? step() : step;
  });
  return { sys, issued };
}

const usage = { inputTokens: 1, outputTokens: 1 };
let contexts = 0;
const answer = (content: Json[], finishReason = "stop"): JsonObject => ({
  content,
  finishReason,
  usage,
  model: "m/x",
  context: `context-${(contexts += 1)}`,
});
const says = (text: string, finishReason = "stop"): JsonObject => answer([{ type: "text", text }], finishReason);
const call = (id: string, name: string, input: Json = {}): JsonObject => ({ type: "tool-call", id, name, input });
const asks = (...calls: JsonObject[]): JsonObject => answer(calls, "tool-calls");
const error = (code: ErrorCode, data: JsonObject = {}): OsError => new OsError(code, `message of ${code}`, { data });
const options = (manifest: LoopOptions["manifest"] = {}): LoopOptions => ({
  manifest,
  instructions: "Be brief.",
  task: "Do it.",
});
/** The content of the tool message that the n-th call sent. */
const results = (issued: Issued[], at: number): Json => {
  const messages = issued[at]?.args["messages"] as JsonObject[] | undefined;
  return messages?.[0]?.["content"] ?? null;
};

test("asks once and ends with the model's words", async () => {
  const { sys, issued } = kernel([
    answer([
      { type: "reasoning", text: "hm" },
      { type: "text", text: "All " },
      { type: "text", text: "done." },
    ]),
  ]);
  expect(await loop(sys, options({ temperature: 0, maxOutputTokens: 9, model: "m/x" }))).toEqual({
    text: "All done.",
    turns: 1,
  });
  expect(issued).toEqual([
    {
      syscall: "model.generate",
      args: {
        model: "m/x",
        temperature: 0,
        maxOutputTokens: 9,
        messages: [
          { role: "system", content: "Be brief." },
          { role: "user", content: "Do it." },
        ],
      },
    },
  ]);
});

test("a task that is not text goes in as JSON text, and blank instructions not at all", async () => {
  const { sys, issued } = kernel([says("ok")]);
  await loop(sys, { manifest: {}, instructions: " \n", task: { order: 7 } });
  expect(issued[0]?.args).toEqual({ messages: [{ role: "user", content: '{"order":7}' }] });
});

test("a step passes the context of the last answer and only what is new", async () => {
  const first = asks(call("a", "shop.find", { id: 1 }));
  const { sys, issued } = kernel([first, { text: "found" }, says("done")]);
  expect(await loop(sys, options())).toEqual({ text: "done", turns: 2 });
  expect(issued[1]).toEqual({ syscall: "tool.call", args: { tool: "shop.find", args: { id: 1 } } });
  expect(issued[2]?.args).toEqual({
    after: first["context"],
    messages: [
      { role: "tool", content: [{ type: "tool-result", id: "a", name: "shop.find", output: "found", isError: false }] },
    ],
  });
});

test("calls of one answer are issued together and in order, and answered in that order whichever ends first", async () => {
  const order: string[] = [];
  const slow = Promise.withResolvers<Json>();
  const { sys, issued } = kernel([
    asks(call("a", "s.one"), call("b", "s.two")),
    () => slow.promise.then((value) => (order.push("one"), value)),
    async () => {
      order.push("two");
      // Both are under way before either has answered.
      expect(issued.map(({ syscall }) => syscall)).toEqual(["model.generate", "tool.call", "tool.call"]);
      slow.resolve({ text: "1" });
      return { text: "2" };
    },
    says("done"),
  ]);
  await loop(sys, options());
  expect(order).toEqual(["two", "one"]);
  expect((results(issued, 3) as JsonObject[]).map((part) => part["output"])).toEqual(["1", "2"]);
});

test.each<[string, OsError, string]>([
  ["tool_failed: the tool's own text", error("tool_failed", { content: { text: "no such order" } }), "no such order"],
  ["tool_failed without content", error("tool_failed"), "message of tool_failed"],
  ["denied", error("denied"), "message of denied"],
  ["egress_denied", error("egress_denied"), "message of egress_denied"],
  ["timeout", error("timeout"), "message of timeout"],
  ["not_found", error("not_found"), "message of not_found"],
  ["tool_unavailable", error("tool_unavailable"), "message of tool_unavailable"],
  ["invalid_argument", error("invalid_argument"), "message of invalid_argument"],
])("a tool's error is told to the model: %s", async (_, thrown, text) => {
  const { sys, issued } = kernel([asks(call("a", "s.one")), thrown, says("sorry")]);
  expect(await loop(sys, options())).toEqual({ text: "sorry", turns: 2 });
  expect(results(issued, 2)).toEqual([{ type: "tool-result", id: "a", name: "s.one", output: text, isError: true }]);
});

test.each<ErrorCode>([
  "budget_exhausted",
  "replay_divergence",
  "process_gone",
  "cancelled",
  "outcome_unknown",
  "store_failed",
  "internal",
])("a tool's error that ends the program: %s", async (code) => {
  const { sys } = kernel([asks(call("a", "s.one")), error(code)]);
  await expect(loop(sys, options())).rejects.toMatchObject({ code });
});

test("before it ends, the other calls of the answer come to their end", async () => {
  const other = Promise.withResolvers<Json>();
  let ended = false;
  const { sys } = kernel([asks(call("a", "s.one"), call("b", "s.two")), error("outcome_unknown"), () => other.promise]);
  const run = loop(sys, options()).finally(() => (ended = true));
  run.catch(() => {}); // looked at below
  await new Promise((resolve) => setImmediate(resolve));
  expect(ended).toBe(false);
  other.resolve({ text: "fine" });
  await expect(run).rejects.toMatchObject({ code: "outcome_unknown" });
});

test("arguments that are no JSON, or no object, are answered without a call", async () => {
  const { sys, issued } = kernel([
    asks(
      { ...call("a", "s.one", null), invalid: '{"id": ' },
      call("b", "s.two", [1]),
      call("c", "s.three", { ok: true }),
    ),
    { text: "3" },
    says("done"),
  ]);
  await loop(sys, options());
  expect(issued.map(({ syscall }) => syscall)).toEqual(["model.generate", "tool.call", "model.generate"]);
  expect(results(issued, 2)).toMatchObject([
    { id: "a", isError: true, output: expect.stringContaining('not valid JSON: {"id": ') },
    { id: "b", isError: true, output: expect.stringContaining("must be a JSON object, not [1]") },
    { id: "c", isError: false, output: "3" },
  ]);
});

test("a result without text is given as data", async () => {
  const { sys, issued } = kernel([asks(call("a", "s.one")), { text: "", data: { rows: 2 } }, says("done")]);
  await loop(sys, options());
  expect(results(issued, 2)).toMatchObject([{ output: { rows: 2 } }]);
});

const modelError = (retryable: boolean, data: JsonObject = {}): OsError =>
  new OsError("model_failed", "overloaded", { retryable, data });
const sleeps = (issued: Issued[]): Json[] =>
  issued.filter(({ syscall }) => syscall === "clock.sleep").map(({ args }) => args["ms"] as Json);

/** Half of the way from no jitter to all of it: a delay and a quarter. */
const HALF = { base64: "gA==" };
const retried = (failure: Step): Step[] => [failure, HALF, { ms: 0 }];
const stretched = (delays: readonly number[]): number[] => delays.map((ms) => Math.round(ms * (1 + 128 / 255 / 2)));

test("the model is asked again after the delay it names, or else 1 s, doubled, and as much more as chance says", async () => {
  const { sys, issued } = kernel([
    ...retried(modelError(true)),
    ...retried(modelError(true, { retryAfterMs: 70_000 })),
    ...retried(error("timeout")),
    ...retried(says("", "error")),
    says("ok"),
  ]);
  expect(await loop(sys, options())).toEqual({ text: "ok", turns: 1 });
  expect(sleeps(issued).map((ms) => Math.round(Number(ms)))).toEqual(stretched([1_000, 70_000, 4_000, 8_000]));
});

test("it is given up after five retries", async () => {
  const steps = Array.from({ length: 6 }, () => retried(modelError(true))).flat();
  const { sys, issued } = kernel(steps);
  await expect(loop(sys, options())).rejects.toMatchObject({ code: "model_failed" });
  expect(sleeps(issued).map((ms) => Math.round(Number(ms)))).toEqual(stretched([1_000, 2_000, 4_000, 8_000, 16_000]));
});

test("an error of the model that is not worth a retry ends the program at once", async () => {
  const { sys, issued } = kernel([modelError(false)]);
  await expect(loop(sys, options())).rejects.toMatchObject({ code: "model_failed" });
  expect(issued).toHaveLength(1);
});

test("a budget that is spent ends the program at the model as well", async () => {
  const { sys } = kernel([error("budget_exhausted")]);
  await expect(loop(sys, options())).rejects.toMatchObject({ code: "budget_exhausted" });
});

test("an answer that was cut off is continued, and its parts are joined", async () => {
  const first = says("one, tw", "length");
  const { sys, issued } = kernel([first, says("o, three")]);
  expect(await loop(sys, options())).toEqual({ text: "one, two, three", turns: 2 });
  expect(issued[1]?.args).toMatchObject({
    after: first["context"],
    messages: [{ role: "user", content: expect.stringContaining("cut off") }],
  });
});

test("cut off before a word, or stopped by a filter: an error that says so", async () => {
  await expect(loop(kernel([says("", "length")]).sys, options())).rejects.toMatchObject({
    code: "limit_exceeded",
    message: expect.stringContaining("maxOutputTokens"),
  });
  await expect(loop(kernel([says("half", "content-filter")]).sys, options())).rejects.toMatchObject({
    code: "model_failed",
    retryable: false,
  });
});

test("turns are bounded", async () => {
  const { sys, issued } = kernel([asks(call("a", "s.one")), { text: "1" }, asks(call("b", "s.one")), { text: "1" }]);
  await expect(loop(sys, options({ turns: 2 }))).rejects.toMatchObject({
    code: "limit_exceeded",
    data: { limit: "turns", max: 2 },
  });
  expect(issued.filter(({ syscall }) => syscall === "model.generate")).toHaveLength(2);
});

const message = (topic: string, body: Json): JsonObject => ({ message: { id: "m_1", from: "someone", topic, body } });

test("in a conversation the next user message comes from the mailbox, until `end`", async () => {
  const { sys, issued } = kernel([
    says("Hello."),
    message("message", "And?"),
    says("Well."),
    message("form", { size: 2 }),
    says("Bye."),
    message("end", null),
  ]);
  expect(await loop(sys, options({ conversation: "messages" }))).toEqual({ text: "Bye.", turns: 3 });
  expect(issued[1]).toEqual({ syscall: "message.receive", args: {} });
  expect(issued[2]?.args["messages"]).toEqual([{ role: "user", content: "And?" }]);
  expect(issued[4]?.args["messages"]).toEqual([{ role: "user", content: '{"size":2}' }]);
});

// That the comparison with a recording sees what it should: a journal that says the same passes, and each kind of
// deviation, planted one at a time, is found.
import { expect, test } from "vitest";
import type { Event, EventHeader } from "../src/abi/events.ts";
import type { ProcessId } from "../src/abi/ids.ts";
import type { Json } from "../src/abi/json.ts";
import type { Recording } from "./recordings.ts";
import { compare } from "./transcript.ts";

const recording: Recording = {
  id: "r",
  system: "Be kind.",
  says: ["Hello", "Yes"],
  turns: 3,
  lines: [
    { kind: "user", text: "Hello" },
    { kind: "call", name: "find", args: '{"a":1,"b":"x"}' },
    { kind: "result", text: "Error: none\n" },
    { kind: "say", text: "Sure?" },
    { kind: "user", text: "Yes" },
    { kind: "say", text: "Done." },
  ],
};

type Step = {
  readonly header: Partial<EventHeader> & { readonly kind: EventHeader["kind"] };
  readonly payloads: Record<string, unknown>;
};

const completed = (call: number, syscall: string, payloads: Record<string, unknown>, error?: string): Step => ({
  header: {
    kind: "call.completed",
    call,
    syscall,
    effect: "none",
    ...(error === undefined ? {} : { error }),
  } as unknown as Step["header"],
  payloads,
});

const generated = (call: number, content: unknown, messages: unknown[]): Step =>
  completed(call, "model.generate", { value: { content }, args: { messages } });

/** A journal that says what the recording says. */
const journal = (): Step[] => [
  { header: { kind: "process.created" }, payloads: { task: "Hello" } },
  generated(
    0,
    [{ type: "tool-call", id: "1", name: "t0.find", input: { b: "x", a: 1 } }],
    [{ role: "user", content: "Hello" }],
  ),
  completed(
    1,
    "tool.call",
    { error: { message: "t0.find answered with an error", data: { content: { text: "Error: none\n" } } } },
    "tool_failed",
  ),
  generated(
    2,
    [{ type: "text", text: "Sure?" }],
    [{ role: "tool", content: [{ type: "tool-result", id: "1", output: "Error: none\n", isError: true }] }],
  ),
  completed(3, "message.receive", { value: { message: { topic: "message", body: "Yes" } } }),
  generated(4, [{ type: "text", text: "Done." }], [{ role: "user", content: "Yes" }]),
  completed(5, "message.receive", { value: { message: { topic: "end", body: null } } }),
];

const eventsOf = (steps: readonly Step[]): Event[] =>
  steps.map(({ header, payloads }, seq) => ({
    pid: "p_000000000000" as ProcessId,
    seq,
    atMs: seq,
    header: header as EventHeader,
    payloads: payloads as { [name: string]: Json },
    hash: "",
  }));

const differenceWith = (at: number, step: Step): unknown => compare(recording, eventsOf(journal().with(at, step)));

test("the same words, calls and results are no difference, whatever the order of keys and the prefix of tools", () => {
  expect(compare(recording, eventsOf(journal()))).toBeNull();
});

test("a failed answer of the model that was asked for again is no difference", () => {
  const failed = completed(2, "model.generate", { error: { message: "429" } }, "model_failed");
  expect(compare(recording, eventsOf(journal().toSpliced(3, 0, failed)))).toBeNull();
});

test("each deviation is found", () => {
  const text = (said: string) => [{ type: "text", text: said }];
  expect(differenceWith(0, { header: { kind: "process.created" }, payloads: { task: "Hello " } })).toMatchObject({
    at: 0,
  });
  expect(
    differenceWith(1, generated(0, [{ type: "tool-call", id: "1", name: "t0.find", input: { b: "x", a: 2 } }], [])),
  ).toMatchObject({ at: 1, got: 'call find {"a":2,"b":"x"}' });
  expect(differenceWith(2, completed(1, "tool.call", { value: { text: "Error: none" } }))).toMatchObject({ at: 2 });
  expect(differenceWith(5, generated(4, text("Done"), []))).toMatchObject({
    at: 5,
    expected: "say Done.",
    got: "say Done",
  });
  expect(compare(recording, eventsOf(journal().slice(0, 4)))).toMatchObject({ at: 4, got: "(nothing)" });
});

test("a result that was changed on its way to the model is found, though the journal holds the true one", () => {
  const shown = [{ role: "tool", content: [{ type: "tool-result", id: "1", output: "Error: none", isError: true }] }];
  expect(differenceWith(3, generated(2, [{ type: "text", text: "Sure?" }], shown))).toMatchObject({
    at: 0,
    got: "result Error: none",
  });
});

test("a turn beyond the recording's last is the loop's way of ending, and not compared", () => {
  const beyond = generated(6, [{ type: "text", text: "(The recording ends here.)" }], []);
  expect(compare(recording, eventsOf([...journal(), beyond]))).toBeNull();
});

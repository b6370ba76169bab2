// Goal: everything that is sent is counted, once, to the high side.
import { expect, test } from "vitest";
import type { Message } from "../abi/messages.ts";
import type { ToolDefinition } from "../abi/tools.ts";
import type { ModelRequest } from "../ports/model.ts";
import { createTokenCounter } from "./tokens.ts";

const EXACT = { margin: 1, toolsExtra: 0 };

/** Counts characters, and notes what it was asked. */
function counter() {
  const asked: string[] = [];
  const count = createTokenCounter((text) => {
    asked.push(text);
    return text.length;
  });
  return { asked, count };
}
const request = (
  messages: readonly Message[],
  more: Partial<Pick<ModelRequest, "tools" | "settings">> = {},
): ModelRequest => ({ model: "p/m", messages, tools: [], settings: {}, ...more });
const user = (content: string): Message => ({ role: "user", content });

const tool: ToolDefinition = {
  name: "shop.refund",
  description: "Refunds an order.",
  inputSchema: { type: "object", properties: { order: { type: "integer" } } },
  manifest: {} as ToolDefinition["manifest"],
  hash: "",
};

test("every text of every kind of message and tool is counted", () => {
  const { asked, count } = counter();
  const messages: Message[] = [
    { role: "system", content: "system" },
    user("user"),
    {
      role: "assistant",
      content: [
        { type: "reasoning", text: "reasoning", provider: { openai: { sealed: "x".repeat(400) } } },
        { type: "text", text: "text" },
        { type: "tool-call", id: "c1", name: "shop.refund", input: { order: 1 } },
        { type: "tool-call", id: "c2", name: "shop.close", input: {}, invalid: "{broken" },
      ],
    },
    {
      role: "tool",
      content: [
        { type: "tool-result", id: "c1", name: "shop.refund", output: "done", isError: false },
        { type: "tool-result", id: "c2", name: "shop.close", output: { why: "broken" }, isError: true },
      ],
    },
  ];
  const more = { tools: [tool], settings: { responseSchema: { type: "string" } } };
  const total = count(request(messages, more), EXACT);
  expect(asked.toSorted()).toEqual(
    [
      ..."system,user,reasoning,text,c1,c1,c2,c2,shop.refund,shop.refund,shop.refund,shop.close,shop.close".split(","),
      '{"order":1}',
      "{broken",
      "done",
      '{"why":"broken"}',
      "Refunds an order.",
      JSON.stringify(tool.inputSchema),
      '{"type":"string"}',
    ].toSorted(),
  );
  expect(total).toBeGreaterThan(asked.join("").length + 400 / 4);
});

test("a turn costs what it adds: nothing is counted twice, for whichever model", () => {
  const { asked, count } = counter();
  const messages = [user("one"), user("two")];
  const before = count(request(messages, { tools: [tool] }), EXACT);
  const counted = asked.length;
  messages.push(user("three"));
  expect(count(request(messages, { tools: [tool] }), EXACT)).toBe(before + 5 + "three".length);
  expect(asked.slice(counted)).toEqual(["three"]);
  expect(count(request(messages), { margin: 1.35, toolsExtra: 500 })).toBeGreaterThan(0);
  expect(asked).toHaveLength(counted + 1);
});

test("the margin raises the count, and no higher than the bytes", () => {
  const quarter = createTokenCounter((text) => Math.ceil(text.length / 4));
  const empty = quarter(request([]), EXACT);
  const added = (content: string, margin: number): number =>
    quarter(request([user(content)]), { margin, toolsExtra: 0 }) - empty - 5;
  expect([added("x".repeat(400), 1), added("x".repeat(400), 1.35), added("x".repeat(400), 99)]).toEqual([
    100, 135, 400,
  ]);
  expect(added("é".repeat(400), 99)).toBe(800);
  expect(
    quarter(request([], { tools: [tool] }), { margin: 1, toolsExtra: 700 }) -
      quarter(request([], { tools: [tool] }), EXACT),
  ).toBe(700);
});

test("a very long text is not counted: it is taken at its bytes", () => {
  const { asked, count } = counter();
  const total = count(request([user("é".repeat(65_537)), user("short")]), EXACT);
  expect(asked).toEqual(["short"]);
  expect(total).toBeGreaterThanOrEqual(2 * 65_537 + 5);
});

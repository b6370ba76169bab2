// Goal: tool() checks what can be checked when it is made, types its function's arguments, and gives plain content.
import { expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import type { JsonObject } from "../abi/json.ts";
import { tool, type ToolAnswer } from "./tool.ts";

const context = { key: "k", signal: new AbortController().signal };
const answering = async (answer: ToolAnswer): Promise<unknown> =>
  tool({ name: "t", description: "", input: z.object({}), run: () => answer }).run({}, context);

test("the function gets the checked arguments, with their types and defaults", async () => {
  const made = tool({
    name: "t",
    description: "Does.",
    input: z.object({ at: z.iso.date(), times: z.int().default(2) }),
    effect: "write",
    run: (args, { key, signal }) => {
      expectTypeOf(args).toEqualTypeOf<{ at: string; times: number }>();
      expectTypeOf(signal).toEqualTypeOf<AbortSignal>();
      return `${args.at} ${args.times} ${key}`;
    },
  });
  expect(await made.run({ at: "2026-01-31" }, context)).toEqual({ text: "2026-01-31 2 k" });
  expect(made.manifest).toEqual({ effect: "write" });
  // What has a default need not be given.
  expect(made.inputSchema).toMatchObject({ type: "object", required: ["at"] });
});

test("arguments that do not fit are named by their paths, and the function does not run", async () => {
  let ran = false;
  const made = tool({
    name: "t",
    description: "",
    input: z.object({ order: z.object({ id: z.string() }) }),
    run: () => {
      ran = true;
      return "";
    },
  });
  await expect(made.run({ order: { id: 7 } }, context)).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining("order.id: "),
  });
  expect(ran).toBe(false);
});

test("an answer is text, content, or data that is told as JSON", async () => {
  expect(await answering("words")).toEqual({ text: "words" });
  expect(await answering({ text: "words", data: { n: 1 } })).toEqual({ text: "words", data: { n: 1 } });
  expect(await answering({ n: 1, list: [true, null] })).toEqual({
    text: '{"n":1,"list":[true,null]}',
    data: { n: 1, list: [true, null] },
  });
  expect(await answering({ text: "words", more: 1 })).toEqual({
    text: '{"text":"words","more":1}',
    data: { text: "words", more: 1 },
  });
  expect(await answering(undefined as unknown as string)).toEqual({ text: "" });
  expect(await answering({ at: new Date(0) } as unknown as JsonObject)).toEqual({
    text: '{"at":"1970-01-01T00:00:00.000Z"}',
    data: { at: "1970-01-01T00:00:00.000Z" },
  });
});

test("an answer that JSON has no word for loses nothing that can be told, and is never told as something not done", async () => {
  expect(await answering({ balance: 2n ** 64n, list: [1n] } as unknown as JsonObject)).toEqual({
    text: '{"balance":"18446744073709551616","list":["1"]}',
    data: { balance: "18446744073709551616", list: ["1"] },
  });
  expect(await answering(12n as unknown as string)).toEqual({ text: '"12"' });
  const round: Record<string, unknown> = {};
  round["self"] = round;
  await expect(answering(round as JsonObject)).rejects.toMatchObject({
    code: "tool_failed",
    message: expect.stringMatching(/The tool "t" ran, but its answer is not JSON: .*circular.*What it did is done/s),
  });
});

test("a schema that cannot say its JSON Schema needs one beside it", async () => {
  const input = {
    "~standard": {
      version: 1 as const,
      vendor: "homemade",
      validate: (value: unknown) => ({ value: value as { a: number } }),
    },
  };
  const options = { name: "t", description: "", input, run: () => "" };
  expect(() => tool(options)).toThrow(
    /The tool "t" cannot be made: its input \(homemade\) cannot say its JSON Schema; give inputSchema/,
  );
  expect(tool({ ...options, inputSchema: { type: "object" } }).inputSchema).toEqual({ type: "object" });
});

test.each([
  [
    "arguments without names",
    () => tool({ name: "t", description: "", input: z.string(), run: () => "" }),
    /must be an object/,
  ],
  [
    "types that JSON lacks",
    () => tool({ name: "t", description: "", input: z.object({ at: z.date() }), run: () => "" }),
    /no JSON Schema .*Date/,
  ],
  [
    "a manifest out of bounds",
    () => tool({ name: "t", description: "", input: z.object({}), timeoutMs: 0, run: () => "" }),
    /timeoutMs/,
  ],
])("%s cannot be made into a tool", (_, make, message) => {
  expect(make).toThrow(message);
});

// What passes for JSON: all of it, as a copy, and nothing else, which is refused by its place.
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { issueLines } from "./errors.ts";
import { jsonObjectSchema, jsonSchema } from "./json.ts";
import { JSON_DEPTH_MAX } from "./limits.ts";

const call = z.strictObject({ tool: z.string(), args: jsonObjectSchema, more: jsonSchema.optional() });
const fault = (schema: z.ZodType, value: unknown): string =>
  issueLines(schema.safeParse(value).error?.issues ?? []).join("; ");

/** Every object and array in a value. */
const partsOf = (value: unknown): object[] =>
  typeof value === "object" && value !== null ? [value, ...Object.values(value).flatMap(partsOf)] : [];

/** But for a key that is left out (below). */
const anyJson = fc.jsonValue().filter((value) => !JSON.stringify(value).includes("__proto__"));

test("any JSON value comes out as a copy that shares nothing with it", () => {
  fc.assert(
    fc.property(anyJson, (value) => {
      const given = JSON.parse(JSON.stringify(value)) as unknown;
      const copy = jsonSchema.parse(given);
      expect(JSON.stringify(copy)).toBe(JSON.stringify(given));
      const parts = new Set(partsOf(given));
      expect(partsOf(copy).some((part) => parts.has(part))).toBe(false);
    }),
  );
});

test("objects without a prototype and of another realm are objects", () => {
  const bare = Object.assign(Object.create(null), { a: [1] }) as unknown;
  expect(jsonObjectSchema.parse(bare)).toEqual({ a: [1] });
  expect(jsonObjectSchema.parse(runInNewContext("({ a: [null] })"))).toEqual({ a: [null] });
});

test("a key that would change the copy's prototype is left out", () => {
  const copy = jsonObjectSchema.parse(JSON.parse('{"__proto__":{"admin":true},"b":2}'));
  expect([Object.keys(copy), (copy as { admin?: boolean }).admin]).toEqual([["b"], undefined]);
});

test.each<[string, unknown, string]>([
  ["nothing", undefined, "args: Invalid input: expected a JSON object, received undefined"],
  ["a list where an object is due", [1], "args: Invalid input: expected a JSON object, received array"],
  ["nothing deep inside", { a: { b: [1, undefined] } }, "args.a.b.1: Invalid input: expected JSON, received undefined"],
  ["a hole", { a: Object.assign([], { length: 1 }) }, "args.a.0: Invalid input: expected JSON, received undefined"],
  ["no number", { a: Number.NaN }, "args.a: Invalid input: expected JSON, received NaN"],
  ["a bigint", { a: 1n }, "args.a: Invalid input: expected JSON, received bigint"],
  ["a function", { a: () => 1 }, "args.a: Invalid input: expected JSON, received function"],
  ["a date", { a: new Date(0) }, "args.a: Invalid input: expected JSON, received Date"],
  ["a map", new Map(), "args: Invalid input: expected JSON, received Map"],
])("refused with its place: %s", (_, args, message) => {
  expect(fault(call, { tool: "t", args })).toBe(message);
});

test("what is nested too deeply, or contains itself, is refused and breaks nothing", () => {
  const nested = (depth: number): unknown => {
    let value: unknown = 1;
    for (let level = 0; level < depth; level += 1) value = [value];
    return value;
  };
  expect(jsonSchema.safeParse(nested(JSON_DEPTH_MAX)).success).toBe(true);
  expect(fault(jsonSchema, nested(JSON_DEPTH_MAX + 1))).toMatch(/nested 1000 deep at most$/);
  expect(jsonSchema.safeParse(nested(1_000_000)).success).toBe(false);
  const round: { self?: unknown } = {};
  round.self = round;
  expect(jsonSchema.safeParse(round).success).toBe(false);
});

test("a value that is missing is missing, and one that may be is not asked for", () => {
  expect(fault(z.strictObject({ task: jsonSchema }), {})).toMatch(/^task: .*undefined$/);
  expect(call.parse({ tool: "t", args: {} })).toEqual({ tool: "t", args: {} });
});

test("as a JSON Schema, anything and any object", () => {
  const { $schema: _dialect, ...schema } = z.toJSONSchema(z.strictObject({ args: jsonObjectSchema, more: jsonSchema }));
  expect(schema).toEqual({
    type: "object",
    properties: { args: { type: "object", additionalProperties: {} }, more: { description: "Any JSON value." } },
    required: ["args", "more"],
    additionalProperties: false,
  });
});

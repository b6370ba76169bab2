// Goal: a tool is refused for just those marks of headers that the protocol forbids. Method: schemas with one mark each.
import { expect, test } from "vitest";
import { headerFault } from "./parameter-headers.ts";

const mark = (name: unknown, type: unknown = "string") => ({ type, "x-mcp-header": name });
const object = (properties: Record<string, unknown>, more: Record<string, unknown> = {}) => ({
  type: "object",
  properties,
  ...more,
});

test.each([
  ["no mark", object({ a: { type: "string" } })],
  ["a string, an integer, a boolean", object({ a: mark("A"), b: mark("B", "integer"), c: mark("C", "boolean") })],
  ["a property of an object", object({ a: object({ b: mark("A!~-") }) })],
  [
    "parameters that are called like keywords",
    object({ items: mark("A"), default: mark("B"), "x-mcp-header": mark("C") }),
  ],
  ["data that looks like a mark", object({ a: { type: "object", default: mark("") } })],
])("%s: no fault", (_, schema) => {
  expect(headerFault(schema)).toBeUndefined();
});

test.each([
  ["an empty name", object({ a: mark("") }), /^\/properties\/a: x-mcp-header is no name of a header: ""$/],
  ["a name that is no text", object({ a: mark(7) }), /no name of a header: 7/],
  ["a name that ends a line", object({ a: mark("A\r\nB: c") }), /no name of a header/],
  ["a name with a blank", object({ a: mark("A B") }), /no name of a header/],
  ["a number", object({ a: mark("A", "number") }), /no string, integer or boolean/],
  ["an object", object({ a: object({}, { "x-mcp-header": "A" }) }), /no string, integer or boolean/],
  ["several types", object({ a: mark("A", ["string", "null"]) }), /no string, integer or boolean/],
  ["one name twice", object({ a: mark("Region"), b: object({ c: mark("rEGION") }) }), /a second time/],
  ["the schema itself", { ...object({}), "x-mcp-header": "A" }, /^the whole: .*`properties`/],
  ["items", object({ a: { type: "array", items: mark("A") } }), /^\/properties\/a\/items: .*`properties`/],
  ["properties of items", object({ a: { type: "array", items: object({ b: mark("A") }) } }), /`properties`/],
  ["a branch", object({}, { anyOf: [object({ a: mark("A") })] }), /^\/anyOf\/0\/properties\/a: .*`properties`/],
  ["a condition", object({}, { if: object({ a: mark("A") }) }), /`properties`/],
  ["a definition", object({ a: { $ref: "#/$defs/a" } }, { $defs: { a: mark("A") } }), /^\/\$defs\/a: /],
  ["any further property", object({}, { additionalProperties: mark("A") }), /`properties`/],
])("%s: a fault", (_, schema, fault) => {
  expect(headerFault(schema)).toMatch(fault);
});

// Goal: names survive the way to a provider and back, whatever they are. Method: examples, then properties.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { ModelRequest } from "../../ports/model.ts";
import { toolNames, wireName } from "./tool-names.ts";

const offering = (...names: readonly string[]): ModelRequest => ({
  model: "p/m",
  messages: [],
  settings: {},
  tools: names.map((name) => ({
    name,
    description: "",
    inputSchema: {},
    hash: "",
    manifest: { effect: "read", idempotency: "none", timeoutMs: 1, concurrency: 1 },
  })),
});

test("a dot becomes two underscores", () => {
  expect(wireName("shop.refund")).toBe("shop__refund");
  expect(wireName("air.get_user_details")).toBe("air__get_user_details");
});

test("names that would be mistaken for others carry a hash", () => {
  for (const name of ["a.b__c", "a_.b", "a.b/c", "a.ü", `long.${"x".repeat(70)}`]) {
    expect(wireName(name)).toMatch(/^[a-zA-Z0-9_-]{1,53}_[0-9a-f]{10}$/);
  }
  expect(wireName("a__b.c")).not.toBe(wireName("a.b__c"));
  expect(wireName("a_.b")).not.toBe(wireName("a._b"));
});

test("any set of names comes back, whatever the provider's letters", () => {
  const name = fc.oneof(
    fc.tuple(fc.stringMatching(/^[ab_-]{1,4}$/), fc.stringMatching(/^[ab_.-]{1,5}$/)).map((parts) => parts.join(".")),
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 90 }),
  );
  fc.assert(
    fc.property(fc.uniqueArray(name, { maxLength: 20 }), (names) => {
      const table = toolNames(offering(...names));
      for (const each of names) {
        expect(table.toWire(each)).toMatch(/^[a-zA-Z0-9_-]{1,64}$/);
        expect(table.fromWire(table.toWire(each))).toBe(each);
      }
    }),
  );
});

test("names in the history come back too, and a made-up one goes out again as it came", () => {
  const table = toolNames({
    ...offering("shop.refund"),
    messages: [{ role: "assistant", content: [{ type: "tool-call", id: "1", name: "old.tool__x", input: {} }] }],
  });
  expect(table.fromWire(wireName("old.tool__x"))).toBe("old.tool__x");
  expect(table.fromWire("shop__invented")).toBe("shop.invented");
  expect(table.toWire("shop.invented")).toBe("shop__invented");
});

test("two tools that cannot be told apart are not offered together", () => {
  expect(() => toolNames(offering("a c", wireName("a c")))).toThrow(
    expect.objectContaining({ code: "invalid_argument" }),
  );
});

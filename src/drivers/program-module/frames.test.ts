// Lines out of chunks however they are cut, and what counts as JSON.
import { expect, test } from "vitest";
import { PAYLOAD_BYTES_MAX } from "../../abi/limits.ts";
import { encode, lineReader } from "./frames.ts";
import { createGenerator } from "./generator.ts";

test("lines come out whole, wherever the chunks are cut", () => {
  const text = "one\n\ntwo and more\nthree\n";
  for (let size = 1; size <= text.length; size += 1) {
    const lines: string[] = [];
    const read = lineReader(100, (line) => lines.push(line));
    for (let at = 0; at < text.length; at += size) read(text.slice(at, at + size));
    expect(lines).toEqual(["one", "", "two and more", "three"]);
  }
});

test("a line that is too long is refused as soon as that is known, whole or in parts", () => {
  const code = expect.objectContaining({ code: "limit_exceeded" });
  expect(() => lineReader(4, () => {})("12345\n")).toThrow(code);
  const read = lineReader(4, () => {});
  read("1234");
  expect(() => read("5")).toThrow(code);
  const exact: string[] = [];
  lineReader(4, (line) => exact.push(line))("1234\n");
  expect(exact).toEqual(["1234"]);
});

test("JSON goes through as it is, without keys that are undefined", () => {
  const value = { a: [1, "x", null, true], b: Object.assign(Object.create(null), { c: -0.5 }) };
  expect(JSON.parse(encode({ ...value, d: undefined }, "the argument"))).toEqual({
    a: [1, "x", null, true],
    b: { c: -0.5 },
  });
});

test.each<[string, unknown, RegExp]>([
  ["nothing", undefined, /^The result is not JSON \(undefined\)/],
  ["a function", { f: () => 1 }, /"f" is not JSON \(function\)/],
  ["infinity", [Infinity], /"0" is not JSON \(Infinity\)/],
  ["a bigint", 10n, /^What is handed over is not JSON \(bigint\)/],
  ["a Map", { m: new Map() }, /"m" is not JSON \(Map\)/],
  ["a Date", { at: new Date(0) }, /"at" is not JSON \(Date\)/],
])("not JSON: %s", (_, value, message) => {
  expect(() => encode(value, "the result")).toThrow(
    expect.objectContaining({ code: "invalid_argument", message: expect.stringMatching(message) }),
  );
});

test("more than a payload may hold is refused", () => {
  expect(() => encode("x".repeat(PAYLOAD_BYTES_MAX), "the result")).toThrow(
    expect.objectContaining({ code: "limit_exceeded" }),
  );
});

test("the generator: the same seed draws the same, evenly enough, and within its bounds", () => {
  const draw = (seed: string) => Array.from({ length: 1_000 }, createGenerator(seed).float);
  const drawn = draw("a");
  expect(drawn).toEqual(draw("a"));
  expect(drawn).not.toEqual(draw("b"));
  expect(Math.min(...drawn)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...drawn)).toBeLessThan(1);
  expect(drawn.reduce((sum, one) => sum + one, 0) / 1_000).toBeCloseTo(0.5, 1);
});

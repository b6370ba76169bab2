// That a write done twice, or not at all, is counted, by the recording's count as well as by idempotency keys.
import { expect, test } from "vitest";
import type { WriteEffect } from "./recordings.ts";
import { countWrites } from "./tool-server.ts";

const write = (args: string, idempotencyKey: string | null = null): WriteEffect => ({
  recording: "r",
  tool: "pay",
  args,
  idempotencyKey,
  outcome: "ok",
});
const expected = [write("1"), write("1"), write("2")];

test("as recorded", () => {
  expect(countWrites(expected, [write("1", "a"), write("2", "b"), write("1", "c")])).toEqual({
    expected: 3,
    done: 3,
    twice: 0,
    missing: 0,
  });
});

test("once more than recorded, under a key of its own", () => {
  expect(countWrites(expected, [write("1", "a"), write("1", "b"), write("2", "c"), write("2", "d")])).toMatchObject({
    twice: 1,
    missing: 0,
  });
});

test("twice under one key, though a later one is missing", () => {
  expect(countWrites(expected, [write("1", "a"), write("1", "a"), write("2", "c")])).toMatchObject({ twice: 1 });
});

test("not done, and done though not recorded", () => {
  expect(countWrites(expected, [write("1", "a"), write("3", "b")])).toMatchObject({ twice: 1, missing: 2 });
});

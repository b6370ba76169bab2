// Goal: no two sandboxes share a user id, and a workspace keeps its own. Method: small ranges, taken to their end.
import { expect, test } from "vitest";
import { configSchema } from "../abi/config.ts";
import { sharesOf, Uids } from "./uids.ts";

test("an id goes round, and is not given again before the others", () => {
  const uids = new Uids({ from: 5000, to: 5007 }, 4);
  const first = uids.take();
  uids.giveBack(first);
  const round = Array.from({ length: 5 }, () => uids.take());
  expect(round).not.toContain(first);
  expect(uids.take()).toBe(first);
  expect(() => uids.take()).toThrow(expect.objectContaining({ code: "limit_exceeded" }));
  expect(new Set([...round, first]).size).toBe(6);
});

test("a workspace keeps the id that owns it, and shares it with nobody else", () => {
  const uids = new Uids({ from: 5000, to: 5007 }, 0);
  const id = uids.takeFor("/a", 0);
  expect(id).toBeGreaterThanOrEqual(5006);
  expect(uids.takeFor("/a", id)).toBe(id);
  expect(uids.takeFor("/b", id)).not.toBe(id);
  expect(() => uids.takeFor("/c", 0)).toThrow(expect.objectContaining({ code: "limit_exceeded" }));
  uids.giveBack(id);
  expect(() => uids.takeFor("/c", 0)).toThrow();
  uids.giveBack(id);
  expect(uids.takeFor("/c", 0)).toBe(id);
  // What was handed out of the other part of the range is not a workspace's.
  expect(uids.take()).toBeLessThan(5006);
});

test("a range is shared out whole, no id twice, and the smallest that is accepted gives everybody some", () => {
  const accepts = (uids: object): boolean => configSchema.safeParse({ sandbox: { uids } }).success;
  expect(accepts({ from: 5000, to: 5063 })).toBe(true);
  for (const uids of [{ from: 5000, to: 5062 }, { from: 6000, to: 5000 }, { from: 500, to: 5000 }, { to: 2 ** 32 - 1 }])
    expect(accepts(uids)).toBe(false);
  const shares = Object.values(sharesOf({ from: 5000, to: 5063 }));
  const ids = shares.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, at) => from + at));
  expect(ids).toEqual(Array.from({ length: 64 }, (_, at) => 5000 + at));
  for (const { from, to } of shares) expect(to - from + 1).toBeGreaterThanOrEqual(8);
});

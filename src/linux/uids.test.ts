// Goal: no two sandboxes share a user id, and a workspace keeps its own. Method: small ranges, taken to their end.
import { expect, test } from "vitest";
import { Uids } from "./uids.ts";

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

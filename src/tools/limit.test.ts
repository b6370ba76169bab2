// Many calls under one signal: each hears of its end, and the signal is listened to once.
import { expect, test } from "vitest";
import type { Clock } from "../ports/clock.ts";
import { GIVEN_UP, Limit } from "./limit.ts";

const still: Clock = { nowMs: () => 0, after: () => () => {} };

test("a caller that gives up ends every call under way, and none that has ended", async () => {
  const caller = new AbortController();
  const ended = new Limit(1000, caller.signal, still);
  ended.end();
  const open = [new Limit(1000, caller.signal, still), new Limit(1000, caller.signal, still)];
  const never = new Promise<string>(() => {});
  const races = Promise.all(open.map((limit) => limit.race(never)));
  caller.abort();
  expect(await races).toEqual([GIVEN_UP, GIVEN_UP]);
  expect([ended, ...open].map(({ givenUp }) => givenUp?.why)).toEqual([undefined, "cancelled", "cancelled"]);
  expect(open[0]?.signal.aborted).toBe(true);
  expect(new Limit(1000, caller.signal, still).givenUp).toEqual({ why: "cancelled" });
});

test("one listener on a signal serves every call under it, at once or one after another", () => {
  const { signal } = new AbortController();
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>): void => {
    listeners += 1;
    add(...args);
  };
  const open = Array.from({ length: 5 }, () => new Limit(1000, signal, still));
  for (const limit of open) limit.end();
  new Limit(1000, signal, still).end();
  expect(listeners).toBe(1);
});

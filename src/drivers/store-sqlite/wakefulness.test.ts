// Whether the faster of two ways becomes the rule, and how often the other is tried.
//
// Method: a machine on which a group takes the times that the test says.
import { expect, it } from "vitest";
import { PAUSE_GROUPS_MAX, PAUSE_GROUPS_MIN, TRIAL_GROUPS, Wakefulness } from "./wakefulness.ts";

type Machine = { readonly awakeMs: number; readonly asleepMs: number };

/** Lets so many groups pass; answers how many of them found the thread awake. */
function pass(wakefulness: Wakefulness, { awakeMs, asleepMs }: Machine, groups: number): number {
  let awake = 0;
  for (let at = 0; at < groups; at += 1) {
    if (wakefulness.awake) awake += 1;
    wakefulness.took(wakefulness.awake ? awakeMs : asleepMs);
  }
  return awake;
}

const IDLE: Machine = { awakeMs: 0.12, asleepMs: 0.18 };
const WANTED: Machine = { awakeMs: 0.7, asleepMs: 0.18 };

it("stays awake where that is faster, but for the trials", () => {
  const wakefulness = new Wakefulness();
  expect(pass(wakefulness, IDLE, TRIAL_GROUPS)).toBe(0);
  expect(pass(wakefulness, IDLE, TRIAL_GROUPS + PAUSE_GROUPS_MIN + TRIAL_GROUPS)).toBe(
    TRIAL_GROUPS + PAUSE_GROUPS_MIN + TRIAL_GROUPS,
  );
  expect(pass(wakefulness, IDLE, TRIAL_GROUPS)).toBe(0);
  expect(pass(wakefulness, IDLE, PAUSE_GROUPS_MIN * 2)).toBe(PAUSE_GROUPS_MIN * 2);
});

it("sleeps where others want the processors, and tries less and less often", () => {
  const wakefulness = new Wakefulness();
  pass(wakefulness, WANTED, TRIAL_GROUPS * 2);
  const [first, second] = [PAUSE_GROUPS_MIN * 2, PAUSE_GROUPS_MAX];
  expect(pass(wakefulness, WANTED, first + TRIAL_GROUPS)).toBe(0);
  expect(pass(wakefulness, WANTED, TRIAL_GROUPS)).toBe(TRIAL_GROUPS);
  expect(pass(wakefulness, WANTED, second + TRIAL_GROUPS)).toBe(0);
  expect(pass(wakefulness, WANTED, TRIAL_GROUPS)).toBe(TRIAL_GROUPS);
  expect(pass(wakefulness, WANTED, PAUSE_GROUPS_MAX + TRIAL_GROUPS), "bounded").toBe(0);
});

it("changes its rule with the machine", () => {
  const wakefulness = new Wakefulness();
  pass(wakefulness, IDLE, 4 * PAUSE_GROUPS_MAX);
  pass(wakefulness, WANTED, 2 * PAUSE_GROUPS_MAX);
  expect(pass(wakefulness, WANTED, PAUSE_GROUPS_MIN)).toBeLessThanOrEqual(TRIAL_GROUPS);
});

it("changes nothing for one group that took long", () => {
  const wakefulness = new Wakefulness();
  pass(wakefulness, IDLE, TRIAL_GROUPS);
  wakefulness.took(100);
  pass(wakefulness, IDLE, TRIAL_GROUPS - 1);
  expect(wakefulness.awake).toBe(true);
});

// When a thread stays awake, and for how long.
//
// Method: a clock and an event loop that the test turns by hand.
import { expect, it } from "vitest";
import { Vigil, VIGIL_MS } from "./vigil.ts";

function kept(processors = 2) {
  const at = { ms: 0 };
  const turns: (() => void)[] = [];
  const vigil = new Vigil({ nowMs: () => at.ms, nextTurn: (turn) => turns.push(turn), processors });
  const wait = (ms: number): void => {
    vigil.begin();
    at.ms += ms;
    vigil.end();
  };
  const turn = (): void => turns.shift()?.();
  return { vigil, at, turns, wait, turn };
}

it("sleeps for the first message, and stays awake after a wait that was short", () => {
  const { vigil, turns, wait, turn } = kept();
  wait(VIGIL_MS);
  expect(turns).toHaveLength(0);
  vigil.begin();
  turn();
  turn();
  expect(turns).toHaveLength(1);
  vigil.end();
  turn();
  expect(turns, "what was waited for has come").toHaveLength(0);
});

it("sleeps after so long, and for the next message as well", () => {
  const { vigil, at, turns, wait, turn } = kept();
  wait(0);
  vigil.begin();
  at.ms += VIGIL_MS * 2;
  turn();
  expect(turns).toHaveLength(0);
  vigil.end();
  vigil.begin();
  expect(turns).toHaveLength(0);
});

it("turns once in a turn, however soon the next message is expected", () => {
  const { turns, wait } = kept();
  wait(0);
  wait(0);
  wait(0);
  expect(turns).toHaveLength(1);
});

it("takes what nobody expected for no sign", () => {
  const { vigil, at, turns } = kept();
  vigil.end();
  at.ms += VIGIL_MS * 2;
  vigil.begin();
  expect(turns).toHaveLength(0);
});

it("always sleeps on a single processor", () => {
  const { turns, wait } = kept(1);
  wait(0);
  wait(0);
  expect(turns).toHaveLength(0);
});

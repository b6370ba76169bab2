// The rules that nobody can switch off.
import { describe, expect, it } from "vitest";
import { EFFECTS } from "../abi/effects.ts";
import type { Json } from "../abi/json.ts";
import { PAYLOAD_BYTES_MAX } from "../abi/limits.ts";
import type { ToolDefinition } from "../abi/tools.ts";
import type { CallView, ProcessView } from "../ports/process.ts";
import { createGovernance } from "./rules.ts";

const rules = createGovernance();
const process = {} as ProcessView;
const call = (effect: CallView["effect"], tool?: string): CallView => ({
  number: 0,
  syscall: "tool.call",
  args: {},
  effect,
  tool: tool === undefined ? undefined : ({ name: tool } as ToolDefinition),
});

const tooLarge = expect.objectContaining({
  code: "limit_exceeded",
  data: { limit: "payload_bytes", max: PAYLOAD_BYTES_MAX },
}) as Error;

describe("decide", () => {
  it("asks a human about what destroys, naming the tool, and about nothing else", () => {
    expect(EFFECTS.map((effect) => rules.decide(process, call(effect)).kind)).toEqual([
      "allow",
      "allow",
      "allow",
      "allow",
      "ask",
    ]);
    expect(rules.decide(process, call("destroy", "db.drop"))).toMatchObject({
      rule: "governance.destroy",
      reason: expect.stringContaining("db.drop"),
    });
  });
});

describe("sizes", () => {
  it("of arguments are bounded in bytes, to the byte", () => {
    const inspect = (text: string): void => rules.inspect(process, call("read"), text);
    for (const [unit, bytes] of [
      ["a", 1],
      ["é", 2],
      ["€", 3],
    ] as const) {
      const most = unit.repeat(Math.floor(PAYLOAD_BYTES_MAX / bytes));
      expect(() => inspect(most)).not.toThrow();
      expect(() => inspect(most + unit)).toThrow(tooLarge);
    }
  });

  it("of results are bounded where they come from outside; what passes is the value itself", () => {
    const large: Json = { text: "x".repeat(PAYLOAD_BYTES_MAX) };
    const small: Json = { text: "x" };
    for (const effect of ["read", "write", "send", "destroy"] as const) {
      expect(rules.judge(process, call(effect), small, JSON.stringify(small))).toBe(small);
      expect(() => rules.judge(process, call(effect), large, JSON.stringify(large))).toThrow(tooLarge);
    }
    expect(rules.judge(process, call("none"), small, JSON.stringify(small))).toBe(small);
  });
});

// How the tests of these tools call them, and what they were told, whatever came of it.
import { caller } from "../../../test/caller.ts";
import type { CallOptions, ToolOutcome } from "../../ports/tools.ts";

export const options = (more: Partial<CallOptions> = {}): CallOptions => ({
  ...caller(),
  key: "p_test.1",
  signal: new AbortController().signal,
  ...more,
});

export const textOf = (outcome: ToolOutcome): string => {
  if (outcome.kind === "unknown") return outcome.reason;
  return outcome.kind === "done" || outcome.kind === "failed" ? outcome.content.text : outcome.error.message;
};

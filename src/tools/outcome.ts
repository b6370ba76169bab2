// What the kernel is told of a call, from what the source said of it and what is known besides.
//
// Invariants:
//   O1. A tool that only looks has no `unknown` outcome: what it did not answer was, for all that matters, not performed.
//   O2. For every other tool `not_performed` is said only when the call certainly never left.
//   O3. An answer is passed on whole or refused with its size; it is never cut.
//   O4. Nothing hides in what is passed on: not in texts, not in data, not in errors.
import { errorRecord, OsError, type ErrorCode, type ErrorRecord } from "../abi/errors.ts";
import { needsIntent } from "../abi/effects.ts";
import type { JsonObject } from "../abi/json.ts";
import { TOOL_RESULT_BYTES_MAX } from "../abi/limits.ts";
import { toolContentSchema, type ToolContent, type ToolDefinition } from "../abi/tools.ts";
import type { ToolOutcome } from "../ports/tools.ts";
import { cleanJson, cleanText } from "./clean.ts";

/** Why a call was given up before its tool answered. */
export type GivenUp = { readonly why: "timeout"; readonly afterMs: number } | { readonly why: "cancelled" };

const encoder = new TextEncoder();
/** Exact where it matters: a character is at most three bytes, so only texts near the limit are encoded. */
const bytesOf = (text: string): number =>
  text.length * 3 <= TOOL_RESULT_BYTES_MAX / 2 ? text.length : encoder.encode(text).length;
const sizeOf = ({ text, data }: ToolContent): number =>
  bytesOf(text) + (data === undefined ? 0 : bytesOf(JSON.stringify(data)));

export function notPerformed(code: ErrorCode, message: string, data: JsonObject): ToolOutcome {
  return { kind: "not_performed", error: errorRecord(new OsError(code, message, { data })) };
}

const givenUpText = (givenUp: GivenUp): string =>
  givenUp.why === "timeout"
    ? `did not answer within ${givenUp.afterMs} ms`
    : "had not answered when the call was given up";

/** The outcome of a call that was given up before it left, or of a tool that only looks. */
export function unanswered(tool: ToolDefinition, givenUp: GivenUp): ToolOutcome {
  const { name } = tool;
  if (givenUp.why === "cancelled")
    return notPerformed("cancelled", `The call of ${name} was given up.`, { tool: name });
  const remedy = `Try again, or raise timeoutMs of ${name} in the configuration.`;
  return notPerformed("timeout", `${name} ${givenUpText(givenUp)}. ${remedy}`, {
    tool: name,
    afterMs: givenUp.afterMs,
  });
}

/** The error of an outcome that says that nothing was performed, for callers that hear of it by exception. */
export function refused(outcome: ToolOutcome): OsError {
  return outcome.kind === "not_performed"
    ? OsError.from(outcome.error)
    : new OsError("internal", `A refusal was expected, and not an outcome of kind ${outcome.kind}.`);
}

/** The outcome for a tool that declares a preview and whose source has none. */
export const unpreviewed = ({ name }: ToolDefinition): ToolOutcome =>
  notPerformed(
    "tool_unavailable",
    `${name} declares that it shows what it would do, and does not. Correct its manifest.`,
    {
      tool: name,
    },
  );

/** The outcome of a call that may have left and was given up. */
export function lost(tool: ToolDefinition, givenUp: GivenUp): ToolOutcome {
  if (!needsIntent(tool.manifest.effect)) return unanswered(tool, givenUp);
  return { kind: "unknown", reason: `${tool.name} ${givenUpText(givenUp)}; it may have been performed` };
}

/** Checks, measures and cleans what a tool answered. */
function judgeContent(
  tool: ToolDefinition,
  outcome: Extract<ToolOutcome, { readonly content: ToolContent }>,
): ToolOutcome {
  const parsed = toolContentSchema.safeParse(outcome.content);
  if (!parsed.success) {
    return {
      kind: "failed",
      content: { text: `${tool.name} was performed, but its answer is not text with JSON data and was refused.` },
    };
  }
  const size = sizeOf(parsed.data);
  if (size > TOOL_RESULT_BYTES_MAX) {
    const text = `${tool.name} was performed, but its answer of ${size} bytes was refused: at most ${TOOL_RESULT_BYTES_MAX} bytes are taken. Ask for less, for example for one part at a time.`;
    return { kind: "failed", content: { text } };
  }
  const { text, data } = parsed.data;
  try {
    return { kind: outcome.kind, content: { text: cleanText(text), ...(data && { data: cleanJson(data) }) } };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { kind: "failed", content: { text: `${tool.name} was performed, but its answer was refused: ${why}.` } };
  }
}

/** An error as it is passed on. Its data says nothing where it cannot be told without hiding something. */
export function cleanError(error: ErrorRecord): ErrorRecord {
  const cleaned = { ...error, message: cleanText(error.message) };
  try {
    return { ...cleaned, data: cleanJson(error.data) };
  } catch {
    // Two of its fields hide one name: whoever made them so has nothing to say.
    return { ...cleaned, data: {} };
  }
}

/** The source's word on a call that it answered in time, or that was given up meanwhile (`givenUp`). */
export function judge(tool: ToolDefinition, outcome: ToolOutcome, givenUp: GivenUp | undefined): ToolOutcome {
  switch (outcome.kind) {
    case "done":
    case "failed":
      return judgeContent(tool, outcome);
    case "not_performed":
      // What the source then says of an aborted call is less than what is known here.
      return givenUp === undefined
        ? { kind: "not_performed", error: cleanError(outcome.error) }
        : unanswered(tool, givenUp);
    case "unknown": {
      if (givenUp !== undefined) return lost(tool, givenUp);
      const reason = cleanText(outcome.reason);
      if (needsIntent(tool.manifest.effect)) return { kind: "unknown", reason };
      return notPerformed(
        "tool_unavailable",
        `${tool.name} gave no answer: ${reason}. It only reads, so it may be called again.`,
        { tool: tool.name },
      );
    }
  }
}

// Reading what a tool's `reconcile` says became of a call.
import { z } from "zod";
import { jsonSchema, type Json } from "../abi/json.ts";
import { toolContentSchema, type ToolContent } from "../abi/tools.ts";
import { cleanJson } from "./clean.ts";
import type { Settlement, ToolOutcome } from "../ports/tools.ts";

const answerSchema = z.object({ status: z.enum(["done", "not_done", "unknown"]), result: jsonSchema.optional() });

const unsettled = (reason: string): Settlement => ({ status: "unknown", reason });

/** The result that a call would have had: content as it stands, a text, or any JSON as text and data. */
function contentOf(result: Json, asked: string): ToolContent {
  if (result === null) return { text: `Done, as ${asked} says; it kept no result.` };
  if (typeof result === "string") return { text: result };
  const content = toolContentSchema.safeParse(result);
  if (content.success) return content.data;
  const text = JSON.stringify(result);
  return typeof result === "object" && !Array.isArray(result)
    ? { text, data: result as { readonly [key: string]: Json } }
    : { text };
}

/** What stood as an escape in a text (`\\u202e`) hides only once it is read. */
function doneWith(result: Json | undefined, asked: string): Settlement {
  try {
    return { status: "done", content: contentOf(cleanJson(result ?? null), asked) };
  } catch (error) {
    return unsettled(`${asked} answered with what cannot be used: ${error instanceof Error ? error.message : "?"}`);
  }
}

function parsedText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // No JSON is one of the answers that settle nothing; the schema says so.
    return undefined;
  }
}

/** `asked` names the reconcile tool. Anything but a well-formed, successful answer settles nothing, and says why. */
export function settlementOf(outcome: ToolOutcome, asked: string): Settlement {
  if (outcome.kind === "not_performed") return unsettled(`${asked} could not be asked: ${outcome.error.message}`);
  if (outcome.kind === "unknown") return unsettled(`${asked} gave no answer: ${outcome.reason}`);
  if (outcome.kind === "failed")
    return unsettled(`${asked} answered with an error: ${outcome.content.text.slice(0, 500)}`);
  const answer = answerSchema.safeParse(outcome.content.data ?? parsedText(outcome.content.text));
  if (!answer.success)
    return unsettled(
      `${asked} did not answer with { status: "done" | "not_done" | "unknown", result? } but with: ${outcome.content.text.slice(0, 200)}`,
    );
  const { status, result } = answer.data;
  if (status === "done") return doneWith(result, asked);
  return status === "not_done" ? { status } : unsettled(`${asked} does not know`);
}

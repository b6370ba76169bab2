// What can be asked of humans, and how it can be decided.
import { z } from "zod";
import { budgetSchema } from "./agents.ts";
import { effectSchema } from "./effects.ts";
import { processIdSchema, requestIdSchema } from "./ids.ts";
import { jsonObjectSchema, jsonSchema } from "./json.ts";
import { toolContentSchema } from "./tools.ts";

export const REQUEST_KINDS = ["approval", "question", "settlement", "budget"] as const;
/**
 * What is asked of a human: may this be done (`approval`), what is the answer (`question`),
 * what became of an effect whose outcome never came back (`settlement`), or may a process use up more than it was given (`budget`).
 */
export type RequestKind = (typeof REQUEST_KINDS)[number];
export type Verdict = "approved" | "rejected" | "answered" | "settled" | "raised";

/** A request as it stands in the inbox. */
export const inboxItemSchema = z.strictObject({
  request: requestIdSchema,
  pid: processIdSchema,
  agent: z.string(),
  /** The number of the call that asks. */
  call: z.int(),
  kind: z.enum(REQUEST_KINDS),
  /** One line: what is asked. */
  question: z.string(),
  /** For a question: the answers offered, if it offers any. */
  options: z.array(z.string()).optional(),
  /** For an approval or a settlement: the call that it is about. */
  tool: z.string().optional(),
  args: jsonSchema.optional(),
  effect: effectSchema.optional(),
  /** For an approval whose tool can say: what the call would do. The approval is for this and nothing else. */
  preview: z.strictObject({ text: z.string(), data: jsonObjectSchema.optional(), digest: z.string() }).optional(),
  /** Why it is asked: the rule's name and reason. */
  rule: z.string(),
  reason: z.string(),
  /** What an approval is bound to: SHA-256 over the call in RFC 8785 form, hex. */
  digest: z.string(),
  openedMs: z.number(),
});
export type InboxItem = z.infer<typeof inboxItemSchema>;

export const decisionSchema = z.discriminatedUnion("verdict", [
  z.strictObject({ verdict: z.literal("approved"), note: z.string().optional() }),
  z.strictObject({ verdict: z.literal("rejected"), note: z.string().optional() }),
  z.strictObject({ verdict: z.literal("answered"), answer: jsonSchema }),
  z.strictObject({
    verdict: z.literal("settled"),
    /** `done`: it happened, with this result; `not_done`: it did not happen, perform it now; `failed`: give it up. */
    outcome: z.enum(["done", "not_done", "failed"]),
    result: toolContentSchema.optional(),
    note: z.string().optional(),
  }),
  /** The budget that the process named in the request has from now on; what is not named stays. */
  z.strictObject({ verdict: z.literal("raised"), budget: budgetSchema, note: z.string().optional() }),
]);
export type Decision = z.infer<typeof decisionSchema>;

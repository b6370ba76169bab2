// What a process looks like from outside: the row of the process table.
import { z } from "zod";
import { budgetSchema } from "./agents.ts";
import type { ErrorRecord } from "./errors.ts";
import { ERROR_CODES } from "./errors.ts";
import { processIdSchema, requestIdSchema } from "./ids.ts";
import { jsonObjectSchema, jsonSchema } from "./json.ts";

/**
 * - `ready`    has something to do and waits for a node to run it
 * - `running`  is in a node's memory
 * - `waiting`  waits for a human, a timer, a message or a child; costs storage only
 * - `stopped`  was stopped by an operator; goes on with `cont`
 * - `exited`   is over; its authority with it
 */
export const PROCESS_STATES = ["ready", "running", "waiting", "stopped", "exited"] as const;
export type ProcessState = (typeof PROCESS_STATES)[number];

export const errorRecordSchema: z.ZodType<ErrorRecord, ErrorRecord> = z.strictObject({
  code: z.enum(ERROR_CODES as [ErrorRecord["code"]]),
  message: z.string(),
  retryable: z.boolean(),
  data: jsonObjectSchema,
});

/** What a process waits on; `call` is the number of the call that waits. */
export const waitSchema = z.discriminatedUnion("on", [
  z.strictObject({ on: z.literal("human"), call: z.int(), request: requestIdSchema }),
  z.strictObject({ on: z.literal("time"), call: z.int(), untilMs: z.number() }),
  z.strictObject({
    on: z.literal("message"),
    call: z.int(),
    topic: z.string().optional(),
    untilMs: z.number().optional(),
  }),
  z.strictObject({ on: z.literal("process"), call: z.int(), pid: processIdSchema }),
]);
export type Wait = z.infer<typeof waitSchema>;

export const exitSchema = z.discriminatedUnion("how", [
  z.strictObject({ how: z.literal("completed"), result: jsonSchema }),
  z.strictObject({ how: z.literal("failed"), error: errorRecordSchema }),
  /** By a signal, or because its parent exited. */
  z.strictObject({ how: z.literal("killed"), by: z.string(), reason: z.string() }),
]);
export type Exit = z.infer<typeof exitSchema>;

/** What a process has used up so far. */
export const spentSchema = z.strictObject({
  calls: z.int(),
  inputTokens: z.int(),
  outputTokens: z.int(),
  costUsd: z.number(),
});
export type Spent = z.infer<typeof spentSchema>;

export const processRowSchema = z.strictObject({
  pid: processIdSchema,
  parent: processIdSchema.nullable(),
  root: processIdSchema,
  depth: z.int(),
  agent: z.string(),
  state: z.enum(PROCESS_STATES),
  waits: z.array(waitSchema),
  exit: exitSchema.nullable(),
  budget: budgetSchema,
  spent: spentSchema,
  /** Events in its journal. */
  events: z.int(),
  /** Milliseconds since 1970. */
  createdMs: z.number(),
  updatedMs: z.number(),
});
export type ProcessRow = z.infer<typeof processRowSchema>;

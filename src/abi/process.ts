// What a process looks like from outside: the row of the process table.
import { z } from "zod";
import { budgetSchema } from "./agents.ts";
import type { ErrorRecord } from "./errors.ts";
import { ERROR_CODES } from "./errors.ts";
import { processIdSchema, requestIdSchema } from "./ids.ts";
import { jsonObjectSchema, jsonSchema } from "./json.ts";
import { classSchema, tenantSchema, treeBoundsSchema, weightSchema } from "./scheduling.ts";

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
  /** Its turn at a resource, or a lock: known in memory alone, since the process is `ready` and would ask again. */
  z.strictObject({ on: z.literal("turn"), call: z.int(), resource: z.string() }),
  z.strictObject({ on: z.literal("lock"), call: z.int(), key: z.string() }),
]);
export type Wait = z.infer<typeof waitSchema>;

export const exitSchema = z.discriminatedUnion("how", [
  z.strictObject({ how: z.literal("completed"), result: jsonSchema }),
  z.strictObject({ how: z.literal("failed"), error: errorRecordSchema }),
  /** By a signal, or because its parent exited. */
  z.strictObject({ how: z.literal("killed"), by: z.string(), reason: z.string() }),
]);
export type Exit = z.infer<typeof exitSchema>;

/** Amounts of what a budget counts: used up, or reserved. */
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
  class: classSchema,
  tenant: tenantSchema,
  weight: weightSchema,
  tree: treeBoundsSchema,
  budget: budgetSchema,
  /** By its own calls, those of unknown outcome included. */
  spent: spentSchema,
  /** For its calls under way. */
  reserved: spentSchema,
  /** By when it must be over; milliseconds since 1970. */
  deadlineMs: z.number().nullable(),
  /** Events in its journal. */
  events: z.int(),
  /** Milliseconds since 1970. */
  createdMs: z.number(),
  updatedMs: z.number(),
});
export type ProcessRow = z.infer<typeof processRowSchema>;

// What a tool declares about itself, and what it answers.
import { z } from "zod";
import { effectSchema } from "./effects.ts";
import { isolationLevelSchema } from "./isolation.ts";
import { jsonObjectSchema, type JsonObject } from "./json.ts";

/**
 * What repeating a call under the same idempotency key does, as the tool's author declares it:
 * `none` may act again; `key` the tool recognises the key; `natural` the action is the same however often it is done.
 */
export const IDEMPOTENCY = ["none", "key", "natural"] as const;

const manifestFields = {
  effect: effectSchema,
  idempotency: z.enum(IDEMPOTENCY),
  /** Name of a tool of the same source that takes { key, tool, args } and answers { status: done | not_done | unknown, result? }. */
  reconcile: z.string(),
  /** Name of a tool of the same source that takes { key, tool, args, result } and takes back what the call did. */
  undo: z.string(),
  /** The weakest isolation that it may run under; a source that gives less does not get to run it. */
  isolation: isolationLevelSchema,
  /** Whether it can say, before anybody approves, what a call would do; that is shown, and the approval is bound to it. */
  preview: z.boolean(),
  timeoutMs: z
    .int()
    .positive()
    .max(24 * 3600_000),
  /** Calls of this tool that may run at once. */
  concurrency: z.int().positive().max(10_000),
  /** A lock that each call holds while it runs, such as `order:{orderId}`; `{name}` is replaced by that argument. */
  exclusive: z.string().min(1).max(200),
  /** What one call costs, in US dollars; counts against budgets. */
  costUsd: z.number().nonnegative(),
  /** One line for the human who is asked; `{name}` is replaced by that argument. */
  summary: z.string().max(200),
};

/** What is not declared is taken at its worst. */
export const toolManifestSchema = z.strictObject({
  effect: manifestFields.effect.default("destroy"),
  idempotency: manifestFields.idempotency.default("none"),
  reconcile: manifestFields.reconcile.optional(),
  undo: manifestFields.undo.optional(),
  isolation: manifestFields.isolation.optional(),
  preview: manifestFields.preview.optional(),
  timeoutMs: manifestFields.timeoutMs.default(60_000),
  concurrency: manifestFields.concurrency.default(16),
  exclusive: manifestFields.exclusive.optional(),
  costUsd: manifestFields.costUsd.optional(),
  summary: manifestFields.summary.optional(),
});

/** Some of a manifest, to lay over another. A default here would override what it is laid over. */
export const manifestPartSchema = z.strictObject({
  effect: z.exactOptional(manifestFields.effect),
  idempotency: z.exactOptional(manifestFields.idempotency),
  reconcile: z.exactOptional(manifestFields.reconcile),
  undo: z.exactOptional(manifestFields.undo),
  isolation: z.exactOptional(manifestFields.isolation),
  preview: z.exactOptional(manifestFields.preview),
  timeoutMs: z.exactOptional(manifestFields.timeoutMs),
  concurrency: z.exactOptional(manifestFields.concurrency),
  exclusive: z.exactOptional(manifestFields.exclusive),
  costUsd: z.exactOptional(manifestFields.costUsd),
  summary: z.exactOptional(manifestFields.summary),
});
export type ToolManifest = z.infer<typeof toolManifestSchema>;

/** A tool as a process sees it. `name` is `source.tool`. */
export type ToolDefinition = {
  readonly name: string;
  readonly description: string;
  /** JSON Schema of the arguments. */
  readonly inputSchema: JsonObject;
  readonly manifest: ToolManifest;
  /** SHA-256 over name, description, schema and manifest in RFC 8785 form, hex: the pin. */
  readonly hash: string;
};

/** What a source itself says of a tool. What an operator's configuration says is no part of it. */
export const toolSaidSchema = z.strictObject({
  description: z.string(),
  inputSchema: jsonObjectSchema,
  /** What it says beside that of what the tool does, whether or not that is believed. */
  annotations: jsonObjectSchema,
});
export type ToolSaid = z.infer<typeof toolSaidSchema>;

/**
 * How what a source outside says of a tool stands to what was taken from it:
 * - `own`      the tool is Reeve's, or yours: nothing is held against it
 * - `pinned`   it is as it was when it was taken
 * - `new`      it came after its source was first seen, and is held back
 * - `changed`  it is not what it was, and is held back
 * - `gone`     its source does not list it now
 */
export const PIN_STATES = ["own", "pinned", "new", "changed", "gone"] as const;
export type PinState = (typeof PIN_STATES)[number];

/** What was taken from a source: that a tool is this. */
export type ToolPin = {
  /** As its source knows it. */
  readonly tool: string;
  readonly said: ToolSaid;
  /** SHA-256 over the tool's name and what is said of it in RFC 8785 form, hex. */
  readonly hash: string;
  /** Who took it; null if it was there when its source was first seen. */
  readonly by: string | null;
  /** Milliseconds since 1970. */
  readonly atMs: number;
};

export const toolContentSchema = z.strictObject({
  /** Text for the model. */
  text: z.string(),
  /** The same as data, if the tool gives any. */
  data: jsonObjectSchema.optional(),
});
export type ToolContent = z.infer<typeof toolContentSchema>;

/** What `tool({ … })` gives: a TypeScript function as a tool. `input` may be any Standard Schema that can say its JSON Schema. */
export type FunctionTool = {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: JsonObject;
  readonly manifest: z.input<typeof toolManifestSchema>;
  /** Checks the arguments and runs the tool. `key` is the call's idempotency key. */
  readonly run: (args: JsonObject, context: ToolContext) => Promise<ToolContent>;
};

export type ToolContext = { readonly key: string; readonly signal: AbortSignal };

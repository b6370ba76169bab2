// What operators are told: events, reports and reasons, as they travel.
import { z } from "zod";
import { agentManifestSchema } from "./agents.ts";
import { effectSchema } from "./effects.ts";
import { processIdSchema } from "./ids.ts";
import { jsonObjectSchema, jsonSchema } from "./json.ts";
import { PROCESS_STATES, processRowSchema, spentSchema } from "./process.ts";
import { inboxItemSchema } from "./requests.ts";
import { classSchema } from "./scheduling.ts";

export const eventSchema = z.strictObject({
  pid: processIdSchema,
  seq: z.int(),
  atMs: z.number(),
  header: jsonObjectSchema,
  payloads: jsonObjectSchema,
  hash: z.string(),
});

export const verifyReportSchema = z.strictObject({
  pid: processIdSchema,
  identical: z.boolean(),
  /** Events read, calls answered from the journal. */
  events: z.int(),
  calls: z.int(),
  /** The first difference, if there is one. */
  difference: z.strictObject({ call: z.int(), field: z.string(), recorded: jsonSchema, issued: jsonSchema }).nullable(),
  /** Whether the hash chain holds, or the first event whose hash does not fit. */
  chain: z.strictObject({ intact: z.boolean(), brokenAt: z.int().nullable() }),
  elapsedMs: z.number(),
});
export type VerifyReport = z.infer<typeof verifyReportSchema>;

export const checkSchema = z.strictObject({
  name: z.string(),
  state: z.enum(["ok", "warning", "failed", "off"]),
  /** What was found; for a warning or failure also what to do. */
  detail: z.string(),
});
export type Check = z.infer<typeof checkSchema>;

const processNameSchema = z.strictObject({ pid: processIdSchema, agent: z.string(), class: classSchema });

/** A call of a model or a tool that was being made when its process was ended. */
export const endedCallSchema = z.strictObject({
  pid: processIdSchema,
  call: z.int(),
  effect: effectSchema,
  /** One line for people, cut to what fits one: the tool with its arguments, or the model. */
  what: z.string(),
  /** It is an effect that was dispatched: it may or may not have happened. Of any other nothing is known, and nothing was changed. */
  uncertain: z.boolean(),
});
export type EndedCall = z.infer<typeof endedCallSchema>;

/** One wait in facts and in words. */
export const waitExplainedSchema = z.strictObject({
  call: z.int(),
  on: z.enum(["human", "time", "message", "process", "turn", "lock", "memory", "stopped"]),
  /** The request, topic, pid, resource or key. */
  what: z.string(),
  /** One line for people: why it waits, and for what. */
  reason: z.string(),
  /** For a turn or a lock: how many go before it. */
  position: z.int().nullable(),
  ahead: z.array(processNameSchema),
  /** How long it has to reckon with, if anything is known; milliseconds. */
  estimateMs: z.number().nullable(),
  sinceMs: z.number().nullable(),
});
export type WaitExplained = z.infer<typeof waitExplainedSchema>;

/** What is left of each budget that bounds a process. */
export const amountsLeftSchema = z.partialRecord(
  z.enum(["calls", "inputTokens", "outputTokens", "tokens", "costUsd", "wallMs"]),
  z.number(),
);

/** Everything about one process. */
export const processShownSchema = z.strictObject({
  process: processRowSchema,
  manifest: agentManifestSchema,
  program: z.string(),
  task: jsonSchema,
  tools: z.array(z.strictObject({ name: z.string(), effect: effectSchema, hash: z.string() })),
  inbox: z.array(inboxItemSchema),
  children: z.array(processRowSchema),
  /** Each wait, and why. */
  waiting: z.array(waitExplainedSchema),
  /** What is left to it of each budget that bounds it, and what its tree has used and reserved. */
  left: amountsLeftSchema,
  tree: z.strictObject({ spent: spentSchema, reserved: spentSchema, locks: z.array(z.string()) }),
});

/** What is in force, each part checked now. */
export const inspectionSchema = z.strictObject({
  version: z.string(),
  node: z.string(),
  folder: z.string(),
  checks: z.array(checkSchema),
  /** Processes in memory, and those that are ready and wait for room in it. */
  memory: z.strictObject({ processes: z.int(), max: z.int(), queued: z.int() }),
  resources: z.array(
    z.strictObject({
      name: z.string(),
      slots: z.int(),
      inUse: z.int(),
      waiting: z.record(classSchema, z.int()),
      meanServiceMs: z.number().nullable(),
    }),
  ),
});

/** One effect of a process, and how it is taken back. */
export const undoStepSchema = z.strictObject({
  /** Whose call it was: the process's own, or that of one below it. */
  pid: processIdSchema,
  call: z.int(),
  tool: z.string(),
  effect: effectSchema,
  args: jsonObjectSchema,
  /**
   * `undo` by the tool named; `workspace` by `reeve rollback`; `removed` it went with its workspace; `none` the tool has no undo; `unknown` it is not known whether it happened, or was taken back;
   * `undone` it has been taken back already.
   */
  how: z.enum(["undo", "workspace", "removed", "none", "unknown", "undone"]),
  by: z.string().nullable(),
});
export type UndoStep = z.infer<typeof undoStepSchema>;

const ENTRY_KINDS = ["file", "folder", "link"] as const;

/** What differs in a workspace. */
export const changeSchema = z.strictObject({
  /** Relative to the workspace; bytes that are no UTF-8 stand as `\\xNN`. */
  path: z.string(),
  change: z.enum(["added", "changed", "removed"]),
  kind: z.enum(ENTRY_KINDS),
  /** After the change; of what was removed, before it. */
  sizeBytes: z.number(),
  /** What stood there before, of what was changed. */
  before: z
    .strictObject({ kind: z.enum(ENTRY_KINDS), sizeBytes: z.number(), target: z.string().optional() })
    .optional(),
  /** Permissions in octal, where they differ. */
  mode: z.strictObject({ from: z.string(), to: z.string() }).optional(),
  /** Where a link leads; of one that was removed, where it led. */
  target: z.string().optional(),
  /** A link that may lead out of the workspace, and is not written back. */
  leadsOut: z.literal(true).optional(),
  /** Of a file that was added, the path of one that was removed and had the same content; and the reverse. */
  moved: z.string().optional(),
  /** A unified diff, where both sides are text of moderate size, and no file was only moved. */
  diff: z.string().optional(),
  /** Why there is none although the contents differ: they are no text, too long, or there is too much else to show. */
  unshown: z.enum(["binary", "long", "room"]).optional(),
});
export type Change = z.infer<typeof changeSchema>;

/** Something that is neither kept, copied nor compared. */
export const leftOutSchema = z.strictObject({ path: z.string(), why: z.string() });
export type LeftOut = z.infer<typeof leftOutSchema>;

export const differencesSchema = z.strictObject({
  changes: z.array(changeSchema),
  /** What differs and is not listed, since there is too much of it. */
  more: z.int().nonnegative(),
  leftOut: z.array(leftOutSchema),
});
/** A workspace, as lists show it. */
export const workspaceRowSchema = z.strictObject({
  pid: processIdSchema,
  /** Of its process; null where that is not known any more. */
  agent: z.string().nullable(),
  state: z.enum(PROCESS_STATES).nullable(),
  /** When anything last happened to its process; milliseconds since 1970. */
  updatedMs: z.number().nullable(),
  /** The folder that it began as a copy of; null if it began empty. */
  from: z.string().nullable(),
  /** On the disk, with all that was kept of it. Null where it could not be looked into. */
  sizeBytes: z.number().nullable(),
  /** What stands in it and nowhere else: differences that were not written back, and what cannot be. Null as well. */
  changed: z.int().nonnegative().nullable(),
  /** Why it could not be. */
  trouble: z.string().optional(),
});
export type WorkspaceRow = z.infer<typeof workspaceRowSchema>;

/** `leftOut`: what stands there and is not kept, copied or compared, each with the reason. */
export type Differences = z.infer<typeof differencesSchema>;

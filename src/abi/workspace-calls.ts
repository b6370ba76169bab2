// The rows of the system call table that are about workspaces.
import { z } from "zod";
import { processIdSchema } from "./ids.ts";
import { PAGE_ROWS_MAX } from "./limits.ts";
import { differencesSchema, workspaceRowSchema } from "./reports.ts";

export const WORKSPACE_CALLS = {
  "workspace.list": {
    doc: "List the workspaces that there are, in the order of their processes' ids, and look into each: how much room it takes, and how much stands in it and nowhere else.",
    callers: ["operator"],
    input: z.strictObject({
      /** Only those of processes whose ids come after this one. */
      after: processIdSchema.optional(),
      limit: z.coerce.number().int().positive().max(PAGE_ROWS_MAX).default(100),
    }),
    output: z.strictObject({ workspaces: z.array(workspaceRowSchema) }),
    effect: "read",
    right: "own",
    errors: ["unsupported"],
    http: { method: "get", path: "/v1/workspaces" },
  },
  "workspace.diff": {
    doc: "What differs in the workspace of a process from how it began or was last written back, or from how it stood before a call.",
    callers: ["operator"],
    input: z.strictObject({ pid: processIdSchema, from: z.coerce.number().int().nonnegative().optional() }),
    output: z.strictObject({
      ...differencesSchema.shape,
      /** The calls before which it was kept. */
      snapshots: z.array(z.int()),
    }),
    effect: "read",
    right: "own",
    errors: ["not_found", "limit_exceeded", "unsupported"],
    http: { method: "get", path: "/v1/processes/{pid}/workspace" },
  },
  "workspace.patch": {
    doc: "The same as one patch that `git apply` takes: with contents that are no text, with links, and with whether a file can be run. All of it, or an error.",
    callers: ["operator"],
    input: z.strictObject({ pid: processIdSchema, from: z.coerce.number().int().nonnegative().optional() }),
    output: z.strictObject({
      patch: z.string(),
      /** What is not in it, and why. */
      leftOut: differencesSchema.shape.leftOut,
    }),
    effect: "read",
    right: "own",
    errors: ["not_found", "limit_exceeded", "unsupported"],
    http: { method: "get", path: "/v1/processes/{pid}/workspace/patch" },
  },
  "workspace.commit": {
    doc: "Write what differs in the workspace of a process back to the folder that it began as a copy of, or to the one that is named if it began empty. If that was changed meanwhile in the same places, nothing is written. Asked for again after a crash, it does what is left.",
    callers: ["operator"],
    input: z.strictObject({
      pid: processIdSchema,
      /** Paths as `workspace.diff` tells them: what differs at or below them is not written, and goes on to differ. */
      except: z.array(z.string().min(1)).max(1_000).default([]),
      /** Of a workspace that began empty: a folder within the project's, which is its own from then on. */
      to: z.string().min(1).optional(),
    }),
    /** What was written. */
    output: differencesSchema,
    effect: "write",
    right: "own",
    errors: ["not_found", "conflict", "invalid_argument", "limit_exceeded", "unsupported"],
    http: { method: "post", path: "/v1/processes/{pid}/workspace/commit" },
  },
  "workspace.rollback": {
    doc: "Put the workspace of a process back to how it began or was last written back, or to how it stood before a call, or before it was last put back (`replaced`). The process must be stopped or over.",
    callers: ["operator"],
    input: z.strictObject({
      pid: processIdSchema,
      to: z.union([z.int().nonnegative(), z.literal("replaced")]).optional(),
    }),
    /** What that changed. */
    output: differencesSchema,
    effect: "write",
    right: "own",
    errors: ["not_found", "conflict", "limit_exceeded", "unsupported"],
    http: { method: "post", path: "/v1/processes/{pid}/workspace/rollback" },
  },
  "workspace.remove": {
    doc: "Remove the workspace of a process that is over, with all that was kept of it. One that holds what is nowhere else is removed only if that is given up.",
    callers: ["operator"],
    input: z.strictObject({
      pid: processIdSchema,
      /** Give up what is nowhere else: what was not written back. */
      discard: z.boolean().default(false),
    }),
    /** What stood in it and nowhere else, and is lost. */
    output: differencesSchema,
    effect: "destroy",
    right: "own",
    errors: ["not_found", "conflict", "limit_exceeded", "unsupported"],
    http: { method: "post", path: "/v1/processes/{pid}/workspace/removal" },
  },
} as const;

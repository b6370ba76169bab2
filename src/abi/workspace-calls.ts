// The rows of the system call table that are about workspaces.
import { z } from "zod";
import { processIdSchema } from "./ids.ts";
import { differencesSchema } from "./reports.ts";

export const WORKSPACE_CALLS = {
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
  "workspace.commit": {
    doc: "Write what differs in the workspace of a process back to the folder that it began as a copy of. If that was changed meanwhile in the same places, nothing is written. Asked for again after a crash, it does what is left.",
    callers: ["operator"],
    input: z.strictObject({ pid: processIdSchema }),
    /** What was written. */
    output: differencesSchema,
    effect: "write",
    right: "own",
    errors: ["not_found", "conflict", "invalid_argument", "limit_exceeded", "unsupported"],
    http: { method: "post", path: "/v1/processes/{pid}/workspace/commit" },
  },
  "workspace.rollback": {
    doc: "Put the workspace of a process back to how it began or was last written back, or to how it stood before a call. The process must be stopped or over.",
    callers: ["operator"],
    input: z.strictObject({ pid: processIdSchema, to: z.int().nonnegative().optional() }),
    /** What that changed. */
    output: differencesSchema,
    effect: "write",
    right: "own",
    errors: ["not_found", "conflict", "limit_exceeded", "unsupported"],
    http: { method: "post", path: "/v1/processes/{pid}/workspace/rollback" },
  },
} as const;

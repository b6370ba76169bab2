// The rows of the system call table that are about sources of tools.
import { z } from "zod";
import { isolationLevelSchema } from "./isolation.ts";
import { jsonObjectSchema } from "./json.ts";
import { PIN_STATES, toolManifestSchema, toolSaidSchema } from "./tools.ts";

const heldTool = z.strictObject({ name: z.string(), pin: z.enum(PIN_STATES), hash: z.string().nullable() });

export const TOOL_CALLS = {
  "tool.list": {
    doc: "The tools that agents can be given, by source; a source that does not answer is listed with its error.",
    callers: ["operator"],
    input: z.strictObject({}),
    output: z.strictObject({
      tools: z.array(
        z.strictObject({
          name: z.string(),
          description: z.string(),
          hash: z.string(),
          manifest: toolManifestSchema,
          inputSchema: jsonObjectSchema,
          isolation: isolationLevelSchema,
          pin: z.enum(PIN_STATES),
        }),
      ),
      /** What is not offered, since it is not what was taken from its source, and what its source does not list any more. */
      held: z.array(heldTool),
      sources: z.array(
        z.strictObject({
          name: z.string(),
          isolation: isolationLevelSchema,
          /** Null for sources that are Reeve's or yours, or that do not answer. */
          firstSeenMs: z.number().nullable(),
        }),
      ),
      unavailable: z.array(z.strictObject({ source: z.string(), message: z.string() })),
    }),
    effect: "read",
    right: "own",
    errors: [],
    http: { method: "get", path: "/v1/tools" },
  },
  "tool.diff": {
    doc: "What was taken of a tool from its source, and what the source says of it now.",
    callers: ["operator"],
    input: z.strictObject({ tool: z.string().min(1) }),
    output: heldTool.extend({
      before: toolSaidSchema.nullable(),
      after: toolSaidSchema.nullable(),
      by: z.string().nullable(),
      atMs: z.number().nullable(),
      diff: z.string(),
    }),
    effect: "read",
    right: "own",
    errors: ["not_found", "tool_unavailable"],
    http: { method: "get", path: "/v1/tools/{tool}/diff" },
  },
  "tool.accept": {
    doc: "Take tools as their sources describe them now: those that are named, or all of one source. Those that are gone are forgotten. Who did it is kept.",
    callers: ["operator"],
    input: z.strictObject({
      /** With a hash, only what was looked at is taken. */
      tools: z
        .array(z.strictObject({ tool: z.string().min(1), hash: z.string().optional() }))
        .max(1_000)
        .default([]),
      source: z.string().min(1).optional(),
    }),
    output: z.strictObject({ accepted: z.array(z.string()) }),
    effect: "write",
    right: "own",
    errors: ["not_found", "conflict", "tool_unavailable", "invalid_argument"],
    http: { method: "post", path: "/v1/tools/acceptances" },
  },
  "tool.login": {
    doc: "Log in at the authorisation server of a source of tools. Answers with an address to open in a browser; issued again with the query that the browser came back with, it ends the login.",
    callers: ["operator"],
    input: z.strictObject({
      source: z.string().min(1),
      /** A loopback address that the browser is sent back to; the same at both times. */
      redirect: z.url({ protocol: /^http$/, hostname: /^(127\.0\.0\.1|localhost|\[::1\])$/ }),
      answer: z.string().max(10_000).optional(),
    }),
    /** Null when the source may be used. */
    output: z.strictObject({ address: z.string().nullable() }),
    effect: "write",
    right: "own",
    errors: ["not_found", "unsupported", "denied", "tool_unavailable"],
    http: { method: "post", path: "/v1/sources/{source}/login" },
  },
  "tool.logout": {
    doc: "Forget what a login at a source of tools gave. Answers whether there was anything.",
    callers: ["operator"],
    input: z.strictObject({ source: z.string().min(1) }),
    output: z.strictObject({ removed: z.boolean() }),
    effect: "write",
    right: "own",
    errors: ["not_found"],
    http: { method: "post", path: "/v1/sources/{source}/logout" },
  },
} as const;

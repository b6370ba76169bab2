// What an agent declares about itself.
import { z } from "zod";
import { egressRuleSchema, sandboxLimitsPartSchema } from "./isolation.ts";
import { classSchema, treeBoundsSchema, weightSchema } from "./scheduling.ts";

const nameSchema = z.string().regex(/^[a-zA-Z0-9][\w.-]{0,63}$/, "is not a name (letters, digits, _ . -; at most 64)");

/**
 * What a process may use up, with all its descendants; absent means that only its ancestors' budgets bound it. A child's
 * budget is carved from its parent's: it counts there as used until the child has exited, and what is left comes back.
 */
export const budgetSchema = z.strictObject({
  /** Calls of models and tools. */
  calls: z.int().positive().optional(),
  /** Input and output tokens together. */
  tokens: z.int().positive().optional(),
  inputTokens: z.int().positive().optional(),
  outputTokens: z.int().positive().optional(),
  /** US dollars, by the price table. */
  costUsd: z.number().positive().optional(),
  /** Milliseconds since its creation, however they were spent. */
  wallMs: z.int().positive().optional(),
  /** What a call meets that would cross a line: `fail` refuses it, `ask` asks a human for more and lets it wait. */
  whenExhausted: z.enum(["fail", "ask"]).optional(),
});
export type Budget = z.infer<typeof budgetSchema>;

/** The front matter of a Markdown agent, and what `agent({ … })` of a module takes beside `run`. */
export const agentManifestSchema = z.strictObject({
  name: nameSchema,
  description: z.string().min(1).max(1000),
  /** `provider/model`; the configuration's default if absent. */
  model: z.string().min(3).optional(),
  /** Tools that the agent may call: `source.tool`, or `source.*`. */
  tools: z.array(z.string().min(1)).default([]),
  /** Agents that the agent may spawn. */
  agents: z.array(nameSchema).default([]),
  /** How urgent its processes are, unless whoever starts one says less. */
  class: classSchema.default("standard"),
  /** The share of a tree whose root runs this agent, among the trees of its tenant. */
  weight: weightSchema.default(1),
  budget: budgetSchema.default({}),
  /** Bounds on the tree below each of its processes; the configuration's hold as well. */
  tree: treeBoundsSchema.default({}),
  /**
   * The folder that its processes work in. Each has its own: a copy of `from` (relative to the configuration; empty if absent) that is
   * written back only by `reeve commit`.
   */
  workspace: z.strictObject({ from: z.string().min(1).optional() }).default({}),
  /** What its own programs and the built-in tools may reach for it. */
  egress: z.array(egressRuleSchema).default([]),
  /** Secrets that are sent for it to their destinations; it sees placeholders. */
  secrets: z.array(z.string()).default([]),
  /** Limits of each sandbox that runs for it, within the configuration's. */
  limits: sandboxLimitsPartSchema.default({}),
  /** Model turns of the built-in loop before it gives up. */
  turns: z.int().positive().max(10_000).default(100),
  temperature: z.number().min(0).max(2).optional(),
  maxOutputTokens: z.int().positive().optional(),
  /** Where the loop takes the next user message from when the model asks for no tool: `none` ends the process. */
  conversation: z.enum(["none", "messages"]).default("none"),
});
export type AgentManifest = z.infer<typeof agentManifestSchema>;

/** The tool that runs the command of a command agent; no agent file may name it. */
export const EXEC_TOOL = "reeve.exec";
/** The name of the native program that takes back what a process did. */
export const UNDO_PROGRAM = "undo";

/** An agent as it was found: its manifest, how it runs, and the hash of its source. */
export type Agent = {
  readonly manifest: AgentManifest;
  readonly program:
    | { readonly kind: "markdown"; readonly instructions: string }
    | { readonly kind: "module"; readonly file: string }
    | { readonly kind: "native"; readonly name: string }
    /** Any program, run in a sandbox; its name is found there. */
    | { readonly kind: "command"; readonly command: readonly string[] };
  /** SHA-256 of the source, in hex. */
  readonly hash: string;
};

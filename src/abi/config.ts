// The configuration: everything an operator can set, in one file, `reeve.config.ts`.
import { z } from "zod";
import { budgetSchema } from "./agents.ts";
import { classSchema, tenantSchema, treeBoundsSchema, weightSchema } from "./scheduling.ts";
import { manifestPartSchema } from "./tools.ts";

/** The name of an environment variable: secrets are named here, never written. */
const envName = z.string().regex(/^[A-Z_][A-Z0-9_]*$/, "is not the name of an environment variable");

const priceSchema = z.strictObject({
  /** US dollars for a million tokens. */
  input: z.number().nonnegative(),
  output: z.number().nonnegative(),
  cacheRead: z.number().nonnegative().optional(),
  cacheWrite: z.number().nonnegative().optional(),
});

/** How much may be under way at once, and in a minute; what a provider says of itself in its headers holds as well. */
const rates = {
  concurrency: z.int().positive().default(8),
  requestsPerMinute: z.int().positive().optional(),
  tokensPerMinute: z.int().positive().optional(),
};

const providerSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.enum(["openai", "anthropic", "google"]),
    baseUrl: z.url().optional(),
    keyFrom: envName.optional(),
    headers: z.record(z.string(), z.string()).default({}),
    ...rates,
    timeoutMs: z.int().positive().default(300_000),
    prices: z.record(z.string(), priceSchema).default({}),
  }),
  z.strictObject({
    type: z.literal("openai-compatible"),
    baseUrl: z.url(),
    keyFrom: envName.optional(),
    headers: z.record(z.string(), z.string()).default({}),
    ...rates,
    timeoutMs: z.int().positive().default(300_000),
    prices: z.record(z.string(), priceSchema).default({}),
  }),
  /** Plays a script instead of a model, and says so: for a first run without an account, and for tests. */
  z.strictObject({ type: z.literal("rehearsal"), script: z.string(), ...rates }),
]);
export type ProviderConfig = z.infer<typeof providerSchema>;

const toolOverrides = { tools: z.record(z.string(), manifestPartSchema).default({}) };
/** Believe what an MCP server says of its own tools (readOnlyHint, destructiveHint, idempotentHint). */
const mcpCommon = {
  trustAnnotations: z.boolean().default(false),
  startTimeoutMs: z.int().positive().default(15_000),
  ...toolOverrides,
};

const sourceSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("mcp-stdio"),
    command: z.string().min(1),
    args: z.array(z.string()).default([]),
    cwd: z.string().optional(),
    env: z.record(z.string(), z.string()).default({}),
    ...mcpCommon,
  }),
  z.strictObject({
    type: z.literal("mcp-http"),
    url: z.url(),
    headers: z.record(z.string(), z.string()).default({}),
    ...mcpCommon,
  }),
  /** A module that exports tools made with `tool({ … })`. */
  z.strictObject({ type: z.literal("module"), file: z.string().min(1), ...toolOverrides }),
]);
export type SourceConfig = z.infer<typeof sourceSchema>;

const sourceName = z
  .string()
  .regex(/^[a-zA-Z0-9][a-zA-Z0-9_-]{0,31}$/, "is not a name (letters, digits, _ -; at most 32)");

export const configSchema = z.strictObject({
  /** Folder of the journal and everything derived from it, relative to the configuration. */
  dataFolder: z.string().min(1).default(".reeve"),
  /** Folder of agent files. */
  agentsFolder: z.string().min(1).default("agents"),
  /** Used by agents that name no model. */
  defaultModel: z.string().optional(),
  /** Model providers by the name that stands before the slash. `openai`, `anthropic` and `google` exist without being named here. */
  models: z.record(sourceName, providerSchema).default({}),
  /** Tool sources by the name that stands before the dot. */
  tools: z.record(sourceName, sourceSchema).default({}),
  server: z.strictObject({ port: z.int().min(0).max(65_535).default(4180) }).prefault({}),
  limits: z
    .strictObject({
      /** Processes in memory at once; the others wait their turn or on something, on disk. */
      processesInMemory: z.int().positive().default(256),
      /** Child processes that run module agents at once. */
      moduleProcesses: z.int().positive().default(8),
      /** How long a waiting process stays in memory before it is put to disk. */
      parkAfterMs: z.int().nonnegative().default(5_000),
      /** What every root gets that is given no less. */
      budget: budgetSchema.default({}),
      /** Processes that those of one tree may start in a minute; a fiftieth of it at once. More wait their turn. */
      spawnsPerMinute: z.int().positive().default(1_200),
      /** Bounds on every tree. */
      tree: treeBoundsSchema.default({}),
    })
    .prefault({}),
  scheduler: z
    .strictObject({
      /** A class that has waited so long at a resource without a turn gets one, whatever waits above it. Milliseconds. */
      agingMs: z.int().positive().default(10_000),
      /** Shares of tenants; a tenant that is not named has 1. */
      tenants: z.record(tenantSchema, z.strictObject({ weight: weightSchema })).default({}),
      /** By the name of a resource (`model:openai`, `tool:shop.refund`): slots kept free for a class and those above it. */
      reserved: z.record(z.string(), z.partialRecord(classSchema, z.int().nonnegative())).default({}),
    })
    .prefault({}),
});

export type Config = z.output<typeof configSchema>;
export type ConfigInput = z.input<typeof configSchema>;

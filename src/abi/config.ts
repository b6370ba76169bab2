// The configuration: everything an operator can set, in one file, `reeve.config.ts`.
import { z } from "zod";
import { budgetSchema } from "./agents.ts";
import {
  egressBoundsSchema,
  egressRuleSchema,
  POSTURES,
  sandboxGrantSchema,
  sandboxLimitsSchema,
  secretSchema,
} from "./isolation.ts";
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

/** How Reeve proves itself where an MCP server asks for it. Without any of it: by a person's login, as a client that registers itself. */
const oauthSchema = z
  .strictObject({
    /** `authorization_code`: a person logs in (`reeve tools login`). `client_credentials`: a client of its own, with a secret. */
    grant: z.enum(["authorization_code", "client_credentials"]).default("authorization_code"),
    clientId: z.string().min(1).optional(),
    /** The environment variable of Reeve's own that holds the client's secret. */
    clientSecretFrom: envName.optional(),
    /** An https address with a client id metadata document. */
    clientMetadataUrl: z.url({ protocol: /^https$/ }).optional(),
    /** The only authorisation server that the client and its secret are for. As you wrote it, it may stand for any address. */
    issuer: z.url().optional(),
    /** Scopes, with blanks between them. What the server names if absent. */
    scope: z.string().min(1).optional(),
  })
  .refine(({ grant, clientId, clientSecretFrom }) => grant !== "client_credentials" || (clientId && clientSecretFrom), {
    message: "client_credentials needs clientId and clientSecretFrom",
  })
  .refine(({ clientSecretFrom, clientId, issuer }) => clientSecretFrom === undefined || (clientId && issuer), {
    message: "a secret needs clientId, and issuer: the one authorisation server that it may be sent to",
  });

const mcpIsolation = z.enum(["process", "none"]);
/** A table of a database, or of one of its schemas. */
const tableName = z.string().regex(/^\w+(\.\w+)?$/, "is not the name of a table, or a schema's and a table's");

const sourceSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("mcp-stdio"),
    command: z.string().min(1),
    args: z.array(z.string()).default([]),
    cwd: z.string().optional(),
    env: z.record(z.string(), z.string()).default({}),
    /** `process`: in a sandbox, with what `sandbox` grants beside the folder that it runs in. `none`: with your rights. */
    isolation: mcpIsolation.default("process"),
    sandbox: sandboxGrantSchema.prefault({}),
    ...mcpCommon,
  }),
  z.strictObject({
    type: z.literal("mcp-http"),
    url: z.url(),
    /** With an `authorization` among them, nobody is asked to log in. */
    headers: z.record(z.string(), z.string()).default({}),
    oauth: oauthSchema.prefault({}),
    /** Names of secrets: their placeholders in `headers` are replaced on the way to where they belong. */
    secrets: z.array(z.string()).default([]),
    /** Where a login may lead beside `url`, `oauth.issuer`, and public addresses by https. */
    egress: z.array(egressRuleSchema).default([]),
    ...mcpCommon,
  }),
  /** A module that exports tools made with `tool({ … })`. */
  z.strictObject({ type: z.literal("module"), file: z.string().min(1), ...toolOverrides }),
  /** Servers that an `.mcp.json` file of other assistants names, each a source under its own name. `tools` are by `SERVER.TOOL`. */
  z.strictObject({
    type: z.literal("mcp-json"),
    file: z.string().min(1).default(".mcp.json"),
    /** By server: what its sandbox is granted; of one over HTTP, its `egress` and `secrets`. */
    sandbox: z.record(z.string(), sandboxGrantSchema).default({}),
    /** By server. `none`: with your rights. */
    isolation: z.record(z.string(), mcpIsolation).default({}),
    ...mcpCommon,
  }),
  /** The operations of an OpenAPI 3.1 document: GET and HEAD read, DELETE destroys, the rest sends. */
  z.strictObject({
    type: z.literal("openapi"),
    /** A file, relative to the configuration, or an https address. */
    document: z.string().min(1),
    /** In place of the document's first server. */
    baseUrl: z.url().optional(),
    /** Which operations are tools: those that any word of it speaks of. All if absent. `*` stands for any characters. */
    only: z
      .strictObject({
        tags: z.array(z.string()).default([]),
        /** `/orders*`, or with a method: `GET /orders*`. */
        paths: z.array(z.string()).default([]),
        /** By `operationId`. */
        operations: z.array(z.string()).default([]),
      })
      .refine((only) => Object.values(only).some((words) => words.length > 0), "names no operations")
      .optional(),
    headers: z.record(z.string(), z.string()).default({}),
    secrets: z.array(z.string()).default([]),
    allowPrivate: z.boolean().default(false),
    ...toolOverrides,
  }),
  /** Tools that come with Reeve. */
  z.strictObject({
    type: z.literal("builtin"),
    use: z.array(z.enum(["shell", "python", "javascript", "files", "http"])).min(1),
    ...toolOverrides,
  }),
  /** One database, by statements that are parsed before they run. */
  z.strictObject({
    type: z.literal("sql"),
    /** `sqlite:PATH`, relative to the configuration, or the name of an environment variable that holds a PostgreSQL address. */
    database: z.string().min(1),
    /** Rows that a statement may answer with, or change. */
    rowsMax: z.int().positive().max(100_000).default(1_000),
    timeoutMs: z.int().positive().max(3_600_000).default(30_000),
    /** A table (`key`, `content`) of this database in which each change leaves its mark, so that after a crash nobody has to be asked. */
    reconcile: z.strictObject({ table: tableName }).optional(),
    /** PostgreSQL: extensions, foreign-data wrappers and functions (`schema.name`) that statements may reach although Reeve does not know what they do. */
    vouchedFor: z.array(z.string().min(1)).default([]),
    ...toolOverrides,
  }),
]);
export type SourceConfig = z.infer<typeof sourceSchema>;

/** Above what machines give to services of their own; the last number means none. */
const userId = z
  .int()
  .min(1000)
  .max(2 ** 32 - 2);
/** An eighth is for containers, which take two each. */
const UIDS_MIN = 64;

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
  /** By name. Values stay in the environment and are put in on the way out. */
  secrets: z.record(sourceName, secretSchema).default({}),
  sandbox: z
    .strictObject({
      /** The weakest posture that is accepted; a driver below it is not used. */
      posture: z.enum(POSTURES).exclude(["none"]).default("strong"),
      /** Where module agents run: `process` in a sandbox, `none` under Node's permission model alone, with your rights. */
      modules: z.enum(["process", "none"]).default("process"),
      /** What each sandbox may use up; agents and sources may ask for less. */
      limits: sandboxLimitsSchema.prefault({}),
      /** Sandboxes at once. */
      concurrency: z.int().positive().max(10_000).default(16),
      /** Sandboxes kept started for the next job of the same kind in the same workspace, by interpreter. */
      warm: z.partialRecord(z.enum(["shell", "python", "node"]), z.int().nonnegative().max(64)).default({}),
      /** User ids of the machine that sandboxes run under, one each, and nothing else; taken where Reeve runs as root. */
      uids: z
        .strictObject({ from: userId.default(200_000), to: userId.default(265_535) })
        .refine(({ from, to }) => to - from + 1 >= UIDS_MIN, `holds fewer than ${UIDS_MIN} ids`)
        .prefault({}),
      /** The container runtime, if not the first of these that works, and the image: an unpacked root folder with a /bin/sh. Nothing is ever fetched. */
      oci: z
        .strictObject({
          runtime: z.enum(["runc", "crun", "podman", "docker"]).optional(),
          image: z.string().optional(),
        })
        .prefault({}),
    })
    .prefault({}),
  /** How much may go out and come in. */
  egress: egressBoundsSchema.prefault({}),
  workspaces: z
    .strictObject({
      /** How long a workspace outlives its process if nothing stands in it that is nowhere else; for ever if absent. Milliseconds. */
      keepForMs: z.int().nonnegative().optional(),
    })
    .prefault({}),
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

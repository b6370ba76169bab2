// Isolation: where what a process has done for it runs, what it may use up there, and what it may reach from there.
import { z } from "zod";

/**
 * How far what runs is kept apart from the machine, weakest first:
 * - `none`       in Reeve's own process, with its rights
 * - `snippet`    in an interpreter without a way out: JavaScript only
 * - `process`    native code in namespaces of its own, under a filter of system calls, with limits
 * - `container`  the same from an image, by a container runtime
 * - `vm`         under a kernel of its own
 */
export const ISOLATION_LEVELS = ["none", "snippet", "process", "container", "vm"] as const;
export type IsolationLevel = (typeof ISOLATION_LEVELS)[number];
export const isolationLevelSchema: z.ZodType<IsolationLevel, IsolationLevel> = z.enum(ISOLATION_LEVELS);

/** Whether `given` is at least what was `asked`. */
export const isAtLeast = (given: IsolationLevel, asked: IsolationLevel): boolean =>
  ISOLATION_LEVELS.indexOf(given) >= ISOLATION_LEVELS.indexOf(asked);

/**
 * What is in force of a driver's layers: `strong` all of them; `reduced` all but some that are named (unique user ids, say,
 * where Reeve does not run as root); `none` the driver does not run here.
 */
export const POSTURES = ["strong", "reduced", "none"] as const;
export type Posture = (typeof POSTURES)[number];

/** What one sandbox may use up. Each is enforced by the system or the supervisor; what passes it ends the sandbox, and its outcome names it. */
const limitFields = {
  /** Cores. */
  cpus: z.number().positive().max(1024),
  /** Time of computing, of all its processes together. Milliseconds. */
  cpuMs: z.int().positive(),
  /** Memory of all its processes together, files in memory included. Bytes. */
  memoryBytes: z.int().min(16 * 1024 * 1024),
  /** Processes and threads at once. */
  processes: z.int().positive().max(32_768),
  /** What its workspace holds. Bytes. */
  diskBytes: z.int().min(1024 * 1024),
  /** From its start to its end. Milliseconds. */
  wallMs: z.int().positive(),
  /** What it writes to standard output and standard error together. Bytes. */
  outputBytes: z.int().positive(),
};
export const sandboxLimitsSchema = z.strictObject({
  cpus: limitFields.cpus.default(1),
  cpuMs: limitFields.cpuMs.default(60_000),
  memoryBytes: limitFields.memoryBytes.default(256 * 1024 * 1024),
  processes: limitFields.processes.default(64),
  diskBytes: limitFields.diskBytes.default(64 * 1024 * 1024),
  wallMs: limitFields.wallMs.default(60_000),
  outputBytes: limitFields.outputBytes.default(1024 * 1024),
});
export type SandboxLimits = z.output<typeof sandboxLimitsSchema>;
/** Some of the limits, to lay over others. A default here would override what it is laid over. */
export const sandboxLimitsPartSchema = z.strictObject({
  cpus: z.exactOptional(limitFields.cpus),
  cpuMs: z.exactOptional(limitFields.cpuMs),
  memoryBytes: z.exactOptional(limitFields.memoryBytes),
  processes: z.exactOptional(limitFields.processes),
  diskBytes: z.exactOptional(limitFields.diskBytes),
  wallMs: z.exactOptional(limitFields.wallMs),
  outputBytes: z.exactOptional(limitFields.outputBytes),
});
export type SandboxLimitsPart = z.output<typeof sandboxLimitsPartSchema>;

/** Which limit ended a sandbox. */
export const LIMITS_MET = ["cpu", "memory", "processes", "disk", "wall", "output"] as const;
export type LimitMet = (typeof LIMITS_MET)[number];

const LIMIT_TEXTS: { readonly [L in LimitMet]: (max: number) => string } = {
  cpu: (max) => `used more than ${max} ms of computing time`,
  memory: (max) => `needed more than ${Math.round(max / 2 ** 20)} MB of memory`,
  processes: (max) => `started more than ${max} processes`,
  disk: (max) => `wrote more than its workspace holds (${Math.round(max / 2 ** 20)} MB)`,
  wall: (max) => `ran longer than ${max} ms`,
  output: (max) => `wrote more than ${max} bytes of output`,
};

/** What met a limit, in words. */
export const limitText = (limit: LimitMet, max: number): string => LIMIT_TEXTS[limit](max);

/**
 * One way out. What no rule allows is refused. A host is a name (`api.example.com`), all names below one (`*.example.com`, not
 * the name itself) or an address. A rule with methods or paths, or for a host that a secret is registered for, makes the proxy look into
 * HTTPS (it ends TLS there); `tunnel` passes it through unseen, with no methods, no paths and no secrets.
 */
export const egressRuleSchema = z
  .strictObject({
    host: z.string().min(1).max(253),
    /** 443 for https, 80 for http, if absent. */
    port: z.int().min(1).max(65_535).optional(),
    scheme: z.enum(["https", "http"]).default("https"),
    /** Any, if absent. */
    methods: z.array(z.string().regex(/^[A-Z]{1,20}$/, "is not a method in capitals")).optional(),
    /** Beginnings of paths, each ending at a segment's end: `/v1` allows `/v1` and `/v1/x`, not `/v10`. Any, if absent. */
    paths: z.array(z.string().startsWith("/")).optional(),
    tunnel: z.boolean().default(false),
    /** Whether the host may stand for an address that is not public (loopback, link-local, private). */
    allowPrivate: z.boolean().default(false),
  })
  .refine(({ tunnel, methods, paths }) => !tunnel || (methods === undefined && paths === undefined), {
    message: "a tunnel shows no methods or paths, so it cannot be ruled by them: leave out tunnel, or these",
  });
export type EgressRule = z.output<typeof egressRuleSchema>;

/** What the way out carries, both ways together. Bytes. */
export const egressBoundsSchema = z.strictObject({
  /** By the door of one job, over its life. */
  doorBytesMax: z
    .int()
    .min(64 * 1024)
    .default(64 * 1024 * 1024),
  /** By the door of an MCP server in a sandbox, over its life; by one request to a server over HTTP, with its answer. */
  serverBytesMax: z
    .int()
    .min(64 * 1024)
    .default(2 ** 30),
});
export type EgressBounds = z.output<typeof egressBoundsSchema>;

/** A secret: where its value comes from, and the only destinations that it is sent to, each in one header. */
export const secretSchema = z.strictObject({
  /** The environment variable of Reeve's own that holds it. */
  from: z.string().regex(/^[A-Z_][A-Z0-9_]*$/, "is not the name of an environment variable"),
  to: z
    .array(
      z.strictObject({
        host: z.string().min(1).max(253),
        port: z.int().min(1).max(65_535).optional(),
        scheme: z.enum(["https", "http"]).default("https"),
        /** The header in which its placeholder is replaced. */
        header: z
          .string()
          .regex(/^[A-Za-z0-9-]{1,64}$/, "is not the name of a header")
          .default("authorization"),
      }),
    )
    .min(1),
});
export type SecretConfig = z.output<typeof secretSchema>;

/** What stands for a secret wherever it is not sent to its destination: in environments, arguments, prompts, journals. */
export const placeholderOf = (secret: string): string => `reeve-secret:${secret}`;

/** What programs of a source or an agent are given in their sandbox, beside the system's programs. */
export const sandboxGrantSchema = z.strictObject({
  /** Files and folders of the machine that they may read, relative to the configuration; each appears under its own path. */
  read: z.array(z.string().min(1)).default([]),
  /** The same, to write. */
  write: z.array(z.string().min(1)).default([]),
  /** What it writes to /ws is there again at its next start, up to `limits.diskBytes`. Otherwise /ws begins empty. */
  keep: z.boolean().default(false),
  egress: z.array(egressRuleSchema).default([]),
  /** Names of secrets; each is an environment variable of that name, with a placeholder for its value. */
  secrets: z.array(z.string()).default([]),
  limits: sandboxLimitsPartSchema.default({}),
});
export type SandboxGrant = z.output<typeof sandboxGrantSchema>;

// The system call table: the one face of the operating system.
//
// A row is all there is to know of a call: who may issue it, what it takes and gives, what it does to the world,
// which right it needs, which errors it can answer with. The kernel's checks, the SDK's types, the HTTP routes with
// their OpenAPI document, the command line's help and docs/reference all derive from this table.
//
// Words, used alike in code, command line, HTTP and documents:
//   agent     a program with a name: a Markdown file or a TypeScript module
//   process   one run of an agent on one task; has a pid, a parent, a root, a budget, a journal
//   call      one system call of a process, numbered from 0 in the order in which its program issues them
//   event     one immutable record; a process's events in order are its journal, the only truth
//   effect    what a call does to the world: none, read, write, send, destroy
//   request   something asked of a human: an approval, a question or a settlement; listed in the inbox
//   schedule  an order to start processes at certain times
//   tool      something a process can have done; it comes from a source (`source.tool`) and has a manifest
//   station   a stage of the path that every call takes; port: an interface; driver: what implements one outside
import { z } from "zod";
import { agentManifestSchema, budgetSchema } from "./agents.ts";
import type { Effect } from "./effects.ts";
import type { ErrorCode } from "./errors.ts";
import { messageIdSchema, processIdSchema, requestIdSchema } from "./ids.ts";
import { jsonObjectSchema, jsonSchema } from "./json.ts";
import { LEASE_MS_MAX, LOCK_KEY_CHARS_MAX, PAGE_ROWS_MAX, RANDOM_BYTES_MAX, SLEEP_MS_MAX } from "./limits.ts";
import { generateInputSchema, generateOutputSchema } from "./messages.ts";
import { exitSchema, processRowSchema, PROCESS_STATES } from "./process.ts";
import { programInputSchema } from "./program-input.ts";
import {
  endedCallSchema,
  eventSchema,
  inspectionSchema,
  processShownSchema,
  undoStepSchema,
  verifyReportSchema,
} from "./reports.ts";
import { decisionSchema, inboxItemSchema } from "./requests.ts";
import { SCHEDULE_CALLS } from "./schedule-calls.ts";
import { classSchema, tenantSchema, weightSchema } from "./scheduling.ts";
import { TOOL_CALLS } from "./tool-calls.ts";
import { toolContentSchema } from "./tools.ts";
import { WORKSPACE_CALLS } from "./workspace-calls.ts";

/**
 * The right that a process needs:
 * - `own`     concerns the process alone: every process has it
 * - `tools`   the tool stands in the agent's tool list
 * - `agents`  the agent stands in the agent's list of agents
 * - `tree`    the other process is in the same tree; to signal or wait for one it must be a descendant
 */
export type Right = "own" | "tools" | "agents" | "tree";

type Caller = "process" | "operator";
type Http = { readonly method: "get" | "post"; readonly path: string; readonly stream?: true };
type Row = {
  readonly doc: string;
  readonly callers: readonly Caller[];
  readonly input: z.ZodObject;
  readonly output: z.ZodType;
  /** `tool`: whatever the tool's manifest says. */
  readonly effect: Effect | "tool";
  readonly right: Right;
  readonly errors: readonly ErrorCode[];
  /** For calls that operators issue. Fields of the input that the path does not name travel in the query (get) or body (post). */
  readonly http?: Http;
};

const jsonText = z.union([z.string(), jsonSchema]);
const pid = { pid: processIdSchema };

const lockKey = z.string().min(1).max(LOCK_KEY_CHARS_MAX);

export const SYSCALLS = {
  "model.generate": {
    doc: "Ask a model for its next message.",
    callers: ["process"],
    input: generateInputSchema,
    output: generateOutputSchema,
    effect: "read",
    right: "own",
    errors: ["model_failed", "timeout", "budget_exhausted", "not_found"],
  },
  "tool.call": {
    doc: "Have a tool do something.",
    callers: ["process"],
    input: z.strictObject({
      tool: z.string().min(1),
      args: jsonObjectSchema,
      /** For the program of `process.undo` alone: the call that this one takes back. */
      undoes: z.strictObject({ ...pid, call: z.int().nonnegative() }).optional(),
    }),
    output: toolContentSchema,
    effect: "tool",
    right: "tools",
    errors: [
      "denied",
      "not_found",
      "tool_failed",
      "tool_unavailable",
      "tool_changed",
      "timeout",
      "outcome_unknown",
      "budget_exhausted",
    ],
  },
  "process.spawn": {
    doc: "Start a process: one run of an agent on one task. With a key, the same key again answers with the same process.",
    callers: ["process", "operator"],
    input: z.strictObject({
      agent: z.string().min(1),
      task: jsonText,
      /** Carved from the parent's. */
      budget: budgetSchema.optional(),
      /** At most the parent's; the agent's own if absent. */
      class: classSchema.optional(),
      /** By when it must be over, and when it begins; milliseconds since 1970. */
      deadlineMs: z.number().nonnegative().optional(),
      startMs: z.number().nonnegative().optional(),
      /** For operators: whose work it is, and its share among the trees of that tenant. A child has its parent's. */
      tenant: tenantSchema.optional(),
      weight: weightSchema.optional(),
      /** For operators: makes repeating the request harmless. At most 200 characters. */
      key: z.string().min(1).max(200).optional(),
    }),
    output: z.strictObject(pid),
    effect: "none",
    right: "agents",
    errors: [
      "not_found",
      "agent_invalid",
      "limit_exceeded",
      "budget_exhausted",
      "deadline_exceeded",
      "denied",
      "conflict",
      "tool_unavailable",
      "tool_changed",
    ],
    http: { method: "post", path: "/v1/processes" },
  },
  "process.wait": {
    doc: "Wait until a process exits, and learn how. Without a timeout a process waits for as long as it takes; an operator at most a minute at a time.",
    callers: ["process", "operator"],
    input: z.strictObject({ ...pid, timeoutMs: z.coerce.number().int().nonnegative().optional() }),
    output: z.strictObject({ exit: exitSchema.nullable() }),
    effect: "none",
    right: "tree",
    errors: ["not_found", "denied"],
    http: { method: "get", path: "/v1/processes/{pid}/exit" },
  },
  "process.signal": {
    doc: "Stop a process, let it go on, or kill it with all its descendants.",
    callers: ["process", "operator"],
    input: z.strictObject({
      ...pid,
      signal: z.enum(["stop", "cont", "kill"]),
      reason: z.string().max(1000).default(""),
    }),
    /** The processes that changed, and what a kill has ended of the calls of models and tools that they were making. */
    output: z.strictObject({ pids: z.array(processIdSchema), calls: z.array(endedCallSchema) }),
    effect: "none",
    right: "tree",
    errors: ["not_found", "process_gone", "denied"],
    http: { method: "post", path: "/v1/processes/{pid}/signals" },
  },
  "process.nice": {
    doc: "Change how urgent a process is, and its tree's share. Its living descendants follow where they would be above it.",
    callers: ["operator"],
    input: z.strictObject({ ...pid, class: classSchema.optional(), weight: weightSchema.optional() }),
    /** The processes that changed. */
    output: z.strictObject({ pids: z.array(processIdSchema) }),
    effect: "write",
    right: "own",
    errors: ["not_found", "process_gone", "invalid_argument"],
    http: { method: "post", path: "/v1/processes/{pid}/class" },
  },
  "process.limit": {
    doc: "Give a living process another budget: what is named changes, the rest stays. More than its parent has left is refused, and less than it has used.",
    callers: ["operator"],
    input: z.strictObject({ ...pid, budget: budgetSchema }),
    output: z.strictObject({ budget: budgetSchema }),
    effect: "write",
    right: "own",
    errors: ["not_found", "process_gone", "budget_exhausted", "conflict"],
    http: { method: "post", path: "/v1/processes/{pid}/budget" },
  },
  "process.exec": {
    doc: "Run any program in a sandbox, as a process: with a workspace of its own and the ways out that it is given, and nothing else.",
    callers: ["operator"],
    input: z.strictObject({
      command: z.array(z.string()).min(1).max(1_000),
      /** Its standard input: text, or `{ base64 }` for other bytes; empty if absent. Recorded like any argument. */
      input: programInputSchema.optional(),
      workspace: agentManifestSchema.shape.workspace.optional(),
      egress: agentManifestSchema.shape.egress.optional(),
      secrets: agentManifestSchema.shape.secrets.optional(),
      limits: agentManifestSchema.shape.limits.optional(),
      class: classSchema.optional(),
      tenant: tenantSchema.optional(),
    }),
    output: z.strictObject(pid),
    effect: "none",
    right: "own",
    errors: ["isolation_unavailable", "invalid_argument", "tool_unavailable", "limit_exceeded"],
    http: { method: "post", path: "/v1/commands" },
  },
  "process.undo": {
    doc: "Take back what a process and those that it started did, the last call first: each by the tool's own undo, as a process of its own whose every step is authorised, approved and recorded like any other. What has no undo is named.",
    callers: ["operator"],
    input: z.strictObject({
      ...pid,
      /** The earliest call to take back, and since when of those that it started; all of them if absent. */
      to: z.int().nonnegative().optional(),
      /** Say what would be done, and do nothing. */
      dryRun: z.boolean().default(false),
      /** Also what is not known to have happened, or not known to be still there: the tool has to bear that there is nothing to take back. */
      unsure: z.boolean().default(false),
    }),
    output: z.strictObject({
      plan: z.array(undoStepSchema),
      /** The process that does it; null where nothing is to be done. */
      pid: processIdSchema.nullable(),
    }),
    effect: "write",
    right: "own",
    errors: ["not_found", "conflict", "tool_unavailable"],
    http: { method: "post", path: "/v1/processes/{pid}/undo" },
  },
  "process.list": {
    doc: "List processes, newest first.",
    callers: ["operator"],
    input: z.strictObject({
      state: z.enum([...PROCESS_STATES, "alive"]).optional(),
      root: processIdSchema.optional(),
      /** A beginning of a pid. */
      prefix: z.string().max(14).optional(),
      /** Only those created before this pid. */
      before: processIdSchema.optional(),
      limit: z.coerce.number().int().positive().max(PAGE_ROWS_MAX).default(100),
    }),
    output: z.strictObject({ processes: z.array(processRowSchema) }),
    effect: "read",
    right: "own",
    errors: [],
    http: { method: "get", path: "/v1/processes" },
  },
  "process.show": {
    doc: "Everything about one process: its row, its agent, its task, what it waits on, its children.",
    callers: ["operator"],
    input: z.strictObject(pid),
    output: processShownSchema,
    effect: "read",
    right: "own",
    errors: ["not_found"],
    http: { method: "get", path: "/v1/processes/{pid}" },
  },
  "message.send": {
    doc: "Put a message into a process's mailbox.",
    callers: ["process", "operator"],
    input: z.strictObject({ ...pid, topic: z.string().min(1).max(100).default("message"), body: jsonText }),
    output: z.strictObject({ message: messageIdSchema }),
    effect: "none",
    right: "tree",
    errors: ["not_found", "process_gone", "denied"],
    http: { method: "post", path: "/v1/processes/{pid}/messages" },
  },
  "message.receive": {
    doc: "Take the oldest message of a topic (of any topic if none is named), waiting for it. Answers null after the timeout.",
    callers: ["process"],
    input: z.strictObject({
      topic: z.string().min(1).max(100).optional(),
      timeoutMs: z.int().nonnegative().max(SLEEP_MS_MAX).optional(),
    }),
    output: z.strictObject({
      message: z
        .strictObject({ id: messageIdSchema, from: z.string(), topic: z.string(), body: jsonSchema })
        .nullable(),
    }),
    effect: "none",
    right: "own",
    errors: [],
  },
  ...WORKSPACE_CALLS,
  "human.ask": {
    doc: "Ask a human a question and wait for the answer.",
    callers: ["process"],
    input: z.strictObject({ question: z.string().min(1).max(10_000), options: z.array(z.string()).max(20).optional() }),
    output: z.strictObject({ answer: jsonSchema, by: z.string() }),
    effect: "none",
    right: "own",
    errors: ["denied"],
  },
  "human.list": {
    doc: "The inbox: what humans are asked and have not decided, oldest first.",
    callers: ["operator"],
    input: z.strictObject({
      pid: processIdSchema.optional(),
      limit: z.coerce.number().int().positive().max(PAGE_ROWS_MAX).default(100),
    }),
    output: z.strictObject({ requests: z.array(inboxItemSchema) }),
    effect: "read",
    right: "own",
    errors: [],
    http: { method: "get", path: "/v1/inbox" },
  },
  "human.decide": {
    doc: "Decide what stands in the inbox: approve, reject, answer or settle. The first decision counts.",
    callers: ["operator"],
    input: z.strictObject({ request: requestIdSchema, decision: decisionSchema }),
    output: z.strictObject({ request: requestIdSchema, ...pid, verdict: z.string() }),
    effect: "write",
    right: "own",
    errors: ["not_found", "conflict", "invalid_argument", "process_gone"],
    http: { method: "post", path: "/v1/inbox/{request}/decision" },
  },
  "lock.acquire": {
    doc: "Take a lock, waiting for it. It is held until it is released, its lease runs out, or the process is over; taking it again makes the lease longer. Keys are shared by all processes of a tenant.",
    callers: ["process"],
    input: z.strictObject({ key: lockKey, leaseMs: z.int().positive().max(LEASE_MS_MAX).optional() }),
    /** When the lease runs out; milliseconds since 1970. */
    output: z.strictObject({ untilMs: z.number() }),
    effect: "none",
    right: "own",
    errors: ["deadlock", "limit_exceeded"],
  },
  "lock.release": {
    doc: "Give a lock back. Answers false if the process did not hold it any more.",
    callers: ["process"],
    input: z.strictObject({ key: lockKey }),
    output: z.strictObject({ released: z.boolean() }),
    effect: "none",
    right: "own",
    errors: [],
  },
  "clock.now": {
    doc: "The time, in milliseconds since 1970.",
    callers: ["process"],
    input: z.strictObject({}),
    output: z.strictObject({ ms: z.number() }),
    effect: "none",
    right: "own",
    errors: [],
  },
  "clock.sleep": {
    doc: "Wait for a time. Costs storage only, and lasts across restarts.",
    callers: ["process"],
    input: z.strictObject({ ms: z.number().nonnegative().max(SLEEP_MS_MAX) }),
    output: z.strictObject({ ms: z.number() }),
    effect: "none",
    right: "own",
    errors: [],
  },
  "random.bytes": {
    doc: "Random bytes from the operating system, as base64.",
    callers: ["process"],
    input: z.strictObject({ size: z.int().positive().max(RANDOM_BYTES_MAX) }),
    output: z.strictObject({ base64: z.string() }),
    effect: "none",
    right: "own",
    errors: [],
  },
  "journal.read": {
    doc: "Events of a process, in order.",
    callers: ["operator"],
    input: z.strictObject({
      ...pid,
      from: z.coerce.number().int().nonnegative().default(0),
      limit: z.coerce.number().int().positive().max(PAGE_ROWS_MAX).default(PAGE_ROWS_MAX),
    }),
    output: z.strictObject({ events: z.array(eventSchema) }),
    effect: "read",
    right: "own",
    errors: ["not_found"],
    http: { method: "get", path: "/v1/processes/{pid}/journal" },
  },
  "journal.follow": {
    doc: "Events of a process as they happen, as server-sent events whose id is the seq; `Last-Event-ID` resumes. The stream also carries what models and programs say as it comes (`delta`, without id) and ends when the process has exited.",
    callers: ["operator"],
    input: z.strictObject({ ...pid, from: z.coerce.number().int().nonnegative().default(0) }),
    output: eventSchema,
    effect: "read",
    right: "own",
    errors: ["not_found"],
    http: { method: "get", path: "/v1/processes/{pid}/events", stream: true },
  },
  "journal.verify": {
    doc: "Run the program again on its journal: no model is asked, no effect performed; the first difference is named.",
    callers: ["operator"],
    input: z.strictObject(pid),
    output: verifyReportSchema,
    effect: "read",
    right: "own",
    errors: ["not_found", "agent_invalid"],
    http: { method: "post", path: "/v1/processes/{pid}/verify" },
  },
  "agent.list": {
    doc: "The agents that can be run.",
    callers: ["operator"],
    input: z.strictObject({}),
    output: z.strictObject({
      agents: z.array(z.strictObject({ manifest: agentManifestSchema, program: z.string(), hash: z.string() })),
      /** Files that look like agents and cannot be used, with the reason. */
      invalid: z.array(z.strictObject({ file: z.string(), message: z.string() })),
    }),
    effect: "read",
    right: "own",
    errors: [],
    http: { method: "get", path: "/v1/agents" },
  },
  ...SCHEDULE_CALLS,
  ...TOOL_CALLS,
  "system.inspect": {
    doc: "What is in force here: store, models, tools, agents, sandboxes, limits, each checked now. `full` runs every hostile payload in each sandbox anew.",
    callers: ["operator"],
    // From a query it comes as text.
    input: z.strictObject({ full: z.union([z.boolean(), z.stringbool()]).default(false) }),
    output: inspectionSchema,
    effect: "read",
    right: "own",
    errors: [],
    http: { method: "get", path: "/v1/system" },
  },
} as const satisfies Record<string, Row>;

export type SyscallTable = typeof SYSCALLS;
export type SyscallName = keyof SyscallTable;

type Issued<By extends Caller> = {
  [Name in SyscallName]: By extends SyscallTable[Name]["callers"][number] ? Name : never;
}[SyscallName];
/** The calls that a process issues. */
export type ProcessCall = Issued<"process">;
/** The calls that an operator issues, over HTTP or the command line. */
export type OperatorCall = Issued<"operator">;

export type Input<Name extends SyscallName> = z.input<SyscallTable[Name]["input"]>;
export type Args<Name extends SyscallName> = z.output<SyscallTable[Name]["input"]>;
export type Output<Name extends SyscallName> = z.output<SyscallTable[Name]["output"]>;

/** The row of a call, with its literal types forgotten: for code that walks the table. */
export const rowOf = (name: SyscallName): Row => SYSCALLS[name];

const issuedBy = (caller: Caller): readonly SyscallName[] =>
  (Object.keys(SYSCALLS) as SyscallName[]).filter((name) => rowOf(name).callers.includes(caller));

export const PROCESS_CALLS = issuedBy("process") as readonly ProcessCall[];
export const OPERATOR_CALLS = issuedBy("operator") as readonly OperatorCall[];

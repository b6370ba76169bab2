// What operators do: one function for each of their calls. The gateway and the command line come in here.
import { hash } from "node:crypto";
import { type Agent, agentManifestSchema, EXEC_TOOL } from "../abi/agents.ts";
import { issueLines, OsError } from "../abi/errors.ts";
import type { Actor } from "../abi/events.ts";
import type { Verdict } from "../abi/requests.ts";
import { messageIdOf, processIdOf } from "../abi/ids.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { JsonObject } from "../abi/json.ts";
import { PROGRAM_INPUT_BYTES_MAX } from "../abi/limits.ts";
import type { ProcessRow } from "../abi/process.ts";
import { programInputBytes, programInputTooLarge } from "../abi/program-input.ts";
import { type Args, type Input, type OperatorCall, type Output, rowOf } from "../abi/syscalls.ts";
import { type Check } from "../abi/reports.ts";
import { type Decision } from "../abi/requests.ts";
import type { ProcessRecord, RequestRecord } from "../ports/store.ts";
import { plus } from "./amounts.ts";
import { conceive } from "./lifecycle.ts";
import { explain, scheduledWaits } from "./explain.ts";
import { assertAlive, changeBudget, deliver, signal } from "./operations.ts";
import { entryOf } from "./process.ts";
import { readEvents } from "./journal/reader.ts";
import { ALIVE, descendantsOf } from "./rows.ts";
import type { Services } from "./services.ts";
import { nice } from "./standing.ts";
import { rowOfRecord } from "./transition.ts";
import { undo } from "./undo.ts";
import { verify } from "./verify.ts";
import { commitWorkspace, diffWorkspace, patchWorkspace, listWorkspaces, rollBackWorkspace } from "./workspaces.ts";

export type Operated = Exclude<OperatorCall, "journal.follow">;
type Operations = {
  readonly [Name in Operated]: (services: Services, args: Args<Name>, by: Actor) => Promise<Output<Name>>;
};

/** How long an operator's wait may last before it has to be asked again. */
const WAIT_MS_MAX = 60_000;

/** Performs an operator's call, after checking its arguments against its row. */
export async function operate<Name extends Operated>(
  services: Services,
  { name, args, by }: { name: Name; args: Input<Name>; by: Actor },
): Promise<Output<Name>> {
  const parsed = rowOf(name).input.safeParse(args);
  if (!parsed.success) {
    const issues = issueLines(parsed.error.issues);
    throw new OsError(
      "invalid_argument",
      `${name} was called with arguments that it does not take: ${issues.join("; ")}.`,
      { data: { issues } },
    );
  }
  return OPERATIONS[name](services, parsed.data as Args<Name>, by);
}

/** A row as it is now: `running` is known in memory alone. */
function rowNow(services: Services, record: ProcessRecord): ProcessRow {
  const live = services.runs.get(record.pid)?.process.record;
  const now = live ?? record;
  const waits = scheduledWaits(services, record.pid);
  return rowOfRecord({
    ...now,
    ...(live !== undefined && now.state === "ready" ? { state: "running" } : {}),
    ...(waits.length > 0 ? { waits: [...now.waits, ...waits] } : {}),
  });
}

const notFound = (what: string, id: string): OsError =>
  new OsError("not_found", `There is no ${what} ${id}.`, { data: { what, id } });

async function recordOf({ ports }: Services, pid: ProcessId): Promise<ProcessRecord> {
  const record = await ports.store.process(pid);
  if (record === undefined)
    throw new OsError("not_found", `There is no process ${pid}. \`reeve ps --all\` lists those that there are.`, {
      data: { what: "process", id: pid },
    });
  return record;
}

async function spawn(services: Services, args: Args<"process.spawn">, by: Actor): Promise<{ pid: ProcessId }> {
  const { ports, table, commits } = services;
  const seed = args.key === undefined ? ports.random.bytes(16) : hash("sha256", `key:${args.key}`, "buffer");
  const pid = processIdOf(seed);
  if (args.key !== undefined && (await exists(services, { pid, ...args }))) return { pid };
  const { create, born } = await conceive(services, {
    pid,
    agent: args.agent,
    task: args.task,
    parent: null,
    by,
    wishes: args,
  });
  // Others may have come with the same key in the meantime: whoever creates it must do so in the turn in which nobody else was.
  while (args.key !== undefined) {
    if (await exists(services, { pid, ...args })) return { pid };
    if (!table.has(pid)) break;
  }
  await commits.commit(create());
  born();
  return { pid };
}

/** Whether the process that a key stands for is there, or on its way. Rejects with `conflict` if it was given another task. */
async function exists(
  { ports, table, commits }: Services,
  { pid, agent, task }: Args<"process.spawn"> & { readonly pid: ProcessId },
): Promise<boolean> {
  let known = await ports.store.process(pid);
  while (known === undefined && table.has(pid)) {
    await commits.settled(pid);
    known = await ports.store.process(pid);
  }
  if (known === undefined) return false;
  const { task: recorded } = await table.created(known);
  if (known.agent === agent && JSON.stringify(recorded) === JSON.stringify(task)) return true;
  throw new OsError("conflict", `The key was used for another task (process ${pid}). Use a new key for a new task.`, {
    data: { what: "key", id: pid },
  });
}

/** A program that nobody has written an agent file for: its agent is made of what the operator says of it. */
async function exec(services: Services, args: Args<"process.exec">, by: Actor): Promise<{ pid: ProcessId }> {
  const { command, input, class: name = "interactive", tenant, ...grant } = args;
  const inputBytes = input === undefined ? 0 : programInputBytes(input);
  if (inputBytes > PROGRAM_INPUT_BYTES_MAX) throw programInputTooLarge(`${inputBytes} bytes`);
  const manifest = agentManifestSchema.parse({
    name: programName(command[0] ?? ""),
    description: `Runs ${command.join(" ").slice(0, 900)}`,
    tools: [EXEC_TOOL],
    class: name,
    ...grant,
  });
  const agent: Agent = {
    manifest,
    program: { kind: "command", command },
    hash: hash("sha256", JSON.stringify({ manifest, command }), "hex"),
  };
  const pid = processIdOf(services.ports.random.bytes(16));
  const { create, born } = await conceive(services, {
    pid,
    agent,
    task: { command, ...(input === undefined ? {} : { input }) },
    parent: null,
    by,
    wishes: tenant === undefined ? {} : { tenant },
  });
  await services.commits.commit(create());
  born();
  return { pid };
}

/** An agent's name from a program's path. */
const programName = (program: string): string =>
  program
    .slice(program.lastIndexOf("/") + 1)
    .replaceAll(/[^\w.-]/g, "_")
    .replace(/^[^a-zA-Z0-9]+/, "")
    .slice(0, 64) || "command";

async function waitForExit(
  services: Services,
  { pid, timeoutMs = WAIT_MS_MAX }: Args<"process.wait">,
): Promise<Output<"process.wait">> {
  const { ports, bus } = services;
  let wake = (): void => {};
  const over = new Promise<void>((resolve) => (wake = resolve));
  // Follows before it looks, so that an exit in between is not missed.
  const leave = bus.onExit(pid, () => wake());
  const cancel = ports.clock.after(Math.min(timeoutMs, WAIT_MS_MAX), wake);
  try {
    const { exit } = await recordOf(services, pid);
    if (exit !== null) return { exit };
    await over;
    return { exit: (await recordOf(services, pid)).exit };
  } finally {
    leave();
    cancel();
  }
}

async function list(services: Services, args: Args<"process.list">): Promise<Output<"process.list">> {
  const states =
    args.state === undefined
      ? {}
      : {
          states:
            args.state === "alive" ? ALIVE : args.state === "running" ? (["ready", "running"] as const) : [args.state],
        };
  const { root, prefix, before, limit } = args;
  const query = { ...states, limit, ...(root && { root }), ...(prefix && { prefix }) };
  // Whether a ready process is running is known in memory alone: what is left out of a page is made up for by the next.
  const exact = args.state === "running" || args.state === "ready";
  const processes: ProcessRow[] = [];
  for (let after = before; ;) {
    const page = await services.ports.store.processes({ ...query, ...(after && { before: after }) });
    const rows = page.map((record) => rowNow(services, record));
    processes.push(...rows.filter(({ state }) => !exact || state === args.state).slice(0, limit - processes.length));
    after = page.at(-1)?.pid;
    if (page.length < limit || processes.length >= limit) return { processes };
  }
}

/** What a process and its descendants have used up and reserved, by their rows. */
async function totalOf(
  { ports }: Services,
  record: ProcessRecord,
): Promise<{ spent: ProcessRow["spent"]; reserved: ProcessRow["reserved"] }> {
  const total = { spent: record.spent, reserved: record.reserved };
  for (const { spent, reserved } of await descendantsOf(ports.store, record)) {
    total.spent = plus(total.spent, spent);
    total.reserved = plus(total.reserved, reserved);
  }
  return total;
}

async function show(services: Services, { pid }: Args<"process.show">): Promise<Output<"process.show">> {
  const { ports, table } = services;
  const record = await recordOf(services, pid);
  const [{ spec, task }, open, children, waiting] = await Promise.all([
    table.created(record),
    ports.store.openRequests({ pid, limit: 100 }),
    ports.store.processes({ parent: pid, limit: 100 }),
    explain(services, services.runs.get(pid)?.process.record ?? record),
    // A tree that is over is not opened again: nothing would ever close it.
    record.state === "exited" ? undefined : services.trees.ensure(record.root),
  ]);
  const { budgets } = ports.scheduler;
  const total = budgets.has(pid) ? budgets.total(pid) : await totalOf(services, record);
  return {
    process: rowNow(services, record),
    manifest: spec.agent.manifest,
    program: spec.agent.program.kind,
    task,
    tools: spec.tools.map(({ name, manifest, hash: pin }) => ({ name, effect: manifest.effect, hash: pin })),
    inbox: open.map(itemOf),
    children: children.map((child) => rowNow(services, child)),
    waiting,
    left: budgets.has(pid) ? budgets.left(pid, ports.clock.nowMs()) : {},
    tree: { ...total, locks: (table.loaded(pid)?.record ?? record).locks.map(({ key }) => key) },
  };
}

const itemOf = ({ decided, ...item }: RequestRecord): Omit<RequestRecord, "decided"> => item;

async function send(
  services: Services,
  { pid, topic, body }: Args<"message.send">,
  by: Actor,
): Promise<Output<"message.send">> {
  const message = messageIdOf(services.ports.random.bytes(16));
  const delivery = await deliver(services, { pid, message, topic, body: body, from: by });
  try {
    await services.commits.commit(delivery.prepare());
    delivery.after();
    return { message };
  } finally {
    delivery.release();
  }
}

const FITTING: { readonly [Kind in RequestRecord["kind"]]: readonly Verdict[] } = {
  approval: ["approved", "rejected"],
  question: ["answered", "rejected"],
  settlement: ["settled"],
  budget: ["raised", "rejected"],
};

function assertDecidable(record: RequestRecord, decision: Decision): void {
  const { request, kind, decided } = record;
  if (decided !== null)
    throw new OsError("conflict", `${decided.by} was first: ${request} is ${decided.verdict}.`, {
      data: { what: "request", id: request },
    });
  if (!FITTING[kind].includes(decision.verdict)) {
    throw new OsError(
      "invalid_argument",
      `${request} is ${kind === "approval" ? "an approval" : `a ${kind}`}: it can be ${FITTING[kind].join(" or ")}, not ${decision.verdict}.`,
      { data: { issues: [`verdict: ${decision.verdict}`] } },
    );
  }
}

async function decide(
  services: Services,
  { request, decision }: Args<"human.decide">,
  by: Actor,
): Promise<Output<"human.decide">> {
  const record = await services.ports.store.request(request);
  if (record === undefined) throw notFound("request", request);
  assertDecidable(record, decision);
  return services.table.with(record.pid, async (process) => {
    assertAlive(process);
    // Another decision may be on its way to disk: the one who comes second waits to see it.
    if (!process.openRequests.has(request)) {
      await services.commits.settled(record.pid);
      const now = (await services.ports.store.request(request)) ?? record;
      assertDecidable({ ...now, decided: now.decided ?? { verdict: "withdrawn", by: record.pid } }, decision);
    }
    const header = { kind: "request.decided", request, call: record.call, verdict: decision.verdict, by } as const;
    const seq = process.record.events;
    const decided: RequestRecord = { ...record, decided: { verdict: decision.verdict, by } };
    await services.commits.commit(
      process.prepare([entryOf(header, { decision: decision as unknown as JsonObject })], { requests: [decided] }),
    );
    process.told();
    services.runs.notice(record.pid, { header, payload: decision as JsonObject, seq });
    return { request, pid: record.pid, verdict: decision.verdict };
  });
}

async function inspect(services: Services, { full }: Args<"system.inspect">): Promise<Output<"system.inspect">> {
  const { ports, options } = services;
  const [report, damage, more] = await Promise.all([ports.store.report(), ports.store.check(), ports.checks(full)]);
  const store: Check = {
    name: "store",
    state: report.durable && damage.length === 0 ? "ok" : "failed",
    detail:
      damage.length > 0
        ? damage.join("; ")
        : `${report.driver} at ${report.location}: ${report.processes} processes, ${report.events} events, ${report.bytes} bytes; ${report.durability}`,
  };
  return {
    version: options.version,
    node: options.node,
    folder: options.folder,
    checks: [store, ...ports.models.checks(), ...more],
    memory: { processes: services.runs.size, max: options.limits.processesInMemory, queued: services.runs.queued },
    resources: [...ports.scheduler.turns.load()],
  };
}

const OPERATIONS: Operations = {
  "process.spawn": spawn,
  "process.exec": exec,
  "process.undo": undo,
  "process.wait": waitForExit,
  "process.signal": (services, { pid, signal: sent, reason }, by) =>
    signal(services, { pid, signal: sent, reason, by }),
  "process.nice": async (services, args, by) => ({ pids: await nice(services, args, by) }),
  "process.limit": async (services, { pid, budget }, by) => ({
    budget: await changeBudget(services, { pid, budget, by }),
  }),
  "process.list": list,
  "process.show": show,
  "message.send": send,
  "workspace.list": listWorkspaces,
  "workspace.remove": ({ removals }, args, by) => removals.remove(args, by),
  "workspace.diff": diffWorkspace,
  "workspace.patch": patchWorkspace,
  "workspace.commit": commitWorkspace,
  "workspace.rollback": rollBackWorkspace,
  "human.list": async ({ ports }, { pid, limit }) => ({
    requests: (await ports.store.openRequests({ limit, ...(pid && { pid }) })).map(itemOf),
  }),
  "human.decide": decide,
  "journal.read": async (services, { pid, from, limit }) => {
    await recordOf(services, pid);
    return {
      events: (await readEvents(services.ports.store, pid, {
        from,
        limit,
      })) as unknown as Output<"journal.read">["events"],
    };
  },
  "journal.verify": (services, { pid }) => verify(services, pid),
  "agent.list": async ({ ports }) => {
    const { agents, invalid } = await ports.agents.list();
    return {
      agents: agents.map(({ manifest, program, hash: source }) => ({ manifest, program: program.kind, hash: source })),
      invalid: [...invalid],
    };
  },
  "schedule.create": ({ schedules }, args, by) => schedules.create(args, by),
  "schedule.list": ({ schedules }) => schedules.list(),
  "schedule.change": ({ schedules }, args) => schedules.change(args),
  "schedule.remove": ({ schedules }, args) => schedules.remove(args),
  "tool.list": async ({ ports }) => {
    const { tools, held, sources, unavailable } = await ports.tools.list();
    return { tools: [...tools], held: [...held], sources: [...sources], unavailable: [...unavailable] };
  },
  "tool.diff": ({ ports }, { tool }) => ports.tools.diff(tool),
  "tool.accept": async ({ ports }, { tools, source }, by) => {
    if ((source === undefined) === (tools.length === 0))
      throw new OsError("invalid_argument", "Name either the tools to accept, or one source.", {
        data: { issues: ["tools: or source, and not both"] },
      });
    return { accepted: [...(await ports.tools.accept(source === undefined ? { tools } : { source }, by))] };
  },
  "tool.login": ({ ports }, { source, ...login }) => ports.tools.login(source, login),
  "tool.logout": async ({ ports }, { source }) => ({ removed: await ports.tools.logout(source) }),
  "system.inspect": inspect,
};

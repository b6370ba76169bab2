// How processes come to be and how they end.
//
// Invariants:
//   L1. A process and the event that created it, and the outcome of the call that spawned it, are one transaction.
//   L2. A process that ends takes its descendants with it in the same transaction; their calls in flight are aborted
//       before it is on disk, and nothing of theirs is dispatched after it (see Life).
//   L3. Whoever waits for a process that ends is made ready in the transaction that ends it.
import { OsError } from "../abi/errors.ts";
import type { Actor } from "../abi/events.ts";
import type { ProcessId, SubjectId } from "../abi/ids.ts";
import type { Agent, AgentManifest, Budget } from "../abi/agents.ts";
import type { Json, JsonObject } from "../abi/json.ts";
import type { Exit } from "../abi/process.ts";
import type { EndedCall } from "../abi/reports.ts";
import { type Class, DEFAULT_TENANT, lowerClass, type TreeBounds } from "../abi/scheduling.ts";
import type { Life } from "../ports/process.ts";
import type { ProcessRecord } from "../ports/store.ts";
import { AMOUNTS, type Amount, least, NOTHING_SPENT, tightestBudget } from "./amounts.ts";
import { CHAIN_START } from "./journal/events.ts";
import { entryOf, type Prepared, type Process } from "./process.ts";
import { recount } from "./recount.ts";
import { describeCall } from "./requests.ts";
import { ALIVE, descendantsOf } from "./rows.ts";
import type { Services } from "./services.ts";
import { ROOT_BOUNDS } from "./trees.ts";

/** Payloads belong to this data subject where nobody named another. */
const SUBJECT = "default" as SubjectId;

export type Conception = {
  readonly pid: ProcessId;
  /** By name; or itself, for one that the system makes. */
  readonly agent: string | Agent;
  readonly task: Json;
  readonly parent: Process | null;
  readonly by: Actor;
  /** What whoever starts it says of it; the rest is the agent's, the parent's or the configuration's. */
  readonly wishes?: {
    readonly budget?: Budget | undefined;
    readonly class?: Class | undefined;
    readonly tenant?: string | undefined;
    readonly weight?: number | undefined;
    readonly deadlineMs?: number | undefined;
    readonly startMs?: number | undefined;
  };
};

export type Birth = {
  /** Takes the process into memory and gives what must be committed, in the same turn. Throws where its tree has no room for it. */
  readonly create: () => Prepared;
  /** Lets it run; after the commit. */
  readonly born: () => void;
};

/** Everything that can fail before a process exists: agent, tools, limits. Nothing is written. */
export async function conceive(services: Services, conception: Conception): Promise<Birth> {
  const { ports, table, trees } = services;
  const { pid, parent, wishes = {} } = conception;
  assertInTime(services, wishes);
  const agent = typeof conception.agent === "string" ? await ports.agents.find(conception.agent) : conception.agent;
  if (typeof conception.agent === "string") assertOwnTools(agent);
  const [tools, key] = await Promise.all([
    ports.tools.resolve(agent.manifest.tools),
    table.subjectKey(SUBJECT),
    parent === null ? undefined : trees.ensure(parent.root),
  ]);
  const spec = { agent, tools };
  let process: Process | undefined;
  const create = (): Prepared => {
    const record = recordOf(services, conception, agent.manifest);
    if (parent !== null) trees.add(record);
    const { budget } = record;
    const life: Life = { pid, parent: parent?.life ?? null, exited: false, budget };
    process = table.adopt(record, { head: { events: 0, hash: CHAIN_START }, life, spec, task: conception.task, key });
    parent?.children.add(pid);
    const header = {
      kind: "process.created",
      agent: record.agent,
      agentHash: agent.hash,
      parent: record.parent,
      root: record.root,
      depth: record.depth,
      budget,
      class: record.class,
      tenant: record.tenant,
      weight: record.weight,
      ...(record.deadlineMs === null ? {} : { deadlineMs: record.deadlineMs }),
      ...(wishes.startMs === undefined ? {} : { startMs: wishes.startMs }),
      by: conception.by,
    } as const;
    return process.prepare([entryOf(header, { spec: spec as unknown as JsonObject, task: conception.task })]);
  };
  const born = (): void => {
    if (process === undefined) return;
    if (wishes.startMs === undefined) services.runs.wake(pid);
    else services.runs.alarm(wishes.startMs);
    table.unpin(process);
  };
  return { create, born };
}

/** Tools that are there for the system's own programs alone. */
const SYSTEM_TOOLS = "reeve.";

function assertOwnTools({ manifest: { name, tools } }: Agent): void {
  const reserved = tools.find((tool) => tool.startsWith(SYSTEM_TOOLS));
  if (reserved === undefined) return;
  throw new OsError(
    "agent_invalid",
    `The agent ${name} names the tool ${reserved}, which is there for the system's own programs. Name tools of sources in the configuration.`,
    { data: { file: name, issues: [`tools: ${reserved}`] } },
  );
}

function assertInTime({ ports }: Services, { deadlineMs, startMs }: NonNullable<Conception["wishes"]>): void {
  const earliestMs = Math.max(ports.clock.nowMs(), startMs ?? 0);
  if (deadlineMs === undefined || deadlineMs > earliestMs) return;
  throw new OsError(
    "deadline_exceeded",
    `The process was not started: its deadline, ${new Date(deadlineMs).toISOString()}, is not after its start. Give it a later one.`,
    { data: { deadlineMs, neededMs: 0 } },
  );
}

/** The row that a process begins with. */
function recordOf(services: Services, conception: Conception, manifest: AgentManifest): ProcessRecord {
  const { pid, parent, wishes = {} } = conception;
  const nowMs = services.ports.clock.nowMs();
  const wanted = wishes.class ?? manifest.class;
  const deadlineMs = least(parent?.deadlineMs ?? undefined, wishes.deadlineMs) ?? null;
  return {
    pid,
    parent: parent?.pid ?? null,
    root: parent?.root ?? pid,
    depth: parent === null ? 0 : parent.record.depth + 1,
    agent: manifest.name,
    state: "ready",
    waits: [],
    exit: null,
    class: parent === null ? wanted : lowerClass(wanted, parent.standing.class),
    tenant: parent?.standing.tenant ?? wishes.tenant ?? DEFAULT_TENANT,
    weight: parent?.standing.weight ?? wishes.weight ?? manifest.weight,
    tree: parent === null ? boundsOfRoot(services, manifest.tree) : manifest.tree,
    budget: budgetFor(services, conception, manifest),
    spent: NOTHING_SPENT,
    reserved: NOTHING_SPENT,
    reservations: [],
    locks: [],
    deadlineMs,
    events: 0,
    createdMs: nowMs,
    updatedMs: nowMs,
    subject: SUBJECT,
    wakeMs: deadlineMs,
  };
}

function boundsOfRoot({ options }: Services, own: TreeBounds): TreeBounds {
  const { tree: set } = options.limits;
  const tightest = (name: keyof typeof ROOT_BOUNDS): number =>
    Math.min(set[name] ?? ROOT_BOUNDS[name], own[name] ?? Infinity);
  return { depth: tightest("depth"), breadth: tightest("breadth"), total: tightest("total") };
}

/**
 * A root is bound by the configuration, its agent and its creator, the tightest of each. A child gets what its parent
 * names for it; where that names nothing, its agent's own budget, as far as the parent has it left.
 */
function budgetFor({ ports, options }: Services, { parent, wishes }: Conception, manifest: AgentManifest): Budget {
  if (parent === null) return tightestBudget(options.limits.budget, manifest.budget, wishes?.budget);
  if (wishes?.budget !== undefined) return tightestBudget(manifest.budget, wishes.budget);
  const left = ports.scheduler.budgets.left(parent.pid, ports.clock.nowMs());
  const own: { [name in Amount]?: number } = {};
  for (const name of AMOUNTS) {
    const wanted = manifest.budget[name];
    // What is used up to the last is asked for and refused, and not turned into no bound at all.
    if (wanted !== undefined)
      own[name] = Math.min(wanted, left[name] === undefined ? wanted : Math.max(left[name], 0) || wanted);
  }
  return { ...manifest.budget, ...own };
}

/** What came to its end: processes, and the calls of models and tools that they were making. */
export type Ended = { readonly pids: ProcessId[]; readonly calls: EndedCall[] };

/** Ends a process, and with it all its descendants. Nothing ends if it was over already. */
export async function end(services: Services, process: Process, exit: Exit, by: Actor): Promise<Ended> {
  if (process.life.exited) return { pids: [], calls: [] };
  process.life.exited = true;
  try {
    return await services.table.with(process.pid, () => endFamily(services, process, { exit, by }));
  } catch (error) {
    // It has ended in memory and not on disk: memory is no longer the truth.
    services.runs.halt(error);
    throw error;
  }
}

async function endFamily(
  services: Services,
  process: Process,
  { exit, by }: { exit: Exit; by: Actor },
): Promise<Ended> {
  const { table } = services;
  const family: Process[] = [process];
  const above: Process[] = [];
  try {
    await gather(services, process, family);
    await gatherAbove(services, process, above);
    const ended = family.filter(({ record }) => record.state !== "exited");
    const pids = ended.map(({ pid }) => pid);
    const orphaned: Exit = {
      how: "killed",
      by: process.pid,
      reason: exit.how === "killed" ? exit.reason : "its parent has exited",
    };
    await services.trees.settled(process.root);
    for (const member of ended) await recount(services.ports.store, member);
    const calls = ended.flatMap((member) => callsOf(services, member));
    const parts = ended.map((member) => endOne(services, member, { exit: member === process ? exit : orphaned, by }));
    services.trees.close(ended.map(({ record }) => record));
    const waiting = above.filter((member) => member.waitsFor(new Set(pids)));
    const roused = waiting.flatMap((member) => member.prepareRoused());
    await services.commits.commit(...parts, ...roused);
    above[0]?.children.delete(process.pid);
    for (const member of waiting) {
      member.told();
      services.runs.wake(member.pid);
    }
    return { pids, calls };
  } finally {
    for (const member of [...family.slice(1), ...above]) table.unpin(member);
  }
}

/** All that stand above a process, nearest first, in memory and pinned: any of them may wait for it. */
async function gatherAbove(services: Services, { life }: Process, above: Process[]): Promise<void> {
  for (let member = life.parent; member !== null; member = member.parent) {
    const process = await pinned(services, member.pid);
    if (process !== undefined) above.push(process);
  }
}

/** The calls of models and tools that it is making; they are given up with its end. */
function callsOf(services: Services, { pid, manifest }: Process): EndedCall[] {
  return (services.runs.get(pid)?.doing ?? []).map(({ call, uncertain }) => {
    const { model = manifest.model ?? services.ports.models.defaultModel } = call.args as { readonly model?: string };
    const what = call.tool === undefined ? [call.syscall, model ?? ""].join(" ").trimEnd() : describeCall(call);
    return { pid, call: call.number, effect: call.effect, what: cut(what), uncertain };
  });
}

const cut = (line: string): string => (line.length > WHAT_MAX ? `${line.slice(0, WHAT_MAX)}…` : line);

function endOne(services: Services, process: Process, { exit, by }: { exit: Exit; by: Actor }): Prepared {
  const open = services.runs.get(process.pid)?.dispatched ?? [];
  process.life.exited = true;
  services.runs.drop(process.pid);
  services.ports.scheduler.turns.forget(process.pid);
  services.ports.scheduler.locks.forget(process.pid);
  const error = exit.how === "failed" ? { error: exit.error.code } : {};
  const header = { kind: "process.exited", how: exit.how, ...error, by, open } as const;
  return process.prepare([entryOf(header, { exit: exit as unknown as JsonObject })], { exit });
}

/** Characters of a line that says what a call was doing. */
const WHAT_MAX = 300;

/** Processes that are brought into memory at once. */
const TOGETHER = 64;

/** All living descendants, in memory and pinned: those on disk, and those whose creation is still on its way there. */
export async function gather(services: Services, process: Process, family: Process[]): Promise<void> {
  const rows = await descendantsOf(services.ports.store, process, ALIVE);
  const children = Map.groupBy(rows, ({ parent }) => parent);
  const onDisk = (pid: ProcessId): ProcessId[] => (children.get(pid) ?? []).map((row) => row.pid);
  let level: readonly ProcessId[] = [...process.children, ...onDisk(process.pid)];
  while (level.length > 0) {
    const found: Process[] = [];
    const pids = [...new Set(level)];
    for (let at = 0; at < pids.length; at += TOGETHER) {
      const some = await Promise.all(pids.slice(at, at + TOGETHER).map((pid) => pinned(services, pid)));
      found.push(...some.filter((one) => one !== undefined));
    }
    family.push(...found);
    level = found.flatMap((one) => [...one.children, ...onDisk(one.pid)]);
  }
}

/** A child whose creation failed is in its parent's memory and nowhere else. */
async function pinned(services: Services, pid: ProcessId): Promise<Process | undefined> {
  try {
    return await services.table.pin(pid);
  } catch (error) {
    if (OsError.is(error, "not_found")) return undefined;
    throw error;
  }
}

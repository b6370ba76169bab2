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
import type { Budget } from "../abi/agents.ts";
import type { Json, JsonObject } from "../abi/json.ts";
import { TREE_DEPTH_MAX } from "../abi/limits.ts";
import type { Exit } from "../abi/process.ts";
import type { Life } from "../ports/process.ts";
import type { ProcessRecord } from "../ports/store.ts";
import { CHAIN_START } from "./journal.ts";
import { entryOf, type Prepared, type Process } from "./process.ts";
import type { Services } from "./services.ts";
import { NOTHING_SPENT } from "./transition.ts";

/** Payloads belong to this data subject where nobody named another. */
const SUBJECT = "default" as SubjectId;

export type Conception = {
  readonly pid: ProcessId;
  readonly agent: string;
  readonly task: Json;
  readonly budget: Budget | undefined;
  readonly parent: Process | null;
  readonly by: Actor;
};

export type Birth = {
  /** Takes the process into memory and gives what must be committed, in the same turn. */
  readonly create: () => Prepared;
  /** Lets it run; after the commit. */
  readonly born: () => void;
};

const least = (...bounds: readonly (number | undefined)[]): number | undefined => {
  const set = bounds.filter((bound) => bound !== undefined);
  return set.length === 0 ? undefined : Math.min(...set);
};

/** The tightest of several budgets. */
function tightest(...budgets: readonly (Budget | undefined)[]): Budget {
  const calls = least(...budgets.map((budget) => budget?.calls));
  const tokens = least(...budgets.map((budget) => budget?.tokens));
  return { ...(calls === undefined ? {} : { calls }), ...(tokens === undefined ? {} : { tokens }) };
}

/** Everything that can fail before a process exists: agent, tools, limits. Nothing is written. */
export async function conceive(services: Services, conception: Conception): Promise<Birth> {
  const { ports, table, options } = services;
  const { pid, parent } = conception;
  const depth = parent === null ? 0 : parent.record.depth + 1;
  if (depth > TREE_DEPTH_MAX) {
    throw new OsError(
      "limit_exceeded",
      `A process tree is at most ${TREE_DEPTH_MAX} deep, and this process is at the bottom of one. Let an ancestor spawn instead.`,
      { data: { limit: "tree_depth", max: TREE_DEPTH_MAX } },
    );
  }
  const agent = await ports.agents.find(conception.agent);
  const [tools, key] = await Promise.all([ports.tools.resolve(agent.manifest.tools), table.subjectKey(SUBJECT)]);
  const budget = tightest(options.limits.budget, agent.manifest.budget, conception.budget);
  const spec = { agent, tools };
  let process: Process | undefined;
  const create = (): Prepared => {
    const nowMs = ports.clock.nowMs();
    const record: ProcessRecord = {
      pid,
      parent: parent?.pid ?? null,
      root: parent?.root ?? pid,
      depth,
      agent: agent.manifest.name,
      state: "ready",
      waits: [],
      exit: null,
      budget,
      spent: NOTHING_SPENT,
      events: 0,
      createdMs: nowMs,
      updatedMs: nowMs,
      subject: SUBJECT,
      wakeMs: null,
    };
    const life: Life = { pid, parent: parent?.life ?? null, exited: false };
    process = table.adopt(record, { head: { events: 0, hash: CHAIN_START }, life, spec, task: conception.task, key });
    parent?.children.add(pid);
    const header = {
      kind: "process.created",
      agent: record.agent,
      agentHash: agent.hash,
      parent: record.parent,
      root: record.root,
      depth,
      budget,
      by: conception.by,
    } as const;
    return process.prepare([entryOf(header, { spec: spec as unknown as JsonObject, task: conception.task })]);
  };
  const born = (): void => {
    services.runs.wake(pid);
    if (process !== undefined) table.unpin(process);
  };
  return { create, born };
}

/** Ends a process, and with it all its descendants. Answers with the pids that ended; none if it was over already. */
export async function end(services: Services, process: Process, exit: Exit, by: Actor): Promise<ProcessId[]> {
  if (process.life.exited) return [];
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
): Promise<ProcessId[]> {
  const { table } = services;
  const family: Process[] = [process];
  const above: Process[] = [];
  try {
    await gather(services, process.pid, family);
    await gatherAbove(services, process, above);
    const ended = family.filter(({ record }) => record.state !== "exited");
    const pids = ended.map(({ pid }) => pid);
    const orphaned: Exit = {
      how: "killed",
      by: process.pid,
      reason: exit.how === "killed" ? exit.reason : "its parent has exited",
    };
    const parts = ended.map((member) => endOne(services, member, { exit: member === process ? exit : orphaned, by }));
    const waiting = above.filter((member) => member.waitsFor(new Set(pids)));
    const roused = waiting.flatMap((member) => member.prepareRoused());
    await services.commits.commit(...parts, ...roused);
    above[0]?.children.delete(process.pid);
    for (const member of waiting) {
      member.told();
      services.runs.wake(member.pid);
    }
    return pids;
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

function endOne(services: Services, process: Process, { exit, by }: { exit: Exit; by: Actor }): Prepared {
  const open = services.runs.get(process.pid)?.dispatched ?? [];
  process.life.exited = true;
  services.runs.drop(process.pid);
  const error = exit.how === "failed" ? { error: exit.error.code } : {};
  const header = { kind: "process.exited", how: exit.how, ...error, by, open } as const;
  return process.prepare([entryOf(header, { exit: exit as unknown as JsonObject })], { exit });
}

/** All living descendants, in memory and pinned: those on disk, and those whose creation is still on its way there. */
async function gather(services: Services, pid: ProcessId, family: Process[]): Promise<void> {
  const PAGE = 1000;
  const parent = family.find((member) => member.pid === pid);
  const children = new Set<ProcessId>(parent?.children);
  let before: ProcessId | undefined;
  for (;;) {
    const page = await services.ports.store.processes({
      parent: pid,
      limit: PAGE,
      ...(before === undefined ? {} : { before }),
    });
    for (const child of page) if (child.state !== "exited") children.add(child.pid);
    before = page.at(-1)?.pid;
    if (page.length < PAGE) break;
  }
  for (const child of children) {
    const process = await pinned(services, child);
    if (process === undefined) continue;
    family.push(process);
    await gather(services, child, family);
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

// What processes and operators alike can do to a process: send it a message, signal it.
import { OsError } from "../abi/errors.ts";
import type { Budget } from "../abi/agents.ts";
import type { Actor } from "../abi/events.ts";
import type { MessageId, ProcessId } from "../abi/ids.ts";
import type { Json } from "../abi/json.ts";
import { end, type Ended } from "./lifecycle.ts";
import { entryOf, type Prepared, type Process } from "./process.ts";
import type { Services } from "./services.ts";

const gone = (pid: ProcessId): OsError =>
  new OsError(
    "process_gone",
    `Process ${pid} has exited; nothing can be done to it any more. \`reeve show ${pid}\` says how it ended.`,
    { data: { pid } },
  );

/** Throws `process_gone` for a process that is over. */
export function assertAlive(process: Process): void {
  if (process.life.exited || process.record.state === "exited") throw gone(process.pid);
}

type Letter = {
  readonly pid: ProcessId;
  readonly message: MessageId;
  readonly topic: string;
  readonly body: Json;
  readonly from: Actor;
};

type Delivery = { readonly prepare: () => Prepared; readonly after: () => void; readonly release: () => void };

/** A message, ready to be delivered: prepared in the turn of the commit, told to the receiver after it, released in any case. */
export async function deliver(services: Services, letter: Letter): Promise<Delivery> {
  const { table, runs } = services;
  const header = {
    kind: "message.delivered",
    message: letter.message,
    from: letter.from,
    topic: letter.topic,
  } as const;
  const process = await table.pin(letter.pid);
  let seq = 0;
  return {
    prepare: () => {
      assertAlive(process);
      seq = process.record.events;
      return process.prepare([entryOf(header, { body: letter.body })]);
    },
    after: () => {
      process.told();
      runs.notice(letter.pid, { header, payload: letter.body, seq });
    },
    release: () => table.unpin(process),
  };
}

/** Gives a living process another budget: what is named changes. Rejects with `budget_exhausted`, `conflict`, `process_gone`. */
export function changeBudget(
  services: Services,
  { pid, budget, by }: { readonly pid: ProcessId; readonly budget: Budget; readonly by: Actor },
): Promise<Budget> {
  const { table, trees, ports, commits } = services;
  return table.with(pid, async (process) => {
    await trees.ensure(process.root);
    assertAlive(process);
    const next = { ...process.budget, ...budget };
    if (ports.scheduler.budgets.has(pid)) ports.scheduler.budgets.change(pid, next);
    await commits.commit(process.prepare([entryOf({ kind: "process.limited", budget: next, by })]));
    return next;
  });
}

type Signal = {
  readonly pid: ProcessId;
  readonly signal: "stop" | "cont" | "kill";
  readonly reason: string;
  readonly by: Actor;
};

/** Stops, continues or kills. Answers with the processes that changed, and the calls that a kill ended. Rejects with `process_gone`, `not_found`. */
export function signal(services: Services, { pid, signal: sent, reason, by }: Signal): Promise<Ended> {
  return services.table.with(pid, async (process) => {
    assertAlive(process);
    if (sent === "kill") return end(services, process, { how: "killed", by, reason }, by);
    const stopped = process.record.state === "stopped";
    if (stopped === (sent === "stop")) return { pids: [], calls: [] };
    const header =
      sent === "stop" ? ({ kind: "process.stopped", by } as const) : ({ kind: "process.continued", by } as const);
    const done = services.commits.commit(process.prepare([entryOf(header, { reason })]));
    if (sent === "stop") services.runs.freeze(pid);
    await done;
    if (sent === "cont") services.runs.wake(pid);
    return { pids: [pid], calls: [] };
  });
}

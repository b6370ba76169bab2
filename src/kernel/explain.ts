// Why a process waits, in words: what people see beside it in a listing.
import type { ProcessId } from "../abi/ids.ts";
import type { Wait } from "../abi/process.ts";
import type { Class } from "../abi/scheduling.ts";
import type { WaitExplained } from "../abi/reports.ts";
import type { LockWait, TurnWait } from "../ports/scheduler.ts";
import type { ProcessRecord } from "../ports/store.ts";
import type { Services } from "./services.ts";

type Ahead = readonly { readonly pid: ProcessId; readonly class: Class }[];

/** What a process waits for at the scheduler, as waits of its row are shown. */
export function scheduledWaits({ ports }: Services, pid: ProcessId): Wait[] {
  const { turns, locks } = ports.scheduler;
  return [
    ...turns.waits(pid).map(({ call, resource }) => ({ on: "turn", call, resource }) as const),
    ...locks.waits(pid).map(({ call, key }) => ({ on: "lock", call, key }) as const),
  ];
}

/** Every wait of a process, with its reason. */
export async function explain(services: Services, record: ProcessRecord): Promise<WaitExplained[]> {
  const { turns, locks, ready } = services.ports.scheduler;
  const { pid, state } = record;
  const own = record.waits.map((wait) => ownWait(wait));
  const queued = [
    ...turns.waits(pid).map((wait) => ({ wait: turnWait(wait), ahead: wait.ahead })),
    ...locks.waits(pid).map((wait) => ({ wait: lockWait(wait), ahead: wait.ahead })),
  ];
  const named = await Promise.all(
    queued.map(async ({ wait, ahead }) => ({ ...wait, ahead: await withAgents(services, ahead) })),
  );
  const whole = [...own, ...named];
  if (state === "stopped")
    whole.push({ ...factsOf(-1), on: "stopped", what: pid, reason: "It was stopped; `reeve cont` lets it go on." });
  else if (ready.has(pid)) whole.push(forMemory(services, pid));
  return whole;
}

type Facts = Omit<WaitExplained, "on" | "what" | "reason">;
const factsOf = (call: number): Facts => ({ call, position: null, ahead: [], estimateMs: null, sinceMs: null });

const forMemory = ({ options, ports }: Services, pid: ProcessId): WaitExplained => ({
  ...factsOf(-1),
  on: "memory",
  what: pid,
  reason: `It is ready and waits for room in memory: ${options.limits.processesInMemory} processes are there (limits.processesInMemory), and ${ports.scheduler.ready.size} ready ones wait.`,
});

async function withAgents({ ports, table }: Services, ahead: Ahead): Promise<WaitExplained["ahead"]> {
  return Promise.all(
    ahead.map(async ({ pid, class: name }) => {
      const record = table.loaded(pid)?.record ?? (await ports.store.process(pid));
      return { pid, agent: record?.agent ?? "", class: name };
    }),
  );
}

const until = (ms: number): string => new Date(ms).toISOString();

function ownWait(wait: Wait): WaitExplained {
  const base = factsOf(wait.call);
  switch (wait.on) {
    case "human":
      return {
        ...base,
        on: "human",
        what: wait.request,
        reason: `A human has to decide ${wait.request}; see \`reeve inbox\`.`,
      };
    case "time":
      return {
        ...base,
        on: "time",
        what: until(wait.untilMs),
        reason: `It ${wait.call < 0 ? "begins" : "goes on"} at ${until(wait.untilMs)}.`,
      };
    case "message": {
      const topic = wait.topic === undefined ? "any message" : `a message of topic ${wait.topic}`;
      const end = wait.untilMs === undefined ? "" : `, until ${until(wait.untilMs)} at the latest`;
      return { ...base, on: "message", what: wait.topic ?? "", reason: `It waits for ${topic}${end}.` };
    }
    case "process":
      return { ...base, on: "process", what: wait.pid, reason: `It waits until process ${wait.pid} is over.` };
    case "turn":
      return { ...base, on: "turn", what: wait.resource, reason: `It waits for its turn at ${wait.resource}.` };
    case "lock":
      return { ...base, on: "lock", what: wait.key, reason: `It waits for the lock ${wait.key}.` };
  }
}

function turnWait({ call, resource, position, inUse, slots, held, estimateMs, sinceMs }: TurnWait): WaitExplained {
  const place = position === 0 ? "it is next" : `${position} ${position === 1 ? "call goes" : "calls go"} before it`;
  return {
    call,
    on: "turn",
    what: resource,
    reason: `It waits for its turn at ${resource}: ${inUse} of ${slots} slots are in use, and ${place}.${heldWords(held)}`,
    position,
    ahead: [],
    estimateMs,
    sinceMs,
  };
}

function heldWords(held: TurnWait["held"]): string {
  if (held === null) return "";
  const end = held.untilMs === null ? "" : ` until ${until(held.untilMs)}`;
  switch (held.by) {
    case "requests":
      return ` The limit of requests holds it back${end}.`;
    case "tokens":
      return ` The limit of tokens holds it back${end}.`;
    case "pause":
      return ` The provider asked to be left alone${end}.`;
    case "reserve":
      return " The slots that are free are kept for a more urgent class.";
  }
}

const lockWait = ({ call, key, holder, position, untilMs, sinceMs }: LockWait): WaitExplained => ({
  call,
  on: "lock",
  what: key,
  reason: `It waits for the lock ${key}: process ${holder} holds it, until ${until(untilMs)} at the latest${position === 0 ? "" : `, and ${position} wait before it`}.`,
  position,
  ahead: [],
  estimateMs: null,
  sinceMs,
});

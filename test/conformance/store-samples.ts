// Things to put into a store, by number, for the tests of stores.
import type { Address, ProcessId, RequestId, SubjectId } from "../../src/abi/ids.ts";
import { idBody } from "../../src/abi/ids.ts";
import type {
  JournalAppend,
  ProcessRecord,
  RequestRecord,
  ScheduleRecord,
  SourceRecord,
  StoredEvent,
} from "../../src/ports/store.ts";

const numbered = (n: number): string => idBody(new Uint8Array(new BigUint64Array([BigInt(n) << 4n]).buffer).reverse());
/** A process id that sorts otherwise than it was made, so that no driver can take the one for the other. */
export const pidOf = (n: number): ProcessId => `p_${numbered(n).split("").reverse().join("")}` as ProcessId;
export const requestOf = (n: number): RequestId => `r_${numbered(n)}` as RequestId;
export const addressOf = (n: number): Address => numbered(n).padStart(43, "A") as Address;
export const subject = "subject-1" as SubjectId;

/** Events whose texts differ, every second with an inline payload. */
export function eventsOf(pid: ProcessId, from: number, count: number): StoredEvent[] {
  return Array.from({ length: count }, (_, at) => {
    const seq = from + at;
    return {
      pid,
      seq,
      header: `{"seq":${seq},"of":"${pid}"}`,
      hash: `${pid}${seq}`.padEnd(43, "x"),
      inline: seq % 2 === 0 ? null : `{"a":"${seq}"}`,
    };
  });
}

/** `count` events onto a journal that should hold `expected`. */
export const appendOf = (pid: ProcessId, expected: number, count = 1): JournalAppend => ({
  pid,
  expected,
  events: eventsOf(pid, expected, count),
});

/** The nth process, created ready and alone. */
export function processOf(n: number, fields: Partial<ProcessRecord> = {}): ProcessRecord {
  const pid = pidOf(n);
  const spent = { calls: n, inputTokens: 0, outputTokens: 0, costUsd: 0.5 };
  return {
    pid,
    parent: null,
    root: pid,
    depth: 0,
    agent: "refunds",
    state: "ready",
    waits: [],
    exit: null,
    class: "standard",
    tenant: "default",
    weight: 1,
    tree: {},
    budget: { calls: 10 },
    spent,
    reserved: { calls: 0, inputTokens: 0, outputTokens: 0, costUsd: 0 },
    reservations: [],
    locks: [],
    deadlineMs: null,
    events: 1,
    createdMs: 1_000,
    updatedMs: 2_000 + n,
    subject,
    wakeMs: null,
    ...fields,
  };
}

/** The nth request, open, of process 1. */
export function requestRecord(n: number, fields: Partial<RequestRecord> = {}): RequestRecord {
  return {
    request: requestOf(n),
    pid: pidOf(1),
    agent: "refunds",
    call: 3,
    kind: "approval",
    question: "May I?",
    tool: "shop.refund",
    args: { order: n },
    effect: "destroy",
    rule: "destroy",
    reason: "it destroys",
    digest: "d".repeat(64),
    openedMs: 1_000 + n,
    decided: null,
    ...fields,
  };
}

/** A source of tools of this name, with one tool. */
export function sourceRecord(name: string, fields: Partial<SourceRecord> = {}): SourceRecord {
  const said = { description: "Pays back \u{1f4b8}", inputSchema: { type: "object" }, annotations: {} };
  const pin = { tool: "refund", said, hash: "a".repeat(64), by: null, atMs: 1_000 };
  return { name, firstSeenMs: 1_000, tools: [pin], ...fields };
}

/** A schedule of this name, due every hour. */
export function scheduleRecord(name: string, fields: Partial<ScheduleRecord> = {}): ScheduleRecord {
  return {
    name,
    cron: "0 * * * *",
    atMs: null,
    zone: "Europe/Berlin",
    agent: "refunds",
    task: { what: "settle \u{1f4c5}" },
    budget: { calls: 10 },
    class: "batch",
    tenant: "default",
    missed: "once",
    overlap: "skip",
    paused: false,
    createdBy: "ana",
    createdMs: 1_000,
    nextMs: 3_600_000,
    lastMs: null,
    lastPid: null,
    runs: 0,
    lastSkippedMs: null,
    lastSkippedWhy: null,
    lastError: null,
    ...fields,
  };
}

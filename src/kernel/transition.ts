// The process's state machine: what each event makes of a process's row.
//
// A row is a projection of the journal: `project` over all events gives it back. Two things it cannot know, since
// they are no events: that all the process does is wait (`waiting`, set by the run; a row that was rebuilt without it
// is `ready`, which is always safe), and that it is in memory (`running`, which is never stored).
import type { EventHeader } from "../abi/events.ts";
import type { Exit, ProcessRow, Spent, Wait } from "../abi/process.ts";
import type { ProcessCall } from "../abi/syscalls.ts";
import type { ProcessRecord } from "../ports/store.ts";

/** The calls that a budget counts: those that cost somebody something. */
const isCounted = (syscall: ProcessCall): boolean => syscall === "model.generate" || syscall === "tool.call";

export const NOTHING_SPENT: Spent = { calls: 0, inputTokens: 0, outputTokens: 0, costUsd: 0 };

/** When the earliest timed wait is over. */
export function wakeMsOf(waits: readonly Wait[]): number | null {
  const times = waits.flatMap((wait) => ("untilMs" in wait && wait.untilMs !== undefined ? [wait.untilMs] : []));
  return times.length === 0 ? null : Math.min(...times);
}

const withWaits = (record: ProcessRecord, waits: Wait[]): ProcessRecord => ({
  ...record,
  waits,
  wakeMs: wakeMsOf(waits),
});

/** What has been used up after one more outcome. */
export function spendFor(spent: Spent, header: Extract<EventHeader, { kind: "call.completed" }>): Spent {
  if (!isCounted(header.syscall)) return spent;
  const { usage } = header;
  return {
    calls: spent.calls + 1,
    inputTokens: spent.inputTokens + (usage?.inputTokens ?? 0),
    outputTokens: spent.outputTokens + (usage?.outputTokens ?? 0),
    costUsd: spent.costUsd + (usage?.costUsd ?? 0),
  };
}

/** A waiting process has something to do again; any other stays what it is. */
const roused = (record: ProcessRecord): ProcessRecord =>
  record.state === "waiting" ? { ...record, state: "ready" } : record;

const waitsForMessage = (record: ProcessRecord, topic: string): boolean =>
  record.waits.some((wait) => wait.on === "message" && (wait.topic === undefined || wait.topic === topic));

/** The row after one more event. `exit` is the payload of that name, for `process.exited`. */
export function project(record: ProcessRecord, header: EventHeader, atMs: number, exit?: Exit): ProcessRecord {
  const next: ProcessRecord = { ...record, events: record.events + 1, updatedMs: atMs };
  switch (header.kind) {
    case "process.created":
    case "call.intended":
    case "request.opened":
      return next;
    case "call.waiting":
      return withWaits(next, [...next.waits.filter(({ call }) => call !== header.call), header.wait]);
    case "call.completed": {
      const waits = next.waits.some(({ call }) => call === header.call)
        ? next.waits.filter(({ call }) => call !== header.call)
        : next.waits;
      next.spent = spendFor(next.spent, header);
      return waits === next.waits ? next : roused(withWaits(next, waits));
    }
    case "request.decided":
      return roused(next);
    case "message.delivered":
      return waitsForMessage(next, header.topic) ? roused(next) : next;
    case "process.stopped":
      return { ...next, state: "stopped" };
    case "process.continued":
      return { ...next, state: "ready" };
    case "process.exited":
      return { ...withWaits(next, []), state: "exited", exit: exit ?? null };
  }
}

/** What people see of a row. */
export function rowOfRecord(record: ProcessRecord): ProcessRow {
  const { subject, wakeMs, ...row } = record;
  return row;
}

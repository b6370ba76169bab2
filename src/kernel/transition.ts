// The process's state machine: what each event makes of a process's row.
//
// A row is a projection of the journal: `project` over all events gives it back. Two things it cannot know, since
// they are no events: that all the process does is wait (`waiting`, set by the run; a row that was rebuilt without it
// is `ready`, which is always safe), and that it is in memory (`running`, which is never stored).
import type { EventHeader } from "../abi/events.ts";
import type { Exit, ProcessRow, Wait } from "../abi/process.ts";
import type { ProcessRecord } from "../ports/store.ts";
import { NOTHING_SPENT, plus, spendFor } from "./amounts.ts";

/** The number of no call: the wait of a process that has not begun. */
const START = -1;

/** When the earliest timed wait is over, or the deadline comes. */
export function wakeMsOf(waits: readonly Wait[], deadlineMs: number | null): number | null {
  const times = waits.flatMap((wait) => ("untilMs" in wait && wait.untilMs !== undefined ? [wait.untilMs] : []));
  if (deadlineMs !== null) times.push(deadlineMs);
  return times.length === 0 ? null : Math.min(...times);
}

const withWaits = (record: ProcessRecord, waits: Wait[]): ProcessRecord => ({
  ...record,
  waits,
  wakeMs: wakeMsOf(waits, record.deadlineMs),
});

/** The row of a process that begins: it no longer waits for its start. */
export const begun = (record: ProcessRecord): ProcessRecord =>
  record.waits.some(({ call }) => call === START)
    ? withWaits(
        record,
        record.waits.filter(({ call }) => call !== START),
      )
    : record;

const withReservations = (record: ProcessRecord, reservations: ProcessRecord["reservations"]): ProcessRecord => ({
  ...record,
  reservations,
  reserved: reservations.reduce((sum, { amounts }) => plus(sum, amounts), NOTHING_SPENT),
});

/** What a call reserved is given back; the record itself if it reserved nothing. */
const released = (record: ProcessRecord, call: number): ProcessRecord =>
  record.reservations.some((reservation) => reservation.call === call)
    ? withReservations(
        record,
        record.reservations.filter((reservation) => reservation.call !== call),
      )
    : record;

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
      return header.startMs === undefined
        ? next
        : { ...withWaits(next, [{ on: "time", call: START, untilMs: header.startMs }]), state: "waiting" };
    case "call.reserved":
      return withReservations(next, [...next.reservations, { call: header.call, amounts: header.amounts }]);
    case "process.reclassed":
      return { ...next, class: header.class, weight: header.weight };
    case "process.limited":
      return { ...next, budget: header.budget };
    case "call.intended":
    case "call.undone":
    case "undo.begun":
    case "request.opened":
    case "egress.requested":
    case "egress.ended":
    case "workspace.changed":
      return next;
    case "call.waiting":
      return withWaits(next, [...next.waits.filter(({ call }) => call !== header.call), header.wait]);
    case "call.completed": {
      const waits = next.waits.some(({ call }) => call === header.call)
        ? next.waits.filter(({ call }) => call !== header.call)
        : next.waits;
      next.spent = spendFor(next.spent, header);
      const settled = released(next, header.call);
      return waits === next.waits ? settled : roused(withWaits(settled, waits));
    }
    case "request.decided": {
      const waits = next.waits.filter((wait) => wait.on !== "human" || wait.request !== header.request);
      return roused(waits.length === next.waits.length ? next : withWaits(next, waits));
    }
    case "message.delivered":
      return waitsForMessage(next, header.topic) ? roused(next) : next;
    case "process.stopped":
      return { ...next, state: "stopped" };
    case "process.continued":
      return { ...next, state: "ready" };
    case "process.exited": {
      // What became of the calls under way will not be known: they stay charged.
      const spent = plus(next.spent, next.reserved);
      return { ...withReservations(withWaits(next, []), []), spent, locks: [], state: "exited", exit: exit ?? null };
    }
  }
}

/** What people see of a row. */
export function rowOfRecord(record: ProcessRecord): ProcessRow {
  const { subject, wakeMs, reservations, locks, ...row } = record;
  return row;
}

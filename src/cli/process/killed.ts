// What a kill has killed: which processes, what each was doing, and which of its effects are uncertain.
//
// Boundary: it looks before and after. Between the look and the kill a process may have gone on, so what it was doing is
// told as it was seen; what is uncertain comes from the journal, and is what was.
import type { Event } from "../../abi/events.ts";
import type { ProcessId } from "../../abi/ids.ts";
import type { Json } from "../../abi/json.ts";
import type { ProcessRow } from "../../abi/process.ts";
import type { Client } from "../../sdk/client.ts";
import { count } from "../terminal/figures.ts";
import type { Screen } from "../terminal/screen.ts";
import { cut, oneLine } from "../terminal/text.ts";
import { callText, waitsText } from "./wording.ts";

export type Killed = {
  readonly pid: ProcessId;
  readonly agent: string;
  /** What it was doing when it was last looked at. */
  readonly was: string;
  /** Calls that were dispatched and not answered: their effects may or may not have happened. */
  readonly uncertain: readonly { readonly call: number; readonly what: string }[];
};

const ROWS = 1000;
/** Processes whose journals are read for what is uncertain. */
const READ_PROCESSES = 50;
/** Events before the last one in which the uncertain calls are looked for. */
const READ_EVENTS = 300;
/** Columns of a line where nothing is cut to the terminal's width. */
const PIPED_COLUMNS = 160;

/** The rows of a process's tree. */
export async function membersOf(client: Client, pid: ProcessId): Promise<readonly ProcessRow[]> {
  const { process } = await client.process.show({ pid });
  const { processes } = await client.process.list({ root: process.root, state: "alive", limit: ROWS });
  return processes.some((row) => row.pid === pid) ? processes : [process, ...processes];
}

/** What is known of those that were killed; `before`: their rows before it. */
export async function killedOf(
  client: Client,
  before: readonly ProcessRow[],
  pids: readonly ProcessId[],
): Promise<readonly Killed[]> {
  const rows = new Map(before.map((row) => [row.pid, row]));
  const killed: Killed[] = [];
  for (const [at, pid] of pids.entries()) {
    const row = rows.get(pid);
    killed.push({
      pid,
      agent: row?.agent ?? "",
      was: row === undefined ? "" : doing(row),
      uncertain: at < READ_PROCESSES ? await uncertainCalls(client, pid) : [],
    });
  }
  return killed;
}

const doing = ({ state, waits }: ProcessRow): string =>
  waits.length === 0 ? state : `${state}, on ${waitsText(waits)}`;

async function uncertainCalls(client: Client, pid: ProcessId): Promise<Killed["uncertain"]> {
  const { process } = await client.process.show({ pid });
  const from = Math.max(0, process.events - READ_EVENTS);
  const events = (await client.journal.read({ pid, from, limit: READ_EVENTS })).events as unknown as readonly Event[];
  const end = events.at(-1)?.header;
  if (end?.kind !== "process.exited") return [];
  return end.open.map((call) => ({ call, what: callOf(events, call) }));
}

/** A call with its arguments, which stand in its first event; empty if that is further back. */
function callOf(events: readonly Event[], call: number): string {
  let syscall = "";
  let args: Json | undefined;
  for (const { header, payloads } of events) {
    if (!("call" in header) || header.call !== call) continue;
    if ("syscall" in header) syscall = header.syscall;
    args ??= payloads["args"];
  }
  return args === undefined ? syscall : callText(syscall, args);
}

/** A line for each that was killed, and one for each call that is uncertain. */
export function killedLines({ paint, columns }: Screen, killed: readonly Killed[]): string[] {
  const room = columns ?? PIPED_COLUMNS;
  const lines = killed.flatMap(({ pid, agent, was, uncertain }) => [
    cut(`  ${pid}  ${oneLine(agent)}${was === "" ? "" : `, was ${was}`}`, room),
    ...uncertain.map(({ call, what }) =>
      paint.yellow(cut(`    uncertain: #${call} ${what}`.trimEnd(), room - UNCERTAIN.length) + UNCERTAIN),
    ),
  ]);
  const unread = killed.length - READ_PROCESSES;
  return unread > 0
    ? [...lines, `  The journals of the last ${count(unread)} were not searched for uncertain calls: reeve journal PID`]
    : lines;
}

const UNCERTAIN = " may or may not have happened";

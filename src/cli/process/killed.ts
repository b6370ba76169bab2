// What a kill has killed: which processes, what each was doing, and the calls of models and tools that it ended.
//
// Boundary: processes are looked at before it, and may have gone on between the look and the kill, so what each was doing
// is told as it was seen. The calls come with the kill's own answer, and are what was ended.
import type { ProcessId } from "../../abi/ids.ts";
import type { ProcessRow } from "../../abi/process.ts";
import type { EndedCall } from "../../abi/reports.ts";
import type { Output } from "../../abi/syscalls.ts";
import type { Client } from "../../sdk/client.ts";
import type { Screen } from "../terminal/screen.ts";
import { cut, oneLine } from "../terminal/text.ts";
import { waitsText } from "./wording.ts";

export type Killed = {
  readonly pid: ProcessId;
  readonly agent: string;
  /** What it was doing when it was last looked at. */
  readonly was: string;
  readonly calls: readonly Omit<EndedCall, "pid">[];
};

const ROWS = 1000;
/** Columns of a line where nothing is cut to the terminal's width. */
const PIPED_COLUMNS = 160;

/** The rows of a process's tree. */
export async function membersOf(client: Client, pid: ProcessId): Promise<readonly ProcessRow[]> {
  const { process } = await client.process.show({ pid });
  const { processes } = await client.process.list({ root: process.root, state: "alive", limit: ROWS });
  return processes.some((row) => row.pid === pid) ? processes : [process, ...processes];
}

/** What is known of those that were killed; `before`: their rows before it. */
export function killedOf(before: readonly ProcessRow[], { pids, calls }: Output<"process.signal">): readonly Killed[] {
  const rows = new Map(before.map((row) => [row.pid, row]));
  const ended = Map.groupBy(calls, ({ pid }) => pid);
  return pids.map((pid) => {
    const row = rows.get(pid);
    return {
      pid,
      agent: row?.agent ?? "",
      was: row === undefined ? "" : doing(row),
      calls: (ended.get(pid) ?? []).map(({ pid: _whose, ...call }) => call),
    };
  });
}

const doing = ({ state, waits }: ProcessRow): string =>
  waits.length === 0 ? state : `${state}, on ${waitsText(waits)}`;

/** A line for each that was killed, and one for each call that it was making. */
export function killedLines({ paint, columns }: Screen, killed: readonly Killed[]): string[] {
  const room = columns ?? PIPED_COLUMNS;
  const called = ({ call, what, uncertain }: Killed["calls"][number]): string => {
    const [before, after] = uncertain ? ["uncertain", " may or may not have happened"] : ["ended", ""];
    const line = cut(`    ${before}: #${call} ${oneLine(what)}`, room - after.length) + after;
    return uncertain ? paint.yellow(line) : line;
  };
  return killed.flatMap(({ pid, agent, was, calls }) => [
    cut(`  ${pid}  ${oneLine(agent)}${was === "" ? "" : `, was ${was}`}`, room),
    ...calls.map(called),
  ]);
}

// `reeve ps`: the process table, as trees.
import type { ProcessId, RequestId } from "../abi/ids.ts";
import type { ProcessRow } from "../abi/process.ts";
import type { RequestKind } from "../abi/requests.ts";
import { SYSCALLS } from "../abi/syscalls.ts";
import type { Client } from "../sdk/client.ts";
import { flag, numberOption, wholeNumber, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { tokensOf, waitsText, type Known } from "./process/wording.ts";
import { age, count, money } from "./terminal/figures.ts";
import type { Paint } from "./terminal/screen.ts";
import { table, type Cell, type Column } from "./terminal/table.ts";
import { oneLine } from "./terminal/text.ts";

const PAGE = 1000;
const RECENT_MS = 3_600_000;

export const COLUMNS: readonly Column[] = [
  { title: "PID" },
  { title: "AGENT", widthMin: 14 },
  { title: "STATE" },
  { title: "CLASS", leftOut: 4 },
  { title: "WAITING ON", widthMin: 18 },
  { title: "CALLS", align: "right", leftOut: 2 },
  { title: "TOKENS", align: "right", leftOut: 1 },
  { title: "COST", align: "right", leftOut: 3 },
  { title: "AGE", align: "right", leftOut: 5 },
];

export const ps: CliCommand = {
  name: "ps",
  define: (command) => {
    command
      .summary("list processes")
      .description(
        `${SYSCALLS["process.list"].doc} Those that are alive, and those that exited within the last hour. A child stands below its parent.`,
      )
      .option("-a, --all", "also those that exited earlier")
      .option("-n, --limit <n>", "at most this many", wholeNumber(1));
  },
  act: (context, _args, options) =>
    context.session(false, async ({ client }) => {
      const limit = numberOption(options, "limit") ?? PAGE;
      const rows = await rowsOf(client, { all: flag(options, "all"), limit, nowMs: context.host.nowMs() });
      const kinds = context.json ? new Map<RequestId, RequestKind>() : await requestKinds(client, rows);
      context.answer({ processes: rows }, () => tableOf(context, rows, kinds));
      if (rows.length === limit)
        context.screen.message(`Only the newest ${count(limit)} are listed; --limit N lists more.`);
      return STATUS.ok;
    }),
};

type Wanted = { readonly all: boolean; readonly limit: number; readonly nowMs: number };

/** Newest first. */
async function rowsOf(client: Client, { all, limit, nowMs }: Wanted): Promise<readonly ProcessRow[]> {
  if (all) return pages(client, {}, limit);
  const alive = await pages(client, { state: "alive" }, limit);
  const { processes: exited } = await client.process.list({ state: "exited", limit: PAGE });
  const recent = exited.filter(({ updatedMs }) => updatedMs >= nowMs - RECENT_MS);
  return [...alive, ...recent].toSorted((a, b) => b.createdMs - a.createdMs).slice(0, limit);
}

async function pages(
  client: Client,
  wanted: { readonly state?: "alive" },
  limit: number,
): Promise<readonly ProcessRow[]> {
  const rows: ProcessRow[] = [];
  for (;;) {
    const before = rows.at(-1)?.pid;
    const size = Math.min(PAGE, limit - rows.length);
    const { processes } = await client.process.list({
      ...wanted,
      ...(before === undefined ? {} : { before }),
      limit: size,
    });
    rows.push(...processes);
    if (processes.length < size || rows.length >= limit) return rows;
  }
}

/** What each open request is, if any of the rows waits for a human. */
async function requestKinds(client: Client, rows: readonly ProcessRow[]): Promise<Known["kinds"]> {
  if (!rows.some(({ waits }) => waits.some(({ on }) => on === "human"))) return new Map();
  const { requests } = await client.human.list({ limit: PAGE });
  return new Map(requests.map(({ request, kind }) => [request, kind]));
}

function tableOf(context: Context, rows: readonly ProcessRow[], kinds: Known["kinds"]): string[] {
  if (rows.length === 0) return [`No processes. Start one: ${context.typed("run AGENT TASK")}`];
  const { screen, host } = context;
  const { paint } = screen;
  const known = { nowMs: host.nowMs(), kinds };
  const cells = tree(rows).map(({ row, depth }) => cellsOf(row, { depth, paint, known }));
  return table(COLUMNS, cells, { columns: screen.columns, paintTitle: paint.dim });
}

/** Roots newest first, each followed by its descendants, oldest first. */
export function tree(rows: readonly ProcessRow[]): readonly { readonly row: ProcessRow; readonly depth: number }[] {
  const listed = new Set(rows.map(({ pid }) => pid));
  const children = Map.groupBy(rows, ({ parent }): ProcessId | null =>
    parent !== null && listed.has(parent) ? parent : null,
  );
  const below = (row: ProcessRow, depth: number): readonly { row: ProcessRow; depth: number }[] => [
    { row, depth },
    ...(children.get(row.pid) ?? []).toReversed().flatMap((child) => below(child, depth + 1)),
  ];
  return (children.get(null) ?? []).flatMap((root) => below(root, 0));
}

/** The agent's name, as deep as it stands in its tree. */
export const branched = ({ agent }: ProcessRow, depth: number): string =>
  (depth === 0 ? "" : `${"  ".repeat(depth - 1)}└ `) + oneLine(agent);

/** A row's cells; shared with `show`, which lists children. */
export function cellsOf(
  row: ProcessRow,
  { depth, paint, known }: { readonly depth: number; readonly paint: Paint; readonly known: Known },
): readonly Cell[] {
  return [
    row.pid,
    branched(row, depth),
    { text: row.exit === null ? row.state : row.exit.how, paint: stateColour(row, paint) },
    row.class,
    row.exit?.how === "failed" ? row.exit.error.code : waitsText(row.waits, known),
    count(row.spent.calls),
    count(tokensOf(row.spent)),
    money(row.spent.costUsd),
    age(known.nowMs - row.createdMs),
  ];
}

function stateColour({ state, exit }: ProcessRow, paint: Paint): (text: string) => string {
  if (exit !== null) return exit.how === "completed" ? paint.dim : paint.red;
  if (state === "running") return paint.green;
  return state === "ready" ? paint.cyan : paint.yellow;
}

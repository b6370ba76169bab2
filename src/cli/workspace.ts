// `reeve workspace`: the workspaces that there are; lists them, and removes one, or those that nobody needs any more.
import { OsError } from "../abi/errors.ts";
import type { Differences, WorkspaceRow } from "../abi/reports.ts";
import { SYSCALLS } from "../abi/syscalls.ts";
import type { Client } from "../sdk/client.ts";
import { first, flag, numberOption, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { resolveProcess } from "./process/ids.ts";
import { age, count, counted, size } from "./terminal/figures.ts";
import { table, type Cell, type Column } from "./terminal/table.ts";
import { oneLine } from "./terminal/text.ts";
import { durationOption } from "./times.ts";
import { changeLine, remarks } from "./workspace/wording.ts";

/** Few, since each of them may have to be looked into. */
const PAGE = 20;

const COLUMNS: readonly Column[] = [
  { title: "PID" },
  { title: "AGENT", widthMin: 8 },
  { title: "STATE" },
  { title: "SIZE", align: "right" },
  { title: "CHANGED", align: "right" },
  { title: "AGE", align: "right" },
  { title: "FROM", widthMin: 12, leftOut: 1 },
];

const remove: CliCommand = {
  name: "remove",
  define: (command) => {
    command
      .summary("remove a process's workspace")
      .description(SYSCALLS["workspace.remove"].doc)
      .argument("<pid>", "the process; a unique beginning will do")
      .option("--discard", "also if it holds what was not written back, which is then lost");
  },
  act: (context, args, options) =>
    context.session(false, async ({ client }) => {
      const pid = await resolveProcess(client, first(args));
      const lost = await client.workspace.remove({ pid, discard: flag(options, "discard") });
      context.answer(lost, () => [
        ...lost.changes.map((change) => changeLine(context, change)),
        `Removed the workspace of ${pid}${lossOf(lost) === 0 ? "." : `; ${counted(lossOf(lost), "change")} went with it.`}`,
        ...remarks(context, lost),
      ]);
      return STATUS.ok;
    }),
};

const prune: CliCommand = {
  name: "prune",
  define: (command) => {
    command
      .summary("remove the workspaces that nobody needs any more")
      .description(
        "Remove the workspaces of processes that are over, but for those that hold what was not written back: these are named, and stay.",
      )
      .option(
        "--older-than <time>",
        "only those to whose process nothing has happened for so long, such as 7d",
        durationOption,
      )
      .option("--discard", "also those that hold what was not written back, which is then lost")
      .option("--dry-run", "say what would be removed, and remove nothing");
  },
  act: (context, _args, options) =>
    context.session(false, async ({ client }) => {
      const discard = flag(options, "discard");
      const dryRun = flag(options, "dryRun");
      const beforeMs = context.host.nowMs() - (numberOption(options, "olderThan") ?? 0);
      const pruned = await pruneAll(client, { discard, dryRun, beforeMs });
      context.answer({ ...pruned, dryRun }, () => linesOf(context, pruned, dryRun));
      return STATUS.ok;
    }),
};

export const workspace: CliCommand = {
  name: "workspace",
  commands: [remove, prune],
  define: (command) => {
    command.summary("list workspaces, or remove them").description(SYSCALLS["workspace.list"].doc);
  },
  act: (context) =>
    context.session(false, async ({ client }) => {
      const rows = await Array.fromAsync(rowsOf(client));
      rows.sort((a, b) => (b.updatedMs ?? 0) - (a.updatedMs ?? 0));
      context.answer({ workspaces: rows }, () => tableOf(context, rows));
      return STATUS.ok;
    }),
};

async function* rowsOf(client: Client): AsyncGenerator<WorkspaceRow> {
  for (let after: WorkspaceRow["pid"] | undefined; ;) {
    const { workspaces } = await client.workspace.list({ limit: PAGE, ...(after === undefined ? {} : { after }) });
    yield* workspaces;
    after = workspaces.at(-1)?.pid;
    if (workspaces.length < PAGE) return;
  }
}

function tableOf(context: Context, rows: readonly WorkspaceRow[]): string[] {
  if (rows.length === 0) return ["No workspaces."];
  const { screen, host } = context;
  const { dim } = screen.paint;
  const cells = rows.map((row) => cellsOf(context, row, host.nowMs()));
  const sizeBytes = rows.reduce((sum, row) => sum + (row.sizeBytes ?? 0), 0);
  return [
    ...table(COLUMNS, cells, { columns: screen.columns, paintTitle: dim }),
    dim(`${counted(rows.length, "workspace")}, ${size(sizeBytes)}`),
  ];
}

function cellsOf({ screen }: Context, row: WorkspaceRow, nowMs: number): readonly Cell[] {
  const { dim, red, yellow } = screen.paint;
  const { pid, agent, state, sizeBytes, changed, updatedMs, from, trouble } = row;
  return [
    pid,
    agent === null ? "-" : oneLine(agent),
    state ?? { text: "unknown", paint: dim },
    sizeBytes === null ? "-" : size(sizeBytes),
    changed === null ? "-" : { text: count(changed), paint: changed === 0 ? dim : yellow },
    updatedMs === null ? "-" : age(nowMs - updatedMs),
    trouble === undefined ? oneLine(from ?? "(empty)") : { text: oneLine(trouble), paint: red },
  ];
}

const lossOf = ({ changes, more, leftOut }: Differences): number => changes.length + more + leftOut.length;

type Gone = { readonly pid: WorkspaceRow["pid"]; readonly sizeBytes: number; readonly lost: number };
type Stays = { readonly pid: WorkspaceRow["pid"]; readonly changed: number | null; readonly why: string };
type Pruned = { readonly removed: readonly Gone[]; readonly kept: readonly Stays[] };
type Choice = { readonly discard: boolean; readonly dryRun: boolean; readonly beforeMs: number };

async function pruneAll(client: Client, { discard, dryRun, beforeMs }: Choice): Promise<Pruned> {
  const removed: Gone[] = [];
  const kept: Stays[] = [];
  for await (const { pid, state, updatedMs, changed, sizeBytes, trouble } of rowsOf(client)) {
    if (state !== "exited" && state !== null) continue;
    if (updatedMs !== null && updatedMs > beforeMs) continue;
    if (changed !== 0 && !discard) {
      kept.push({ pid, changed, why: trouble ?? "it holds what was not written back" });
      continue;
    }
    try {
      const lost = dryRun ? (changed ?? 0) : lossOf(await client.workspace.remove({ pid, discard }));
      removed.push({ pid, sizeBytes: sizeBytes ?? 0, lost });
    } catch (error) {
      // Somebody works in it since it was listed, or has removed it: the others are no worse for that.
      if (!OsError.is(error, "conflict") && !OsError.is(error, "not_found")) throw error;
      kept.push({ pid, changed, why: error.message });
    }
  }
  return { removed, kept };
}

function linesOf(context: Context, { removed, kept }: Pruned, dryRun: boolean): string[] {
  const { dim, yellow } = context.screen.paint;
  const bytes = removed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const what = `${counted(removed.length, "workspace")}, ${size(bytes)}`;
  return [
    ...removed.map(({ pid, sizeBytes, lost }) => {
      const went =
        lost === 0 ? "" : yellow(`, with ${counted(lost, "change")} that ${lost === 1 ? "is" : "are"} nowhere else`);
      return `${pid}  ${size(sizeBytes)}${went}`;
    }),
    removed.length === 0 ? "Nothing to remove." : dryRun ? `Would remove ${what}.` : `Removed ${what}.`,
    ...kept.map(({ pid, changed, why }) =>
      dim(`${pid} stays: ${oneLine(why)}${changed === null ? "" : ` (${counted(changed, "change")})`}`),
    ),
    ...(kept.some(({ changed }) => changed !== 0)
      ? [
          dim(
            `\`${context.typed("diff PID")}\` shows it, \`${context.typed("commit PID")}\` writes it back, --discard gives it up.`,
          ),
        ]
      : []),
  ];
}

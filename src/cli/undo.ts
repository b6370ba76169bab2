// `reeve undo`: takes back what a process did, the last call first.
import { SYSCALLS } from "../abi/syscalls.ts";
import type { UndoStep } from "../abi/reports.ts";
import { first, flag, numberOption, sentences, wholeNumber, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { follow, statusOf, tellNotices } from "./follow.ts";
import { resolveProcess } from "./process/ids.ts";
import { table, type Column } from "./terminal/table.ts";
import { cut, inShort, oneLine } from "./terminal/text.ts";

export const undo: CliCommand = {
  name: "undo",
  define: (command) => {
    command
      .summary("take back what a process did")
      .description(
        `${sentences(SYSCALLS["process.undo"].doc, 0, 2)} The process must be stopped or over. Files in its workspace are put back with \`reeve rollback\`.`,
      )
      .argument("<pid>", "the process; a unique beginning will do")
      .option(
        "--to <call>",
        "the earliest call to take back, by its number in the journal; all of them if absent",
        wholeNumber(0),
      )
      .option("--dry-run", "say what would be done, and do nothing")
      .option(
        "--unsure",
        "also what is not known to have happened, or not known to be still there, if its tool bears that there is nothing to take back",
      );
  },
  act: (context, args, options) => {
    const dryRun = flag(options, "dryRun");
    const unsure = flag(options, "unsure");
    return context.session(!dryRun, async (session) => {
      const pid = await resolveProcess(session.client, first(args));
      const to = numberOption(options, "to");
      const { plan, pid: by } = await session.client.process.undo({
        ...{ pid, dryRun, unsure },
        ...(to === undefined ? {} : { to }),
      });
      if (by === null || context.json) context.answer({ plan, pid: by }, () => linesOf(context, { pid, plan, dryRun }));
      else context.screen.lines(linesOf(context, { pid, plan, dryRun }));
      if (by === null) return left(plan) ? STATUS.error : STATUS.ok;
      tellNotices(context, session);
      const status = statusOf(await follow(context, session, { pid: by, from: 0, patient: false, json: "summary" }));
      return status === STATUS.ok && left(plan) ? STATUS.error : status;
    });
  },
};

/** Whether something stays as it is that was not taken back. */
const left = (plan: readonly UndoStep[]): boolean => plan.some(({ how }) => how === "none" || how === "unknown");

const HOW: { readonly [H in UndoStep["how"]]: (step: UndoStep) => string } = {
  undo: ({ by }) => `by ${by ?? ""}`,
  workspace: () => "with its workspace, see below",
  removed: () => "went with its workspace, which was removed",
  none: () => "cannot be taken back: the tool has no undo",
  unknown: () => "not known whether it is there: look, then say --unsure",
  undone: () => "was taken back already",
};

type Planned = { readonly pid: string; readonly plan: readonly UndoStep[]; readonly dryRun: boolean };

function linesOf(context: Context, { pid, plan, dryRun }: Planned): string[] {
  if (plan.length === 0) return [`${pid} has done nothing that would have to be taken back.`];
  const { screen } = context;
  const { dim, red, green } = screen.paint;
  const others = plan.some((step) => step.pid !== pid);
  const columns: readonly Column[] = [
    ...(others ? [{ title: "PID" }] : []),
    { title: "CALL" },
    { title: "TOOL" },
    { title: dryRun ? "WOULD BE UNDONE" : "UNDONE" },
    { title: "ARGUMENTS" },
  ];
  const rows = plan.map((step) => [
    ...(others ? [step.pid] : []),
    `#${step.call}`,
    oneLine(step.tool),
    {
      text: HOW[step.how](step),
      paint: step.how === "undo" ? green : step.how === "none" || step.how === "unknown" ? red : dim,
    },
    cut(inShort(step.args), 60),
  ]);
  return [...table(columns, rows, { columns: screen.columns, paintTitle: dim }), ...rollbacks(context, plan)];
}

/** How to put back what was changed in workspaces: each to before the first of the calls. */
function rollbacks(context: Context, plan: readonly UndoStep[]): string[] {
  const earliest = new Map<string, number>();
  for (const { how, pid, call } of plan)
    if (how === "workspace") earliest.set(pid, Math.min(call, earliest.get(pid) ?? Infinity));
  return [...earliest].map(
    ([pid, call]) => `Put its workspace back with: ${context.typed(`rollback ${pid} --to ${call}`)}`,
  );
}

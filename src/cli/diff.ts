// `reeve diff`: what differs in a process's workspace.
import { SYSCALLS } from "../abi/syscalls.ts";
import type { Change } from "../abi/reports.ts";
import { first, flag, numberOption, wholeNumber, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { resolveProcess } from "./process/ids.ts";
import { changeLine, diffLines, remarks, summary } from "./workspace/wording.ts";

export const diff: CliCommand = {
  name: "diff",
  define: (command) => {
    command
      .summary("show what differs in a process's workspace")
      .description(SYSCALLS["workspace.diff"].doc)
      .argument("<pid>", "the process; a unique beginning will do")
      .option("--from <call>", "compare with how it stood before this call", wholeNumber(0))
      .option("--stat", "only which files, and how much of each");
  },
  act: (context, args, options) =>
    context.session(false, async ({ client }) => {
      const pid = await resolveProcess(client, first(args));
      const from = numberOption(options, "from");
      const differences = await client.workspace.diff({ pid, ...(from === undefined ? {} : { from }) });
      context.answer(differences, () => [
        ...differences.changes.flatMap((change) =>
          flag(options, "stat") ? [changeLine(context, change)] : wholeChange(context, change),
        ),
        context.screen.paint.bold(summary(differences)),
        ...remarks(context, differences),
      ]);
      return STATUS.ok;
    }),
};

/** A change with its lines, and an empty line after them; one that has none to show stands on a line. */
const wholeChange = (context: Context, change: Change): string[] =>
  change.diff === undefined
    ? [changeLine(context, change)]
    : [...(saysMore(change) ? [changeLine(context, change)] : []), ...diffLines(context, change.diff), ""];

/** Whether there is more to it than its lines. */
const saysMore = ({ mode, target, kind, before }: Change): boolean =>
  mode !== undefined || target !== undefined || (before !== undefined && before.kind !== kind);

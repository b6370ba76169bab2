// `reeve diff`: what differs in a process's workspace.
import { SYSCALLS } from "../abi/syscalls.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Change } from "../abi/reports.ts";
import type { Client } from "../sdk/client.ts";
import { first, flag, numberOption, wholeNumber, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { resolveProcess } from "./process/ids.ts";
import { plain } from "./terminal/text.ts";
import { changeLine, diffLines, remarks, summary } from "./workspace/wording.ts";

export const diff: CliCommand = {
  name: "diff",
  define: (command) => {
    command
      .summary("show what differs in a process's workspace")
      .description(SYSCALLS["workspace.diff"].doc)
      .argument("<pid>", "the process; a unique beginning will do")
      .option("--from <call>", "compare with how it stood before this call", wholeNumber(0))
      .option("--patch", "all of it as a patch for `git apply`, with what is no text")
      .option("--stat", "only which files, and how much of each");
  },
  act: (context, args, options) =>
    context.session(false, async ({ client }) => {
      const pid = await resolveProcess(client, first(args));
      const from = numberOption(options, "from");
      if (flag(options, "patch")) return patch(context, client, { pid, from });
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

/** As it is: what reads it may be git. On a terminal it moves nothing. What is not in it goes to standard error. */
async function patch(
  context: Context,
  client: Client,
  { pid, from }: { readonly pid: ProcessId; readonly from: number | undefined },
): Promise<number> {
  const whole = await client.workspace.patch({ pid, ...(from === undefined ? {} : { from }) });
  if (context.json) context.answer(whole, () => []);
  else {
    context.screen.words(context.screen.columns === undefined ? whole.patch : plain(whole.patch));
    for (const line of remarks(context, { more: 0, leftOut: whole.leftOut })) context.screen.message(line);
  }
  return STATUS.ok;
}

/** A change with its lines, and an empty line after them; one that has none to show stands on a line. */
const wholeChange = (context: Context, change: Change): string[] =>
  change.diff === undefined
    ? [changeLine(context, change)]
    : [...(saysMore(change) ? [changeLine(context, change)] : []), ...diffLines(context, change.diff), ""];

/** Whether there is more to it than its lines. */
const saysMore = ({ mode, target, kind, before }: Change): boolean =>
  mode !== undefined || target !== undefined || (before !== undefined && before.kind !== kind);

// `reeve replay`: a process's program, run again on its journal.
import { SYSCALLS } from "../abi/syscalls.ts";
import { type VerifyReport } from "../abi/reports.ts";
import { first, flag, misuse, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { resolveProcess } from "./process/ids.ts";
import { counted, duration } from "./terminal/figures.ts";
import { pairs } from "./terminal/table.ts";
import { indent, inFull } from "./terminal/text.ts";

export const replay: CliCommand = {
  name: "replay",
  define: (command) => {
    command
      .summary("run a process again on its journal")
      .description(SYSCALLS["journal.verify"].doc)
      .argument("<pid>", "the process; a unique beginning will do")
      .option("--verify", "compare each call that the program issues with the journal");
  },
  act: async (context, args, options) => {
    if (!flag(options, "verify"))
      throw misuse(
        `Say what the replay is for: \`${context.typed(`replay ${first(args)} --verify`)}\` compares each call with the journal.`,
      );
    return context.session(false, async ({ client }) => {
      const pid = await resolveProcess(client, first(args));
      context.screen.progress(`replaying ${pid}`);
      const report = await client.journal.verify({ pid });
      context.screen.progress(null);
      context.answer(report, () => linesOf(context, report));
      return report.identical && report.chain.intact ? STATUS.ok : STATUS.divergence;
    });
  },
};

function linesOf(
  { screen: { paint } }: Context,
  { pid, identical, events, calls, difference, chain, elapsedMs }: VerifyReport,
): string[] {
  const head = identical ? paint.green(paint.bold("identical")) : paint.red(paint.bold("different"));
  const counts = `${counted(calls, "call")} of ${counted(events, "event")} in ${duration(elapsedMs)}`;
  const broken = chain.intact
    ? []
    : [
        paint.red(
          `The chain of hashes is broken at event ${chain.brokenAt ?? "?"}: the journal was changed after it was written.`,
        ),
      ];
  if (difference === null)
    return [
      `${head}  ${pid}  ${counts}`,
      ...broken,
      ...(identical ? [paint.dim("No model was asked and no effect performed.")] : []),
    ];
  return [
    `${head}  ${pid}  ${counts}`,
    ...broken,
    `The first difference is in call #${difference.call}, in ${difference.field}:`,
    ...pairs(
      [
        ["recorded", inFull(difference.recorded)],
        ["issued", inFull(difference.issued)],
      ],
      paint.dim,
    ).map((line) => indent(line)),
  ];
}

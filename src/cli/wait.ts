// `reeve wait`: follows a process that exists, from here on.
import { SYSCALLS } from "../abi/syscalls.ts";
import { first, numberOption, sentences, wholeNumber, type CliCommand } from "./command.ts";
import { follow, statusOf, tellNotices } from "./follow.ts";
import { resolveProcess } from "./process/ids.ts";
import { waitsText } from "./process/wording.ts";
import { oneLine } from "./terminal/text.ts";
import { counted } from "./terminal/figures.ts";

export const wait: CliCommand = {
  name: "wait",
  define: (command) => {
    command
      .summary("follow a process until it exits")
      .description(
        `${sentences(SYSCALLS["process.wait"].doc, 0, 1)} What it asks of a human is asked on the terminal. Without a server it goes on in this command, which ends when only a human can help it on.`,
      )
      .argument("<pid>", "the process; a unique beginning will do")
      .option("--timeout <seconds>", "give up waiting, not the process, after this time", wholeNumber(0))
      .addHelpText("after", "\nWith --json: the summary, when it is over.");
  },
  act: (context, args, options) =>
    context.session(true, async (session) => {
      const pid = await resolveProcess(session.client, first(args));
      const { process } = await session.client.process.show({ pid });
      if (process.state !== "exited") tellNotices(context, session);
      const { bold, dim } = context.screen.paint;
      const waits = process.waits.length === 0 ? "" : ` on ${waitsText(process.waits)}`;
      if (!context.json)
        context.screen.line(
          `${bold(oneLine(process.agent))} ${dim(`${pid} · ${process.state}${waits} · ${counted(process.events, "event")} so far`)}`,
        );
      const timeout = numberOption(options, "timeout");
      const timeoutMs = timeout === undefined ? {} : { timeoutMs: timeout * 1000 };
      return statusOf(
        await follow(context, session, {
          pid,
          from: process.events,
          patient: session.server !== null,
          json: "summary",
          ...timeoutMs,
        }),
      );
    }),
};

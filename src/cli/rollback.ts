// `reeve rollback`: puts a process's workspace back.
import { SYSCALLS } from "../abi/syscalls.ts";
import { Option } from "commander";
import { first, flag, numberOption, wholeNumber, type CliCommand } from "./command.ts";
import { STATUS } from "./exit-status.ts";
import { resolveProcess } from "./process/ids.ts";
import { changeLine, remarks } from "./workspace/wording.ts";
import { counted } from "./terminal/figures.ts";

export const rollback: CliCommand = {
  name: "rollback",
  define: (command) => {
    command
      .summary("put a process's workspace back")
      .description(
        `${SYSCALLS["workspace.rollback"].doc} What its tools did elsewhere is taken back with \`reeve undo\`.`,
      )
      .argument("<pid>", "the process; a unique beginning will do")
      .addOption(
        new Option("--to <call>", "to how it stood before this call, by its number in the journal")
          .argParser(wholeNumber(0))
          .conflicts("replaced"),
      )
      .option("--replaced", "to how it stood before it was last put back: takes that back");
  },
  act: (context, args, options) =>
    context.session(false, async ({ client }) => {
      const pid = await resolveProcess(client, first(args));
      const to = flag(options, "replaced") ? "replaced" : numberOption(options, "to");
      const changed = await client.workspace.rollback({ pid, ...(to === undefined ? {} : { to }) });
      context.answer(changed, () => {
        const { changes, more } = changed;
        const all = changes.length + more;
        return [
          ...changes.map((change) => changeLine(context, change)),
          all === 0
            ? `Nothing to put back: it is as ${stateOf(to)}.`
            : `Put back ${counted(all, "change")}: it is as ${stateOf(to)}. How it stood before: ${context.typed(`rollback ${pid} --replaced`)}`,
          ...remarks(context, changed),
        ];
      });
      return STATUS.ok;
    }),
};

function stateOf(to: number | "replaced" | undefined): string {
  if (to === undefined) return "it began or was last written back";
  return to === "replaced" ? "it stood before it was last put back" : `it stood before call #${to}`;
}

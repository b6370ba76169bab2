// `reeve commit`: writes a process's workspace back to the folder that it began as a copy of.
import { SYSCALLS } from "../abi/syscalls.ts";
import { first, gather, listOption, type CliCommand } from "./command.ts";
import { STATUS } from "./exit-status.ts";
import { resolveProcess } from "./process/ids.ts";
import { changeLine, remarks } from "./workspace/wording.ts";
import { counted } from "./terminal/figures.ts";

export const commit: CliCommand = {
  name: "commit",
  define: (command) => {
    command
      .summary("write a process's workspace back")
      .description(SYSCALLS["workspace.commit"].doc)
      .argument("<pid>", "the process; a unique beginning will do")
      .option(
        "--except <path>",
        "leave out what differs at or below this path, which goes on to differ; may be repeated",
        gather,
        [],
      );
  },
  act: (context, args, options) =>
    context.session(false, async ({ client }) => {
      const pid = await resolveProcess(client, first(args));
      const written = await client.workspace.commit({ pid, except: listOption(options, "except") });
      context.answer(written, () => {
        const { changes, more } = written;
        const all = changes.length + more;
        return [
          ...changes.map((change) => changeLine(context, change)),
          all === 0 ? "Nothing to write back." : `Wrote back ${counted(all, "change")}.`,
          ...remarks(context, written),
        ];
      });
      return STATUS.ok;
    }),
};

// `reeve commit`: writes a process's workspace back to the folder that it began as a copy of.
import { resolve } from "node:path";
import { SYSCALLS } from "../abi/syscalls.ts";
import { first, gather, listOption, textOption, type CliCommand } from "./command.ts";
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
      )
      .option("--to <folder>", "for a workspace that began empty: a folder within the project's");
  },
  act: (context, args, options) =>
    context.session(false, async ({ client }) => {
      const pid = await resolveProcess(client, first(args));
      const to = textOption(options, "to");
      const written = await client.workspace.commit({
        pid,
        except: listOption(options, "except"),
        ...(to === undefined ? {} : { to: resolve(to) }),
      });
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

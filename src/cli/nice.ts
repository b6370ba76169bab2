// `reeve nice`: how urgent a process is, and its tree's share.
import { Option } from "commander";
import { CLASSES, type Class } from "../abi/scheduling.ts";
import { SYSCALLS } from "../abi/syscalls.ts";
import { first, misuse, numberOption, textOption, weight, type CliCommand } from "./command.ts";
import { STATUS } from "./exit-status.ts";
import { resolveProcess } from "./process/ids.ts";
import { placeText } from "./process/wording.ts";
import { counted } from "./terminal/figures.ts";

export const nice: CliCommand = {
  name: "nice",
  define: (command) => {
    command
      .summary("change how urgent a process is")
      .description(SYSCALLS["process.nice"].doc)
      .argument("<pid>", "the process; a unique beginning will do")
      .addOption(new Option("--class <class>", "the class").choices(CLASSES))
      .option("--weight <n>", "the share of its tree among the trees of its tenant, from 0.01 to 100", weight);
  },
  act: (context, args, options) => {
    const name = textOption(options, "class") as Class | undefined;
    const share = numberOption(options, "weight");
    if (name === undefined && share === undefined)
      throw misuse(`Say what is to change: --class ${CLASSES.join("|")}, --weight N, or both.`);
    return context.session(false, async ({ client }) => {
      const pid = await resolveProcess(client, first(args));
      const { pids } = await client.process.nice({
        pid,
        ...(name === undefined ? {} : { class: name }),
        ...(share === undefined ? {} : { weight: share }),
      });
      const { process } = await client.process.show({ pid });
      context.answer({ pids }, () => {
        const others = pids.filter((each) => each !== pid).length;
        const followed = others === 0 ? "" : `, and ${counted(others, "descendant")} with it`;
        return [`${pid} is ${placeText(process)}${pids.length === 0 ? ", as it was" : followed}`];
      });
      return STATUS.ok;
    });
  },
};

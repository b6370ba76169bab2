// `reeve send`: a message into a process's mailbox.
import { SYSCALLS } from "../abi/syscalls.ts";
import { first, misuse, textOption, type CliCommand } from "./command.ts";
import { STATUS } from "./exit-status.ts";
import { givenText } from "./given-text.ts";
import { resolveProcess } from "./process/ids.ts";

export const send: CliCommand = {
  name: "send",
  define: (command) => {
    command
      .summary("send a message to a process")
      .description(`${SYSCALLS["message.send"].doc} Its program takes it when it asks for one; until then it is kept.`)
      .argument("<pid>", "the process; a unique beginning will do")
      .argument("[text...]", "the message, as text")
      .option("--topic <topic>", "what it is about (default: message)")
      .option(
        "--body-file <file>",
        "read the message from a file, or from standard input with -; a .json file is a value and not text",
      );
  },
  act: async (context, args, options) => {
    const file = textOption(options, "bodyFile");
    const words = args.slice(1);
    if (file === undefined && words.join("").trim() === "")
      throw misuse("There is no message: type it after the process, or name a file with --body-file.");
    const body = await givenText(context, { what: "message", words, file, option: "--body-file" });
    const topic = textOption(options, "topic");
    // Nothing runs on here: a message is put into the mailbox, whoever runs the process.
    return context.session(false, async ({ client, server }) => {
      const pid = await resolveProcess(client, first(args));
      const { message } = await client.message.send({ pid, body, ...(topic === undefined ? {} : { topic }) });
      context.answer({ pid, message }, () => [`${message} sent to ${pid}`]);
      if (server === null && !context.json)
        context.screen.message(
          `No server is running: it is read with \`${context.typed("up")}\` or \`${context.typed(`wait ${pid}`)}\`.`,
        );
      return STATUS.ok;
    });
  },
};

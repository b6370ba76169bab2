// `reeve up`: the server, until Ctrl-C.
import { OsError } from "../abi/errors.ts";
import { createClient } from "../sdk/client.ts";
import { numberOption, wholeNumber, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import type { Serving } from "./host.ts";
import { count, counted } from "./terminal/figures.ts";
import { pairs } from "./terminal/table.ts";

export const up: CliCommand = {
  name: "up",
  define: (command) => {
    command
      .summary("start the server; processes that are not over go on")
      .description(
        "Start the server on this machine's loopback address. Processes that are not over go on where they were. Ctrl-C stops it; they go on at the next start.",
      )
      .option("--port <port>", "the port; 0 takes any free one", wholeNumber(0, 65_535))
      .addHelpText("after", "\nWith --json: one document when it is up.");
  },
  act: async (context, _args, options) => {
    const where = context.config === undefined ? {} : { config: context.config };
    const running = await context.host.locate(where);
    if (running !== null) {
      throw new OsError(
        "store_busy",
        `A server is running on this project already, at ${running.url}. Every command finds it; stop it with Ctrl-C where it runs.`,
        { data: { url: running.url } },
      );
    }
    const interrupted = Promise.withResolvers<void>();
    const unlisten = context.interrupts.listen(interrupted.resolve);
    const port = numberOption(options, "port");
    const serving = await context.host.serve({
      ...where,
      ...(port === undefined ? {} : { port }),
      onNotice: context.notice,
    });
    try {
      await announce(context, serving);
      await interrupted.promise;
      context.screen.message("Stopping. What is under way is parked on disk; it goes on at the next start.");
    } finally {
      await serving.close();
      unlisten();
    }
    return STATUS.ok;
  },
};

async function announce(context: Context, { url, token, folder, notices }: Serving): Promise<void> {
  const client = createClient({ url, token });
  const [{ requests }, { processes }] = await Promise.all([
    client.human.list({ limit: 1000 }),
    client.process.list({ state: "alive", limit: 1000 }),
  ]);
  const { version } = context.host;
  const { bold, dim } = context.screen.paint;
  context.answer({ version, url, token, folder, processes: processes.length, inbox: requests.length, notices }, () => [
    `${bold(`Reeve ${version}`)} is up at ${bold(url)}`,
    "",
    ...pairs(
      [
        ["token", `${token} ${dim("(Authorization: Bearer TOKEN)")}`],
        ["data", folder],
        ["alive", processes.length === 1 ? "1 process" : `${count(processes.length)} processes`],
        [
          "inbox",
          requests.length === 0
            ? "empty"
            : `${counted(requests.length, "request")} waiting for a human: ${context.typed("inbox")}`,
        ],
      ],
      dim,
    ).map((line) => `  ${line}`),
    ...(notices.length === 0 ? [] : ["", ...notices]),
    "",
    dim("Commands typed in this project find it by themselves. Ctrl-C stops it."),
  ]);
}

// `reeve inbox`: what humans are asked and have not decided.
import { SYSCALLS } from "../abi/syscalls.ts";
import { type InboxItem } from "../abi/requests.ts";
import { numberOption, textOption, wholeNumber, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { resolveProcess } from "./process/ids.ts";
import { decisions, questionText, requestFacts } from "./process/request.ts";
import { count } from "./terminal/figures.ts";
import { pairs } from "./terminal/table.ts";
import { indent, oneLine } from "./terminal/text.ts";

const LIMIT = 100;

export const inbox: CliCommand = {
  name: "inbox",
  define: (command) => {
    command
      .summary("list what waits for a human")
      .description(SYSCALLS["human.list"].doc)
      .option("--pid <pid>", "only what this process asks")
      .option("-n, --limit <n>", "at most this many", wholeNumber(1));
  },
  act: (context, _args, options) =>
    context.session(false, async ({ client }) => {
      const given = textOption(options, "pid");
      const limit = Math.min(1000, numberOption(options, "limit") ?? LIMIT);
      const { requests } = await client.human.list({
        limit,
        ...(given === undefined ? {} : { pid: await resolveProcess(client, given) }),
      });
      context.answer({ requests }, () =>
        requests.length === 0
          ? ["Nothing waits for a human."]
          : requests.flatMap((item, at) => [
              ...(at === 0 ? [] : [""]),
              ...requestLines(context, item, { short: given === undefined }),
            ]),
      );
      if (requests.length === limit)
        context.screen.message(`Only the oldest ${count(limit)} are listed; --limit N lists more.`);
      return STATUS.ok;
    }),
};

/** A request, in full or in short. */
export function requestLines(context: Context, item: InboxItem, size: { readonly short?: boolean } = {}): string[] {
  const { bold, dim, yellow } = context.screen.paint;
  const options: [string, string][] =
    item.options === undefined ? [] : [["choices", item.options.map(oneLine).join(" | ")]];
  const facts = [
    ...requestFacts(context, item, size),
    ...options,
    ["type", decisions(context, item).join("\n")] as const,
  ];
  return [`${yellow(item.request)}  ${bold(questionText(item))}`, ...pairs(facts, dim).map((line) => indent(line))];
}

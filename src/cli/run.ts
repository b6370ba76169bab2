// `reeve run`: starts a process and follows it.
import { Option } from "commander";
import type { Json } from "../abi/json.ts";
import { CLASSES, type Class } from "../abi/scheduling.ts";
import { SYSCALLS } from "../abi/syscalls.ts";
import type { Client } from "../sdk/client.ts";
import {
  flag,
  first,
  misuse,
  numberOption,
  sentences,
  textOption,
  weight,
  type CliCommand,
  type Options,
} from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { follow, statusOf, tellNotices } from "./follow.ts";
import { givenText } from "./given-text.ts";
import { addBudgetOptions, budgetOf, whenExhaustedOption } from "./process/budget.ts";
import type { Session } from "./session.ts";
import { time } from "./terminal/figures.ts";
import { cut, inShort } from "./terminal/text.ts";
import { momentOption, timeOf, type Moment } from "./times.ts";

export const run: CliCommand = {
  name: "run",
  define: (command) => {
    command
      .summary("run an agent on a task and follow it")
      .description(
        `${sentences(SYSCALLS["process.spawn"].doc, 0, 1)} Then follow it, and ask on the terminal what it asks of a human.`,
      )
      .argument("<agent>", "the agent's name")
      .argument("[task...]", "the task, as text")
      .option(
        "--task-file <file>",
        "read the task from a file, or from standard input with -; a .json file is a value and not text",
      )
      .option("--detach", "start it and do not follow it")
      .addOption(new Option("--class <class>", "how urgent it is (default: what its agent says)").choices(CLASSES))
      .option("--tenant <name>", "whose work it is")
      .option("--weight <n>", "its tree's share among the trees of its tenant, from 0.01 to 100", weight)
      .option("--after <when>", "begin then: a duration such as 2h, or a time such as 14:05", momentOption)
      .option("--deadline <when>", "be over by then: a duration from its beginning, or a time", momentOption);
    addBudgetOptions(command, { prefix: "budget-", what: "the most for it and its descendants" });
    command
      .addOption(whenExhaustedOption("budget-"))
      .addHelpText(
        "after",
        `\nWith --json: each event on a line, and last the summary.\nCtrl-C detaches: the process goes on at the server, or is parked on disk.`,
      );
  },
  act: async (context, args, options) => {
    const spawn = {
      agent: first(args),
      task: await givenText(context, {
        what: "task",
        words: args.slice(1),
        file: textOption(options, "taskFile"),
        option: "--task-file",
      }),
      ...placeOf(context, options),
    };
    const detach = flag(options, "detach");
    return context.session(!detach, async (session) => {
      tellNotices(context, session);
      context.screen.progress("starting");
      const { pid } = await session.client.process.spawn(spawn);
      if (detach) return started(context, session, pid);
      if (!context.json) showStart(context, spawn, pid);
      return statusOf(await follow(context, session, { pid, from: 0, patient: false, json: "events" }));
    });
  },
};

function showStart(
  { screen }: Context,
  { agent, task }: { readonly agent: string; readonly task: Json },
  pid: string,
): void {
  const { bold, dim } = screen.paint;
  screen.line(`${bold(agent)} ${dim(pid)}`);
  if (task !== "") screen.line(dim(cut(inShort(task), screen.columns ?? 200)));
}

function started(context: Context, session: Session, pid: string): number {
  const where =
    session.server === null
      ? "No server is running, so it waits on disk. It runs with either of"
      : `It runs at ${session.server}. Follow it with`;
  const ways = [context.typed(`wait ${pid}`), ...(session.server === null ? [context.typed("up")] : [])];
  context.answer({ pid }, () => [pid]);
  if (!context.json) context.screen.message(`${where}\n${ways.map((way) => `  ${way}`).join("\n")}`);
  return STATUS.ok;
}

/** What `process.spawn` takes beside the agent and its task. */
function placeOf(
  { host }: Context,
  options: Options,
): Omit<Parameters<Client["process"]["spawn"]>[0], "agent" | "task"> {
  const nowMs = host.nowMs();
  const name = textOption(options, "class") as Class | undefined;
  const tenant = textOption(options, "tenant");
  const share = numberOption(options, "weight");
  const deadline = options["deadline"] as Moment | undefined;
  const after = options["after"] as Moment | undefined;
  const startMs = after === undefined ? undefined : timeOf(after, nowMs);
  // A time that must be over by is counted from the start: so `--after 1h --deadline 2h` leaves it two hours.
  const deadlineMs = deadline === undefined ? undefined : timeOf(deadline, startMs ?? nowMs);
  if (deadlineMs !== undefined && deadlineMs <= (startMs ?? nowMs))
    throw misuse(`The deadline, ${time(deadlineMs)}, is ${startMs === undefined ? "past" : "before the start"}.`);
  return {
    budget: budgetOf(options, "budget-"),
    ...(name === undefined ? {} : { class: name }),
    ...(tenant === undefined ? {} : { tenant }),
    ...(share === undefined ? {} : { weight: share }),
    ...(startMs === undefined ? {} : { startMs }),
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
  };
}

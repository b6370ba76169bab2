// `reeve run`: starts a process and follows it.
import { readFile } from "node:fs/promises";
import { text as readText } from "node:stream/consumers";
import { SYSCALLS } from "../abi/syscalls.ts";
import { OsError } from "../abi/errors.ts";
import type { Budget } from "../abi/agents.ts";
import type { Json } from "../abi/json.ts";
import {
  flag,
  first,
  misuse,
  numberOption,
  sentences,
  textOption,
  wholeNumber,
  type CliCommand,
  type Options,
} from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { follow, statusOf, tellNotices } from "./follow.ts";
import type { Session } from "./session.ts";
import { cut, inShort } from "./terminal/text.ts";

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
      .option("--budget-calls <n>", "calls that it may make", wholeNumber(1))
      .option("--budget-tokens <n>", "input and output tokens that it may use", wholeNumber(1))
      .option("--detach", "start it and do not follow it")
      .addHelpText(
        "after",
        `\nWith --json: each event on a line, and last the summary.\nCtrl-C detaches: the process goes on at the server, or is parked on disk.`,
      );
  },
  act: async (context, args, options) => {
    const spawn = {
      agent: first(args),
      task: await taskOf(context, args.slice(1), options),
      budget: budgetOf(options),
    };
    const detach = flag(options, "detach");
    return context.session(!detach, async (session) => {
      tellNotices(context, session);
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

function budgetOf(options: Options): Budget {
  const calls = numberOption(options, "budgetCalls");
  const tokens = numberOption(options, "budgetTokens");
  return { ...(calls === undefined ? {} : { calls }), ...(tokens === undefined ? {} : { tokens }) };
}

async function taskOf({ host }: Context, words: readonly string[], options: Options): Promise<Json> {
  const file = textOption(options, "taskFile");
  if (file === undefined) return words.join(" ");
  if (words.length > 0) throw misuse("The task stands on the command line and in --task-file: give one of them.");
  const text = file === "-" ? await readText(host.stdin) : await contentOf(file);
  if (!file.endsWith(".json")) return text;
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw new OsError(
      "invalid_argument",
      `The task file ${file} is not JSON: ${error instanceof Error ? error.message : String(error)}. Correct it, or name it otherwise than .json to give it as text.`,
      { data: { file }, cause: error },
    );
  }
}

async function contentOf(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const why = code === "ENOENT" ? "it is not there" : code === "EISDIR" ? "it is a folder" : (error as Error).message;
    throw new OsError(
      "not_found",
      `The task file ${file} cannot be read: ${why}. Name another, or give the task on the command line.`,
      { data: { what: "file", id: file }, cause: error },
    );
  }
}

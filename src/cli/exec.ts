// `reeve exec`: runs any program in a sandbox, as a process, and passes on what it says.
import { constants } from "node:os";
import { resolve } from "node:path";
import { Option } from "commander";
import { egressRuleSchema, type EgressRule } from "../abi/isolation.ts";
import type { Json } from "../abi/json.ts";
import { PROGRAM_INPUT_BYTES_MAX } from "../abi/limits.ts";
import { CLASSES, type Class } from "../abi/scheduling.ts";
import { SYSCALLS } from "../abi/syscalls.ts";
import type { ProcessId } from "../abi/ids.ts";
import { flag, gather, listOption, misuse, textOption, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { statusOf } from "./follow.ts";
import { attend } from "./process/attend.ts";
import { summaryDocument, summaryLines } from "./process/summary.ts";
import { programInput } from "./program-input.ts";
import type { Session } from "./session.ts";
import { count } from "./terminal/figures.ts";
import { fieldOf, plain, textField } from "./terminal/text.ts";

export const exec: CliCommand = {
  name: "exec",
  define: (command) => {
    command
      .summary("run any program in a sandbox")
      .description(
        `${SYSCALLS["process.exec"].doc} Its standard output and error appear here, as text: on a terminal as they come, elsewhere at its end. It has no terminal, and no standard input but what --stdin gives it. The command ends with the program's own status, 127 if there is no such program in the sandbox, 126 if it cannot be executed, or 128 and the number of the signal that ended it.`,
      )
      .argument("<command...>", "the program and its arguments, behind --")
      .option(
        "--workspace <folder>",
        "begin with a copy of this folder; `reeve diff` shows what changed, `reeve commit` keeps it",
      )
      .option(
        "-i, --stdin",
        "read standard input to its end, from a file or a pipe, and give it to the program; without it, it is left to whoever else reads it",
      )
      .option(
        "--allow <host>",
        "let it reach this host (HOST or HOST:PORT, by HTTPS; http://HOST for HTTP); may be repeated",
        gather,
        [],
      )
      .option(
        "--secret <name>",
        "let it use this secret of the configuration, as a placeholder; may be repeated",
        gather,
        [],
      )
      .option("--detach", "start it and do not follow it")
      .addOption(new Option("--class <class>", "how urgent it is").choices(CLASSES))
      .showHelpAfterError("(the program stands behind --, as in: reeve exec -- sh -c 'echo hello')")
      .addHelpText(
        "after",
        `
With --json: the result, when it is over.
Standard input is passed on whole, at most ${PROGRAM_INPUT_BYTES_MAX / 2 ** 20} MiB, and recorded. Only by --stdin: in a loop over
a list the list would be read, and where nobody ends the pipe, as in some CI systems, the command
would wait for ever.
Examples:
  reeve exec --workspace . -- python3 report.py
  reeve exec --stdin -- sort < names.txt`,
      );
  },
  act: async (context, args, options) => {
    // Before the data folder is taken, or a server asked: it may take as long as it likes.
    const input = flag(options, "stdin") ? await programInput(context) : undefined;
    return context.session(!flag(options, "detach"), async (session) => {
      context.screen.progress("starting");
      const name = textOption(options, "class") as Class | undefined;
      const from = textOption(options, "workspace");
      const { pid } = await session.client.process.exec({
        command: [...args],
        ...(input === undefined ? {} : { input }),
        ...(from === undefined ? {} : { workspace: { from: resolve(from) } }),
        egress: listOption(options, "allow").map(ruleOf),
        secrets: listOption(options, "secret"),
        ...(name === undefined ? {} : { class: name }),
      });
      if (flag(options, "detach")) {
        context.answer({ pid }, () => [pid]);
        return STATUS.ok;
      }
      const status = await watch(context, session, pid);
      // Beside what the program says, and never among it.
      if (from !== undefined && !context.json)
        context.screen.message(`What it changed in its copy: ${context.typed(`diff ${pid}`)}`);
      return status;
    });
  },
};

/** `HOST`, `HOST:PORT`, or an address with a scheme. */
function ruleOf(text: string): EgressRule {
  const [, scheme, host = "", port] = /^(?:(https?):\/\/)?([^/:]+)(?::(\d+))?\/?$/.exec(text) ?? [];
  const rule = egressRuleSchema.safeParse({
    host,
    ...(scheme === undefined ? {} : { scheme }),
    ...(port === undefined ? {} : { port: Number(port) }),
  });
  if (rule.success) return rule.data;
  throw misuse(`--allow ${text} names no host. Write HOST, HOST:PORT or http://HOST.`);
}

/**
 * Passes on what the program says: on a terminal as it comes; elsewhere at its end, when it is known what belongs to which of the
 * two streams. Of Reeve's own words none stands among it on standard output.
 */
async function watch(context: Context, session: Session, pid: ProcessId): Promise<number> {
  const live = !context.json && context.host.stdout.isTTY === true;
  let heard = 0;
  let result: Result | undefined;
  const summary = await attend(context, session, {
    pid,
    from: 0,
    patient: false,
    show: (item) => {
      if (item.kind === "delta") {
        heard += item.text.length;
        if (live) context.screen.words(plain(item.text));
      } else if (item.event.header.kind === "call.completed") result = resultOf(item.event.payloads);
    },
  });
  if (context.json) context.document({ ...summaryDocument(summary), result: result?.data ?? null });
  else tell(context, { pid, result, heard: live ? heard : 0 });
  if (result?.exitCode !== undefined) return result.exitCode;
  if (result === undefined && !context.json)
    for (const line of summaryLines(context, summary, { lastSaid: "", server: session.server, worked: false }))
      context.screen.message(line);
  const signal = result?.signal === undefined ? undefined : constants.signals[result.signal];
  return signal === undefined ? statusOf(summary) : STATUS_OF_SIGNALS + signal;
}

/** As shells have it: a program that a signal ended has this and the signal's number as its status. */
const STATUS_OF_SIGNALS = 128;

type Result = {
  readonly data: Json;
  /** How it ended. */
  readonly text: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode?: number;
  readonly signal?: NodeJS.Signals;
  readonly leftOut: number;
};

/** What came of the program, whether that counts as an answer of its tool or as an error. */
function resultOf({ value, error }: Payloads): Result | undefined {
  const content = value ?? fieldOf(fieldOf(error, "data"), "content");
  const data = fieldOf(content, "data");
  if (data === undefined) return undefined;
  const code = fieldOf(data, "exitCode");
  const signal = textField(data, "signal");
  const leftOut = fieldOf(data, "leftOutCharacters");
  return {
    data,
    text: textField(content, "text") ?? "",
    stdout: textField(data, "stdout") ?? "",
    stderr: textField(data, "stderr") ?? "",
    ...(typeof code === "number" ? { exitCode: code } : {}),
    ...(signal === undefined ? {} : { signal: signal as NodeJS.Signals }),
    leftOut: typeof leftOut === "number" ? leftOut : 0,
  };
}

type Payloads = { readonly [name: string]: Json };

/** What has not been passed on yet, and an end that is no status. */
function tell(
  context: Context,
  { pid, result, heard }: { readonly pid: ProcessId; readonly result: Result | undefined; readonly heard: number },
): void {
  if (result === undefined) return;
  const { screen } = context;
  const { text, stdout, stderr, leftOut } = result;
  if (heard === 0) {
    if (leftOut > 0) screen.message(`The first ${count(leftOut)} characters of what it said are left out.`);
    screen.words(plain(stdout));
    screen.errorWords(plain(stderr));
  } else if (heard < stdout.length + stderr.length) {
    screen.message(`Not all that it said came through; the whole of it: ${context.typed(`journal ${pid} --json`)}`);
  }
  if (result.exitCode === undefined) screen.message(plain(text));
}

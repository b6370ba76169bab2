// The command line: reads the arguments, runs the command, and answers with the exit status.
//
// Boundary: it speaks to the system through the SDK alone. Where that system runs, and what the terminal is, the host
// says.
import { Command, CommanderError } from "commander";
import { ERRORS, errorRecord, type ErrorRecord } from "../abi/errors.ts";
import { approve } from "./approve.ts";
import { misuse, type CliCommand } from "./command.ts";
import { commit } from "./commit.ts";
import { cont } from "./cont.ts";
import { Context, Interrupts, type GlobalOptions } from "./context.ts";
import { diff } from "./diff.ts";
import { doctor } from "./doctor.ts";
import { STATUS, STATUS_DOCS } from "./exit-status.ts";
import type { CliHost } from "./host.ts";
import { exec } from "./exec.ts";
import { inbox } from "./inbox.ts";
import { journal } from "./journal.ts";
import { kill } from "./kill.ts";
import { limits } from "./limits.ts";
import { nice } from "./nice.ts";
import { ps } from "./ps.ts";
import { reject } from "./reject.ts";
import { replay } from "./replay.ts";
import { rollback } from "./rollback.ts";
import { run } from "./run.ts";
import { schedule } from "./schedule.ts";
import { send } from "./send.ts";
import { show } from "./show.ts";
import { stop } from "./stop.ts";
import { plain } from "./terminal/text.ts";
import { tools } from "./tools.ts";
import { undo } from "./undo.ts";
import { up } from "./up.ts";
import { wait } from "./wait.ts";
import { workspace } from "./workspace.ts";

/** In the order in which the help lists them. */
export const COMMANDS: readonly CliCommand[] = [
  up,
  run,
  exec,
  ps,
  show,
  journal,
  kill,
  stop,
  cont,
  nice,
  limits,
  send,
  schedule,
  tools,
  wait,
  inbox,
  approve,
  reject,
  replay,
  undo,
  diff,
  commit,
  rollback,
  workspace,
  doctor,
];

/** An interval that never ends in practice: keeps the program alive while it waits for what has no handle of its own. */
const FOREVER_MS = 2 ** 30;

/**
 * Runs one command. `argv`: what stands after `reeve`. Resolves with the exit status, never rejects; with 130 at the
 * second Ctrl-C, without waiting for what is under way, so the caller should then end the program.
 */
export async function runCli(argv: readonly string[], host: CliHost): Promise<number> {
  const quit = Promise.withResolvers<number>();
  const interrupts = new Interrupts((status) => quit.resolve(status));
  const unlisten = host.onInterrupt(() => interrupts.fire());
  const alive = setInterval(() => undefined, FOREVER_MS);
  const onError = (error: NodeJS.ErrnoException): void => {
    // Whoever reads the output has seen enough, as `head` has: that is no error, and a process that is followed is left.
    if (error.code === "EPIPE") interrupts.leave(STATUS.ok);
    // What is written after that goes nowhere.
    else if (error.code !== "ERR_STREAM_DESTROYED") quit.resolve(STATUS.error);
  };
  host.stdout.on("error", onError);
  const done = perform(argv, host, interrupts).finally(() => host.stdout.off("error", onError));
  try {
    return await Promise.race([done, quit.promise]);
  } finally {
    clearInterval(alive);
    unlisten();
  }
}

async function perform(argv: readonly string[], host: CliHost, interrupts: Interrupts): Promise<number> {
  let status: number = STATUS.ok;
  const program = buildProgram(
    host,
    async (command, context, parsed) => {
      status = await command.act(context, parsed.args, parsed.options);
    },
    interrupts,
  );
  if (argv.length === 0) {
    program.outputHelp();
    return STATUS.ok;
  }
  try {
    await program.parseAsync([...argv], { from: "user" });
    return status;
  } catch (error) {
    if (error instanceof CommanderError) return misused(error, argv, host);
    return report(error, new Context(host, program.opts<GlobalOptions>(), interrupts));
  }
}

/** People have read it by now. What was typed could not be read, so whether a program wants a document is looked up in it. */
function misused({ exitCode, message }: CommanderError, argv: readonly string[], host: CliHost): number {
  if (exitCode === 0) return STATUS.ok;
  const end = argv.indexOf("--");
  if (argv.slice(0, end === -1 ? argv.length : end).includes("--json"))
    host.stdout.write(`${JSON.stringify({ error: errorRecord(misuse(message.replace(/^error: /, ""))) })}\n`);
  return STATUS.usage;
}

type Parsed = { readonly args: readonly string[]; readonly options: { readonly [name: string]: unknown } };
type Perform = (command: CliCommand, context: Context, parsed: Parsed) => Promise<void>;

/** The commands as commander knows them; the documents are made from it as well. */
export function buildProgram(
  host: Pick<CliHost, "version" | "stdout" | "stderr">,
  act: Perform,
  interrupts = new Interrupts(() => undefined),
): Command {
  const program = new Command("reeve")
    .description("An operating system for AI agents.")
    .version(host.version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .option("--config <file>", "the configuration (default: reeve.config.ts in this folder)")
    .option("--json", "print JSON: one document, or one on each line for streams")
    .option("--no-color", "no colours")
    .configureHelp({ showGlobalOptions: true, helpWidth: Math.min(host.stdout.columns ?? 100, 100) })
    .configureOutput({
      writeOut: (text) => void host.stdout.write(text),
      writeErr: (text) => void host.stderr.write(text),
    })
    .showHelpAfterError("(--help says how it is used)")
    .addHelpText(
      "after",
      `\nExit statuses:\n${STATUS_DOCS.map(([status, doc]) => `  ${String(status).padEnd(4)} ${doc}`).join("\n")}`,
    )
    .exitOverride();
  const add = (to: Command, each: CliCommand): void => {
    const command = to.command(each.name);
    each.define(command);
    command.action(async () => {
      const options = command.optsWithGlobals<GlobalOptions>();
      await act(each, new Context(host as CliHost, options, interrupts), {
        args: command.args,
        options,
      });
    });
    for (const below of each.commands ?? []) add(command, below);
  };
  for (const each of COMMANDS) add(program, each);
  return program;
}

/** Says what went wrong: to people on standard error, to programs as a document on standard output. */
function report(error: unknown, context: Context): number {
  const record = errorRecord(error);
  const { screen } = context;
  if (context.json) context.document({ error: record });
  screen.message(
    `${screen.paintMessage.red(screen.paintMessage.bold("error"))} ${record.code}: ${plain(context.said(record.message))}`,
  );
  for (const line of issuesOf(record)) screen.message(`  ${plain(line)}`);
  if (record.code === "internal" && error instanceof Error && error.stack !== undefined)
    screen.message(screen.paintMessage.dim(error.stack));
  return ERRORS[record.code].exit;
}

/** What is wrong in detail, unless the message says it already. */
function issuesOf({ message, data }: ErrorRecord): readonly string[] {
  const { issues } = data;
  return Array.isArray(issues)
    ? (issues as readonly unknown[]).filter(
        (issue): issue is string => typeof issue === "string" && !message.includes(issue),
      )
    : [];
}

// What `kill`, `stop` and `cont` share: sending a signal to processes, and telling what came of each.
import { ERRORS, OsError, type ErrorRecord } from "../../abi/errors.ts";
import type { ProcessId } from "../../abi/ids.ts";
import type { Client } from "../../sdk/client.ts";
import { textOption, type CliCommand } from "../command.ts";
import type { Context } from "../context.ts";
import { STATUS } from "../exit-status.ts";
import { resolveProcess } from "./ids.ts";
import { killedLines, killedOf, membersOf, type Killed } from "./killed.ts";

type Signal = "kill" | "stop" | "cont";
type Done = {
  readonly pid: ProcessId;
  /** The processes that changed. */
  readonly pids: readonly ProcessId[];
  /** For `kill`: what each of them was. */
  readonly killed?: readonly Killed[];
};
type Sent = { readonly given: string } & (Done | { readonly error: ErrorRecord });

const DONE: { readonly [S in Signal]: string } = { kill: "killed", stop: "stopped", cont: "continued" };
const ALREADY: { readonly [S in Signal]: string } = {
  kill: "had exited already",
  stop: "was stopped already",
  cont: "was not stopped",
};

type Texts = { readonly summary: string; readonly description: string };

/** A command that sends one signal. */
export const signalCommand = (signal: Signal, { summary, description }: Texts): CliCommand => ({
  name: signal,
  define: (command) => {
    command
      .summary(summary)
      .description(description)
      .argument("<pid...>", "the processes; unique beginnings will do")
      .option("--reason <text>", "why; it stands in the journal");
  },
  act: (context, args, options) =>
    // Nothing may run on before it is stopped, so a kernel in this process runs none.
    context.session(false, async ({ client, server }) => {
      const sent: Sent[] = [];
      for (const given of args)
        sent.push(await send(client, { given, signal, reason: textOption(options, "reason") ?? "" }));
      if (context.json) context.document({ results: sent.map(({ given: _given, ...result }) => result) });
      else {
        for (const each of sent) {
          if ("error" in each)
            context.screen.message(`${context.screen.paintMessage.red("error")} ${each.given}: ${each.error.message}`);
          else context.screen.lines(linesOf(context, signal, each));
        }
        if (signal === "cont" && server === null && sent.some((each) => "pid" in each))
          context.screen.message(
            `No server is running: it goes on with \`${context.typed("up")}\` or \`${context.typed("wait PID")}\`.`,
          );
      }
      const failed = sent.find((each) => "error" in each);
      return failed === undefined || !("error" in failed) ? STATUS.ok : ERRORS[failed.error.code].exit;
    }),
});

async function send(
  client: Client,
  { given, signal, reason }: { readonly given: string; readonly signal: Signal; readonly reason: string },
): Promise<Sent> {
  try {
    const pid = await resolveProcess(client, given);
    if (signal !== "kill") return { given, pid, pids: (await client.process.signal({ pid, signal, reason })).pids };
    const before = await membersOf(client, pid);
    const ended = await client.process.signal({ pid, signal, reason });
    return { given, pid, pids: ended.pids, killed: killedOf(before, ended) };
  } catch (error) {
    // The others are signalled all the same; the exit status tells of it.
    if (OsError.is(error) && error.code !== "unreachable") return { given, error: error.toJSON() };
    throw error;
  }
}

function linesOf(context: Context, signal: Signal, { pid, pids, killed }: Done): string[] {
  if (pids.length === 0) return [`${pid} ${ALREADY[signal]}`];
  const others = pids.length === 1 ? "" : `, with ${pids.length - 1} of its descendants`;
  return [`${pid} ${DONE[signal]}${others}`, ...killedLines(context.screen, killed ?? [])];
}

// `reeve exec`: runs any program in a sandbox, as a process, and passes on what it says.
import { resolve } from "node:path";
import { Option } from "commander";
import { egressRuleSchema, type EgressRule } from "../abi/isolation.ts";
import { CLASSES, type Class } from "../abi/scheduling.ts";
import { SYSCALLS } from "../abi/syscalls.ts";
import type { ProcessId } from "../abi/ids.ts";
import { flag, gather, listOption, misuse, textOption, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { statusOf, tellNotices } from "./follow.ts";
import { attend } from "./process/attend.ts";
import { type Summary, summaryDocument, summaryLines } from "./process/summary.ts";
import type { Session } from "./session.ts";
import { plain } from "./terminal/text.ts";

export const exec: CliCommand = {
  name: "exec",
  define: (command) => {
    command
      .summary("run any program in a sandbox")
      .description(
        `${SYSCALLS["process.exec"].doc} Its standard output and error appear here; it ends with the program's own status.`,
      )
      .argument("<command...>", "the program and its arguments, behind --")
      .option(
        "--workspace <folder>",
        "begin with a copy of this folder; `reeve diff` shows what changed, `reeve commit` keeps it",
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
      .addHelpText(
        "after",
        "\nWith --json: the result, when it is over.\nExample: reeve exec --workspace . -- python3 report.py",
      );
  },
  act: (context, args, options) =>
    context.session(!flag(options, "detach"), async (session) => {
      tellNotices(context, session);
      context.screen.progress("starting");
      const name = textOption(options, "class") as Class | undefined;
      const from = textOption(options, "workspace");
      const { pid } = await session.client.process.exec({
        command: [...args],
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
    }),
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

/** Passes on what the program says; what was said before anybody listened comes with its result. */
async function watch(context: Context, session: Session, pid: ProcessId): Promise<number> {
  let said = 0;
  let result: Result | undefined;
  const summary = await attend(context, session, {
    pid,
    from: 0,
    patient: false,
    show: (item) => {
      if (item.kind === "delta") {
        said += item.text.length;
        if (!context.json) context.screen.words(plain(item.text));
      } else if (item.event.header.kind === "call.completed") result = resultOf(item.event.payloads["value"]);
    },
  });
  return finished(context, session, { summary, said, result });
}

type Result = { readonly exitCode?: unknown; readonly stdout?: unknown; readonly stderr?: unknown };

const resultOf = (value: unknown): Result | undefined => {
  const data = typeof value === "object" && value !== null && "data" in value ? value.data : undefined;
  return typeof data === "object" && data !== null ? data : undefined;
};

function finished(
  context: Context,
  session: Session,
  { summary, said, result }: { readonly summary: Summary; readonly said: number; readonly result: Result | undefined },
): number {
  const code = typeof result?.exitCode === "number" ? result.exitCode : undefined;
  if (context.json) context.document({ ...summaryDocument(summary), result: result ?? null });
  else if (code === undefined)
    context.screen.lines(summaryLines(context, summary, { lastSaid: "", server: session.server, worked: false }));
  else if (said === 0) context.screen.words(plain(`${textOf(result?.stdout)}${textOf(result?.stderr)}`));
  return code ?? statusOf(summary);
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

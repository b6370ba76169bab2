// `reeve journal`: a process's events, one on a line.
import type { Event } from "../abi/events.ts";
import type { ProcessId } from "../abi/ids.ts";
import { SYSCALLS } from "../abi/syscalls.ts";
import type { Client } from "../sdk/client.ts";
import { first, flag, numberOption, wholeNumber, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { EventLines } from "./process/event-line.ts";
import { resolveProcess } from "./process/ids.ts";
import { timeExact } from "./terminal/figures.ts";
import { cut, pad } from "./terminal/text.ts";

const PAGE = 500;
const KIND_COLUMNS = "message.delivered".length;
const SEQ_COLUMNS = 5;

export const journal: CliCommand = {
  name: "journal",
  define: (command) => {
    command
      .summary("print a process's events")
      .description(SYSCALLS["journal.read"].doc)
      .argument("<pid>", "the process; a unique beginning will do")
      .option("-f, --follow", "go on with the events to come, until the process exits")
      .option("--from <seq>", "begin with this event", wholeNumber(0))
      .addHelpText("after", "\nWith --json: each event whole, on a line.");
  },
  act: (context, args, options) => {
    const following = flag(options, "follow");
    return context.session(following, async ({ client }) => {
      const pid = await resolveProcess(client, first(args));
      const print = printer(context);
      const next = await printRecorded(client, { pid, from: numberOption(options, "from") ?? 0 }, print);
      return following ? followLive(context, client, { pid, from: next, print }) : STATUS.ok;
    });
  },
};

type Print = (event: Event) => void;
type From = { readonly pid: ProcessId; readonly from: number };

/** Prints what is recorded, page by page; the answer is the seq of the next event. */
async function printRecorded(client: Client, { pid, from }: From, print: Print): Promise<number> {
  let next = from;
  for (;;) {
    const { events } = await client.journal.read({ pid, from: next, limit: PAGE });
    for (const event of events as unknown as readonly Event[]) print(event);
    next += events.length;
    if (events.length < PAGE) return next;
  }
}

async function followLive(
  context: Context,
  client: Client,
  { pid, from, print }: From & { readonly print: Print },
): Promise<number> {
  const left = new AbortController();
  const unlisten = context.interrupts.listen(() => left.abort());
  try {
    for await (const item of client.follow(pid, { from, signal: left.signal }))
      if (item.kind === "event") print(item.event);
  } finally {
    unlisten();
  }
  return left.signal.aborted ? STATUS.interrupted : STATUS.ok;
}

function printer(context: Context): Print {
  if (context.json) return (event) => context.document(event);
  const { screen } = context;
  const lines = new EventLines();
  const { dim, red } = screen.paint;
  return (event) => {
    const { seq, atMs, header } = event;
    const head = `${pad(String(seq), SEQ_COLUMNS, "right")}  ${timeExact(atMs)}  ${pad(header.kind, KIND_COLUMNS)}  `;
    const text = lines.text(event);
    const fitted = screen.columns === undefined ? text : cut(text, Math.max(20, screen.columns - head.length));
    const failed = "error" in header && header.error !== undefined;
    screen.line(dim(head) + (failed ? red(fitted) : fitted));
  };
}

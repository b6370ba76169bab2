// How it stands with a process when nobody follows it any longer, and how to look closer.
import type { ProcessRow } from "../../abi/process.ts";
import type { InboxItem } from "../../abi/requests.ts";
import type { Context } from "../context.ts";
import { indent, inFull, oneLine, plain, textField } from "../terminal/text.ts";
import { duration } from "../terminal/figures.ts";
import { pairs } from "../terminal/table.ts";
import { decisions } from "./request.ts";
import { exitText, requestText, spentText } from "./wording.ts";

export type Summary = {
  readonly row: ProcessRow;
  /** What it and its descendants ask of humans. */
  readonly requests: readonly InboxItem[];
  /** `followed`: to its end; `waiting`: for somebody outside; `detached`: by Ctrl-C. */
  readonly why: "exited" | "waiting" | "detached";
};

/** The same as data, for `--json`. */
export const summaryDocument = ({ row, requests, why }: Summary): object => {
  const { pid, agent, state, exit, spent, events, waits } = row;
  return { kind: "summary", pid, agent, state, exit, spent, events, waits, requests, ended: why };
};

type Seen = {
  /** What stands on the screen already. */
  readonly lastSaid: string;
  /** Where the process goes on, or null. */
  readonly server: string | null;
  /** Whether it was seen to work in its workspace. */
  readonly worked: boolean;
};

export function summaryLines(context: Context, summary: Summary, { lastSaid, server, worked }: Seen): string[] {
  const { row } = summary;
  const more = closer(context, row, worked);
  if (row.exit !== null) return [...exitLines(context, row, lastSaid), "", ...more];
  if (summary.why === "waiting") return [...waitingLines(context, summary, server), "", ...more];
  return detachedLines(context, row, server);
}

function exitLines(context: Context, row: ProcessRow, lastSaid: string): string[] {
  const { screen } = context;
  const { exit } = row;
  if (exit === null) return [];
  const { paint } = screen;
  const inside = (text: string): string => indent(screen.fitted(text, 2));
  const after = paint.dim(`in ${duration(row.updatedMs - row.createdMs)} · ${spentText(row.spent)}`);
  if (exit.how !== "completed")
    return [
      "",
      `${paint.red(paint.bold(exit.how))} ${after}`,
      inside(plain(exit.how === "failed" ? `${exit.error.code}: ${context.said(exit.error.message)}` : exitText(exit))),
    ];
  const result = textField(exit.result, "text") ?? exit.result;
  const told = result === null || result === "" || result === lastSaid;
  return ["", `${paint.green(paint.bold("completed"))} ${after}`, ...(told ? [] : ["", inside(inFull(result))])];
}

function waitingLines(context: Context, { row, requests }: Summary, server: string | null): string[] {
  const { paint } = context.screen;
  const head = ["", `${paint.yellow(paint.bold(waitingFor(row, requests)))} ${paint.dim(`· ${spentText(row.spent)}`)}`];
  const asked = requests.flatMap((item) => [
    "",
    indent(paint.bold(oneLine(item.question))),
    indent(paint.dim(requestText(item))),
    ...decisions(context, item).map((line) => indent(line)),
  ]);
  const onward =
    requests.length > 0 && server === null ? [] : [`${goesOnText(server)} ${context.typed(`wait ${row.pid}`)}`];
  return [...head, ...asked, ...(onward.length === 0 ? [] : ["", ...onward])];
}

const goesOnText = (server: string | null): string => (server === null ? "Go on with it later:" : "Follow it:");

function waitingFor({ state, waits }: ProcessRow, requests: readonly InboxItem[]): string {
  if (requests.length > 0)
    return requests.length === 1 ? "waiting for a human" : `waiting for a human, ${requests.length} times`;
  if (state === "stopped") return "stopped";
  return waits.some(({ on }) => on === "message") ? "waiting for a message" : "waiting";
}

function detachedLines(context: Context, row: ProcessRow, server: string | null): string[] {
  const where =
    server === null
      ? `${row.pid} is parked on disk. Nothing is lost; it goes on with either of`
      : `${row.pid} goes on at ${server}. Come back with`;
  const ways = [context.typed(`wait ${row.pid}`), ...(server === null ? [context.typed("up")] : [])];
  return ["", `Detached. ${where}`, ...ways.map((way) => indent(way))];
}

/** What to type to look closer, with what it shows where there is room for it. */
function closer(context: Context, row: ProcessRow, worked: boolean): string[] {
  const ways: (readonly [command: string, what: string])[] = [[context.typed(`journal ${row.pid}`), "each event"]];
  if (worked) ways.push([context.typed(`diff ${row.pid}`), "what it changed in its workspace"]);
  if (row.exit !== null)
    ways.push([context.typed(`replay ${row.pid} --verify`), "the same run again, from its journal"]);
  const lines = pairs(ways, (text) => text);
  const fits = lines.every((line) => line.length <= (context.screen.columns ?? line.length));
  return fits ? lines : ways.map(([command]) => command);
}

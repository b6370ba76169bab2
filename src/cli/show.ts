// `reeve show`: everything about one process.
import { SYSCALLS, type Output } from "../abi/syscalls.ts";
import { first, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { requestLines } from "./inbox.ts";
import { resolveProcess } from "./process/ids.ts";
import { exitText, spentText, waitsText } from "./process/wording.ts";
import { cellsOf, COLUMNS } from "./ps.ts";
import { count, counted, duration, time } from "./terminal/figures.ts";
import { pairs, table } from "./terminal/table.ts";
import { indent, inFull, oneLine, plain } from "./terminal/text.ts";

type Shown = Output<"process.show">;

export const show: CliCommand = {
  name: "show",
  define: (command) => {
    command
      .summary("show one process")
      .description(SYSCALLS["process.show"].doc)
      .argument("<pid>", "the process; a unique beginning will do");
  },
  act: (context, args) =>
    context.session(false, async ({ client }) => {
      const shown = await client.process.show({ pid: await resolveProcess(client, first(args)) });
      context.answer(shown, () => linesOf(context, shown));
      return STATUS.ok;
    }),
};

function linesOf(context: Context, shown: Shown): string[] {
  const { screen, host } = context;
  const { bold, dim } = screen.paint;
  const { process: row, manifest, program, task, tools, inbox, children } = shown;
  const { exit } = row;
  const result = exit?.how === "completed" ? section(context, "result", [indent(inFull(exit.result))]) : [];
  const toolRows = tools.map(({ name, effect, hash }) => [oneLine(name), effect, hash.slice(0, 12)]);
  const childRows = children.map((child) => cellsOf(child, { depth: 0, paint: screen.paint, nowMs: host.nowMs() }));
  const layout = { columns: screen.columns, paintTitle: dim };
  return [
    `${bold(oneLine(row.agent))} ${row.pid}`,
    dim(plain(manifest.description)),
    "",
    ...pairs(facts(shown, host.nowMs()), dim),
    ...section(context, "task", [indent(inFull(task))]),
    ...result,
    ...section(
      context,
      `tools of its program (${program})`,
      tools.length === 0
        ? []
        : table([{ title: "NAME", widthMin: 20 }, { title: "EFFECT" }, { title: "PINNED AT" }], toolRows, layout),
    ),
    ...section(
      context,
      "asked of humans",
      inbox.flatMap((item) => requestLines(context, item)),
    ),
    ...section(context, "children", children.length === 0 ? [] : table(COLUMNS, childRows, layout)),
  ];
}

/** A titled part; nothing if it is empty. */
const section = ({ screen }: Context, title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : ["", screen.paint.bold(title), ...lines];

function facts({ process: row, manifest }: Shown, nowMs: number): [string, string][] {
  const { budget, spent, exit, waits, parent, root, pid } = row;
  const limits = [
    budget.calls === undefined ? [] : [counted(budget.calls, "call")],
    budget.tokens === undefined ? [] : [`${count(budget.tokens)} tokens`],
  ].flat();
  const list: [string, string][] = [
    ["state", exit === null ? row.state : exitText(exit)],
    ...(waits.length === 0 ? [] : [["waits on", waitsText(waits)] as [string, string]]),
    ["model", oneLine(manifest.model ?? "the default")],
    ["spent", `${spentText(spent)} (${count(spent.inputTokens)} in, ${count(spent.outputTokens)} out)`],
    ["budget", limits.length === 0 ? "unlimited" : limits.join(", ")],
    ["events", count(row.events)],
    ["created", `${time(row.createdMs)} (${duration(nowMs - row.createdMs)} ago)`],
    ["updated", `${time(row.updatedMs)} (${duration(nowMs - row.updatedMs)} ago)`],
  ];
  if (parent !== null) list.push(["parent", parent]);
  if (root !== pid && root !== parent) list.push(["root", root]);
  return list;
}

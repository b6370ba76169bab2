// `reeve show`: everything about one process.
import { SYSCALLS, type Output } from "../abi/syscalls.ts";
import { type WaitExplained } from "../abi/reports.ts";
import { first, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { requestLines } from "./inbox.ts";
import { budgetText, deadlineText } from "./process/budget.ts";
import { resolveProcess } from "./process/ids.ts";
import { exitText, placeText, spentText, withInputCounted } from "./process/wording.ts";
import { cellsOf, COLUMNS } from "./ps.ts";
import { count, duration, time } from "./terminal/figures.ts";
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
  const { process: row, manifest, program, task, tools, inbox, children, waiting } = shown;
  const { exit } = row;
  const result = exit?.how === "completed" ? section(context, "result", [indent(inFull(exit.result))]) : [];
  const toolRows = tools.map(({ name, effect, hash }) => [oneLine(name), effect, hash.slice(0, 12)]);
  const known = { nowMs: host.nowMs(), kinds: new Map(inbox.map(({ request, kind }) => [request, kind])) };
  const childRows = children.map((child) => cellsOf(child, { depth: 0, paint: screen.paint, known }));
  const layout = { columns: screen.columns, paintTitle: dim };
  return [
    `${bold(oneLine(row.agent))} ${row.pid}`,
    dim(plain(manifest.description)),
    "",
    ...pairs(facts(shown, host.nowMs()), dim),
    ...section(
      context,
      "waits for",
      waiting.flatMap((wait) => explanation(context, wait)),
    ),
    ...section(context, "task", [indent(inFull(program === "command" ? withInputCounted(task) : task))]),
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

/** Why it waits, and how it stands in the queue. */
function explanation(context: Context, wait: WaitExplained): string[] {
  const { screen, host } = context;
  const { dim } = screen.paint;
  const figures = [
    wait.position === null ? "" : wait.position === 0 ? "next in line" : `${count(wait.position)} before it`,
    wait.estimateMs === null ? "" : `about ${duration(wait.estimateMs)} to go`,
    wait.sinceMs === null ? "" : `for ${duration(host.nowMs() - wait.sinceMs)}`,
  ].filter((text) => text !== "");
  // What the process as a whole waits for, such as room in memory, is no call of its.
  const head = wait.call < 0 ? "" : `#${wait.call} `;
  const [reason = "", ...more] = screen.fitted(oneLine(context.said(wait.reason)), head.length + 2).split("\n");
  const inner = " ".repeat(head.length);
  const ahead = wait.ahead.map(
    ({ pid, agent, class: name }) => `${inner}before it  ${pid} ${oneLine(agent)} (${name})`,
  );
  return [
    `${dim(head)}${reason}`,
    ...more.map((line) => inner + line),
    ...(figures.length === 0 ? [] : [inner + dim(figures.join(" · "))]),
    ...ahead.map((line) => dim(line)),
  ].map((line) => indent(line));
}

function facts(shown: Shown, nowMs: number): [string, string][] {
  const { process: row, manifest, left, tree } = shown;
  const { budget, spent, exit, parent, root, pid, deadlineMs } = row;
  const treeSpent = spentText(tree.spent) === spentText(spent) ? [] : [["spent by its tree", spentText(tree.spent)]];
  const list = [
    ["state", exit === null ? row.state : exitText(exit)],
    ["class", placeText(row)],
    ["tenant", oneLine(row.tenant)],
    ["model", oneLine(manifest.model ?? "the default")],
    ["spent", `${spentText(spent)} (${count(spent.inputTokens)} in, ${count(spent.outputTokens)} out)`],
    ...treeSpent,
    ["budget", budgetText(budget)],
    ...(Object.keys(left).length === 0 || exit !== null ? [] : [["left", budgetText(left)]]),
    ...(tree.locks.length === 0 ? [] : [["locks", tree.locks.map(oneLine).join(", ")]]),
    ...(deadlineMs === null ? [] : [["deadline", deadlineText(deadlineMs, nowMs)]]),
    ["events", count(row.events)],
    ["created", `${time(row.createdMs)} (${duration(nowMs - row.createdMs)} ago)`],
    ["updated", `${time(row.updatedMs)} (${duration(nowMs - row.updatedMs)} ago)`],
    ...(parent === null ? [] : [["parent", parent]]),
    ...(root === pid || root === parent ? [] : [["root", root]]),
  ];
  return list as [string, string][];
}

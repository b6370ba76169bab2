// `reeve limits`: what a process may use up, what is left of it, and how to change that; without a process, the
// resources that all of them share.
import type { ProcessId } from "../abi/ids.ts";
import { SYSCALLS, type Output } from "../abi/syscalls.ts";
import type { Client } from "../sdk/client.ts";
import { misuse, type CliCommand } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import {
  addBudgetOptions,
  amountOf,
  budgetOf,
  budgetText,
  cellAmount,
  deadlineText,
  DIMENSIONS,
  whenExhaustedOption,
  type Dimension,
} from "./process/budget.ts";
import { resolveProcess } from "./process/ids.ts";
import { memoryText, resourceLines } from "./process/resources.ts";
import { livingTree } from "./process/standing.ts";
import { placeText, spentText } from "./process/wording.ts";
import { branched, tree } from "./ps.ts";
import { count } from "./terminal/figures.ts";
import { pairs, table, type Cell, type Column } from "./terminal/table.ts";
import { oneLine } from "./terminal/text.ts";

type Shown = Output<"process.show">;
type Row = Shown["process"];

export const limits: CliCommand = {
  name: "limits",
  define: (command) => {
    command
      .summary("show or change what a process may use up")
      .description(
        `What a process may use up with its descendants, and what is left of it; without a process, the resources that all share. With options: ${lowerFirst(SYSCALLS["process.limit"].doc)}`,
      )
      .argument("[pid]", "the process; a unique beginning will do");
    addBudgetOptions(command, { prefix: "", what: "the most from now on" });
    command.addOption(whenExhaustedOption(""));
  },
  act: (context, [given], options) => {
    const budget = budgetOf(options);
    const changes = Object.keys(budget).length > 0;
    if (given === undefined && changes)
      throw misuse(
        "Say whose budget it is to be: reeve limits PID. What all processes get stands in the configuration.",
      );
    return context.session(false, async ({ client, server }) => {
      if (given === undefined) {
        await showResources(context, client, server);
        return STATUS.ok;
      }
      const pid = await resolveProcess(client, given);
      if (changes) await client.process.limit({ pid, budget });
      await showLimits(context, client, pid);
      return STATUS.ok;
    });
  },
};

const lowerFirst = (text: string): string => text.slice(0, 1).toLowerCase() + text.slice(1);

const orNone = (lines: string[]): string[] => (lines.length === 0 ? ["No resource has been used yet."] : lines);

async function showResources(context: Context, client: Client, server: string | null): Promise<void> {
  const { memory, resources } = await client.system.inspect({});
  const { screen } = context;
  context.answer({ memory, resources }, () => [
    ...pairs([["memory", memoryText(memory)]], screen.paint.dim),
    "",
    ...orNone(resourceLines(screen, resources)),
  ]);
  if (server === null && !context.json)
    context.screen.message(`No server is running, so nothing is in use: ${context.typed("up")}`);
}

async function showLimits(context: Context, client: Client, pid: ProcessId): Promise<void> {
  const shown = await client.process.show({ pid });
  const { process: row, left, tree: used } = shown;
  const { budget, deadlineMs, tree: bounds } = row;
  const living = context.json || row.state === "exited" ? [] : await livingTree(client, row);
  context.answer({ pid, budget, left, tree: used, bounds, deadlineMs }, () => linesOf(context, shown, living));
}

function linesOf(context: Context, shown: Shown, living: readonly Row[]): string[] {
  const { screen, host } = context;
  const { bold, dim } = screen.paint;
  const { process: row, tree: used } = shown;
  const nowMs = host.nowMs();
  const facts: [string, string][] = [
    ["class", `${placeText(row)}, tenant ${oneLine(row.tenant)}`],
    ["when exhausted", row.budget.whenExhausted === "ask" ? "a human is asked for more" : "the call is refused"],
    ["tree", boundsText(shown)],
    ["locks", used.locks.length === 0 ? "none" : used.locks.map(oneLine).join(", ")],
    ...(row.deadlineMs === null ? [] : [["deadline", deadlineText(row.deadlineMs, nowMs)] as [string, string]]),
  ];
  const below = tree(living).filter(({ row: { pid } }) => pid !== row.pid);
  return [
    `${bold(oneLine(row.agent))} ${row.pid}`,
    "",
    ...budgetLines(context, shown),
    "",
    ...pairs(facts, dim),
    ...(below.length === 0 ? [] : ["", bold("alive below it"), ...descendantLines(context, below)]),
  ];
}

/** How far the tree may grow, where less was set than the system's own limits. */
function boundsText({ process: { tree: bounds }, children }: Shown): string {
  const { depth, breadth, total } = bounds;
  const living = children.filter(({ state }) => state !== "exited").length;
  const parts = [
    depth === undefined ? [] : [`${count(depth)} deep below it`],
    breadth === undefined ? [] : [`${count(breadth)} living children of one process (it has ${count(living)})`],
    total === undefined ? [] : [`${count(total)} descendants in all`],
  ].flat();
  return parts.length === 0 ? "no bounds of its own" : `at most ${parts.join(", ")}`;
}

/** A part of a budget; `max` and `left` are undefined where nothing bounds it, `max` alone where an ancestor does. */
type Standing = {
  readonly name: Dimension;
  readonly title: string;
  readonly max: number | undefined;
  readonly used: number;
  readonly reserved: number;
  readonly left: number | undefined;
  /** Carved out for living children and not used by them yet. */
  readonly carved: number;
};

/** Told also where nothing bounds them. */
const ALWAYS: ReadonlySet<Dimension> = new Set(["costUsd", "calls", "tokens"]);

function standings({ process: row, left: leftOf, tree: used }: Shown, nowMs: number): readonly Standing[] {
  const elapsedMs = (row.exit === null ? nowMs : row.updatedMs) - row.createdMs;
  return DIMENSIONS.map(({ name, title }) => {
    const max = row.budget[name];
    const spent = amountOf(name, used.spent, elapsedMs);
    const reserved = amountOf(name, used.reserved, 0);
    const left = leftOf[name];
    // Time passes for all alike, so none of it is carved out.
    const carved =
      max === undefined || left === undefined || name === "wallMs" ? 0 : Math.max(0, max - spent - reserved - left);
    return { name, title, max, used: spent, reserved, left, carved: carved < 1e-9 ? 0 : carved };
  }).filter(({ name, max, left }) => max !== undefined || left !== undefined || ALWAYS.has(name));
}

const COLUMNS: readonly Column[] = [
  { title: "BUDGET" },
  { title: "MAX", align: "right" },
  { title: "USED", align: "right" },
  { title: "RESERVED", align: "right" },
];
const BAR_COLUMNS = 20;

function budgetLines(context: Context, shown: Shown): string[] {
  const { screen, host } = context;
  const all = standings(shown, host.nowMs());
  const carves = all.some(({ carved }) => carved > 0);
  const columns: readonly Column[] = [
    ...COLUMNS,
    ...(carves ? [{ title: "FOR CHILDREN", align: "right" } as const] : []),
    { title: "LEFT", align: "right" },
    ...(screen.columns === undefined ? [] : [{ title: "", leftOut: 1 }]),
  ];
  const rows = all.map((each): Cell[] => {
    const amount = (value: number | undefined): string => (value === undefined ? "" : cellAmount(each.name, value));
    return [
      each.title,
      each.max === undefined ? (each.left === undefined ? "unlimited" : "an ancestor's") : amount(each.max),
      amount(each.used),
      each.reserved === 0 ? "-" : amount(each.reserved),
      ...(carves ? [each.carved === 0 ? "-" : amount(each.carved)] : []),
      amount(each.left),
      ...(screen.columns === undefined ? [] : [bar(each, screen.paint)]),
    ];
  });
  return table(columns, rows, { columns: screen.columns, paintTitle: screen.paint.dim });
}

/** Used, reserved or carved out, left: `████▒▒░░░░`. */
function bar({ max, used, reserved, carved }: Standing, paint: Context["screen"]["paint"]): Cell {
  if (max === undefined) return "";
  const upTo = (amount: number): number => Math.min(BAR_COLUMNS, Math.round((amount / max) * BAR_COLUMNS));
  const full = upTo(used);
  const held = upTo(used + reserved + carved) - full;
  const text = "█".repeat(full) + "▒".repeat(held) + "░".repeat(BAR_COLUMNS - full - held);
  const taken = (used + reserved + carved) / max;
  return { text, paint: taken >= 0.95 ? paint.red : taken >= 0.75 ? paint.yellow : paint.green };
}

const TREE_COLUMNS: readonly Column[] = [
  { title: "PID" },
  { title: "AGENT", widthMin: 14 },
  { title: "CLASS", leftOut: 1 },
  { title: "SPENT", widthMin: 16 },
  { title: "BUDGET" },
];

function descendantLines({ screen }: Context, below: ReturnType<typeof tree>): string[] {
  const rows = below.map(({ row, depth }): Cell[] => [
    row.pid,
    branched(row, depth - 1),
    row.class,
    spentText(row.spent),
    budgetText(row.budget),
  ]);
  return table(TREE_COLUMNS, rows, { columns: screen.columns, paintTitle: screen.paint.dim });
}

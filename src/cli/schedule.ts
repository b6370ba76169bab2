// `reeve schedule`: processes that are started at certain times; lists them, and makes, holds and removes schedules.
import { Option } from "commander";
import { MISSED_POLICIES, OVERLAPS, type MissedPolicy, type Overlap, type Schedule } from "../abi/schedules.ts";
import { CLASSES, type Class } from "../abi/scheduling.ts";
import { SYSCALLS } from "../abi/syscalls.ts";
import { first, flag, misuse, sentences, textOption, type CliCommand, type Options } from "./command.ts";
import type { Context } from "./context.ts";
import { STATUS } from "./exit-status.ts";
import { givenText } from "./given-text.ts";
import { addBudgetOptions, budgetOf, whenExhaustedOption } from "./process/budget.ts";
import type { Session } from "./session.ts";
import { age, count, duration, timeShort } from "./terminal/figures.ts";
import { table, type Cell, type Column } from "./terminal/table.ts";
import { oneLine } from "./terminal/text.ts";
import { readMoment, timeOf } from "./times.ts";

const COLUMNS: readonly Column[] = [
  { title: "NAME", widthMin: 10 },
  { title: "WHEN", widthMin: 12 },
  { title: "ZONE", widthMin: 6 },
  { title: "AGENT", widthMin: 8 },
  { title: "NEXT" },
  { title: "RUNS", align: "right" },
  { title: "LAST" },
  { title: "NOTE", widthMin: 12 },
];

const add: CliCommand = {
  name: "add",
  define: (command) => {
    command
      .summary("make a schedule")
      .description(SYSCALLS["schedule.create"].doc)
      .argument("<name>", "what to call it")
      .argument(
        "<when>",
        'a cron expression in quotes (minute, hour, day of month, month, day of week), such as "0 9 * * MON-FRI" or @daily; or one time, such as 2h or "2026-11-22 14:05"',
      )
      .argument("<agent>", "the agent's name")
      .argument("[task...]", "the task, as text")
      .option(
        "--task-file <file>",
        "read the task from a file, or from standard input with -; a .json file is a value and not text",
      )
      .option("--zone <name>", "the time zone of the expression, such as Europe/Berlin (default: UTC)")
      .addOption(
        new Option(
          "--missed <what>",
          "for times that passed while nothing ran or it was paused: start none, one, or each (default: once)",
        ).choices(MISSED_POLICIES),
      )
      .addOption(
        new Option(
          "--overlap <what>",
          "at a time when its last process is still alive: start another, or none (default: skip)",
        ).choices(OVERLAPS),
      )
      .addOption(
        new Option("--class <class>", "how urgent its processes are (default: what the agent says)").choices(CLASSES),
      )
      .option("--tenant <name>", "whose work it is")
      .option("--paused", "start nothing before it is resumed");
    addBudgetOptions(command, { prefix: "budget-", what: "each process with its descendants, at most so many" });
    command.addOption(whenExhaustedOption("budget-"));
  },
  act: async (context, args, options) => {
    const [name = "", when = "", agent = "", ...words] = args;
    const task = await givenText(context, {
      what: "task",
      words,
      file: textOption(options, "taskFile"),
      option: "--task-file",
    });
    const wanted = { name, ...timesOf(context, when, options), agent, task, ...termsOf(options) };
    return context.session(false, async (session) => {
      const { schedule: made } = await session.client.schedule.create(wanted);
      context.answer({ schedule: made }, () => [`${made.name} ${goesOnText(made, context.host.nowMs())}`]);
      tellIdle(context, session);
      return STATUS.ok;
    });
  },
};

const pause: CliCommand = {
  name: "pause",
  define: (command) => {
    command
      .summary("hold a schedule until resume")
      .description("Pause a schedule: it starts nothing until `reeve schedule resume`. Its processes go on.")
      .argument("<name>", "the schedule");
  },
  act: (context, args) => change(context, first(args), true),
};

const resume: CliCommand = {
  name: "resume",
  define: (command) => {
    command
      .summary("let a paused schedule go on")
      .description(`Let a paused schedule go on. ${sentences(SYSCALLS["schedule.change"].doc, 1, 2)}`)
      .argument("<name>", "the schedule");
  },
  act: (context, args) => change(context, first(args), false),
};

const remove: CliCommand = {
  name: "remove",
  define: (command) => {
    command
      .summary("remove a schedule")
      .description(sentences(SYSCALLS["schedule.remove"].doc, 0, 2))
      .argument("<name>", "the schedule");
  },
  act: (context, args) =>
    context.session(false, async ({ client }) => {
      const { schedule: removed } = await client.schedule.remove({ name: first(args) });
      context.answer({ schedule: removed }, () => [`${removed.name} removed`]);
      return STATUS.ok;
    }),
};

export const schedule: CliCommand = {
  name: "schedule",
  commands: [add, pause, resume, remove],
  define: (command) => {
    command.summary("list schedules, or make, hold and remove one").description(SYSCALLS["schedule.list"].doc);
  },
  act: (context) =>
    context.session(false, async (session) => {
      const { schedules } = await session.client.schedule.list({});
      context.answer({ schedules }, () => tableOf(context, schedules));
      if (schedules.some(({ paused, nextMs }) => !paused && nextMs !== null)) tellIdle(context, session);
      return STATUS.ok;
    }),
};

function change(context: Context, name: string, paused: boolean): Promise<number> {
  return context.session(false, async (session) => {
    const { schedule: changed } = await session.client.schedule.change({ name, paused });
    context.answer({ schedule: changed }, () => [`${changed.name} ${goesOnText(changed, context.host.nowMs())}`]);
    if (!paused) tellIdle(context, session);
    return STATUS.ok;
  });
}

/** Schedules start processes only where processes are run. */
function tellIdle(context: Context, { server }: Session): void {
  if (server === null && !context.json)
    context.screen.message(`No server is running: nothing is started before \`${context.typed("up")}\`.`);
}

type Times = { readonly cron: string; readonly zone?: string } | { readonly atMs: number };

/** What cannot be read as one time is taken for an expression, which the system then explains. */
function timesOf({ host }: Context, when: string, options: Options): Times {
  const zone = textOption(options, "zone");
  const moment = readMoment(when);
  if (moment === undefined) return { cron: when, ...(zone === undefined ? {} : { zone }) };
  if (zone !== undefined)
    throw misuse(
      `--zone is for cron expressions, and ${when} is one time. Write it with its offset, such as 2026-11-22T14:05+01:00, or leave out --zone.`,
    );
  return { atMs: timeOf(moment, host.nowMs()) };
}

type Terms = {
  readonly missed?: MissedPolicy;
  readonly overlap?: Overlap;
  readonly class?: Class;
  readonly tenant?: string;
  readonly budget?: ReturnType<typeof budgetOf>;
  readonly paused: boolean;
};

function termsOf(options: Options): Terms {
  const missed = textOption(options, "missed") as MissedPolicy | undefined;
  const overlap = textOption(options, "overlap") as Overlap | undefined;
  const urgency = textOption(options, "class") as Class | undefined;
  const tenant = textOption(options, "tenant");
  const budget = budgetOf(options, "budget-");
  return {
    ...(missed && { missed }),
    ...(overlap && { overlap }),
    ...(urgency && { class: urgency }),
    ...(tenant && { tenant }),
    ...(Object.keys(budget).length > 0 && { budget }),
    paused: flag(options, "paused"),
  };
}

function tableOf(context: Context, schedules: readonly Schedule[]): string[] {
  if (schedules.length === 0)
    return [`No schedules. Make one: ${context.typed('schedule add NAME "0 9 * * MON-FRI" AGENT TASK')}`];
  const { screen, host } = context;
  const { dim } = screen.paint;
  const cells = schedules.map((each) => cellsOf(context, each, host.nowMs()));
  return table(COLUMNS, cells, { columns: screen.columns, paintTitle: dim });
}

function cellsOf({ screen }: Context, each: Schedule, nowMs: number): readonly Cell[] {
  const { dim, red, yellow } = screen.paint;
  const { name, cron, atMs, zone, agent, runs, lastMs, lastPid, lastError } = each;
  const next = nextText(each, nowMs);
  return [
    name,
    cron === null ? timeShort(atMs ?? 0, nowMs) : oneLine(cron),
    cron === null ? "" : oneLine(zone),
    oneLine(agent),
    next === "over" ? { text: next, paint: dim } : each.paused ? { text: next, paint: yellow } : next,
    count(runs),
    lastPid === null || lastMs === null ? "-" : `${lastPid} ${age(nowMs - lastMs)} ago`,
    lastError === null ? noteText(each, nowMs) : { text: noteText(each, nowMs), paint: red },
  ];
}

/** When it starts its next process, in short. */
function nextText({ paused, nextMs }: Schedule, nowMs: number): string {
  if (nextMs === null) return "over";
  if (paused) return "paused";
  return nextMs <= nowMs ? "now" : `in ${duration(nextMs - nowMs)}`;
}

function goesOnText(each: Schedule, nowMs: number): string {
  if (each.nextMs === null) return "is over";
  if (each.paused) return "is paused";
  if (each.nextMs <= nowMs) return `is due since ${timeShort(each.nextMs, nowMs)}`;
  return `is next due at ${timeShort(each.nextMs, nowMs)}, in ${duration(each.nextMs - nowMs)}`;
}

const WHY: { readonly [Why in NonNullable<Schedule["lastSkippedWhy"]>]: string } = {
  overlap: "its last process was alive",
  missed: "nothing ran",
  limit: "too many were missed",
  failed: "it could not be started",
};

/** What went otherwise than it should, the latest first. */
function noteText({ lastError, lastSkippedMs, lastSkippedWhy }: Schedule, nowMs: number): string {
  if (lastError !== null) return `${lastError.code}: ${oneLine(lastError.message)}`;
  if (lastSkippedMs === null || lastSkippedWhy === null) return "";
  return `none at ${timeShort(lastSkippedMs, nowMs)}: ${WHY[lastSkippedWhy]}`;
}

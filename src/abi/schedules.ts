// What a schedule looks like: a durable order to start a process at certain times.
//
// The word: a *time* of a schedule is a moment at which it is due; a time is *missed* when no process could be started within a
// minute of it, because the system was down or the schedule paused. What a cron expression means, daylight saving time
// included, is the calendar's affair (src/ports/calendar.ts); docs/guide/schedules.md tells it to people.
import { z } from "zod";
import { budgetSchema } from "./agents.ts";
import { processIdSchema } from "./ids.ts";
import { jsonSchema } from "./json.ts";
import { errorRecordSchema } from "./process.ts";
import { classSchema, tenantSchema } from "./scheduling.ts";

/** Schedules that there may be at once, those that are over included. */
export const SCHEDULES_MAX = 1000;
/** Processes that one schedule starts at once for times that were missed; later ones are left out, and that is noted. */
export const MISSED_RUNS_MAX = 1000;
/** The task of a schedule, as JSON. Characters. */
const TASK_CHARS_MAX = 64 * 1024;
const CRON_CHARS_MAX = 200;
const ZONE_CHARS_MAX = 64;
/** The last moment that a date can name. Milliseconds since 1970. */
const TIME_MS_MAX = 8_640_000_000_000_000;

/**
 * What becomes of times that were missed:
 * - `skip`  nothing: it goes on with the next one
 * - `once`  one process for all of them
 * - `all`   one process for each of them, up to MISSED_RUNS_MAX
 */
export const MISSED_POLICIES = ["skip", "once", "all"] as const;
export type MissedPolicy = (typeof MISSED_POLICIES)[number];

/** What becomes of a time at which the process of an earlier one is still alive: it starts another, or none. */
export const OVERLAPS = ["allow", "skip"] as const;
export type Overlap = (typeof OVERLAPS)[number];

/**
 * Why a time passed without a process: an earlier one was alive, it was missed, or more were missed than are made up for, or
 * the process could not be started.
 */
export const SKIP_REASONS = ["overlap", "missed", "limit", "failed"] as const;
export type SkipReason = (typeof SKIP_REASONS)[number];

export const scheduleNameSchema = z
  .string()
  .regex(/^[a-zA-Z0-9][\w.-]{0,63}$/, "is not a name of a schedule (letters, digits, _ . -; at most 64)");

const taskSchema = z
  .union([z.string(), jsonSchema])
  .refine((task) => JSON.stringify(task).length <= TASK_CHARS_MAX, `is longer than ${TASK_CHARS_MAX} characters`);

/** What every process of a schedule is started with, and who pays. */
const startFields = {
  agent: z.string().min(1),
  budget: budgetSchema.optional(),
  class: classSchema.optional(),
  tenant: tenantSchema.optional(),
};

export const newScheduleSchema = z
  .strictObject({
    name: scheduleNameSchema,
    /** Five fields: minute, hour, day of month, month, day of week. This or `atMs`. */
    cron: z.string().min(1).max(CRON_CHARS_MAX).optional(),
    /** One time; milliseconds since 1970. */
    atMs: z.int().nonnegative().max(TIME_MS_MAX).optional(),
    /** The time zone of the cron expression, by its IANA name. */
    zone: z.string().min(1).max(ZONE_CHARS_MAX).default("UTC"),
    ...startFields,
    task: taskSchema.default(""),
    missed: z.enum(MISSED_POLICIES).default("once"),
    overlap: z.enum(OVERLAPS).default("skip"),
    /** Nothing is started before it is resumed. */
    paused: z.boolean().default(false),
  })
  .refine(({ cron, atMs }) => (cron === undefined) !== (atMs === undefined), "needs either cron or atMs")
  .refine(
    ({ missed, overlap }) => missed !== "all" || overlap === "allow",
    'missed "all" starts a process for each time at once, so it needs overlap "allow"',
  );

export const scheduleSchema = z.strictObject({
  name: scheduleNameSchema,
  /** Null for a schedule of one time. */
  cron: z.string().nullable(),
  atMs: z.number().nullable(),
  zone: z.string(),
  ...startFields,
  task: jsonSchema,
  missed: z.enum(MISSED_POLICIES),
  overlap: z.enum(OVERLAPS),
  paused: z.boolean(),
  /** In whose name its processes are started. */
  createdBy: z.string(),
  createdMs: z.number(),
  /** The earliest time that nothing has come of yet, whether it is to come or past; null if there is none. */
  nextMs: z.number().nullable(),
  /** When a process was last started, and which. */
  lastMs: z.number().nullable(),
  lastPid: processIdSchema.nullable(),
  /** Processes started. */
  runs: z.int(),
  /** The last time that passed without a process, and why; of several that passed in a row, the first. */
  lastSkippedMs: z.number().nullable(),
  lastSkippedWhy: z.enum(SKIP_REASONS).nullable(),
  /** Why the last attempt to start a process failed; null if it did not. */
  lastError: errorRecordSchema.nullable(),
});
export type Schedule = z.infer<typeof scheduleSchema>;

// The rows of the system call table that are about schedules.
import { z } from "zod";
import { newScheduleSchema, scheduleNameSchema, scheduleSchema } from "./schedules.ts";

export const SCHEDULE_CALLS = {
  "schedule.create": {
    doc: "Have an agent started at the times of a cron expression, or once at a time.",
    callers: ["operator"],
    input: newScheduleSchema,
    output: z.strictObject({ schedule: scheduleSchema }),
    effect: "write",
    right: "own",
    errors: ["invalid_argument", "conflict", "not_found", "agent_invalid", "limit_exceeded"],
    http: { method: "post", path: "/v1/schedules" },
  },
  "schedule.list": {
    doc: "List schedules by name: when each is due next, and what became of the last time.",
    callers: ["operator"],
    input: z.strictObject({}),
    output: z.strictObject({ schedules: z.array(scheduleSchema) }),
    effect: "read",
    right: "own",
    errors: [],
    http: { method: "get", path: "/v1/schedules" },
  },
  "schedule.change": {
    doc: "Pause a schedule, or let it go on. Times that passed meanwhile are made up for as its `missed` says.",
    callers: ["operator"],
    input: z.strictObject({ name: scheduleNameSchema, paused: z.boolean() }),
    output: z.strictObject({ schedule: scheduleSchema }),
    effect: "write",
    right: "own",
    errors: ["not_found"],
    http: { method: "post", path: "/v1/schedules/{name}" },
  },
  "schedule.remove": {
    doc: "Remove a schedule. The processes that it started go on. Answers with the schedule as it was.",
    callers: ["operator"],
    input: z.strictObject({ name: scheduleNameSchema }),
    output: z.strictObject({ schedule: scheduleSchema }),
    effect: "write",
    right: "own",
    errors: ["not_found"],
    http: { method: "post", path: "/v1/schedules/{name}/removal" },
  },
} as const;

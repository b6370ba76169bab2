// The calendar by the package croner, which parses and computes; its timers are not used.
//
// Boundary: croner says when. What people are told of a wrong expression is made here, since they are to learn which field is
// at fault and what would be right. The contract is that of src/ports/calendar.ts.
import { Cron } from "croner";
import type { CronOptions } from "croner";
import { OsError } from "../../abi/errors.ts";
import type { Calendar, CronRule } from "../../ports/calendar.ts";

type Field = { readonly name: string; readonly range: string; readonly example: string };

/** In their order in an expression. */
const FIELDS: readonly Field[] = [
  { name: "minute", range: "0 to 59", example: "`*/15 * * * *` is every quarter of an hour" },
  { name: "hour", range: "0 to 23", example: "`30 9 * * *` is at 9:30 each day" },
  { name: "day of month", range: "1 to 31, or L for the last", example: "`0 9 1 * *` is at 9:00 on the first" },
  {
    name: "month",
    range: "1 to 12 or JAN to DEC",
    example: "`0 9 1 JAN,JUL *` is at 9:00 on January 1st and July 1st",
  },
  {
    name: "day of week",
    range: "0 to 7 (0 and 7 are Sunday) or SUN to SAT",
    example: "`0 9 * * MON-FRI` is at 9:00 from Monday to Friday",
  },
];

const SHORTHANDS = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];

/** Zones that a message about an unknown one names. */
const ZONES_NAMED = 3;

const optionsOf = (zone: string): CronOptions => ({
  timezone: zone,
  mode: "5-part",
  // Lists and ranges of hours name their times as single hours do.
  fixedTimeRule: "no-wildcard",
});

export const cronerCalendar: Calendar = {
  next: (rule, afterMs) => {
    assertZone(rule.zone);
    return parsed(rule).nextRun(new Date(afterMs))?.getTime() ?? null;
  },
};

function parsed({ cron, zone }: CronRule): Cron {
  const text = cron.trim();
  if (text.startsWith("@") && !SHORTHANDS.includes(text.toLowerCase()))
    throw wrong(
      "(whole)",
      `${quoted(cron)} is not a cron expression: the shorthands are ${SHORTHANDS.join(", ")}. Otherwise write five fields, such as \`0 9 * * MON-FRI\`.`,
    );
  try {
    return new Cron(text, optionsOf(zone));
  } catch (error) {
    throw explained(cron, error);
  }
}

/** Croner's complaint as one that names the field: the first that is refused with all others left open. */
function explained(cron: string, error: unknown): OsError {
  const words = cron.trim().split(/\s+/);
  if (words.length !== FIELDS.length)
    return wrong(
      "(whole)",
      `${quoted(cron)} is not a cron expression: it has ${words.length} field${words.length === 1 ? "" : "s"}, and ${FIELDS.length} are wanted: ${FIELDS.map(({ name }) => name).join(", ")}. For example, \`0 9 * * MON-FRI\` is at 9:00 from Monday to Friday.`,
    );
  const at = words.findIndex((word, place) => !parses(FIELDS.map((_, other) => (other === place ? word : "*"))));
  const [field, word] = [FIELDS[at], words[at]];
  if (field === undefined || word === undefined)
    return wrong("(whole)", `${quoted(cron)} is not a cron expression: ${(error as Error).message}.`);
  return wrong(
    field.name,
    `The field "${field.name}" of the cron expression ${quoted(cron)} cannot be ${quoted(word)}: it takes ${field.range}, with lists (,), ranges (-) and steps (*/n). For example, ${field.example}.`,
  );
}

const parses = (words: readonly string[]): boolean => isAccepted(() => new Cron(words.join(" "), optionsOf("UTC")));

function isAccepted(make: () => unknown): boolean {
  try {
    make();
    return true;
  } catch {
    // That it throws is the answer.
    return false;
  }
}

function assertZone(zone: string): void {
  if (isAccepted(() => new Intl.DateTimeFormat("en", { timeZone: zone }))) return;
  const near = nearZones(zone);
  const others = near.length === 0 ? "" : ` Is ${near.join(" or ")} meant?`;
  throw new OsError(
    "invalid_argument",
    `There is no time zone ${quoted(zone)}. Give an IANA name such as Europe/Berlin, or UTC.${others}`,
    { data: { issues: ["zone: is not a time zone"] } },
  );
}

/** Zones that have the word in their names. */
function nearZones(zone: string): readonly string[] {
  const word = zone.toLowerCase().split("/").at(-1)?.trim().replaceAll(" ", "_") ?? "";
  if (word.length < 3) return [];
  return Intl.supportedValuesOf("timeZone")
    .filter((name) => name.toLowerCase().includes(word))
    .slice(0, ZONES_NAMED);
}

const quoted = (text: string): string => JSON.stringify(text);

const wrong = (field: string, message: string): OsError =>
  new OsError("invalid_argument", message, {
    data: { issues: [`cron${field === "(whole)" ? "" : `.${field.replaceAll(" ", "_")}`}: cannot be read`] },
  });

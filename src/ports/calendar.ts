// The calendar: when a cron expression is due in a time zone.
//
// Contract:
//   C1. Expressions have five fields (minute, hour, day of month, month, day of week) or are one of @yearly, @monthly, @weekly,
//       @daily, @hourly. Where both days are given, either suffices.
//   C2. Times are whole minutes, strictly rise, and depend on nothing but the arguments and the machine's table of time zones.
//   C3. Where the clocks change, an expression that names its times (no `*` and no `/` in minute and hour) is due once for
//       each: a time that does not exist is due at the first moment after the gap (several that fall in one gap, once), a time
//       that exists twice is due the first time. Any other goes by the clock on the wall: it is not due at a time that does
//       not exist, and is due both times at one that exists twice, so that `*/10 * * * *` is due every ten minutes throughout.

export type CronRule = {
  readonly cron: string;
  /** An IANA name such as `Europe/Berlin`, or `UTC`. */
  readonly zone: string;
};

export interface Calendar {
  /**
   * The first time after `afterMs` (not at it), in milliseconds since 1970; null if none will come. Throws `invalid_argument` for an
   * expression that is wrong (data.issues names the field) and for an unknown zone.
   */
  next(rule: CronRule, afterMs: number): number | null;
}

// Numbers and times, as people read them.
const numbers = new Intl.NumberFormat("en-US");

export const count = (value: number): string => numbers.format(value);

/** `1 call`, `2 calls`. */
export const counted = (value: number, noun: string): string => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

/** US dollars; small amounts with more digits, nothing as a dash. */
export function money(usd: number): string {
  if (usd === 0) return "-";
  return `$${usd.toFixed(usd < 1 ? 4 : 2)}`;
}

const SIZES = ["B", "KB", "MB", "GB", "TB"] as const;

/** In the unit that fits, each 1,024 of the one before: `0 B`, `17 KB`, `1.2 GB`. */
export function size(bytes: number): string {
  let [at, value] = [0, bytes];
  for (; value >= 1024 && at < SIZES.length - 1; at += 1) value /= 1024;
  return `${value < 10 && at > 0 ? value.toFixed(1) : Math.round(value)} ${SIZES[at]}`;
}

const UNITS: readonly (readonly [unit: string, ms: number])[] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
];

/** In the largest unit: `12s`, `3m`, `4d`. */
export function age(ms: number): string {
  const fits = UNITS.find(([, unitMs]) => ms >= unitMs);
  return fits === undefined ? "0s" : `${Math.floor(ms / fits[1])}${fits[0]}`;
}

/** In the two largest units: `320ms`, `12s`, `3m 20s`, `2h 5m`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))}ms`;
  const at = UNITS.findIndex(([, unitMs]) => ms >= unitMs);
  const [unit, unitMs] = UNITS[at] ?? ["s", 1000];
  const rest = UNITS[at + 1];
  const more = rest === undefined ? 0 : Math.floor((ms % unitMs) / rest[1]);
  return `${Math.floor(ms / unitMs)}${unit}${rest === undefined || more === 0 ? "" : ` ${more}${rest[0]}`}`;
}

const two = (value: number): string => String(value).padStart(2, "0");

/** Local time to the second: `2026-11-22 10:03:22`. */
export function time(ms: number): string {
  const at = new Date(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** Local time to the millisecond. */
export const timeExact = (ms: number): string => `${time(ms)}.${String(Math.floor(ms) % 1000).padStart(3, "0")}`;

/** Local time of the day, with the date if it is another day than `nowMs`: `14:05`, `2026-11-23 14:05`. */
export function timeShort(ms: number, nowMs: number): string {
  const [day, clock = ""] = time(ms).slice(0, -":00".length).split(" ");
  return time(nowMs).startsWith(`${day} `) ? clock : `${day} ${clock}`;
}

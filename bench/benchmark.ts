// What a benchmark is, and what it is given.
//
// A benchmark reports; it never passes or fails on its figures, and never leaves out what went badly: what could
// not be measured is null among the measures and has a note that says why.
import type { Scratch } from "./scratch.ts";
import type { Table } from "./table.ts";

export type Option = { readonly default?: string; readonly doc: string };

export type Result = {
  /** By name, unit last; null is what could not be measured. */
  readonly measures: Readonly<Record<string, number | null>>;
  readonly tables: readonly Table[];
  readonly notes: readonly string[];
  /** What is worth knowing of the surroundings beside what every benchmark reports, such as the peers' versions. */
  readonly environment?: Readonly<Record<string, string | number>>;
};

export type Context = {
  /** The values of the benchmark's options; those without a value or default are absent. */
  readonly options: Readonly<Record<string, string>>;
  readonly scratch: Scratch;
  /** A line of progress, for whoever watches. */
  readonly progress: (line: string) => void;
};

export type Benchmark = {
  readonly name: string;
  /** One line. */
  readonly doc: string;
  /** By name, without the dashes. Every benchmark also has those of run.ts. */
  readonly options: Readonly<Record<string, Option>>;
  readonly run: (context: Context) => Promise<Result>;
};

/** What the user has to put right before a benchmark can run: reported without a stack trace. */
export class Missing extends Error {}

/** The option as a whole number of at least `min`. Throws `Missing`, naming the option. */
export function countOption(context: Context, name: string, min = 1): number {
  const text = context.options[name] ?? "";
  const value = Number(text);
  if (text === "" || !Number.isSafeInteger(value) || value < min)
    throw new Missing(`--${name} must be a whole number of at least ${min}, not "${text}".`);
  return value;
}

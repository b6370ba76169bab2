// The form of a command, and what several of them share.
import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { OsError } from "../abi/errors.ts";
import { weightSchema } from "../abi/scheduling.ts";
import type { Context } from "./context.ts";

/** A command: how it is called and described, and what it does; that answers with the exit status. */
export type CliCommand = {
  readonly name: string;
  /** Adds arguments, options and texts to the bare command. */
  readonly define: (command: Command) => void;
  readonly act: (context: Context, args: readonly string[], options: Options) => Promise<number>;
  /** Commands below it; `act` is what it does without one. */
  readonly commands?: readonly CliCommand[];
};

/** Options as commander gives them; each command reads its own with the functions below. */
export type Options = { readonly [name: string]: unknown };

export const flag = (options: Options, name: string): boolean => options[name] === true;

export function textOption(options: Options, name: string): string | undefined {
  const value = options[name];
  return typeof value === "string" ? value : undefined;
}

export function numberOption(options: Options, name: string): number | undefined {
  const value = options[name];
  return typeof value === "number" ? value : undefined;
}

/** Collects an option that may be repeated. */
export const gather = (value: string, before: readonly string[]): readonly string[] => [...before, value];

export function listOption(options: Options, name: string): string[] {
  const value = options[name];
  return Array.isArray(value) ? value.map(String) : [];
}

/** Reads an option that is a whole number of at least `min`, and at most `max`. */
export const wholeNumber =
  (min: number, max = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    const upTo = max === Number.MAX_SAFE_INTEGER ? "" : ` and at most ${max}`;
    throw new InvalidArgumentError(`It must be a whole number of at least ${min}${upTo}.`);
  };

/** Reads an option that is a share among others. */
export function weight(text: string): number {
  const { success, data } = weightSchema.safeParse(/^\d+(\.\d+)?$/.test(text) ? Number(text) : undefined);
  if (success) return data;
  throw new InvalidArgumentError(`It must be a number from ${weightSchema.minValue} to ${weightSchema.maxValue}.`);
}

/** A command line that cannot be meant, with what to type instead. */
export const misuse = (message: string): OsError => new OsError("invalid_argument", message);

/** A command's own documentation, from the table's line: `wait` and `timeout` of operators need no word about processes. */
export const sentences = (doc: string, from: number, to: number): string =>
  doc
    .split(/(?<=\.)\s/)
    .slice(from, to)
    .join(" ");

/** The first argument; commander has seen to it that it is there. */
export const first = (args: readonly string[]): string => args[0] ?? "";

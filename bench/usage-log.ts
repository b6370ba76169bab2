// What calls really used, as written down by those that were used: the tools and the model of a benchmark, not Reeve.
//
// Each use is one line of a file, appended by one synchronous write before the answer is given, so it is there when the
// process is killed at any later moment. (A loss of power is not survived, and not needed: only processes die here.)
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { processIdSchema, type ProcessId } from "../src/abi/ids.ts";
import { spentSchema, type Spent } from "../src/abi/process.ts";

export type Use = { readonly pid: ProcessId; readonly used: Spent };

export class UsageLog {
  readonly #file: number;

  constructor(path: string) {
    this.#file = openSync(path, "a");
  }

  add(pid: ProcessId, used: Partial<Spent>): void {
    const whole: Spent = { calls: 1, inputTokens: 0, outputTokens: 0, costUsd: 0, ...used };
    writeSync(this.#file, `${JSON.stringify({ pid, used: whole })}\n`);
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** All lines. Throws if one is not whole, which a single write to a local file does not leave behind. */
export function readUsage(path: string): Use[] {
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
  return lines.map((line) => {
    const { pid, used } = JSON.parse(line) as Record<string, unknown>;
    return { pid: processIdSchema.parse(pid), used: spentSchema.parse(used) };
  });
}

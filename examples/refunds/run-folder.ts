// Where a run of the example keeps its things: the journal, the shop's database, the tickets.
//
// Each start makes a folder of its own, `.reeve/run-1`, `.reeve/run-2`, …, so that the whole story is told anew and
// an earlier record stays as it was. Commands look at the newest one; REFUNDS_RUN=FOLDER names another.
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";

const RUNS = join(import.meta.dirname, ".reeve");
const named = (): string | undefined => process.env["REFUNDS_RUN"] || undefined;

/** The number of the newest run; 0 if there is none. */
function newestNumber(runs: string): number {
  if (!existsSync(runs)) return 0;
  const numbers = readdirSync(runs).map((name) => Number(/^run-(\d+)$/.exec(name)?.[1] ?? 0));
  return Math.max(0, ...numbers);
}

/** The run to look at. */
export function currentRun(runs: string = RUNS): string {
  const folder = named();
  return folder === undefined ? join(runs, `run-${Math.max(1, newestNumber(runs))}`) : resolve(folder);
}

/** A fresh folder for a new run. Throws if REFUNDS_RUN names one that has something in it. */
export function newRun(runs: string = RUNS): string {
  const folder = named();
  if (folder === undefined) return nextRun(runs);
  if (existsSync(folder) && readdirSync(folder).length > 0)
    throw new Error(`REFUNDS_RUN names ${folder}, which is not empty; name a new folder.`);
  mkdirSync(folder, { recursive: true });
  return resolve(folder);
}

function nextRun(runs: string): string {
  mkdirSync(runs, { recursive: true });
  for (let number = newestNumber(runs) + 1; ; number += 1) {
    const folder = join(runs, `run-${number}`);
    try {
      mkdirSync(folder);
      return folder;
    } catch (error) {
      // Another start took this number a moment ago; the next one is tried.
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    }
  }
}

// The exit statuses of the command line. Those of errors stand in the table of errors.
import { ERRORS, type ErrorCode } from "../abi/errors.ts";
import type { Exit } from "../abi/process.ts";

export const STATUS = {
  ok: 0,
  error: 1,
  usage: 2,
  denied: 3,
  notFound: 4,
  divergence: 5,
  /** Something waits for a human, or an effect's outcome is unknown, which a human has to settle. */
  waiting: 6,
  interrupted: 130,
} as const;

/** What each status means, for the help text and the documents. */
export const STATUS_DOCS: readonly (readonly [status: number, doc: string])[] = [
  [STATUS.ok, "done; for run and wait: the process completed"],
  [STATUS.error, "an error; for run and wait: the process failed or was killed"],
  [STATUS.usage, "the command line, the configuration or an agent file is wrong"],
  [STATUS.denied, "a rule, a human or a missing token said no"],
  [STATUS.notFound, "there is no such thing"],
  [STATUS.divergence, "replay found a difference"],
  [STATUS.waiting, "something waits for a human (npx reeve inbox)"],
  [ERRORS.internal.exit, "a fault of Reeve itself"],
  [STATUS.interrupted, "interrupted by Ctrl-C"],
];

/** Errors of a process that are worth a status of their own; the others would be mistaken for the command's own. */
const OWN_STATUS: ReadonlySet<ErrorCode> = new Set(["denied", "replay_divergence", "outcome_unknown"]);

/** The status of `run` and `wait` for a process that ended this way. */
export function exitStatus(exit: Exit): number {
  if (exit.how === "completed") return STATUS.ok;
  if (exit.how === "failed" && OWN_STATUS.has(exit.error.code)) return ERRORS[exit.error.code].exit;
  return STATUS.error;
}

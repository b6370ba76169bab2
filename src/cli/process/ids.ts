// Ids as people type them: a unique beginning will do, with or without `p_` and `r_`, in either case.
import { OsError } from "../../abi/errors.ts";
import { processIdSchema, requestIdSchema, type ProcessId, type RequestId } from "../../abi/ids.ts";
import type { ProcessRow } from "../../abi/process.ts";
import type { InboxItem } from "../../abi/requests.ts";
import type { Client } from "../../sdk/client.ts";

/** Candidates that an ambiguous beginning lists. */
const CANDIDATES = 10;

const normal = (given: string, prefix: string): string => {
  const lower = given.trim().toLowerCase();
  return lower.startsWith(prefix) ? lower : prefix + lower;
};

/**
 * The process that is meant. A whole id is not looked up. Throws `not_found`, `invalid_argument` for what can begin no
 * id, and `conflict` for an ambiguous beginning (data.candidates).
 */
export async function resolveProcess(client: Client, given: string): Promise<ProcessId> {
  const beginning = normal(given, "p_");
  const whole = processIdSchema.safeParse(beginning);
  if (whole.success) return whole.data;
  checkBeginning(given, beginning, "process");
  const { processes } = await client.process.list({ prefix: beginning, limit: CANDIDATES + 1 });
  const [only, ...others] = processes;
  if (only === undefined) throw nothing("process", given, "`reeve ps --all` lists them");
  if (others.length === 0) return only.pid;
  throw ambiguous("process", given, processes.map(processLine));
}

/** An undecided request and what is known of it; for a whole id that is not in the inbox only the id. */
export async function resolveRequest(
  client: Client,
  given: string,
): Promise<{ readonly request: RequestId; readonly item?: InboxItem }> {
  const beginning = normal(given, "r_");
  const whole = requestIdSchema.safeParse(beginning);
  if (!whole.success) checkBeginning(given, beginning, "request");
  const { requests } = await client.human.list({ limit: 1000 });
  const fitting = requests.filter(({ request }) => request.startsWith(beginning));
  const [only, ...others] = fitting;
  if (only === undefined) {
    if (whole.success) return { request: whole.data };
    throw nothing("request", given, "it may have been decided already; `reeve inbox` lists what is open");
  }
  if (others.length === 0) return { request: only.request, item: only };
  throw ambiguous(
    "request",
    given,
    fitting.map(({ request, agent, question }) => `${request}  ${agent}  ${question}`),
  );
}

const processLine = ({ pid, agent, state }: ProcessRow): string => `${pid}  ${agent}  ${state}`;

function checkBeginning(given: string, beginning: string, what: string): void {
  if (/^[pr]_[0-9a-hjkmnp-tv-z]{0,12}$/.test(beginning)) return;
  throw new OsError(
    "invalid_argument",
    `"${given}" cannot be the beginning of a ${what} id: those are ${what[0] ?? ""}_ and 12 of the characters 0-9 and a-z without i, l, o and u.`,
    { data: { issues: [`${what}: is not an id`] } },
  );
}

const nothing = (what: string, given: string, remedy: string): OsError =>
  new OsError("not_found", `No ${what} begins with "${given}": ${remedy}.`, { data: { what, id: given } });

function ambiguous(what: string, given: string, lines: readonly string[]): OsError {
  const shown = lines.slice(0, CANDIDATES);
  const more = lines.length > shown.length ? ["…"] : [];
  return new OsError(
    "conflict",
    `"${given}" is the beginning of more than one ${what}. Type more of it:\n${[...shown, ...more].map((line) => `  ${line}`).join("\n")}`,
    { data: { what, id: given, candidates: shown } },
  );
}

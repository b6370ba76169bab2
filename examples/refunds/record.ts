// What Reeve's own record says of the run, read through its command line as anybody would.
import { spawnSync } from "node:child_process";
import { join, relative } from "node:path";
import { z } from "zod";

const CONFIG_FILE = relative(process.cwd(), join(import.meta.dirname, "reeve.config.ts"));
const MAIN = join(import.meta.dirname, "..", "..", "src", "main.ts");

/** The arguments with which Node runs Reeve's command line on this example. */
export const reeveArguments = (...rest: readonly string[]): string[] => [MAIN, "--config", CONFIG_FILE, ...rest];

const VERDICTS = ["approved", "rejected", "answered", "settled"] as const;
/** Something a human was asked, and what was decided; `waiting` as long as nothing was. */
export type Asked = {
  readonly request: string;
  readonly question: string;
  readonly verdict: "waiting" | (typeof VERDICTS)[number];
};
export type RunRecord = {
  readonly pid: string;
  readonly exited: string | null;
  readonly events: number;
  readonly asked: readonly Asked[];
};

const processesSchema = z.object({ processes: z.array(z.object({ pid: z.string() })) });
const eventSchema = z.object({
  header: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("request.opened"), request: z.string() }),
    z.object({ kind: z.literal("request.decided"), request: z.string(), verdict: z.enum(VERDICTS) }),
    z.object({ kind: z.literal("process.exited"), how: z.string() }),
  ]),
  payloads: z.object({ request: z.object({ question: z.string() }).optional() }),
});

/** The JSON documents that a command prints, one on a line. */
function reeveJson(...command: readonly string[]): unknown[] {
  const { status, stdout, stderr } = spawnSync(process.execPath, reeveArguments(...command, "--json"), {
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status !== 0) throw new Error(`reeve ${command.join(" ")} ended with ${status}: ${stderr}`);
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line): unknown => JSON.parse(line));
}

/** The record of the newest process; undefined if none was started. Throws if the command line cannot read it. */
export function readRecord(): RunRecord | undefined {
  const pid = processesSchema.parse(reeveJson("ps", "--all")[0]).processes[0]?.pid;
  if (pid === undefined) return undefined;
  const events = reeveJson("journal", pid);
  const asked = new Map<string, Asked>();
  let exited: string | null = null;
  for (const event of events) {
    const told = eventSchema.safeParse(event);
    // Most events tell of calls, which are not told of here.
    if (!told.success) continue;
    const { header, payloads } = told.data;
    if (header.kind === "process.exited") exited = header.how;
    else {
      const { request } = header;
      const question = asked.get(request)?.question ?? payloads.request?.question ?? "(erased)";
      asked.set(request, {
        request,
        question,
        verdict: header.kind === "request.decided" ? header.verdict : "waiting",
      });
    }
  }
  return { pid, exited, events: events.length, asked: [...asked.values()] };
}

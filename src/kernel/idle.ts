// Whether a process that was stopped, or is over, still has something done for it: what was under way is seen to its end.
import { OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import { describeCall } from "./requests.ts";
import type { Services } from "./services.ts";

/** Rejects with `conflict` while a call of it is being performed. `who`: the process, as the message begins. */
export function assertIdle({ runs }: Services, pid: ProcessId, who = `Process ${pid}`): void {
  const [doing] = runs.get(pid)?.doing ?? [];
  if (doing === undefined) return;
  const { call } = doing;
  const what = call.tool === undefined ? call.syscall : describeCall(call).slice(0, WHAT_MAX);
  throw new OsError(
    "conflict",
    `${who} was stopped while call #${call.number} was under way (${what}), and that is seen to its end. Wait until it is over (\`reeve journal ${pid} --follow\`), or kill the process (\`reeve kill ${pid}\`), then say it again.`,
    { data: { what: "process", id: pid } },
  );
}

const WHAT_MAX = 120;

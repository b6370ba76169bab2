// What is asked of humans: approvals, questions and settlements, durable from the moment they are opened.
//
// Invariants:
//   H1. A request is opened in one transaction with the wait of its call, and decided in one with its event: whatever
//       the inbox shows is in the journal, and the reverse.
//   H2. A request is decided once; the second to decide is told who was first.
//   H3. An approval is bound to the digest of its call, and spent by the event that dispatches it.
import { hash } from "node:crypto";
import canonicalize from "canonicalize";
import { OsError } from "../abi/errors.ts";
import { requestIdOf } from "../abi/ids.ts";
import type { RequestId } from "../abi/ids.ts";
import type { RequestKind } from "../abi/requests.ts";
import type { JsonObject } from "../abi/json.ts";
import type { InboxItem } from "../abi/requests.ts";
import type { RequestRecord } from "../ports/store.ts";
import type { Preview } from "../ports/tools.ts";
import type { LiveCall } from "./call.ts";
import { entryOf } from "./process.ts";
import type { Decided } from "./run.ts";
import { type CallContext, waitingEntry, write } from "./waiting.ts";

export type Ask = {
  readonly kind: RequestKind;
  readonly question: string;
  readonly rule: string;
  readonly reason: string;
  readonly options?: readonly string[] | undefined;
  /** What the call would do: found out once, when the request is opened, and shown with it. */
  readonly preview?: (() => Promise<Preview | undefined>) | undefined;
};

/** What an approval is bound to: the call, its arguments, the tool as it is pinned, and what was shown of its consequences. SHA-256 over RFC 8785 JSON, hex. */
function digestOf(context: CallContext, preview: Preview | undefined): string {
  const { pid } = context.run.process;
  const { number, syscall, args, tool } = context.call;
  const shown = preview === undefined ? {} : { preview: preview.digest };
  const bound = canonicalize({ pid, call: number, syscall, args, tool: tool?.hash ?? null, ...shown });
  return hash("sha256", bound ?? "", "hex");
}

/** Opens the request, unless the journal holds it already, and waits for a human's decision. */
export async function askHuman(
  context: CallContext,
  ask: Ask,
): Promise<{ readonly request: RequestId; readonly decided: Decided }> {
  const { run, call } = context;
  const recorded = call.recorded?.requests.findLast(({ kind }) => kind === ask.kind);
  if (recorded?.decision !== undefined) return { request: recorded.id, decided: recorded.decision };
  const request = recorded?.id ?? (await open(context, ask));
  for (;;) {
    const { pokes } = run;
    const decided = run.decision(request);
    if (decided !== undefined) return { request, decided };
    await run.sleep(call.number, { pokes });
  }
}

async function open(context: CallContext, ask: Ask): Promise<RequestId> {
  const { run, call } = context;
  const { process } = run;
  const preview = await ask.preview?.();
  const request = requestIdOf(hash("sha256", `request:${process.pid}:${process.record.events}`, "buffer"));
  const digest = digestOf(context, preview);
  const item = itemOf({ context, ask, request, digest, preview });
  const record: RequestRecord = { ...item, decided: null };
  const opened = {
    kind: "request.opened",
    request,
    call: call.number,
    requestKind: ask.kind,
    digest,
    rule: ask.rule,
  } as const;
  const entries = [
    waitingEntry(call, { on: "human", call: call.number, request }),
    entryOf(opened, { request: item as unknown as JsonObject }),
  ];
  await write(context, entries, { payloads: call.parts, requests: [record] });
  return request;
}

function itemOf({
  context,
  ask,
  request,
  digest,
  preview,
}: {
  context: CallContext;
  ask: Ask;
  request: RequestId;
  digest: string;
  preview: Preview | undefined;
}): InboxItem {
  const { services, run, call } = context;
  const about = ask.kind === "question" ? {} : aboutCall(call);
  return {
    request,
    pid: run.process.pid,
    agent: run.process.record.agent,
    call: call.number,
    kind: ask.kind,
    question: ask.question,
    ...(ask.options === undefined ? {} : { options: [...ask.options] }),
    ...about,
    ...(preview === undefined ? {} : { preview }),
    rule: ask.rule,
    reason: ask.reason,
    digest,
    openedMs: services.ports.clock.nowMs(),
  };
}

const aboutCall = ({ syscall, args, tool, effect }: LiveCall): Pick<InboxItem, "tool" | "args" | "effect"> => ({
  tool: tool?.name ?? syscall,
  args: tool === undefined ? args : (args as { args: JsonObject }).args,
  effect,
});

/** One line that says what the call would do: the tool's own summary with its arguments filled in, or the bare call. */
export function describeCall({ syscall, args, tool }: Pick<LiveCall, "syscall" | "args" | "tool">): string {
  if (tool === undefined) return syscall;
  const values = (args as { args: JsonObject }).args;
  const { summary } = tool.manifest;
  return summary === undefined ? `${tool.name} ${JSON.stringify(values)}` : filled(summary, values);
}

/** A manifest's text with `{name}` replaced by that argument; a name that is not among them stays as it is. */
export const filled = (text: string, values: JsonObject): string =>
  text.replaceAll(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    return value === undefined ? whole : typeof value === "string" ? value : JSON.stringify(value);
  });

/** A human's no, as the process hears it. */
export function refusal(decided: Decided): OsError {
  const note = "note" in decided && decided.note !== undefined ? decided.note : "";
  return new OsError("denied", `${decided.by} said no${note === "" ? "." : `: ${note}`}`, {
    data: { rule: "human", reason: note },
  });
}

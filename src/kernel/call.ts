// A call on its way through the stations: what was received, and what is known of it so far.
import { hash } from "node:crypto";
import { OsError, issueLines } from "../abi/errors.ts";
import type { Effect } from "../abi/effects.ts";
import type { RequestId } from "../abi/ids.ts";
import { type Json, mayHoldHalves, wellFormed } from "../abi/json.ts";
import { CALLS_IN_FLIGHT_MAX, PAYLOAD_BYTES_MAX } from "../abi/limits.ts";
import type { Spent, Wait } from "../abi/process.ts";
import { rowOf, type ProcessCall } from "../abi/syscalls.ts";
import type { ToolDefinition } from "../abi/tools.ts";
import type { CallView, Life } from "../ports/process.ts";
import type { StoredPayload } from "../ports/store.ts";
import { UNDO_PROGRAM } from "../abi/agents.ts";
import { encodeArgs, type Text } from "./journal/encoding.ts";
import type { Process } from "./process.ts";
import type { RecordedCall } from "./journal/recall.ts";
import type { Issued } from "./run.ts";

export type LiveCall = Omit<CallView, "tool" | "target"> & {
  readonly tool: ToolDefinition | undefined;
  /** The arguments as they stand in the journal, and the payloads that they refer to. */
  readonly text: string;
  readonly parts: readonly StoredPayload[];
  /** Why the arguments are not what the call takes. */
  readonly invalid: OsError | undefined;
  target: Life | undefined;
  /** What the journal holds of this call, if the system was stopped while it was under way. */
  recorded: RecordedCall | undefined;
  /** Whether an event of this call, with its arguments, is in the journal. */
  begun: boolean;
  /** The wait that was recorded last. */
  wait: Wait | undefined;
  /** The approval that the dispatch spends. */
  approval: RequestId | undefined;
  /** Each time that it was made in this run. */
  readonly attempts: Attempt[];
  /** What was reserved for it before the system was stopped; what became of that is not known. */
  lost: Spent | undefined;
  /** Its turn was given by age, while calls of a higher class waited: after so many milliseconds. */
  agedMs: number | undefined;
  /** Tokens of output that the budget has left for it. */
  outputTokensMax: number | undefined;
};

/** `amounts`: what was reserved for it, if a budget bounds the process; `recorded` once that is in the journal. */
export type Attempt = { readonly amounts: Spent | undefined; dispatched: boolean; recorded?: boolean };

const toolOf = (process: Process, syscall: ProcessCall, args: Json): ToolDefinition | undefined =>
  syscall === "tool.call" ? process.tools.get((args as { tool: string }).tool) : undefined;

function effectOf(syscall: ProcessCall, tool: ToolDefinition | undefined): Effect {
  const { effect } = rowOf(syscall);
  return effect === "tool" ? (tool?.manifest.effect ?? "none") : effect;
}

/** Reads a call against its row. Arguments that do not fit are kept as they came: the refusal is recorded with them. */
export function receive(process: Process, { number, syscall, args, crowded }: Issued): LiveCall {
  const state = {
    target: undefined,
    recorded: undefined,
    begun: false,
    wait: undefined,
    approval: undefined,
    attempts: [],
    lost: undefined,
    agedMs: undefined,
    outputTokensMax: undefined,
  };
  const parsed = rowOf(syscall)?.input.safeParse(args);
  if (!parsed?.success) {
    const issues = parsed === undefined ? [`there is no call ${syscall}`] : issueLines(parsed.error.issues);
    const invalid = new OsError(
      "invalid_argument",
      `${syscall} was called with arguments that it does not take: ${issues.join("; ")}.`,
      { data: { issues } },
    );
    return {
      number,
      syscall,
      args: null,
      effect: "none",
      tool: undefined,
      invalid,
      ...bounded({ text: JSON.stringify(args ?? null), parts: [] }),
      ...state,
    };
  }
  const { value, encoded } = wellEncoded(process, syscall, parsed.data as Json);
  const tool = toolOf(process, syscall, value);
  return {
    number,
    syscall,
    args: value,
    effect: effectOf(syscall, tool),
    tool,
    invalid: crowded === true ? tooMany() : misplacedUndo(process, value),
    ...bounded(encoded),
    ...state,
  };
}

/**
 * JSON can name half a character (`"\ud800"`), and models do. No encoder sends such a text as it is, and RFC 8785 has no form for it. So
 * texts are made whole where they come in: those of calls here, before anybody looks at them, so that what rules see, what a human
 * approves (H3), what the journal holds and what a tool gets is one text; a model's in its answer; a tool's when its answer is cleaned.
 */
function wellEncoded(process: Process, syscall: ProcessCall, args: Json): { value: Json; encoded: Text } {
  const encoded = encodeArgs(process.key, syscall, args);
  if (![encoded, ...encoded.parts].some(({ text }) => mayHoldHalves(text))) return { value: args, encoded };
  const value = wellFormed(args);
  return { value, encoded: encodeArgs(process.key, syscall, value) };
}

/** Only the program that the system makes for it says that a call takes back another. */
function misplacedUndo({ spec }: Process, args: Json): OsError | undefined {
  if (typeof args !== "object" || args === null || !("undoes" in args)) return undefined;
  const { program } = spec.agent;
  if (program.kind === "native" && program.name === UNDO_PROGRAM) return undefined;
  return new OsError("denied", "Only `reeve undo` takes back calls of other processes.", {
    data: { rule: "kernel.undo", reason: "the program is not that of an undo" },
  });
}

type Bounded = Text & { readonly invalid?: OsError };

/** What is too large to be recorded is refused, and stands in the journal as a digest that a replay can be held to. */
function bounded(encoded: Text): Bounded {
  const texts = [encoded.text, ...encoded.parts.map(({ text }) => text)];
  // A string's length bounds its bytes from above by three times: only the doubtful are measured.
  const doubtful = texts.filter((text) => text.length * 3 > PAYLOAD_BYTES_MAX);
  const bytes = Math.max(0, ...doubtful.map((text) => Buffer.byteLength(text)));
  if (bytes <= PAYLOAD_BYTES_MAX) return encoded;
  const omitted = { bytes, sha256: hash("sha256", encoded.text, "hex") };
  const invalid = new OsError(
    "limit_exceeded",
    `The arguments hold ${bytes} bytes in one piece; at most ${PAYLOAD_BYTES_MAX} can be recorded. Pass large data by reference, such as a file name.`,
    { data: { limit: "payload_bytes", max: PAYLOAD_BYTES_MAX } },
  );
  return { text: JSON.stringify({ omitted }), parts: [], invalid };
}

const tooMany = (): OsError =>
  new OsError(
    "limit_exceeded",
    `A process may have ${CALLS_IN_FLIGHT_MAX} calls under way; wait for some before issuing more.`,
    { data: { limit: "calls_in_flight", max: CALLS_IN_FLIGHT_MAX } },
  );

/** The first difference between a call and what the journal holds in its place. */
export function differenceOf(call: LiveCall, recorded: RecordedCall): OsError | undefined {
  const difference = (field: string, was: string, is: string): OsError =>
    new OsError(
      "replay_divergence",
      `Call ${call.number}: the journal holds another ${field} than the program issued. Recorded: ${clip(was)} Issued: ${clip(is)} ` +
        "Programs must be deterministic between system calls; if the agent's source was changed, bring back the version that the process was started with.",
      { data: { call: call.number, field, recorded: was, issued: is } },
    );
  if (recorded.syscall !== call.syscall) return difference("syscall", recorded.syscall, call.syscall);
  if (recorded.argsText !== undefined && recorded.argsText !== call.text)
    return difference("args", recorded.argsText, call.text);
  return undefined;
}

const clip = (text: string): string =>
  text.length > 300 ? `${text.slice(0, 300)}… (${text.length} characters).` : `${text}.`;

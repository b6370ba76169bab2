// Governance, first form: the rules that nobody can switch off.
//
//   - What destroys asks a human first.
//   - What goes in and what comes back has a size that the journal can hold.
//
// Boundary: decides from what it is handed; keeps nothing. A rule may ask or deny, never allow what identity denied.
import { OsError } from "../abi/errors.ts";
import type { Json } from "../abi/json.ts";
import { PAYLOAD_BYTES_MAX } from "../abi/limits.ts";
import type { Governance } from "../ports/governance.ts";
import type { Decision } from "../ports/identity.ts";
import type { CallView, ProcessView } from "../ports/process.ts";

const ALLOW: Decision = { kind: "allow" };

function decide(_process: ProcessView, { effect, tool }: CallView): Decision {
  if (effect !== "destroy") return ALLOW;
  return {
    kind: "ask",
    rule: "governance.destroy",
    reason: `${tool?.name ?? "It"} counts as destroy: it deletes or moves value beyond recall, or nobody has declared what it does.`,
  };
}

function bounded(what: string, bytes: number): void {
  if (bytes <= PAYLOAD_BYTES_MAX) return;
  throw new OsError(
    "limit_exceeded",
    `The ${what} are ${bytes} bytes; at most ${PAYLOAD_BYTES_MAX} can be recorded. Pass large data by reference, such as a file name.`,
    { data: { limit: "payload_bytes", max: PAYLOAD_BYTES_MAX } },
  );
}

/** Every character is at least one byte and at most three: only texts near the limit are measured. */
const bytesOf = (text: string): number =>
  text.length * 3 <= PAYLOAD_BYTES_MAX ? text.length : Buffer.byteLength(text);

function inspect(_process: ProcessView, _call: CallView, text: string): void {
  bounded("arguments", bytesOf(text));
}

function judge(_process: ProcessView, { effect }: CallView, value: Json, text: string): Json {
  // The kernel's own outcomes are small; only what came from outside is measured.
  if (effect !== "none") bounded("results", bytesOf(text));
  return value;
}

export const createGovernance = (): Governance => ({ decide, inspect, judge });

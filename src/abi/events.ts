// Events: the records of which a journal is made.
//
// An event has a clear header and named payloads. The header holds no text of users, models or tools: only
// kinds, numbers, ids and codes, so that it may be kept for ever. Payloads are kept apart, under a keyed
// hash of their content, so that they can be erased while the header and its hash chain stay whole.
//
// Order: `seq` counts from 0 within a process. `hash` covers the hash before it and the header, and the header
// names its payloads' addresses, so a changed header or payload is seen.
import type { Effect } from "./effects.ts";
import type { ErrorCode } from "./errors.ts";
import type { MessageId, ProcessId, RequestId } from "./ids.ts";
import type { Json } from "./json.ts";
import type { Usage } from "./messages.ts";
import type { Budget } from "./agents.ts";
import type { Spent, Wait } from "./process.ts";
import type { Class } from "./scheduling.ts";
import type { RequestKind, Verdict } from "./requests.ts";
import type { ProcessCall } from "./syscalls.ts";

/** Who did it: a process by its id, or a person or client by the name the gateway knows it under. */
export type Actor = string;

/**
 * Payloads by kind of event:
 * - process.created: spec, task        - call.waiting, call.intended: args (once for each call)
 * - call.completed: args (unless an earlier event of the call holds them), and value or error
 * - request.opened: request            - request.decided: decision
 * - message.delivered: body            - process.exited: exit
 * - egress.requested: request           - workspace.changed: change
 */
export type EventHeader =
  | {
      readonly kind: "process.created";
      readonly agent: string;
      readonly agentHash: string;
      readonly parent: ProcessId | null;
      readonly root: ProcessId;
      readonly depth: number;
      readonly budget: Budget;
      readonly class: Class;
      readonly tenant: string;
      readonly weight: number;
      readonly deadlineMs?: number;
      readonly startMs?: number;
      readonly by: Actor;
    }
  /** Durable before a call is made that a budget bounds: what it may use up. Again for each time that it is made. */
  | { readonly kind: "call.reserved"; readonly call: number; readonly syscall: ProcessCall; readonly amounts: Spent }
  /** The call waits, and the process with it unless it has other work. */
  | { readonly kind: "call.waiting"; readonly call: number; readonly syscall: ProcessCall; readonly wait: Wait }
  /** Durable before the effect is dispatched; `approval` is spent by it. */
  | {
      readonly kind: "call.intended";
      readonly call: number;
      readonly syscall: ProcessCall;
      readonly effect: Effect;
      readonly key: string;
      readonly approval?: RequestId;
    }
  /** The call has its outcome. `settled` says by what, when the first dispatch never answered. */
  | {
      readonly kind: "call.completed";
      readonly call: number;
      readonly syscall: ProcessCall;
      readonly effect: Effect;
      readonly error?: ErrorCode;
      readonly usage?: Usage;
      /** What the call is charged, where that is not one call and its usage: it failed, or was made more than once. */
      readonly charged?: Spent;
      readonly settled?: "reconcile" | "repeat" | "human";
      /** It had its turn by age, while calls of a higher class waited: after so many milliseconds. Absent of every other call. */
      readonly agedMs?: number;
    }
  | {
      readonly kind: "request.opened";
      readonly request: RequestId;
      readonly call: number;
      readonly requestKind: RequestKind;
      readonly digest: string;
      readonly rule: string;
    }
  | {
      readonly kind: "request.decided";
      readonly request: RequestId;
      readonly call: number;
      readonly verdict: Verdict;
      readonly by: Actor;
    }
  | { readonly kind: "message.delivered"; readonly message: MessageId; readonly from: Actor; readonly topic: string }
  /** Somebody changed where it stands, or what it may use up. */
  | { readonly kind: "process.reclassed"; readonly class: Class; readonly weight: number; readonly by: Actor }
  | { readonly kind: "process.limited"; readonly budget: Budget; readonly by: Actor }
  /** Before anything is sent, or when it is refused: a way out that something asked for that runs for the process. `n` names the request. */
  | {
      readonly kind: "egress.requested";
      readonly call?: number;
      readonly n: string;
      readonly decision: "allow" | "deny";
      readonly rule: string;
      readonly secrets: readonly string[];
      /** How often it was refused alike since that was last told; absent where it was once. */
      readonly times?: number;
    }
  | {
      readonly kind: "egress.ended";
      readonly call?: number;
      readonly n: string;
      /** Of HTTP; 0 where none was seen. */
      readonly status: number;
      readonly sentBytes: number;
      readonly receivedBytes: number;
      /** Names of secrets whose placeholders stood in what was sent as its body, where they are not replaced. */
      readonly leaked?: readonly string[];
    }
  /** The workspace was kept as it stood before a call (`snapshot`), written back (`commit`), put back (`rollback`), or removed for good (`remove`). */
  | {
      readonly kind: "workspace.changed";
      readonly what: "snapshot" | "commit" | "rollback" | "remove";
      /** The call before which it stood so; null for how it began or was last written back; `replaced` for how it stood before it was last put back. */
      readonly before: number | "replaced" | null;
      readonly by: Actor;
    }
  /** What a call did was taken back by another process's call. */
  | { readonly kind: "call.undone"; readonly call: number; readonly by: ProcessId }
  /** A process was started that takes back calls of this one. */
  | { readonly kind: "undo.begun"; readonly by: ProcessId }
  | { readonly kind: "process.stopped"; readonly by: Actor }
  | { readonly kind: "process.continued"; readonly by: Actor }
  /** `open` lists the calls that were dispatched and not answered: their effects are uncertain. */
  | {
      readonly kind: "process.exited";
      readonly how: "completed" | "failed" | "killed";
      readonly error?: ErrorCode;
      readonly by: Actor;
      readonly open: readonly number[];
    };

export type EventKind = EventHeader["kind"];

/** An event as it is read back. A payload that was erased is absent. */
export type Event = {
  readonly pid: ProcessId;
  readonly seq: number;
  readonly atMs: number;
  readonly header: EventHeader;
  readonly payloads: { readonly [name: string]: Json };
  /** base64url of SHA-256(hash before ‖ LF ‖ header text). */
  readonly hash: string;
};

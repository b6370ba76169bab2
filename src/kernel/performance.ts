// What a performer of a call is: what it needs in order to begin, and what it gives.
//
// A performer gives the outcome; it does not write it. What must become durable together with the outcome (a child,
// a delivered message) it hands over as `extra`, which is prepared in the very turn in which the outcome is recorded.
import type { OsError } from "../abi/errors.ts";
import type { Json } from "../abi/json.ts";
import type { Usage } from "../abi/messages.ts";
import type { Spent } from "../abi/process.ts";
import type { Budgets, Resource } from "../ports/scheduler.ts";
import type { ProcessRecord, StoredPayload } from "../ports/store.ts";
import type { Prepared } from "./process.ts";
import type { CallContext } from "./waiting.ts";

export type Performed =
  | {
      readonly kind: "value";
      readonly value: Json;
      readonly usage?: Usage;
      /** How the value stands in the journal, if not as it is. */
      readonly stored?: { readonly text: string; readonly parts: readonly StoredPayload[] } | undefined;
      /** The locks that the process holds from now on. */
      readonly locks?: () => ProcessRecord["locks"];
      readonly extra?: () => readonly Prepared[];
      /** After the commit. */
      readonly after?: () => void;
      /** In any case, at the end. */
      readonly release?: () => void;
    }
  | { readonly kind: "unknown"; readonly reason: string }
  /** Whoever should do it is too busy, and did nothing. */
  | { readonly kind: "refused"; readonly error: OsError };

/** What a call needs in order to be performed. */
export type Demand = {
  /** What it occupies. */
  readonly resource: Resource;
  /** What it will use up at most, where nothing bounds it. */
  readonly amounts: Spent;
  /** The same, within what a budget has left: a call that can do with less does. */
  readonly within: (left: Left) => Promise<Spent> | Spent;
  readonly timeoutMs: number;
  /** Whether budgets count it. */
  readonly counted: boolean;
  /** The lock that it holds while it runs. */
  readonly exclusive?: string | undefined;
};
export type Left = ReturnType<Budgets["left"]>;

export type Performer = {
  /** Null for what the kernel does itself. */
  readonly demand: (context: CallContext) => Demand | null;
  readonly perform: (context: CallContext) => Promise<Performed>;
};

export const value = (json: Json): Extract<Performed, { kind: "value" }> => ({ kind: "value", value: json });

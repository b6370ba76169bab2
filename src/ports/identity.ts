// Identity's face: who is calling, and has he the right.
import type { CallView, ProcessView } from "./process.ts";

export type Decision =
  | { readonly kind: "allow" }
  | { readonly kind: "deny"; readonly rule: string; readonly reason: string }
  /** A human must say yes first. */
  | { readonly kind: "ask"; readonly rule: string; readonly reason: string };

export interface Identity {
  /** Throws `process_gone` unless the process and every ancestor of it are alive. Asked twice: on entry and right before dispatch. */
  identify(process: ProcessView): void;
  /** Whether the process holds the right that the call's row asks for. */
  authorise(process: ProcessView, call: CallView): Decision;
}

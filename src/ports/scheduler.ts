// The scheduler's face: when may this call go ahead.
import type { ProcessView } from "./process.ts";

/** A thing of which only so many can be in use, such as the slots of a model's provider. */
export type Resource = { readonly name: string; readonly concurrency: number };

export interface Lease {
  /** Gives the resource back. Once; later calls do nothing. */
  release(): void;
}

export interface Scheduler {
  /**
   * Checks the budget and waits for a turn at the resource.
   * Throws `budget_exhausted` at once; throws or rejects with `cancelled` when the signal fires.
   */
  admit(process: ProcessView, resource: Resource, signal: AbortSignal): Promise<Lease> | Lease;
}

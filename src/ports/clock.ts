// Time, as the kernel is given it. A simulated clock replays every decision.

export interface Clock {
  /** Milliseconds since 1970. */
  nowMs(): number;
  /** Runs `fire` once after `ms` milliseconds (at most 2^31 - 1); the answer cancels it. A timer alone does not keep the program alive. */
  after(ms: number, fire: () => void): () => void;
}

// Whether staying awake for messages (vigil.ts) pays, found out by trying both.
//
// Where the processors are idle it does: being woken costs more than waiting. Where others want them it does not: a thread
// that only waits then takes the place of the very one that it waits for, and of the disk's. No figure of the machine says which of
// the two it is, and it changes by the hour; the time that a group is under way says it.
//
//   F1. What is done as a rule is what was faster when both were last tried; the other is tried again after PAUSE groups, and after
//       twice as many each time that it was found slower.
//   F2. Medians are compared, so that a disk that falters once decides nothing.

/** The groups of a trial, and of what it is compared with. */
export const TRIAL_GROUPS = 16;
export const PAUSE_GROUPS_MIN = 256;
export const PAUSE_GROUPS_MAX = 1024;
/** What is tried must need less than this share of the time, or all stays as it is. */
const BETTER_SHARE = 0.95;

export class Wakefulness {
  /** Times of the groups of the trial, or of those just before it. Milliseconds. */
  readonly #tookMs: number[] = [];
  #rule = false;
  #ruleMs = 0;
  #trying = false;
  #pause = PAUSE_GROUPS_MIN;
  /** Groups until those that a trial is compared with. */
  #left = 0;

  /** Whether to stay awake for the next group. */
  get awake(): boolean {
    return this.#rule !== this.#trying;
  }

  /** How long a group was under way, for which it was done so. */
  took(ms: number): void {
    if (this.#left > 0) {
      this.#left -= 1;
      return;
    }
    this.#tookMs.push(ms);
    if (this.#tookMs.length < TRIAL_GROUPS) return;
    const medianMs = this.#tookMs.splice(0).sort((a, b) => a - b)[TRIAL_GROUPS / 2] ?? 0;
    if (this.#trying) return this.#decide(medianMs < this.#ruleMs * BETTER_SHARE);
    this.#ruleMs = medianMs;
    this.#trying = true;
  }

  #decide(better: boolean): void {
    this.#trying = false;
    this.#rule = better ? !this.#rule : this.#rule;
    this.#pause = better ? PAUSE_GROUPS_MIN : Math.min(this.#pause * 2, PAUSE_GROUPS_MAX);
    this.#left = this.#pause;
  }
}

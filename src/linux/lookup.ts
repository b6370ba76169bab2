// What a driver finds out of its machine: once, and again only where nothing was found.
export class Lookup<Found> {
  readonly #look: () => Promise<Found>;
  readonly #isLasting: (found: Found) => boolean;
  #found: Promise<Found> | undefined;

  constructor(look: () => Promise<Found>, isLasting: (found: Found) => boolean) {
    this.#look = look;
    this.#isLasting = isLasting;
  }

  /** What is not here now, or could not be found out, may be later: whoever asks then has it looked for again. */
  find(): Promise<Found> {
    if (this.#found !== undefined) return this.#found;
    const found = this.#look();
    this.#found = found;
    const forget = (): void => void (this.#found === found && (this.#found = undefined));
    found.then((result) => void (this.#isLasting(result) || forget()), forget);
    return found;
  }

  /** Of a look that was made or is under way, what it found; it is forgotten. */
  async take(): Promise<Found | undefined> {
    const found = await this.#found?.catch(() => undefined);
    this.#found = undefined;
    return found;
  }
}

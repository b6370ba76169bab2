// The items of a stream, taken one by one, with a note when nothing came for a while.
import type { Followed } from "../../sdk/client.ts";

export type Taken =
  | { readonly kind: "item"; readonly item: Followed }
  | { readonly kind: "quiet" }
  | { readonly kind: "end" };

type After = (ms: number, fire: () => void) => () => void;

/** Reads ahead, so that what comes during a prompt is seen at once by `onItem` and taken later. */
export class Feed {
  readonly #items: Followed[] = [];
  readonly #after: After;
  readonly #reading: Promise<void>;
  #ended = false;
  #turn = Promise.withResolvers<void>();
  /** Told of each item as it comes, before it is taken. */
  onItem: (item: Followed) => void = () => undefined;

  constructor(source: AsyncIterable<Followed>, after: After) {
    this.#after = after;
    this.#reading = this.#read(source);
    // Whoever takes the next item is told.
    this.#reading.catch(() => undefined);
  }

  /** The next item; `quiet` if none comes within `quietMs`. Rejects with the stream's error. */
  async take(quietMs: number): Promise<Taken> {
    if (this.#items.length === 0 && !this.#ended) {
      const quiet = Promise.withResolvers<void>();
      const cancel = this.#after(quietMs, quiet.resolve);
      await Promise.race([this.#turn.promise, quiet.promise]);
      cancel();
    }
    const item = this.#items.shift();
    if (item !== undefined) return { kind: "item", item };
    if (!this.#ended) return { kind: "quiet" };
    await this.#reading;
    return { kind: "end" };
  }

  async #read(source: AsyncIterable<Followed>): Promise<void> {
    try {
      for await (const item of source) {
        this.#items.push(item);
        this.onItem(item);
        this.#wake();
      }
    } finally {
      this.#ended = true;
      this.#wake();
    }
  }

  #wake(): void {
    this.#turn.resolve();
    this.#turn = Promise.withResolvers<void>();
  }
}

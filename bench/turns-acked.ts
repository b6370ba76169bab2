// The turns of the model whose answers clients have seen, and how often each had been asked for by then: asked for once
// more, such a turn was paid for twice.
import type { Event } from "../src/abi/events.ts";
import type { Conversation } from "./conversation.ts";
import type { Recording, Upstream } from "./recordings.ts";

const isAnswer = ({ header }: Event): boolean =>
  header.kind === "call.completed" && header.syscall === "model.generate" && header.error === undefined;

export class TurnsAcked {
  readonly #upstream: Upstream;
  readonly #seen: { readonly recording: Recording; readonly turn: number; readonly asked: number }[] = [];

  constructor(upstream: Upstream) {
    this.#upstream = upstream;
  }

  /** To be told of every event of every conversation, in order. */
  readonly onEvent = ({ recording, events }: Conversation, event: Event): void => {
    if (!isAnswer(event)) return;
    const turn = events.filter(isAnswer).length - 1;
    this.#seen.push({ recording, turn, asked: this.#asked(recording, turn) });
  };

  get count(): number {
    return this.#seen.length;
  }

  get askedAgain(): number {
    return this.#seen.filter(({ recording, turn, asked }) => this.#asked(recording, turn) > asked).length;
  }

  #asked({ id }: Recording, turn: number): number {
    return this.#upstream.stats.asked[id]?.[turn] ?? 0;
  }
}

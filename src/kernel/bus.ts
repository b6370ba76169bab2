// Who follows which process: passes on events once they are durable, and the model's words as they come.
import type { Event } from "../abi/events.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Batch } from "../ports/store.ts";
import type { StreamItem } from "../ports/system.ts";
import { openEvent, payloadTexts } from "./journal.ts";

export type RawEvent = { readonly event: Omit<Event, "payloads">; readonly texts: { readonly [name: string]: string } };
type Follower = { readonly event: (event: RawEvent) => void; readonly delta: (item: Extract<StreamItem, { kind: "delta" }>) => void };

export class Bus {
  readonly #followers = new Map<ProcessId, Set<Follower>>();

  /** Follows one process; the answer ends it. */
  follow(pid: ProcessId, follower: Follower): () => void {
    const followers = this.#followers.get(pid) ?? new Set();
    this.#followers.set(pid, followers.add(follower));
    return () => {
      followers.delete(follower);
      if (followers.size === 0 && this.#followers.get(pid) === followers) this.#followers.delete(pid);
    };
  }

  /** The events of a batch that has become durable. Costs nothing where nobody follows. */
  publish(batch: Batch): void {
    if (this.#followers.size === 0) return;
    for (const { pid, events } of batch.journals) {
      const followers = this.#followers.get(pid);
      if (followers === undefined) continue;
      const texts = new Map((batch.payloads ?? []).map(({ address, text }) => [address, text]));
      for (const stored of events) {
        const opened = openEvent(stored);
        const { seq, atMs, header, hash } = opened;
        const raw = { event: { pid, seq, atMs, header, hash }, texts: payloadTexts(opened, texts) };
        for (const { event } of [...followers]) event(raw);
      }
    }
  }

  delta(item: Extract<StreamItem, { kind: "delta" }>): void {
    for (const { delta } of this.#followers.get(item.pid) ?? []) delta(item);
  }
}

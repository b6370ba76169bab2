// Who follows which process: passes on events once they are durable, and the model's words as they come.
import type { Event } from "../../abi/events.ts";
import type { ProcessId } from "../../abi/ids.ts";
import type { Batch } from "../../ports/store.ts";
import type { StreamItem } from "../../ports/system.ts";
import { eventOf, openEvent, payloadTexts } from "./events.ts";

export type RawEvent = { readonly event: Omit<Event, "payloads">; readonly texts: { readonly [name: string]: string } };
/** How the header of the last event of a process reads; whoever waits for it alone is spared the others. */
const EXITED = '"kind":"process.exited"';

type Follower = {
  readonly event: (event: RawEvent) => void;
  readonly delta: (item: Extract<StreamItem, { kind: "delta" }>) => void;
};

export class Bus {
  readonly #followers = new Map<ProcessId, Set<Follower>>();
  readonly #mourners = new Map<ProcessId, Set<() => void>>();

  /** Follows one process; the answer ends it. */
  follow(pid: ProcessId, follower: Follower): () => void {
    return join(this.#followers, pid, follower);
  }

  /** Calls `told` when the process has exited; the answer takes that back. */
  onExit(pid: ProcessId, told: () => void): () => void {
    return join(this.#mourners, pid, told);
  }

  /** The events of a batch that has become durable. Costs nothing where nobody follows. */
  publish(batch: Batch): void {
    for (const { pid, events } of batch.journals) {
      const mourners = this.#mourners.get(pid);
      if (mourners !== undefined && events.some(({ header }) => header.includes(EXITED)))
        for (const told of [...mourners]) told();
      const followers = this.#followers.get(pid);
      if (followers === undefined) continue;
      const texts = new Map((batch.payloads ?? []).map(({ address, text }) => [address, text]));
      for (const stored of events) {
        const opened = openEvent(stored);
        const raw = { event: eventOf(opened), texts: payloadTexts(opened, texts) };
        for (const { event } of [...followers]) event(raw);
      }
    }
  }

  delta(item: Extract<StreamItem, { kind: "delta" }>): void {
    for (const { delta } of this.#followers.get(item.pid) ?? []) delta(item);
  }
}

function join<T>(all: Map<ProcessId, Set<T>>, pid: ProcessId, one: T): () => void {
  const joined = all.get(pid) ?? new Set<T>();
  all.set(pid, joined.add(one));
  return () => {
    joined.delete(one);
    if (joined.size === 0 && all.get(pid) === joined) all.delete(pid);
  };
}

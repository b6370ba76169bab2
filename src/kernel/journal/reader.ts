// Journals as people and clients read them: whole events, with their payloads as values.
import type { Event, EventHeader } from "../../abi/events.ts";
import type { Address, ProcessId } from "../../abi/ids.ts";
import type { Json } from "../../abi/json.ts";
import type { Store } from "../../ports/store.ts";
import type { StreamItem } from "../../ports/system.ts";
import type { Bus, RawEvent } from "./bus.ts";
import { decodeValue, innerAddresses } from "./encoding.ts";
import { distantAddresses, eventOf, openEvent, payloadTexts } from "./events.ts";

const PAGE = 500;
const BACKLOG_MAX = 2000;

/** Which call's form a payload has. */
const callOf = (header: EventHeader): "model.generate" | "clock.now" =>
  "syscall" in header && header.syscall === "model.generate" ? header.syscall : "clock.now";

async function whole(store: Store, raws: readonly RawEvent[]): Promise<Event[]> {
  const inner = raws.flatMap(({ event, texts }) =>
    Object.entries(texts).flatMap(([name, text]) => innerAddresses(callOf(event.header), name, text)),
  );
  const read: ReadonlyMap<Address, string> = inner.length === 0 ? new Map() : await store.payloads([...new Set(inner)]);
  return raws.map(({ event, texts }) => {
    const payloads: Record<string, Json> = {};
    for (const [name, text] of Object.entries(texts))
      payloads[name] = decodeValue(callOf(event.header), name, text, read);
    return { ...event, payloads };
  });
}

/** Events from `from` on, at most `limit`. */
export async function readEvents(
  store: Store,
  pid: ProcessId,
  { from, limit }: { from: number; limit: number },
): Promise<Event[]> {
  const opened = (await store.events(pid, from, limit)).map(openEvent);
  const distant = distantAddresses(opened);
  const texts: ReadonlyMap<Address, string> = distant.length === 0 ? new Map() : await store.payloads(distant);
  return whole(
    store,
    opened.map((one) => ({ event: eventOf(one), texts: payloadTexts(one, texts) })),
  );
}

type Live = RawEvent | Extract<StreamItem, { kind: "delta" }>;

/** What has come and not been read yet. A reader who is slow loses the queue, not the events: they are in the journal. */
class Backlog {
  #items: Live[] = [];
  #wake = (): void => {};
  #overflowed = false;

  push(item: Live): void {
    if (this.#items.length >= BACKLOG_MAX) {
      this.#items = [];
      this.#overflowed = true;
    }
    this.#items.push(item);
    this.#wake();
  }

  /** The next item, or undefined where the journal must be read first. Waits until there is one or `stopped` says so. */
  async next(stopped: () => boolean): Promise<Live | undefined> {
    while (!stopped()) {
      if (this.#overflowed) return undefined;
      const item = this.#items.shift();
      if (item !== undefined) return item;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return undefined;
  }

  /** The journal has been read. Words of an answer that was read with it are of no use any more. */
  caughtUp(answered: ReadonlySet<number>): void {
    this.#overflowed = false;
    this.#items = this.#items.filter((item) => !("kind" in item) || !answered.has(item.call));
  }

  wake(): void {
    this.#wake();
  }
}

type Followed = {
  readonly store: Store;
  readonly bus: Bus;
  readonly pid: ProcessId;
  readonly from: number;
  readonly signal: AbortSignal;
};

/** Events from `from` on, those that exist and those to come, and the model's words between them; ends with the process's exit. */
export async function* follow({ store, bus, pid, from, signal }: Followed): AsyncGenerator<StreamItem> {
  const backlog = new Backlog();
  const leave = bus.follow(pid, { event: (event) => backlog.push(event), delta: (delta) => backlog.push(delta) });
  const stop = (): void => backlog.wake();
  signal.addEventListener("abort", stop);
  try {
    let next = from;
    while (!signal.aborted) {
      const answered = new Set<number>();
      for await (const event of recorded(store, pid, next)) {
        yield { kind: "event", event };
        next = event.seq + 1;
        if (isLast(event)) return;
        if (event.header.kind === "call.completed") answered.add(event.header.call);
      }
      // Whoever starts behind the last event of a process that is over has nothing to wait for.
      if ((await store.process(pid))?.exit && next >= (await eventCount(store, pid))) return;
      backlog.caughtUp(answered);
      for await (const item of fresh({ store, backlog, signal }, next)) {
        yield item;
        if (item.kind === "event") next = item.event.seq + 1;
        if (item.kind === "event" && isLast(item.event)) return;
      }
    }
  } finally {
    leave();
    signal.removeEventListener("abort", stop);
  }
}

const isLast = ({ header }: Pick<Event, "header">): boolean => header.kind === "process.exited";

/** What comes in, until the signal fires or the journal must be read again. What was read there already is left out. */
async function* fresh(
  { store, backlog, signal }: { store: Store; backlog: Backlog; signal: AbortSignal },
  from: number,
): AsyncGenerator<StreamItem> {
  for (;;) {
    const item = await backlog.next(() => signal.aborted);
    if (item === undefined) return;
    if ("kind" in item) yield item;
    else if (item.event.seq >= from) for (const event of await whole(store, [item])) yield { kind: "event", event };
    // Whoever waits for events beyond the last one waits for nothing.
    else if (isLast(item.event)) return;
  }
}

const eventCount = async (store: Store, pid: ProcessId): Promise<number> =>
  ((await store.lastEvent(pid))?.seq ?? -1) + 1;

async function* recorded(store: Store, pid: ProcessId, from: number): AsyncGenerator<Event> {
  for (let next = from; ;) {
    const page = await readEvents(store, pid, { from: next, limit: PAGE });
    yield* page;
    next += page.length;
    if (page.length < PAGE) return;
  }
}

// Journals as people and clients read them: whole events, with their payloads as values.
import type { Event, EventHeader } from "../abi/events.ts";
import type { Address, ProcessId } from "../abi/ids.ts";
import type { Json } from "../abi/json.ts";
import type { Store } from "../ports/store.ts";
import type { StreamItem } from "../ports/system.ts";
import type { Bus, RawEvent } from "./bus.ts";
import { decodeValue, innerAddresses } from "./encoding.ts";
import { distantAddresses, openEvent, payloadTexts } from "./journal.ts";

const PAGE = 500;

/** Which call's form a payload has. */
const callOf = (header: EventHeader): "model.generate" | "clock.now" => ("syscall" in header && header.syscall === "model.generate" ? header.syscall : "clock.now");

async function whole(store: Store, raws: readonly RawEvent[]): Promise<Event[]> {
  const inner = raws.flatMap(({ event, texts }) => Object.entries(texts).flatMap(([name, text]) => innerAddresses(callOf(event.header), name, text)));
  const read: ReadonlyMap<Address, string> = inner.length === 0 ? new Map() : await store.payloads([...new Set(inner)]);
  return raws.map(({ event, texts }) => {
    const payloads: Record<string, Json> = {};
    for (const [name, text] of Object.entries(texts)) payloads[name] = decodeValue(callOf(event.header), name, text, read);
    return { ...event, payloads };
  });
}

/** Events from `from` on, at most `limit`. */
export async function readEvents(store: Store, pid: ProcessId, { from, limit }: { from: number; limit: number }): Promise<Event[]> {
  const opened = (await store.events(pid, from, limit)).map(openEvent);
  const distant = distantAddresses(opened);
  const texts: ReadonlyMap<Address, string> = distant.length === 0 ? new Map() : await store.payloads(distant);
  return whole(store, opened.map((one) => ({ event: { pid, seq: one.seq, atMs: one.atMs, header: one.header, hash: one.hash }, texts: payloadTexts(one, texts) })));
}

/** Events from `from` on, those that exist and those to come, and the model's words between them; ends with the process's exit. */
export async function* follow(parts: { store: Store; bus: Bus; pid: ProcessId; from: number; signal: AbortSignal }): AsyncGenerator<StreamItem> {
  const { store, bus, pid, signal } = parts;
  let live: (RawEvent | Extract<StreamItem, { kind: "delta" }>)[] = [];
  let wake = (): void => {};
  const leave = bus.follow(pid, {
    event: (event) => { live.push(event); wake(); },
    delta: (delta) => { live.push(delta); wake(); },
  });
  const stop = (): void => wake();
  signal.addEventListener("abort", stop);
  const answered = new Set<number>();
  try {
    let next = parts.from;
    for (;;) {
      const page = await readEvents(store, pid, { from: next, limit: PAGE });
      for (const event of page) {
        yield { kind: "event", event };
        next = event.seq + 1;
        if (event.header.kind === "call.completed") answered.add(event.header.call);
        if (event.header.kind === "process.exited") return;
      }
      if (page.length < PAGE || signal.aborted) break;
    }
    // Words that came while the journal was read may belong to an answer that was read with it.
    live = live.filter((item) => !("kind" in item) || !answered.has(item.call));
    while (!signal.aborted) {
      const item = live.shift();
      if (item === undefined) await new Promise<void>((resolve) => { wake = resolve; if (signal.aborted || live.length > 0) resolve(); });
      else if ("kind" in item) yield item;
      else if (item.event.seq >= next) {
        const [event] = await whole(store, [item]);
        if (event === undefined) return;
        yield { kind: "event", event };
        next = event.seq + 1;
        if (event.header.kind === "process.exited") return;
      }
    }
  } finally {
    leave();
    signal.removeEventListener("abort", stop);
  }
}

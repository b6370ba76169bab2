// The journal's form: how an event becomes bytes, and bytes an event.
//
// Boundary: knows hashes and JSON text, no store and no process.
//
// Invariants:
//   J1. A header's text is made once; what is hashed is what is stored, byte for byte.
//   J2. The header names its payloads' addresses and the hash covers the header and the hash before it,
//       so a change of any event or payload breaks the chain from there on.
//   J3. A payload's address is HMAC-SHA256 (RFC 2104) under its subject's key: without the key nobody can
//       guess a payload from its address, and equal payloads of one subject are stored once.
import { hash } from "node:crypto";
import type { Event, EventHeader } from "../../abi/events.ts";
import type { Address, ProcessId, SubjectId } from "../../abi/ids.ts";
import { INLINE_PAYLOAD_BYTES_MAX } from "../../abi/limits.ts";
import type { StoredEvent, StoredPayload } from "../../ports/store.ts";

/** The hash before the first event. */
export const CHAIN_START = "A".repeat(43);

const BLOCK_BYTES = 64;
const HASH_BYTES = 32;
/** Texts of up to so many characters are hashed in a buffer that is kept for them; a character is at most three bytes. */
const KEPT_CHARACTERS = 4096;

/** The key of a data subject, made ready for HMAC: its two blocks, each with room behind it for what is hashed after it. */
export type SubjectKey = { readonly subject: SubjectId; readonly inner: Buffer; readonly outer: Buffer };

export function subjectKeyOf(subject: SubjectId, key: Uint8Array): SubjectKey {
  const inner = Buffer.alloc(BLOCK_BYTES + KEPT_CHARACTERS * 3);
  const outer = Buffer.alloc(BLOCK_BYTES + HASH_BYTES);
  inner.fill(0x36, 0, BLOCK_BYTES);
  outer.fill(0x5c, 0, BLOCK_BYTES);
  key.forEach((byte, at) => {
    inner[at] = byte ^ 0x36;
    outer[at] = byte ^ 0x5c;
  });
  return { subject, inner, outer };
}

/** The key's first block and the text behind it. */
function keyed({ inner }: SubjectKey, text: string): Buffer {
  if (text.length > KEPT_CHARACTERS) return Buffer.concat([inner.subarray(0, BLOCK_BYTES), Buffer.from(text)]);
  return inner.subarray(0, BLOCK_BYTES + inner.write(text, BLOCK_BYTES));
}

/**
 * RFC 2104 from two one-shot hashes: half of the time that an Hmac object takes for texts of this size. The inner hash
 * comes as a string of bytes, since a Buffer for it would cost more than the hash.
 */
export function addressOf(key: SubjectKey, text: string): Address {
  key.outer.write(hash("sha256", keyed(key, text), "latin1"), BLOCK_BYTES, "latin1");
  return hash("sha256", key.outer, "base64url") as Address;
}

export const chainHash = (before: string, header: string): string =>
  hash("sha256", `${before}\n${header}`, "base64url");

/** What is to be recorded: a header, and its payloads as JSON text. */
export type Entry = { readonly header: EventHeader; readonly payloads: { readonly [name: string]: string } };

export type Place = { readonly pid: ProcessId; readonly seq: number; readonly atMs: number; readonly before: string };

export type Encoded = { readonly event: StoredEvent; readonly payloads: readonly StoredPayload[] };

export function encodeEvent(entry: Entry, place: Place, key: SubjectKey): Encoded {
  const addresses: Record<string, Address> = {};
  const large: StoredPayload[] = [];
  let inline: Record<string, string> | undefined;
  for (const name in entry.payloads) {
    const text = entry.payloads[name] ?? "null";
    const address = addressOf(key, text);
    addresses[name] = address;
    // A string's length bounds its bytes from below, and three times it from above: only the doubtful are measured.
    const small = text.length * 3 <= INLINE_PAYLOAD_BYTES_MAX || Buffer.byteLength(text) <= INLINE_PAYLOAD_BYTES_MAX;
    if (small) (inline ??= {})[address] = text;
    else large.push({ address, subject: key.subject, text });
  }
  const own = JSON.stringify(entry.header);
  const header = `{"v":1,"pid":"${place.pid}","seq":${place.seq},"atMs":${place.atMs},${own.slice(1, -1)},"payloads":${JSON.stringify(addresses)}}`;
  const event: StoredEvent = {
    pid: place.pid,
    seq: place.seq,
    header,
    hash: chainHash(place.before, header),
    inline: inline === undefined ? null : JSON.stringify(inline),
  };
  return { event, payloads: large };
}

const NOTHING_INLINE: Record<string, string> = {};

/** A stored event, read as far as its header; payloads still by address. */
export type Opened = {
  readonly seq: number;
  readonly atMs: number;
  readonly header: EventHeader;
  readonly addresses: { readonly [name: string]: Address };
  readonly inline: { readonly [address: string]: string };
  readonly hash: string;
};

/** What stands in a header's text beside the header itself. */
type Written = EventHeader & {
  readonly v: number;
  readonly pid: ProcessId;
  readonly seq: number;
  readonly atMs: number;
  readonly payloads: Record<string, Address>;
};

/** Reads an event. Its header still has what was written beside it: a replay reads many, and looks at fields by name. */
export function openEvent(stored: StoredEvent): Opened {
  const header = JSON.parse(stored.header) as Written;
  return {
    seq: header.seq,
    atMs: header.atMs,
    header,
    addresses: header.payloads,
    inline: stored.inline === null ? NOTHING_INLINE : (JSON.parse(stored.inline) as Record<string, string>),
    hash: stored.hash,
  };
}

/** Texts of payloads by name; a payload that is no longer there is absent. */
export function payloadTexts(opened: Opened, texts: ReadonlyMap<Address, string>): { [name: string]: string } {
  const found: { [name: string]: string } = {};
  for (const name in opened.addresses) {
    const address = opened.addresses[name] as Address;
    const text = opened.inline[address] ?? texts.get(address);
    if (text !== undefined) found[name] = text;
  }
  return found;
}

/** Addresses of the payloads that stand outside their events. */
export function distantAddresses(events: readonly Opened[]): Address[] {
  const wanted = new Set<Address>();
  for (const { addresses, inline } of events) {
    for (const name in addresses) {
      const address = addresses[name] as Address;
      if (inline[address] === undefined) wanted.add(address);
    }
  }
  return [...wanted];
}

/** The event as it is shown: its header alone, without its payloads. */
export function eventOf({ header, seq, atMs, hash: chained }: Opened): Omit<Event, "payloads"> {
  const { v, pid, seq: place, atMs: time, payloads, ...clear } = header as Written;
  return { pid, seq, atMs, header: clear, hash: chained };
}

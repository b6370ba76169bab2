// The journal's form: addresses, hash chain, and what stands in an event and what apart.
import { createHash, createHmac } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ProcessId, SubjectId } from "../../abi/ids.ts";
import { INLINE_PAYLOAD_BYTES_MAX } from "../../abi/limits.ts";
import {
  addressOf,
  CHAIN_START,
  chainHash,
  distantAddresses,
  encodeEvent,
  type Entry,
  openEvent,
  payloadTexts,
  subjectKeyOf,
} from "./events.ts";

const SUBJECT = "default" as SubjectId;
const PID = "p_000000000000" as ProcessId;
const key = subjectKeyOf(SUBJECT, new Uint8Array(32).fill(7));
const place = { pid: PID, seq: 3, atMs: 1234, before: CHAIN_START };
const stopped = (payloads: Entry["payloads"]): Entry => ({ header: { kind: "process.stopped", by: "ann" }, payloads });

describe("addresses", () => {
  it("are HMAC-SHA256 of the text under the subject's key", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.string({ unit: "binary", maxLength: 2000 }),
        (bytes, text) => {
          const expected = createHmac("sha256", bytes).update(text).digest("base64url");
          expect(addressOf(subjectKeyOf(SUBJECT, bytes), text)).toBe(expected);
        },
      ),
    );
  });

  it("differ from subject to subject", () => {
    const other = subjectKeyOf("other" as SubjectId, new Uint8Array(32).fill(8));
    expect(addressOf(key, '"same"')).not.toBe(addressOf(other, '"same"'));
  });
});

describe("the chain", () => {
  it("covers the hash before and the header's text", () => {
    const { event } = encodeEvent(stopped({}), place, key);
    expect(event.hash).toBe(createHash("sha256").update(`${CHAIN_START}\n${event.header}`).digest("base64url"));
    expect(event.hash).toHaveLength(CHAIN_START.length);
    expect(chainHash(event.hash, event.header)).not.toBe(event.hash);
  });

  it("covers each payload by its address", () => {
    const one = encodeEvent(stopped({ reason: '"a"' }), place, key).event;
    const two = encodeEvent(stopped({ reason: '"b"' }), place, key).event;
    expect(one.hash).not.toBe(two.hash);
  });
});

describe("an event", () => {
  it("gives back what went in, whatever it holds", () => {
    const payloads = fc.dictionary(
      fc.constantFrom("args", "value", "error", "reason"),
      fc.jsonValue().map((value) => JSON.stringify(value)),
    );
    fc.assert(
      fc.property(payloads, (given) => {
        const { event, payloads: apart } = encodeEvent(stopped(given), place, key);
        const opened = openEvent(event);
        expect([opened.seq, opened.atMs, opened.header.kind]).toEqual([3, 1234, "process.stopped"]);
        expect(payloadTexts(opened, new Map(apart.map(({ address, text }) => [address, text])))).toEqual({ ...given });
        expect(distantAddresses([opened]).sort()).toEqual([...new Set(apart.map(({ address }) => address))].sort());
      }),
    );
  });

  it("holds payloads up to the limit in bytes, not in characters", () => {
    const small = (text: string): boolean => encodeEvent(stopped({ reason: text }), place, key).payloads.length === 0;
    for (const [unit, bytes] of [
      ["a", 1],
      ["é", 2],
      ["€", 3],
      ["😀", 4],
    ] as const) {
      const most = Math.floor((INLINE_PAYLOAD_BYTES_MAX - 2) / bytes);
      expect([unit, small(`"${unit.repeat(most)}"`)]).toEqual([unit, true]);
      expect([unit, small(`"${unit.repeat(most + 1)}"`)]).toEqual([unit, false]);
    }
  });

  it("misses a payload that was erased, and no other", () => {
    const { event } = encodeEvent(stopped({ reason: '"short"', value: `"${"x".repeat(1000)}"` }), place, key);
    expect(payloadTexts(openEvent(event), new Map())).toEqual({ reason: '"short"' });
  });
});

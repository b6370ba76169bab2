// Goal: a value is found in what a far side says in a WebSocket, however frames cut it, and nothing else is changed or kept waiting.
// Method: frames as they are on the wire, cut at every byte, through the stage alone.
import type { Transform } from "node:stream";
import { buffer } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { createScrubber } from "../rules/scrub.ts";
import { scrubbingFrames } from "./frames.ts";

const VALUE = "sk-live-0123456789";
const newStage = (): Transform => {
  const scrubber = createScrubber([{ name: "key", value: VALUE, to: [] }]);
  if (scrubber === undefined) throw new Error("There is nothing to look for.");
  return scrubbingFrames(scrubber);
};

type Options = { readonly opcode?: number; readonly last?: boolean; readonly flags?: number };
function frame(payload: string | Buffer, { opcode = 1, last = true, flags = 0 }: Options = {}): Buffer {
  const bytes = Buffer.from(payload);
  const first = (last ? 0x80 : 0) | flags | opcode;
  if (bytes.length < 126) return Buffer.concat([Buffer.from([first, bytes.length]), bytes]);
  const size = Buffer.alloc(bytes.length < 65_536 ? 2 : 8);
  if (size.length === 2) size.writeUInt16BE(bytes.length);
  else size.writeBigUInt64BE(BigInt(bytes.length));
  return Buffer.concat([Buffer.from([first, size.length === 2 ? 126 : 127]), size, bytes]);
}

/** What comes out when it comes in pieces of so many bytes. */
async function through(wire: Buffer, piece = wire.length): Promise<string> {
  const stage = newStage();
  const out = buffer(stage);
  for (let at = 0; at < wire.length; at += piece) stage.write(wire.subarray(at, at + piece));
  stage.end();
  return (await out).toString("latin1");
}
const covered = (wire: Buffer, ...parts: readonly string[]): string =>
  parts.reduce((text, part) => text.replace(part, "*".repeat(part.length)), wire.toString("latin1"));

describe("frames of a far side", () => {
  it("are covered where a value is cut by them, by a ping between them, and by the chunks that they come in", async () => {
    const wire = Buffer.concat([
      frame(`a ${VALUE.slice(0, 5)}`, { last: false }),
      frame(VALUE.slice(5, 6), { opcode: 0, last: false }),
      frame(`ping ${VALUE}`, { opcode: 9 }),
      frame("", { opcode: 0, last: false }),
      frame(`${VALUE.slice(6)} z`, { opcode: 0 }),
      frame("after"),
    ]);
    const expected = covered(wire, `ping ${VALUE}`, VALUE.slice(6), VALUE.slice(5, 6), VALUE.slice(0, 5)).replace(
      "*".repeat(`ping ${VALUE}`.length),
      `ping ${"*".repeat(VALUE.length)}`,
    );
    for (const piece of [wire.length, 1, 2, 3, 7, 11]) {
      const text = await through(wire, piece);
      expect(text.length, String(piece)).toBe(wire.length);
      expect(text, String(piece)).not.toContain(VALUE.slice(6));
      expect(text, String(piece)).not.toContain(VALUE.slice(0, 5));
      expect(text, String(piece)).toContain("after");
      expect(text, String(piece)).toBe(expected);
    }
  });

  it("are covered in lengths of all three sizes", async () => {
    for (const size of [10, 1_000, 100_000]) {
      const wire = frame(`${"x".repeat(size)}${VALUE}${"y".repeat(size)}`, { opcode: 2 });
      expect(await through(wire, 999)).toBe(covered(wire, VALUE));
    }
  });

  it("are passed on at the end of each message, and what of a value comes in the next one is covered", async () => {
    const stage = newStage();
    let text = "";
    stage.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    const first = frame(`is it ${VALUE.slice(0, 8)}`);
    stage.write(first);
    expect(text).toBe(first.toString("latin1"));
    stage.write(frame(`${VALUE.slice(8)}!`));
    expect(text.slice(first.length + 2)).toBe(`${"*".repeat(VALUE.length - 8)}!`);
    stage.write(frame(`and ${VALUE.slice(0, 8)}`));
    stage.write(frame("nothing"));
    expect(text.endsWith("nothing")).toBe(true);
  });

  it.each([
    ["packed", frame("x", { flags: 0x40 })],
    ["of no known kind", frame("x", { opcode: 3 })],
    ["a cut ping", frame("x", { opcode: 9, last: false })],
    ["a long ping", frame("x".repeat(126), { opcode: 9 })],
    ["masked", Buffer.from([0x81, 0x81, 1, 2, 3, 4, 0x40])],
    ["longer than can be counted", Buffer.from([0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0])],
    [
      "a beginning of a value that is never gone on with",
      Buffer.concat([frame("sk", { last: false }), ...Array.from({ length: 2_000 }, () => frame("", { opcode: 9 }))]),
    ],
  ])("end the connection when they cannot be looked through: %s", async (_what, wire) => {
    await expect(through(wire)).rejects.toThrow("cannot be looked through");
  });
});

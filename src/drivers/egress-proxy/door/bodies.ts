// Bodies on their way: counted, looked through, unpacked. All of them pass on what they get at the speed of the slower side.
import { Transform } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from "node:zlib";
import { placeholdersIn } from "../rules/secrets.ts";
import type { ScrubStream } from "../rules/scrub.ts";

/** Why a stream was ended by us. */
export const SPENT = "the bytes of this way out are used up";

/** Ends with an error once `take` says no; what it said no to does not pass. */
export const counted = (take: (bytes: number) => boolean): Transform =>
  new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (take(chunk.length)) done(null, chunk);
      else done(new Error(SPENT));
    },
  });

export const scrubbing = (scrub: ScrubStream): Transform =>
  new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const clean = scrub.push(chunk);
      done(null, clean.length === 0 ? undefined : clean);
    },
    flush(done) {
      const rest = scrub.end();
      done(null, rest.length === 0 ? undefined : rest);
    },
  });

/** No placeholder is longer, percent-encoded or not. Bytes. */
const OVERLAP_BYTES = 128;

/** Tells of placeholders in what passes, and changes nothing. */
export function scanning(onFound: (names: readonly string[]) => void): Transform {
  let before = "";
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const text = before + chunk.toString("latin1");
      const names = text.includes("reeve") ? placeholdersIn(text) : [];
      if (names.length > 0) onFound(names);
      before = text.slice(-OVERLAP_BYTES);
      done(null, chunk);
    },
  });
}

const UNPACK: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  "x-gzip": createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: createZstdDecompress,
};

/** What unpacks a content coding: nothing needed (`null`), a stream, or undefined where nobody here can. */
export function unpacking(coding: string): Transform | null | undefined {
  const name = coding.trim().toLowerCase();
  if (name === "" || name === "identity") return null;
  return Object.hasOwn(UNPACK, name) ? UNPACK[name]?.() : undefined;
}

// Bodies on their way: counted, looked through, unpacked. All of them pass on what they get at the speed of the slower side.
import type { IncomingMessage } from "node:http";
import { Transform } from "node:stream";
import { constants, createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from "node:zlib";
import { spent } from "../broken.ts";
import { headersOf, valuesOf } from "./headers.ts";
import { type Headers, placeholdersIn } from "../rules/secrets.ts";
import type { ScrubStream } from "../rules/scrub.ts";

/** Ends with an error once `take` says no; what it said no to does not pass. */
export const counted = (take: (bytes: number) => boolean): Transform =>
  new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (take(chunk.length)) done(null, chunk);
      else done(spent());
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

/** How far back a packed answer may refer, as a power of two: what RFC 9659 lets it. All of it is kept in memory. */
const ZSTD_WINDOW_LOG_MAX = 23;

const UNPACK: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  "x-gzip": createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: () => createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX } }),
};

/** The codings of a body. Those of its transfer count as well: whoever reads it here gets it with them, but for its chunks. */
function codingOf(headers: Headers): string {
  const transfer = valuesOf(headers, "transfer-encoding").flatMap((value) => value.split(","));
  const codings = [...valuesOf(headers, "content-encoding"), ...transfer].map((value) => value.trim().toLowerCase());
  return codings.filter((coding) => coding !== "chunked" && coding !== "identity" && coding !== "").join(",");
}

const isEmpty = ({ statusCode, headers }: IncomingMessage): boolean =>
  statusCode === 204 || statusCode === 304 || headers["content-length"] === "0";

/** What unpacks the body of an answer: nothing needed (`null`), a stream, or undefined where nobody here can. */
export function unpacking(incoming: IncomingMessage): Transform | null | undefined {
  const name = codingOf(headersOf(incoming));
  // Nothing is packed as nothing.
  if (name === "" || isEmpty(incoming)) return null;
  return Object.hasOwn(UNPACK, name) ? UNPACK[name]?.() : undefined;
}

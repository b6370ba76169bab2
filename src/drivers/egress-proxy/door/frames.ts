// What a far side says in a WebSocket, looked through frame by frame (RFC 6455, 5.2): a value may be cut by frames, and the head of one may stand
// within it.
//
// Frames keep their heads and lengths, so a value is covered and not replaced.
//
// Invariants:
//   W1. What is no frame that anybody asked for (masked, packed, of no known kind) ends the connection: it could not be looked through.
//   W2. A whole message is passed on at once, whatever it ends with; of one that goes on in another frame, at most the beginning of a value is
//       held back. Of a value that is cut by messages, what comes in the later ones is covered.
//   W3. What waits behind bytes that are held back is bounded.
import { Transform } from "node:stream";
import { unreadable } from "../broken.ts";
import type { Scrubber, ScrubStream } from "../rules/scrub.ts";

const EMPTY = Buffer.alloc(0);
const FIN = 0x80;
/** Packed, as extensions would have it; or masked, as nobody on this side does. */
const RESERVED = 0x70;
const MASKED = 0x80;
const OPCODES = new Set([0x0, 0x1, 0x2, 0x8, 0x9, 0xa]);
const CONTROL = 0x8;
const CONTROL_BYTES_MAX = 125;
const [LENGTH_16, LENGTH_64] = [126, 127];
const HEAD_BYTES_MAX = 10;
/** A frame's length at most, as its head can say it without a sign. Bytes. */
const FRAME_BYTES_MAX = Number.MAX_SAFE_INTEGER;
/** Heads and control frames that wait behind held bytes. */
const WAITING_MAX = 1_024;

type Head = { readonly bytes: Buffer; readonly isLast: boolean; readonly isControl: boolean; readonly length: number };
/** What goes on, in its order: bytes as they are, or so many of those that were looked through. */
type Piece = Buffer | { missing: number };

/** A stage in the way of a far side's frames. */
export function scrubbingFrames(scrubber: Scrubber): Transform {
  const frames = new Frames(scrubber);
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      try {
        frames.take(chunk, (bytes) => void this.push(bytes));
        done();
      } catch (error) {
        done(error instanceof Error ? error : unreadable());
      }
    },
    flush(done) {
      frames.end((bytes) => void this.push(bytes));
      done();
    },
  });
}

class Frames {
  readonly #scrubber: Scrubber;
  readonly #data: ScrubStream;
  /** Of a head, or of a control frame, what came of it. */
  #begun: Buffer = EMPTY;
  #head: Head | undefined;
  /** Of the frame's payload, what is still to come. */
  #left = 0;
  readonly #waiting: Piece[] = [];
  readonly #clean: Buffer[] = [];

  constructor(scrubber: Scrubber) {
    this.#scrubber = scrubber;
    this.#data = scrubber.stream("fill");
  }

  take(chunk: Buffer, pass: (bytes: Buffer) => void): void {
    let rest = chunk;
    while (rest.length > 0) {
      rest = this.#head === undefined ? this.#readHead(rest) : this.#readPayload(this.#head, rest);
      this.#settle(pass);
    }
  }

  /** Nothing more comes, be it in the middle of a frame. */
  end(pass: (bytes: Buffer) => void): void {
    this.#clean.push(this.#data.end());
    this.#settle(pass);
  }

  /** What is left of the chunk. */
  #readHead(chunk: Buffer): Buffer {
    const seen = Buffer.concat([this.#begun, chunk.subarray(0, HEAD_BYTES_MAX - this.#begun.length)]);
    const head = headOf(seen);
    if (head === undefined) {
      this.#begun = seen;
      return EMPTY;
    }
    const rest = chunk.subarray(head.bytes.length - this.#begun.length);
    this.#begun = EMPTY;
    this.#head = head;
    this.#left = head.length;
    this.#wait(head.bytes);
    if (head.length === 0) this.#endFrame(head);
    return rest;
  }

  #readPayload(head: Head, chunk: Buffer): Buffer {
    const part = chunk.subarray(0, Math.min(this.#left, chunk.length));
    this.#left -= part.length;
    if (head.isControl) this.#begun = Buffer.concat([this.#begun, part]);
    else {
      this.#wait({ missing: part.length });
      this.#clean.push(this.#data.push(part));
    }
    if (this.#left === 0) this.#endFrame(head);
    return chunk.subarray(part.length);
  }

  #endFrame({ isControl, isLast }: Head): void {
    this.#head = undefined;
    if (isControl) {
      // It may stand between two frames of a message, and is a text of its own.
      const look = this.#scrubber.stream("fill");
      this.#wait(Buffer.concat([look.push(this.#begun), look.end()]));
      this.#begun = EMPTY;
    } else if (isLast) this.#clean.push(this.#data.pause());
  }

  #wait(piece: Piece): void {
    const last = this.#waiting.at(-1);
    if (!Buffer.isBuffer(piece) && last !== undefined && !Buffer.isBuffer(last)) last.missing += piece.missing;
    else this.#waiting.push(piece);
    if (this.#waiting.length > WAITING_MAX) throw unreadable();
  }

  /** Passes on what is clear, in its order. */
  #settle(pass: (bytes: Buffer) => void): void {
    for (let piece = this.#waiting[0]; piece !== undefined; piece = this.#waiting[0]) {
      if (!Buffer.isBuffer(piece)) {
        const clean = this.#clean[0];
        if (piece.missing > 0 && clean === undefined) return;
        if (clean !== undefined && piece.missing > 0) {
          const part = clean.subarray(0, piece.missing);
          if (part.length > 0) pass(part);
          piece.missing -= part.length;
          if (part.length === clean.length) this.#clean.shift();
          else this.#clean[0] = clean.subarray(part.length);
          if (piece.missing > 0) continue;
        }
      } else if (piece.length > 0) pass(piece);
      this.#waiting.shift();
    }
  }
}

/** Undefined until it is whole. */
function headOf(seen: Buffer): Head | undefined {
  const [first, second] = seen;
  if (first === undefined || second === undefined) return undefined;
  const opcode = first & 0x0f;
  const short = second & 0x7f;
  const isControl = (opcode & CONTROL) !== 0;
  const isLast = (first & FIN) !== 0;
  const isOdd = (first & RESERVED) !== 0 || (second & MASKED) !== 0 || !OPCODES.has(opcode);
  if (isOdd || (isControl && (!isLast || short > CONTROL_BYTES_MAX))) throw unreadable();
  const size = short === LENGTH_16 ? 4 : short === LENGTH_64 ? 10 : 2;
  if (seen.length < size) return undefined;
  const length =
    short === LENGTH_16 ? seen.readUInt16BE(2) : short === LENGTH_64 ? Number(seen.readBigUInt64BE(2)) : short;
  if (length > FRAME_BYTES_MAX) throw unreadable();
  return { bytes: seen.subarray(0, size), isLast, isControl, length };
}

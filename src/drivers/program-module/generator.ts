// A generator of numbers that anybody can foretell who knows the seed: the same process draws the same numbers whenever
// it runs again. For shuffling and for ids within a process; never for secrets.
import { createHash } from "node:crypto";

export type Generator = {
  /** 32 bits. */
  uint32(): number;
  /** In [0, 1), with 53 bits. */
  float(): number;
  fill(bytes: Uint8Array): void;
};

/** sfc32, by Chris Doty-Humphrey (public domain), its state taken from the SHA-256 of the seed. */
export function createGenerator(seed: string): Generator {
  const digest = createHash("sha256").update(seed).digest();
  let a = digest.readUInt32LE(0);
  let b = digest.readUInt32LE(4);
  let c = digest.readUInt32LE(8);
  let counter = digest.readUInt32LE(12);
  const uint32 = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  return {
    uint32,
    float: () => ((uint32() >>> 5) * 67_108_864 + (uint32() >>> 6)) / 9_007_199_254_740_992,
    fill(bytes) {
      for (let at = 0; at < bytes.length; at += 1) bytes[at] = uint32() & 0xff;
    },
  };
}

// The file of a program that is one segment: its header, as Linux reads it. Source: System V ABI, chapters 4 and 5 (ELF-64).
import type { Architecture } from "./system-calls.ts";

/** Where the file lies in memory. */
export const BASE = 0x40_0000;
const FILE_HEADER_BYTES = 64;
const SEGMENT_HEADER_BYTES = 56;
export const HEADER_BYTES = FILE_HEADER_BYTES + SEGMENT_HEADER_BYTES;

const MACHINES: Readonly<Record<Architecture, number>> = { x64: 62, arm64: 183 };
/** Of the segment: to be executed, written, read. */
const ACCESS = { "read, execute": 0b101, "read, write, execute": 0b111 } as const;
const PAGE_BYTES = 0x1000;

export type ElfOptions = {
  readonly architecture: Architecture;
  /** Where the program begins, in bytes from the start of the file. */
  readonly codeAt: number;
  readonly access: keyof typeof ACCESS;
};

/** Writes the header into the first HEADER_BYTES of a file that is whole but for them. */
export function writeHeader(file: Buffer, { architecture, codeAt, access }: ElfOptions): void {
  const half = (at: number, value: number): number => file.writeUInt16LE(value, at);
  const word = (at: number, value: number): number => file.writeUInt32LE(value, at);
  const long = (at: number, value: number): number => file.writeBigUInt64LE(BigInt(value), at);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // of 64 bits, little-endian
  half(16, 2); // an executable
  half(18, MACHINES[architecture]);
  word(20, 1);
  long(24, BASE + codeAt);
  long(32, FILE_HEADER_BYTES); // where the table of segments is
  half(52, FILE_HEADER_BYTES);
  half(54, SEGMENT_HEADER_BYTES);
  half(56, 1);
  // The one segment: the whole file.
  word(64, 1);
  word(68, ACCESS[access]);
  long(80, BASE);
  long(88, BASE);
  long(96, file.length);
  long(104, file.length);
  long(112, PAGE_BYTES);
}

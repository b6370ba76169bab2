// A program that makes system calls and says what became of each: assembled here from a table, for x86-64 and arm64.
//
// It needs nothing: no library, no interpreter, no compiler. Payloads that are one or a few calls of the kernel thus cost one start for
// all of them, and are made exactly as they stand here, with no library in between that would know better.
//
// Each group of calls runs in a process of its own, so that one that is killed, or that changes what it stands on, harms no other.
// For each call a record of RECORD_BYTES goes to standard output: the row, of which the result has taken the place of the number.
//
// Invariants:
//   E1. A call that could not be made, since its process was killed, has no record.

import { BASE, writeHeader } from "../../lib/elf.ts";
import type { Architecture } from "../../lib/system-calls.ts";

/** Text ends with a zero byte in memory; `result` is what an earlier call of the same group answered. */
export type Argument = number | bigint | string | Uint8Array | { readonly result: number };

/** One system call. An absent number: the architecture has no such call. `entry` by the gate for 32-bit programs. */
export type Call = {
  readonly name: string;
  readonly number: Readonly<Record<Architecture, number | undefined>>;
  readonly args: readonly Argument[];
  readonly entry?: "32-bit";
};
/** `undefined`: the architecture has no such call. */
export const call = (name: string, x64: number | undefined, arm64: number | undefined, ...args: Argument[]): Call => ({
  name,
  number: { x64, arm64 },
  args,
});

/** By payload. */
export type Group = { readonly payload: string; readonly calls: readonly Call[] };

/** What a call answered; absent where it was never made to the end. */
export type Results = ReadonlyMap<string, readonly (number | undefined)[]>;

const CODE_AT = 0x1000;
const TABLE_AT = 0x2000;
const ROW_BYTES = 80;
const RECORD_BYTES = 72;
const ARGUMENTS_MAX = 6;
const AT = { args: 8, destination: 56, index: 64 };
/** What stands in the place of a number. */
const FORK = -1n;
const DONE = -2n;
const GATE_32 = -3n;

/** Rows in memory, in order; each call has the index of its record. */
type Row = { readonly number: bigint; readonly args: readonly Argument[]; readonly index: number };

export function assembleProber(groups: readonly Group[], architecture: Architecture): Uint8Array {
  const { rows, starts } = layRows(groups, architecture);
  const tableBytes = rows.length * ROW_BYTES;
  const data: Uint8Array[] = [];
  let dataAt = TABLE_AT + tableBytes;
  const place = (bytes: Uint8Array): bigint => {
    const at = dataAt;
    const padded = new Uint8Array(Math.ceil((bytes.length + 1) / 16) * 16);
    padded.set(bytes);
    data.push(padded);
    dataAt += padded.length;
    return BigInt(BASE + at);
  };
  const table = new DataView(new ArrayBuffer(tableBytes));
  const put = (row: number, at: number, value: bigint): void =>
    table.setBigUint64(row * ROW_BYTES + at, BigInt.asUintN(64, value), true);
  for (const [at, { number, args, index }] of rows.entries()) {
    put(at, 0, number);
    put(at, AT.index, BigInt(index));
    for (const [position, argument] of args.entries()) {
      if (typeof argument === "number" || typeof argument === "bigint")
        put(at, AT.args + 8 * position, BigInt(argument));
      else if (typeof argument === "string") put(at, AT.args + 8 * position, place(Buffer.from(argument)));
      else if (argument instanceof Uint8Array) put(at, AT.args + 8 * position, place(argument));
      else {
        const source = (starts.get(at) ?? 0) + argument.result;
        put(source, AT.destination, BigInt(BASE + TABLE_AT + at * ROW_BYTES + AT.args + 8 * position));
      }
    }
  }
  const file = Buffer.alloc(dataAt);
  writeHeader(file, { architecture, codeAt: CODE_AT, access: "read, write, execute" });
  file.set(architecture === "x64" ? codeX64() : codeArm64(), CODE_AT);
  file.set(new Uint8Array(table.buffer), TABLE_AT);
  let at = TABLE_AT + tableBytes;
  for (const bytes of data) {
    file.set(bytes, at);
    at += bytes.length;
  }
  return file;
}

function layRows(groups: readonly Group[], architecture: Architecture): { rows: Row[]; starts: Map<number, number> } {
  const rows: Row[] = [];
  /** Of each row: where the calls of its group begin. */
  const starts = new Map<number, number>();
  let index = 0;
  for (const { calls } of groups) {
    const after = rows.length + calls.length + 2;
    rows.push({ number: FORK, args: [BASE + TABLE_AT + after * ROW_BYTES], index: -1 });
    const start = rows.length;
    for (const { number, args, entry } of calls) {
      if (args.length > ARGUMENTS_MAX) throw new Error("a system call has six arguments");
      starts.set(rows.length, start);
      const own = number[architecture];
      // A row that is passed over keeps its place, so that results are found by their place in the group.
      if (own === undefined) rows.push({ number: BigInt(NEVER[architecture]), args: [], index });
      else if (entry === undefined) rows.push({ number: BigInt(own), args, index });
      else rows.push({ number: GATE_32, args: [own, ...args], index });
      index += 1;
    }
    rows.push({ number: DONE, args: [], index: -1 });
  }
  rows.push({ number: DONE, args: [], index: -1 });
  return { rows, starts };
}

/** `getpid`, in the place of a call that an architecture does not have. */
const NEVER: Readonly<Record<Architecture, number>> = { x64: 39, arm64: 172 };

/** Reads the records that a prober of `groups` has written. */
export function readResults(groups: readonly Group[], architecture: Architecture, output: Uint8Array): Results {
  const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
  const found = new Map<number, number>();
  for (let at = 0; at + RECORD_BYTES <= output.byteLength; at += RECORD_BYTES) {
    const index = Number(view.getBigUint64(at + AT.index, true));
    // A process that came to be by one of the calls answers once more; what succeeded counts.
    const result = Number(view.getBigInt64(at, true));
    found.set(index, Math.max(result, found.get(index) ?? -Infinity));
  }
  let index = 0;
  return new Map(
    groups.map(({ payload, calls }) => {
      const results = calls.map(({ number }) => {
        const result = found.get(index);
        index += 1;
        return number[architecture] === undefined && result !== undefined ? -ENOSYS : result;
      });
      return [payload, results];
    }),
  );
}

const ENOSYS = 38;

/** Machine code with labels: `jump` stands for the distance to one. */
type Piece = readonly number[] | { readonly label: string } | { readonly jump: string; readonly op: readonly number[] };
const label = (name: string): Piece => ({ label: name });

const le32 = (value: number): number[] => [
  value & 0xff,
  (value >> 8) & 0xff,
  (value >> 16) & 0xff,
  (value >>> 24) & 0xff,
];

function link(
  pieces: readonly Piece[],
  jumpBytes: (op: readonly number[], from: number, to: number) => number[],
): Uint8Array {
  const sizeOf = (piece: Piece): number =>
    "label" in piece ? 0 : "jump" in piece ? jumpBytes(piece.op, 0, 0).length : piece.length;
  const places = new Map<string, number>();
  let at = 0;
  for (const piece of pieces) {
    if ("label" in piece) places.set(piece.label, at);
    at += sizeOf(piece);
  }
  at = 0;
  const bytes = pieces.flatMap((piece) => {
    const from = at;
    at += sizeOf(piece);
    if ("label" in piece) return [];
    return "jump" in piece ? jumpBytes(piece.op, from, places.get(piece.jump) ?? 0) : piece;
  });
  return Uint8Array.from(bytes);
}

function codeX64(): Uint8Array {
  const jump = (op: readonly number[], to: string): Piece => ({ jump: to, op });
  const [je, jz, js, jmp] = [[0x0f, 0x84], [0x0f, 0x84], [0x0f, 0x88], [0xe9]];
  const syscall = [0x0f, 0x05];
  const zeroed = [0x31, 0xf6, 0x31, 0xd2, 0x4d, 0x31, 0xd2, 0x4d, 0x31, 0xc0]; // rsi, rdx, r10, r8 = 0
  const pieces: readonly Piece[] = [
    [0xbb, ...le32(BASE + TABLE_AT)], // rbx = the first row
    label("next"),
    [0x48, 0x8b, 0x03], // rax = its number
    [0x48, 0x83, 0xf8, 0xff], // -1
    jump(je, "fork"),
    [0x48, 0x83, 0xf8, 0xfe], // -2
    jump(je, "done"),
    [0x48, 0x83, 0xf8, 0xfd], // -3
    jump(je, "gate"),
    [0x48, 0x8b, 0x7b, 0x08, 0x48, 0x8b, 0x73, 0x10, 0x48, 0x8b, 0x53, 0x18], // rdi, rsi, rdx
    [0x4c, 0x8b, 0x53, 0x20, 0x4c, 0x8b, 0x43, 0x28, 0x4c, 0x8b, 0x4b, 0x30], // r10, r8, r9
    syscall,
    label("answer"),
    [0x48, 0x89, 0x03], // the result takes the number's place
    [0x48, 0x8b, 0x4b, AT.destination], // rcx = where it goes as well
    [0x48, 0x85, 0xc9],
    jump(jz, "record"),
    [0x48, 0x89, 0x01],
    label("record"),
    [0xb8, ...le32(1), 0xbf, ...le32(1), 0x48, 0x89, 0xde, 0xba, ...le32(RECORD_BYTES)], // write(1, row, …)
    syscall,
    label("advance"),
    [0x48, 0x83, 0xc3, ROW_BYTES],
    jump(jmp, "next"),
    label("gate"),
    [0x8b, 0x43, 0x08], // eax = the number of a 32-bit program
    [0x53, 0x31, 0xdb, 0xcd, 0x80, 0x5b], // keep rbx; ebx = 0; int 0x80
    [0x48, 0x98], // sign-extended
    jump(jmp, "answer"),
    label("fork"),
    [0xb8, ...le32(56), 0xbf, ...le32(17), ...zeroed], // clone(SIGCHLD)
    syscall,
    [0x48, 0x85, 0xc0],
    jump(jz, "advance"),
    jump(js, "after"),
    [0x48, 0x89, 0xc7, ...zeroed, 0xb8, ...le32(61)], // wait4
    syscall,
    label("after"),
    [0x48, 0x8b, 0x5b, 0x08],
    jump(jmp, "next"),
    label("done"),
    [0xb8, ...le32(231), 0x31, 0xff], // exit_group(0)
    syscall,
  ];
  return link(pieces, (op, from, to) => [...op, ...le32(to - (from + op.length + 4))]);
}

function codeArm64(): Uint8Array {
  const word = (value: number): number[] => le32(value);
  const move = (register: number, value: number): number[] => word(0xd2800000 | (value << 5) | register);
  const jump = (op: number, to: string): Piece => ({ jump: to, op: [op] });
  const [equal, less, always] = [0x54000000, 0x5400000b, 0x14000000];
  const CBZ_X9 = 0xb4000009;
  const service = word(0xd4000001);
  const load = (register: number, offset: number): number[] => word(0xf9400260 | ((offset / 8) << 10) | register); // [x19]
  const table = BASE + TABLE_AT;
  const pieces: readonly Piece[] = [
    [...move(19, table & 0xffff), ...word(0xf2a00000 | ((table >>> 16) << 5) | 19)], // movz, movk
    label("next"),
    load(8, 0),
    word(0xb100051f), // cmn x8, #1
    jump(equal, "fork"),
    word(0xb100091f), // cmn x8, #2
    jump(equal, "done"),
    [0, 1, 2, 3, 4, 5].flatMap((register) => load(register, AT.args + 8 * register)),
    service,
    word(0xf9000260), // str x0, [x19]
    load(9, AT.destination),
    jump(CBZ_X9, "record"),
    word(0xf9000120), // str x0, [x9]
    label("record"),
    [...move(8, 64), ...move(0, 1), ...word(0xaa1303e1), ...move(2, RECORD_BYTES), ...service],
    label("advance"),
    word(0x91000273 | (ROW_BYTES << 10)), // add x19, x19, …
    jump(always, "next"),
    label("fork"),
    [...move(8, 220), ...move(0, 17), ...[1, 2, 3, 4].flatMap((register) => move(register, 0)), ...service],
    word(0xf100001f), // cmp x0, #0
    jump(equal, "advance"),
    jump(less, "after"),
    [...[1, 2, 3].flatMap((register) => move(register, 0)), ...move(8, 260), ...service],
    label("after"),
    load(19, 8),
    jump(always, "next"),
    label("done"),
    [...move(8, 94), ...move(0, 0), ...service],
  ];
  return link(pieces, ([op = 0], from, to) => {
    const words = (to - from) / 4;
    return op === always ? le32(op | (words & 0x3ffffff)) : le32(op | ((words & 0x7ffff) << 5));
  });
}

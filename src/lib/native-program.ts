// Programs of a few system calls that then become another program, assembled here for x86-64 and arm64 as ELF files of some hundred bytes.
//
// They need nothing: no library, no interpreter, no compiler. Where a shell would do the same, starting the shell takes several times
// as long as all that it does.
//
// Source: how Linux hands over arguments and makes system calls on either processor (syscall(2), execve(2)).
//
// Invariants:
//   N1. Where a step fails that has something to say of it, or the other program cannot be had, that is said on standard error, and it
//       ends with FAILED; nothing further is done.
import { BASE, HEADER_BYTES, writeHeader } from "./elf.ts";
import { freeCalls, checkedCalls, deniedCalls, type Architecture } from "./system-calls.ts";

/** How it ends where it could not do what it was made for. */
export const FAILED = 125;

/** Bytes stand in memory, and the call gets their address. `RESULT`, first argument only: what the last call answered. */
type Argument = number | Uint8Array | typeof RESULT;
export const RESULT = Symbol("what the last call answered");

/** `orSay`: an answer below zero is a failure, of which this is said. */
export type Step = { readonly call: string; readonly args: readonly Argument[]; readonly orSay?: string };

export type NativeProgram = {
  readonly steps: readonly Step[];
  /** What it becomes: a path, or the argument at this place, with the arguments from there on. */
  readonly becomes: string | number;
  /** Said where the other program cannot be had. */
  readonly orSay: string;
};

const STDERR = 2;
const WORD_BYTES = 8;

/** What code is made of. */
type Assembler = {
  readonly call: (number: number, args: readonly (number | typeof RESULT)[]) => Buffer;
  /** Runs `code` only if the last answer was below zero. */
  readonly ifFailed: (code: Buffer) => Buffer;
  readonly become: (execve: number, path: number | undefined, place: number) => Buffer;
};

/** The program as an ELF file. Throws `RangeError` for a call that the architecture does not have. */
export function assemble(program: NativeProgram, architecture: Architecture): Uint8Array {
  // Addresses have a fixed length in the code, so the first round tells how long it is.
  const { length } = codeOf(program, architecture, new Data(0)).code;
  const { code, data } = codeOf(program, architecture, new Data(BASE + HEADER_BYTES + length));
  const file = Buffer.concat([Buffer.alloc(HEADER_BYTES), code, data.bytes]);
  writeHeader(file, { architecture, codeAt: HEADER_BYTES, access: "read, execute" });
  return file;
}

class Data {
  readonly #at: number;
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  constructor(at: number) {
    this.#at = at;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }

  /** Its address; on a boundary of words, as numbers in it have to be. */
  place(bytes: Uint8Array): number {
    const start = Math.ceil((this.#at + this.#length) / WORD_BYTES) * WORD_BYTES - this.#at;
    this.#parts.push(Buffer.alloc(start - this.#length), bytes);
    this.#length = start + bytes.length;
    return this.#at + start;
  }
}

function codeOf(
  { steps, becomes, orSay }: NativeProgram,
  architecture: Architecture,
  data: Data,
): { code: Buffer; data: Data } {
  const { call, ifFailed, become } = ASSEMBLERS[architecture];
  const made = ({ call: name, args }: Step): Buffer =>
    call(
      numberOf(name, architecture),
      args.map((arg) => (arg instanceof Uint8Array ? data.place(arg) : arg)),
    );
  const failure = (said: string): Buffer => {
    const bytes = Buffer.from(`${said}\n`);
    const saying = { call: "write", args: [STDERR, bytes, bytes.length] };
    return Buffer.concat([saying, { call: "exit", args: [FAILED] }].map(made));
  };
  const path = typeof becomes === "string" ? data.place(Buffer.from(`${becomes}\0`)) : undefined;
  const parts = [
    ...steps.flatMap((step) => [made(step), ...(step.orSay === undefined ? [] : [ifFailed(failure(step.orSay))])]),
    become(numberOf("execve", architecture), path, typeof becomes === "number" ? becomes : 0),
    failure(orSay),
  ];
  return { code: Buffer.concat(parts), data };
}

function numberOf(name: string, architecture: Architecture): number {
  const tables = [freeCalls(architecture), checkedCalls(architecture), deniedCalls(architecture)];
  const number = tables.map((table) => table.get(name)).find((found) => found !== undefined);
  if (number === undefined) throw new RangeError(`${architecture} has no system call ${name}`);
  return number;
}

const le32 = (value: number): number[] => [value, value >>> 8, value >>> 16, value >>> 24].map((byte) => byte & 0xff);

/** Arguments go into rdi, rsi, rdx, r10 and r8, the number into rax; rsp points at the number of arguments, and those behind it. */
const x64: Assembler = {
  call: (number, args) =>
    Buffer.from([
      ...args.flatMap((arg, at) =>
        arg === RESULT ? [0x48, 0x89, 0xc7] : [...(MOVES_X64[at] ?? never()), ...le32(arg)],
      ),
      ...[0xb8, ...le32(number), 0x0f, 0x05],
    ]),
  ifFailed: (code) => Buffer.concat([Buffer.from([0x48, 0x85, 0xc0, 0x0f, 0x89, ...le32(code.length)]), code]), // test rax, rax; jns
  become: (execve, path, place) => {
    const own = WORD_BYTES * (1 + place);
    return Buffer.from([
      ...(path === undefined ? [0x48, 0x8b, 0x7c, 0x24, own] : [0xbf, ...le32(path)]), // mov rdi, [rsp + own]
      ...[0x48, 0x8d, 0x74, 0x24, own], // lea rsi, [rsp + own]
      ...[0x48, 0x8b, 0x04, 0x24], // mov rax, [rsp]
      ...[0x48, 0x8d, 0x54, 0xc4, 2 * WORD_BYTES], // lea rdx, [rsp + 8 * rax + 16]: the environment
      ...[0xb8, ...le32(execve), 0x0f, 0x05],
    ]);
  },
};
const MOVES_X64 = [[0xbf], [0xbe], [0xba], [0x41, 0xba], [0x41, 0xb8]] as const;

/** Arguments go into x0 to x4, the number into x8; sp points at the number of arguments, and those behind it. */
const arm64: Assembler = {
  call: (number, args) =>
    words([
      ...args.flatMap((arg, at) => (at > 4 ? never() : arg === RESULT ? [] : load(at, arg))),
      ...[...load(8, number), SERVICE],
    ]),
  ifFailed: (code) => Buffer.concat([words([0xb6f8_0000 | ((code.length / 4 + 1) << 5)]), code]), // tbz x0, 63
  become: (execve, path, place) => {
    const own = 1 + place;
    return words([
      ...(path === undefined ? [0xf940_03e0 | (own << 10)] : load(0, path)), // ldr x0, [sp, own words]
      0x9100_03e1 | ((own * WORD_BYTES) << 10), // add x1, sp, own words
      0xf940_03e2, // ldr x2, [sp]
      0x8b22_6fe2, // add x2, sp, x2, lsl 3
      0x9100_4042, // add x2, x2, 16: the environment
      ...[...load(8, execve), SERVICE],
    ]);
  },
};
const SERVICE = 0xd400_0001;
/** movz and movk: the lower and the upper half. */
const load = (register: number, value: number): number[] => [
  0xd280_0000 | ((value & 0xffff) << 5) | register,
  0xf2a0_0000 | ((value >>> 16) << 5) | register,
];
const words = (values: readonly number[]): Buffer => Buffer.from(values.flatMap(le32));

const ASSEMBLERS: Readonly<Record<Architecture, Assembler>> = { x64, arm64 };

function never(): never {
  throw new RangeError("A step has at most five arguments.");
}

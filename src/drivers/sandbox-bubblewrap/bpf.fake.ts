// An interpreter of classic BPF as the kernel runs it on a system call, for tests: what would the filter answer?
import { CODES } from "./bpf.ts";

export type Call = { readonly nr: number; readonly arch: number; readonly args?: readonly (number | bigint)[] };

/** The answer of `program` to a call. Throws where the kernel would refuse the program: a jump or a load that leads out of it. */
export function judge(program: Uint8Array, { nr, arch, args = [] }: Call): number {
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, nr, true);
  data.setUint32(4, arch, true);
  args.forEach((value, index) => data.setBigUint64(16 + 8 * index, BigInt.asUintN(64, BigInt(value)), true));
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  let accumulator = 0;
  for (let at = 0; at < program.byteLength / 8; at += 1) {
    const op = code.getUint16(at * 8, true);
    const yes = code.getUint8(at * 8 + 2);
    const no = code.getUint8(at * 8 + 3);
    const k = code.getUint32(at * 8 + 4, true);
    const jump = (taken: boolean): void => void (at += taken ? yes : no);
    if (op === CODES.answer) return k;
    else if (op === CODES.load) {
      if (k > 60 || k % 4 !== 0) throw new Error(`a load at ${k}`);
      accumulator = data.getUint32(k, true);
    } else if (op === CODES.and) accumulator = (accumulator & k) >>> 0;
    else if (op === CODES.goto) at += k;
    else if (op === CODES.ifEqual) jump(accumulator === k);
    else if (op === CODES.ifAtLeast) jump(accumulator >= k);
    else if (op === CODES.ifAnyBit) jump((accumulator & k) !== 0);
    else throw new Error(`an instruction 0x${op.toString(16)} at ${at}`);
  }
  throw new Error("the program has no end");
}

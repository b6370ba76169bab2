// An assembler for classic BPF, the language of filters of system calls: programs with labels to the bytes that the kernel takes.
//
// Boundary: knows the form of instructions and of `struct seccomp_data`, and nothing of system calls.
//
// Invariants:
//   B1. Every jump goes forward and lands inside the program; a conditional one that would be too far is an error here, and
//       never a wrong target.

/** Where a word of `struct seccomp_data` lies. Arguments are 64 bits wide; the kernel's own types of those looked at are 32. */
export const NUMBER_AT = 0;
export const ARCHITECTURE_AT = 4;
export const argumentAt = (index: number): number => 16 + 8 * index;

/** What a filter answers with. */
export const ALLOW = 0x7fff_0000;
export const KILL_PROCESS = 0x8000_0000;
export const failWith = (errno: number): number => 0x0005_0000 | errno;

/** Numeric operation codes, as in `linux/bpf_common.h`. */
export const CODES = {
  load: 0x20,
  and: 0x54,
  goto: 0x05,
  ifEqual: 0x15,
  ifAtLeast: 0x35,
  ifAnyBit: 0x45,
  answer: 0x06,
} as const;

type Test = "ifEqual" | "ifAtLeast" | "ifAnyBit";
export type Step =
  | { readonly op: "label"; readonly name: string }
  | { readonly op: "load" | "and" | "answer"; readonly k: number }
  | { readonly op: "goto"; readonly to: string }
  /** Without `no` the next step follows. */
  | { readonly op: Test; readonly k: number; readonly yes: string; readonly no?: string };

export const label = (name: string): Step => ({ op: "label", name });
export const load = (k: number): Step => ({ op: "load", k });
export const and = (k: number): Step => ({ op: "and", k });
export const answer = (k: number): Step => ({ op: "answer", k });
export const goto = (to: string): Step => ({ op: "goto", to });
export const when = (op: Test, k: number, yes: string, no?: string): Step =>
  no === undefined ? { op, k, yes } : { op, k, yes, no };

const INSTRUCTION_BYTES = 8;
const INSTRUCTIONS_MAX = 4096;
const CONDITIONAL_JUMP_MAX = 255;

/** Little-endian, as both supported architectures are. Throws for a program that is no program: a fault of whoever wrote it. */
export function assemble(steps: readonly Step[]): Uint8Array {
  const places = new Map<string, number>();
  let count = 0;
  for (const step of steps) {
    if (step.op !== "label") count += 1;
    else if (places.has(step.name)) throw new Error(`the label ${step.name} stands twice`);
    else places.set(step.name, count);
  }
  if (count > INSTRUCTIONS_MAX) throw new Error(`${count} instructions, and the kernel takes ${INSTRUCTIONS_MAX}`);
  const bytes = new Uint8Array(count * INSTRUCTION_BYTES);
  const view = new DataView(bytes.buffer);
  let at = 0;
  const distance = (to: string, max: number): number => {
    const place = places.get(to);
    const skipped = place === undefined ? Number.NaN : place - at - 1;
    if (!(skipped >= 0 && skipped <= max && at + 1 + skipped < count))
      throw new Error(`no jump from ${at} to ${to} (${skipped})`);
    return skipped;
  };
  for (const step of steps) {
    if (step.op === "label") continue;
    const base = at * INSTRUCTION_BYTES;
    view.setUint16(base, CODES[step.op], true);
    if (step.op === "goto") view.setUint32(base + 4, distance(step.to, INSTRUCTIONS_MAX), true);
    else view.setUint32(base + 4, step.k, true);
    if ("yes" in step) {
      view.setUint8(base + 2, distance(step.yes, CONDITIONAL_JUMP_MAX));
      view.setUint8(base + 3, step.no === undefined ? 0 : distance(step.no, CONDITIONAL_JUMP_MAX));
    }
    at += 1;
  }
  return bytes;
}

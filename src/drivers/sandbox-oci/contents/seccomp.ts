// The filter of system calls in the language of OCI runtimes: the table of src/lib/system-call-policy.ts as names, and comparisons of one
// argument each, which libseccomp turns into a program.
//
// Invariants:
//   F1. What the table allows is allowed, and nothing else.
//   F2. A rule compares an argument at most once, no call has a rule without comparisons beside one with, and no two rules with
//       different answers fit the same call: libseccomp would choose by itself.
//   F3. A refusal has the table's error, except where only a long list of rules would say so: there it is the default.
import {
  EPERM,
  policyFor,
  UNKNOWN,
  WHOLE,
  type Answer,
  type Decision,
  type Look,
} from "../../../lib/system-call-policy.ts";
import type { Architecture } from "../../../lib/system-calls.ts";

/** `value` is the mask, `valueTwo` what is left of the argument under it. */
type Comparison = {
  readonly index: number;
  readonly value: number;
  readonly valueTwo: number;
  readonly op: "SCMP_CMP_MASKED_EQ";
};
type Rule = {
  readonly names: readonly string[];
  readonly action: "SCMP_ACT_ALLOW" | "SCMP_ACT_ERRNO";
  readonly errnoRet?: number;
  readonly args?: readonly Comparison[];
};
export type Seccomp = {
  readonly defaultAction: "SCMP_ACT_ERRNO";
  readonly defaultErrnoRet: number;
  readonly architectures: readonly string[];
  readonly syscalls: readonly Rule[];
};

const ARCHITECTURES: Readonly<Record<Architecture, string>> = { x64: "SCMP_ARCH_X86_64", arm64: "SCMP_ARCH_AARCH64" };
const WIDTH = 32;

const masked = (index: number, value: number, valueTwo: number): Comparison => ({
  index,
  value,
  valueTwo,
  op: "SCMP_CMP_MASKED_EQ",
});

const bitsOf = (bits: number): number[] =>
  Array.from({ length: WIDTH }, (_, at) => 2 ** at).filter((bit) => Math.floor(bits / bit) % 2 === 1);

/**
 * All numbers of 32 bits but `values`, as beginnings: a mask of leading bits and what they are. libseccomp cannot say "none of".
 */
export function allBut(values: readonly number[]): readonly (readonly [mask: number, value: number])[] {
  const found: (readonly [number, number])[] = [];
  const visit = (from: number, bits: number): void => {
    const size = 2 ** bits;
    if (!values.some((value) => value >= from && value < from + size)) {
      found.push([2 ** WIDTH - size, from]);
      return;
    }
    if (bits === 0) return;
    visit(from, bits - 1);
    visit(from + size / 2, bits - 1);
  };
  visit(0, WIDTH);
  return found;
}

/** All that is left of an argument under a mask but `values`: by beginnings, by single bits, or one by one. */
function othersOf({ mask, cases }: Look): readonly (readonly [mask: number, value: number])[] {
  const values = cases.flatMap(([each]) => each);
  if (mask === WHOLE) return allBut(values);
  const bits = bitsOf(mask);
  if (values.length === 1 && values[0] === 0) return bits.map((bit) => [bit, bit]);
  const all = bits.reduce<readonly number[]>((found, bit) => [...found, ...found.map((value) => value + bit)], [0]);
  return all.filter((value) => !values.includes(value)).map((value) => [mask, value]);
}

/** Under a mask of more bits the others are more than a few. */
const FEW_BITS = 8;

/** Whether it is said what becomes of the others. What is refused below another look, or as by no table, gets the default. */
const isSaid = ({ mask, otherwise }: Look, before: readonly Comparison[]): boolean =>
  otherwise === "allow" ||
  bitsOf(mask).length <= FEW_BITS ||
  (mask === WHOLE && before.length === 0 && otherwise !== EPERM);

type Path = readonly [Answer, readonly Comparison[]];

function pathsOf(decision: Decision, before: readonly Comparison[] = []): readonly Path[] {
  if (typeof decision !== "object") return [[decision, before]];
  const { argument, mask, cases, otherwise } = decision;
  const named = cases.flatMap(([values, then]) =>
    values.flatMap((value) => pathsOf(then, [...before, masked(argument, mask, value)])),
  );
  if (!isSaid(decision, before)) return named;
  const others = othersOf(decision).flatMap(([part, value]) =>
    pathsOf(otherwise, [...before, masked(argument, part, value)]),
  );
  return [...named, ...others];
}

const ruleOf = (names: readonly string[], answer: Answer, args: readonly Comparison[] = []): Rule => ({
  names,
  ...(answer === "allow"
    ? { action: "SCMP_ACT_ALLOW" as const }
    : { action: "SCMP_ACT_ERRNO" as const, errnoRet: answer }),
  ...(args.length === 0 ? {} : { args }),
});

/** The `linux.seccomp` of a configuration. */
export function seccompFor(architecture: Architecture): Seccomp {
  const policy = policyFor(architecture);
  const namesOf = (answer: Answer): string[] =>
    policy.filter(({ decision }) => decision === answer).map(({ name }) => name);
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: UNKNOWN,
    architectures: [ARCHITECTURES[architecture]],
    syscalls: [
      ruleOf(namesOf("allow"), "allow"),
      ruleOf(namesOf(EPERM), EPERM),
      // As the default has it, said once more: engines of docker before 23 know EPERM alone for a default, and what a library finds
      // forbidden (clone3) it does not do in an older way.
      ruleOf(namesOf(UNKNOWN), UNKNOWN),
      ...policy.flatMap(({ name, decision }) =>
        typeof decision === "object" ? pathsOf(decision).map(([answer, args]) => ruleOf([name], answer, args)) : [],
      ),
    ],
  };
}

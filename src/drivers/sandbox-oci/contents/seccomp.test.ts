// Goal: the filter for libseccomp and the one for bubblewrap say what their table says, and so the same. Method: rules are applied as libseccomp
// applies them, an interpreter runs the other's bytes, and the table is followed by hand; all are given the same calls, at each number where the
// table's answer may change.
import { describe, expect, test } from "vitest";
import { policyFor, UNKNOWN, type Answer, type Decision } from "../../../lib/system-call-policy.ts";
import type { Architecture } from "../../../lib/system-calls.ts";
import { judge } from "../../sandbox-bubblewrap/bpf.fake.ts";
import { ALLOW, failWith } from "../../sandbox-bubblewrap/bpf.ts";
import { filterFor } from "../../sandbox-bubblewrap/filter.ts";
import { allBut, seccompFor, type Seccomp } from "./seccomp.ts";

const AUDIT: Readonly<Record<Architecture, number>> = { x64: 0xc000_003e, arm64: 0xc000_00b7 };

/** Calls whose every refusal has the table's error also where libseccomp is told by rules. */
const EXACT: ReadonlySet<string> = new Set([
  ...["mmap", "shmget", "memfd_create", "clone", "ioctl", "mknod", "mknodat"],
]);

const given = (answer: Answer): number => (answer === "allow" ? ALLOW : failWith(answer));

/** As libseccomp answers, in the numbers of the kernel; throws where two rules with different answers fit. */
function answerOf({ syscalls, defaultErrnoRet }: Seccomp, name: string, args: readonly number[]): number {
  const fitting = syscalls.filter(
    (rule) =>
      rule.names.includes(name) &&
      (rule.args ?? []).every(
        ({ index, value, valueTwo }) => (BigInt(args[index] ?? 0) & BigInt(value)) === BigInt(valueTwo),
      ),
  );
  const answers = new Set(
    fitting.map(({ action, errnoRet }) => (action === "SCMP_ACT_ALLOW" ? ALLOW : failWith(errnoRet ?? 0))),
  );
  if (answers.size > 1) throw new Error(`${name}(${args.join(", ")}) has ${answers.size} answers`);
  return [...answers][0] ?? failWith(defaultErrnoRet);
}

/** By the table. */
function decide(decision: Decision, args: readonly number[]): number {
  if (typeof decision !== "object") return given(decision);
  const { argument, mask, cases, otherwise } = decision;
  const value = Number(BigInt(args[argument] ?? 0) & BigInt(mask));
  return decide(cases.find(([values]) => values.includes(value))?.[1] ?? otherwise, args);
}

const BITS = [0, ...Array.from({ length: 32 }, (_, at) => 2 ** at), 0xffff_ffff];
const isNumber = (value: number): boolean => value >= 0 && value <= 0xffff_ffff;

/** Arguments at which the answer may change: by each look those of its values, their neighbours, and with each bit beside them. */
function samplesOf(decision: Decision, args: readonly number[] = [0, 0, 0, 0]): readonly (readonly number[])[] {
  if (typeof decision !== "object") return [args];
  const { argument, mask, cases, otherwise } = decision;
  const values = cases.flatMap(([each]) => each);
  const near = values.flatMap((value) => [value - 1, value, value + 1, ...BITS.map((bit) => (value | bit) >>> 0)]);
  const tried = [...new Set([...BITS, ...near])].filter(isNumber);
  return tried.flatMap((value) => {
    const next = args.with(argument, value);
    const then = cases.find(([each]) => each.includes((value & mask) >>> 0))?.[1] ?? otherwise;
    return samplesOf(then, next);
  });
}

describe.each(["x64", "arm64"] as const)("%s", (architecture) => {
  const filter = seccompFor(architecture);
  const program = filterFor(architecture);
  const policy = policyFor(architecture);
  const bubblewrap = (nr: number, args: readonly number[]): number =>
    judge(program, { nr, arch: AUDIT[architecture], args });

  test("calls that need no look are answered alike, errors too", () => {
    const plain = policy.filter(({ decision }) => typeof decision !== "object");
    const differing = plain.filter(({ name, number, decision }) =>
      [answerOf(filter, name, []), bubblewrap(number, [])].some((answer) => answer !== decide(decision, [])),
    );
    expect(differing).toEqual([]);
    expect([answerOf(filter, "a_call_to_come", []), bubblewrap(9_999, [])]).toEqual([given(UNKNOWN), given(UNKNOWN)]);
  });

  test("calls that are looked at pass with the same arguments, and fail as the table says or as by default", () => {
    for (const { name, number, decision } of policy.filter((entry) => typeof entry.decision === "object")) {
      const samples = samplesOf(decision);
      const differing = samples.filter((args) => {
        const wanted = decide(decision, args);
        const told = answerOf(filter, name, args);
        const isDefault = wanted !== ALLOW && !EXACT.has(name) && told === given(UNKNOWN);
        return bubblewrap(number, args) !== wanted || (told !== wanted && !isDefault);
      });
      expect(differing.slice(0, 3), name).toEqual([]);
      expect(new Set(samples.map((args) => decide(decision, args) === ALLOW)).size, name).toBe(2);
    }
  });

  test("no call has a rule for all arguments beside one for some, and no rule looks at an argument twice", () => {
    const looked = policy.filter(({ decision }) => typeof decision === "object").map(({ name }) => name);
    const general = filter.syscalls.filter(({ args }) => args === undefined).flatMap(({ names }) => names);
    expect(looked.filter((name) => general.includes(name))).toEqual([]);
    for (const { args = [] } of filter.syscalls) expect(new Set(args.map(({ index }) => index)).size).toBe(args.length);
  });
});

test("all but some numbers: beginnings that cover the rest once", () => {
  const values = [0, 5, 0xffff_ffff, 0x5412];
  const covered = (number: number): number =>
    allBut(values).filter(([mask, value]) => (BigInt(number) & BigInt(mask)) === BigInt(value)).length;
  for (const value of values) expect(covered(value)).toBe(0);
  for (const value of [1, 4, 6, 0x5411, 0x5413, 0x4_0000, 0x8_0800, 0xffff_fffe]) expect(covered(value)).toBe(1);
  const size = allBut(values).reduce((sum, [mask]) => sum + (2 ** 32 - mask), 0);
  expect(size).toBe(2 ** 32 - values.length);
});

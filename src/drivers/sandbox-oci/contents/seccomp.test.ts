// Goal: the filter for libseccomp lets through what the one for bubblewrap lets through, and nothing else. Method: its rules are applied
// as libseccomp applies them, to the same calls that an interpreter gives to the other's bytes; the two have nothing but the tables in common.
import { describe, expect, test } from "vitest";
import {
  FILE_TYPES,
  MAP_HUGETLB,
  PRCTL_OPTIONS,
  SOCKET_FLAGS,
  TERMINAL_IOCTLS,
} from "../../../lib/system-call-checks.ts";
import { checkedCalls, deniedCalls, freeCalls, type Architecture } from "../../../lib/system-calls.ts";
import { judge } from "../../sandbox-bubblewrap/bpf.fake.ts";
import { ALLOW, failWith } from "../../sandbox-bubblewrap/bpf.ts";
import { filterFor } from "../../sandbox-bubblewrap/filter.ts";
import { allBut, seccompFor, type Seccomp } from "./seccomp.ts";

const AUDIT: Readonly<Record<Architecture, number>> = { x64: 0xc000_003e, arm64: 0xc000_00b7 };

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

const BITS = [0, ...Array.from({ length: 32 }, (_, at) => 2 ** at), 0xffff_ffff];
const SMALL = [0, 1, 2, 3, 5, 6, 10, 16, 17, 40, 0x8_0001, 0x8_0802, 0xffff_ffff];

/** Arguments at which each call that is looked at may change its answer. */
const CASES: Readonly<Record<string, readonly (readonly number[])[]>> = {
  mmap: BITS.map((flags) => [0, 4096, 3, flags]),
  shmget: BITS.map((flags) => [0, 4096, flags]),
  memfd_create: BITS.map((flags) => [0, flags]),
  clone: BITS.map((flags) => [flags]),
  ioctl: [...BITS, ...TERMINAL_IOCTLS.flatMap((request) => [request - 1, request, request + 1])].map((request) => [
    0,
    request,
  ]),
  socket: SMALL.flatMap((family) => SMALL.flatMap((type) => SMALL.map((protocol) => [family, type, protocol]))),
  socketpair: SMALL.map((family) => [family, 1, 0]),
  personality: BITS.map((persona) => [persona]),
  prctl: [...BITS, ...PRCTL_OPTIONS.flatMap((option) => [option - 1, option, option + 1])].map((option) => [option]),
  mknod: [...FILE_TYPES, ...BITS, 0o020666, 0o060666, 0o100644].map((mode) => [0, mode]),
  mknodat: [...FILE_TYPES, ...BITS, 0o020666, 0o060666, 0o100644].map((mode) => [0, 0, mode]),
  seccomp: SMALL.flatMap((operation) => BITS.map((flags) => [operation, flags])),
};

for (const architecture of ["x64", "arm64"] as const)
  describe(architecture, () => {
    const filter = seccompFor(architecture);
    const program = filterFor(architecture);
    const other = (nr: number, args: readonly number[]): number =>
      judge(program, { nr, arch: AUDIT[architecture], args: [...args] });

    test("calls that need no look are answered alike, errors too", () => {
      const calls = [...freeCalls(architecture), ...deniedCalls(architecture)];
      const differing = calls.filter(([name, nr]) => answerOf(filter, name, []) !== other(nr, []));
      expect(differing).toEqual([]);
      expect(answerOf(filter, "a_call_to_come", [])).toBe(other(9_999, []));
    });

    test("calls that are looked at pass with the same arguments", () => {
      for (const [name, nr] of checkedCalls(architecture)) {
        const cases = CASES[name] ?? [];
        const differing = cases.filter(
          (args) => (answerOf(filter, name, args) === ALLOW) !== (other(nr, args) === ALLOW),
        );
        expect(differing, name).toEqual([]);
        expect(new Set(cases.map((args) => answerOf(filter, name, args) === ALLOW)).size, name).toBe(2);
      }
    });

    test("no call has a rule for all arguments beside one for some, and no rule looks at an argument twice", () => {
      const mixed = [...checkedCalls(architecture).keys()].filter((name) => {
        const rules = filter.syscalls.filter(({ names }) => names.includes(name));
        return rules.some(({ args }) => args === undefined);
      });
      expect(mixed).toEqual([]);
      for (const { args = [] } of filter.syscalls)
        expect(new Set(args.map(({ index }) => index)).size).toBe(args.length);
    });
  });

test("all but some numbers: beginnings that cover the rest once", () => {
  const values = [0, 5, 0xffff_ffff, 0x5412];
  const covered = (number: number): number =>
    allBut(values).filter(([mask, value]) => (BigInt(number) & BigInt(mask)) === BigInt(value)).length;
  for (const value of values) expect(covered(value)).toBe(0);
  for (const value of [1, 4, 6, 0x5411, 0x5413, MAP_HUGETLB, SOCKET_FLAGS, 0xffff_fffe]) expect(covered(value)).toBe(1);
  const size = allBut(values).reduce((sum, [mask]) => sum + (2 ** 32 - mask), 0);
  expect(size).toBe(2 ** 32 - values.length);
});

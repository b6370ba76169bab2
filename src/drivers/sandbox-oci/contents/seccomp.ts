// The filter of system calls in the language of OCI runtimes: names, and comparisons of one argument each, which libseccomp turns
// into a program. The same calls are allowed, asked about and refused as in every other kind of sandbox (src/linux).
//
// Invariants:
//   F1. What no rule allows is refused: with EPERM where it was reviewed, and with ENOSYS, as by a kernel that lacks it, elsewhere.
//   F2. A rule compares an argument at most once, and no call has a rule without comparisons beside one with: libseccomp would let
//       the general one win.
import {
  EAFNOSUPPORT,
  ENOSYS,
  EPERM,
  FILE_TYPE,
  FILE_TYPES,
  FIRST_OF_NEW,
  MAP_HUGETLB,
  MFD_HUGETLB,
  NEW_NAMESPACES,
  PRCTL_OPTIONS,
  SECCOMP_NEW_LISTENER,
  SHM_HUGETLB,
  SOCKET_FLAGS,
  TERMINAL_IOCTLS,
} from "../../../lib/system-call-checks.ts";
import { checkedCalls, deniedCalls, freeCalls, type Architecture } from "../../../lib/system-calls.ts";

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
const WHOLE = 0xffff_ffff;
const WIDTH = 32;

const masked = (index: number, value: number, valueTwo: number): Comparison => ({
  index,
  value,
  valueTwo,
  op: "SCMP_CMP_MASKED_EQ",
});
const is = (index: number, value: number): Comparison => masked(index, WHOLE, value);

type Answer = "allow" | number;
type Check = readonly (readonly [Answer, ...Comparison[]])[];

/** Allows where no bit of `bits` is set. The other half is said too, one bit at a time: libseccomp has no comparison for "any". */
const withoutBits = (index: number, bits: number): Check => [
  ["allow", masked(index, bits, 0)],
  ...bitsOf(bits).map((bit) => [EPERM, masked(index, bit, bit)] as const),
];

const bitsOf = (bits: number): number[] =>
  Array.from({ length: WIDTH }, (_, at) => 2 ** at).filter((bit) => Math.floor(bits / bit) % 2 === 1);

/** Those of `values` are answered so; all others get the default. */
const oneOf = (index: number, values: readonly number[], mask = WHOLE): Check =>
  values.map((value) => ["allow", masked(index, mask, value)] as const);

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

const except = (index: number, values: readonly number[], answer: Answer): Check =>
  allBut(values).map(([mask, value]) => [answer, masked(index, mask, value)] as const);

const UNIX = 1;
const INTERNET = [2, 10];
const NETLINK = 16;
const STREAM = 1;
const DATAGRAM = 2;
const SEQUENCED = 5;
/** Kinds of sockets without the flags that may stand beside them. */
const kind = (value: number): Comparison => masked(1, WHOLE - SOCKET_FLAGS, value);

/** Local, internet (streams of TCP and datagrams of UDP only) and the kernel's list of interfaces. */
const SOCKET: Check = [
  ...[STREAM, DATAGRAM, SEQUENCED].map((value) => ["allow", is(0, UNIX), kind(value)] as const),
  ...INTERNET.flatMap((family) => [
    ["allow", is(0, family), kind(STREAM), is(2, 0)] as const,
    ["allow", is(0, family), kind(STREAM), is(2, 6)] as const,
    ["allow", is(0, family), kind(DATAGRAM), is(2, 0)] as const,
    ["allow", is(0, family), kind(DATAGRAM), is(2, 17)] as const,
  ]),
  ["allow", is(0, NETLINK), is(2, 0)],
  ...except(0, [UNIX, ...INTERNET, NETLINK], EAFNOSUPPORT),
];

/** By the names of checked calls. */
const CHECKS: Readonly<Record<string, Check>> = {
  // Huge pages are not counted as memory of the sandbox.
  mmap: withoutBits(3, MAP_HUGETLB),
  shmget: withoutBits(2, SHM_HUGETLB),
  memfd_create: withoutBits(1, MFD_HUGETLB),
  ioctl: [
    ...except(1, TERMINAL_IOCTLS, "allow"),
    ...TERMINAL_IOCTLS.map((request) => [EPERM, is(1, request)] as const),
  ],
  clone: withoutBits(0, NEW_NAMESPACES),
  socket: SOCKET,
  socketpair: oneOf(0, [UNIX]),
  // The usual personality, or a question which it is.
  personality: oneOf(0, [0, WHOLE]),
  prctl: oneOf(0, PRCTL_OPTIONS),
  mknod: oneOf(1, FILE_TYPES, FILE_TYPE),
  mknodat: oneOf(2, FILE_TYPES, FILE_TYPE),
  seccomp: [
    ["allow", is(0, 0)],
    ["allow", is(0, 2)],
    ["allow", is(0, 1), masked(1, SECCOMP_NEW_LISTENER, 0)],
  ],
};

const ruleOf = (names: readonly string[], answer: Answer, args: readonly Comparison[] = []): Rule => ({
  names,
  ...(answer === "allow"
    ? { action: "SCMP_ACT_ALLOW" as const }
    : { action: "SCMP_ACT_ERRNO" as const, errnoRet: answer }),
  ...(args.length === 0 ? {} : { args }),
});

/** The `linux.seccomp` of a configuration. */
export function seccompFor(architecture: Architecture): Seccomp {
  const denied = [...deniedCalls(architecture)];
  const namesOf = (isNew: boolean): string[] =>
    denied.filter(([, number]) => number >= FIRST_OF_NEW === isNew).map(([name]) => name);
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: ENOSYS,
    architectures: [ARCHITECTURES[architecture]],
    syscalls: [
      ruleOf([...freeCalls(architecture).keys()], "allow"),
      ruleOf(namesOf(false), EPERM),
      // As the default has it, said once more: engines of docker before 23 know EPERM alone for a default, and what a library finds
      // forbidden (clone3) it does not do in an older way.
      ruleOf(namesOf(true), ENOSYS),
      ...[...checkedCalls(architecture).keys()].flatMap((name) =>
        (CHECKS[name] ?? []).map(([answer, ...args]) => ruleOf([name], answer, args)),
      ),
    ],
  };
}

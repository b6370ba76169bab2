// The filter of system calls that every sandbox runs under: an allow list, assembled for one architecture.
//
// Order: the architecture (another one kills, x32 too), then the number, by a tree of comparisons; for a few numbers also
// arguments. What is refused fails with EPERM; newer calls fail with ENOSYS, as on a kernel that lacks them, so that libraries
// fall back on older ones whose arguments a filter can see (`clone3` on `clone`).
//
// Invariants:
//   F1. What no table allows is refused: unknown numbers, those of kernels to come, and those between.
//   F2. Only the lower half of an argument is looked at, and only where the kernel itself drops the upper one or it holds no
//       meaning for the check.
import { ALLOW, and, answer, ARCHITECTURE_AT, argumentAt, assemble, failWith, goto, KILL_PROCESS } from "./bpf.ts";
import { label, load, NUMBER_AT, when, type Step } from "./bpf.ts";
import {
  EAFNOSUPPORT,
  ENOSYS,
  EPERM,
  EPROTONOSUPPORT,
  ESOCKTNOSUPPORT,
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
} from "../../lib/system-call-checks.ts";
import { checkedCalls, deniedCalls, freeCalls, type Architecture } from "../../lib/system-calls.ts";

const AUDIT: Readonly<Record<Architecture, number>> = { x64: 0xc000_003e, arm64: 0xc000_00b7 };
const X32_BIT = 0x4000_0000;
/** Refuses where a bit of `bits` is set in an argument. */
const withoutBits = (index: number, bits: number): readonly Step[] => [
  load(argumentAt(index)),
  when("ifAnyBit", bits, "EPERM", "ALLOW"),
];

/** Allows where an argument, without the bits outside of `mask`, is one of `values`. */
const oneOf = (index: number, values: readonly number[], mask = 0xffff_ffff): readonly Step[] => [
  load(argumentAt(index)),
  ...(mask === 0xffff_ffff ? [] : [and(mask)]),
  ...values.map((value) => when("ifEqual", value, "ALLOW")),
  goto("EPERM"),
];

/** Local, internet (streams of TCP and datagrams of UDP only) and the kernel's list of interfaces. */
const SOCKET: readonly Step[] = [
  load(argumentAt(0)),
  when("ifEqual", 1, "socket.unix"),
  when("ifEqual", 2, "socket.internet"),
  when("ifEqual", 10, "socket.internet"),
  when("ifEqual", 16, "socket.netlink"),
  answer(failWith(EAFNOSUPPORT)),
  label("socket.unix"),
  load(argumentAt(1)),
  and(~SOCKET_FLAGS >>> 0),
  when("ifEqual", 1, "ALLOW"),
  when("ifEqual", 2, "ALLOW"),
  when("ifEqual", 5, "ALLOW"),
  answer(failWith(ESOCKTNOSUPPORT)),
  label("socket.internet"),
  load(argumentAt(1)),
  and(~SOCKET_FLAGS >>> 0),
  when("ifEqual", 1, "socket.stream"),
  when("ifEqual", 2, "socket.datagram"),
  goto("EPERM"),
  label("socket.stream"),
  load(argumentAt(2)),
  when("ifEqual", 0, "ALLOW"),
  when("ifEqual", 6, "ALLOW"),
  answer(failWith(EPROTONOSUPPORT)),
  label("socket.datagram"),
  load(argumentAt(2)),
  when("ifEqual", 0, "ALLOW"),
  when("ifEqual", 17, "ALLOW"),
  answer(failWith(EPROTONOSUPPORT)),
  label("socket.netlink"),
  load(argumentAt(2)),
  when("ifEqual", 0, "ALLOW"),
  answer(failWith(EPROTONOSUPPORT)),
];

/** What is asked of the arguments, by the names of CHECKED. */
const CHECKS: Readonly<Record<string, readonly Step[]>> = {
  // Huge pages are not counted as memory of the sandbox.
  mmap: withoutBits(3, MAP_HUGETLB),
  shmget: withoutBits(2, SHM_HUGETLB),
  memfd_create: withoutBits(1, MFD_HUGETLB),
  ioctl: [load(argumentAt(1)), ...TERMINAL_IOCTLS.map((request) => when("ifEqual", request, "EPERM")), goto("ALLOW")],
  clone: withoutBits(0, NEW_NAMESPACES),
  socket: SOCKET,
  socketpair: oneOf(0, [1]),
  // The usual personality, or a question which it is.
  personality: oneOf(0, [0, 0xffff_ffff]),
  prctl: oneOf(0, PRCTL_OPTIONS),
  // Files, pipes and sockets; no devices.
  mknod: oneOf(1, FILE_TYPES, FILE_TYPE),
  mknodat: oneOf(2, FILE_TYPES, FILE_TYPE),
  seccomp: [
    load(argumentAt(0)),
    when("ifEqual", 1, "seccomp.filter"),
    when("ifAtLeast", 3, "EPERM", "ALLOW"),
    label("seccomp.filter"),
    ...withoutBits(1, SECCOMP_NEW_LISTENER),
  ],
};

/** Numbers from `from` up to the next segment's go the same way: to a label. */
type Segment = { readonly from: number; readonly to: string };

function segmentsOf(architecture: Architecture): readonly Segment[] {
  const ways = new Map<number, string>();
  for (const number of freeCalls(architecture).values()) ways.set(number, "ALLOW");
  for (const [name, number] of checkedCalls(architecture)) ways.set(number, name);
  for (const number of deniedCalls(architecture).values()) if (number < FIRST_OF_NEW) ways.set(number, "EPERM");
  const segments: Segment[] = [];
  const last = Math.max(...ways.keys());
  for (let number = 0; number <= last + 1; number += 1) {
    const to = ways.get(number) ?? "ENOSYS";
    if (segments.at(-1)?.to !== to) segments.push({ from: number, to });
  }
  return segments;
}

const ANSWERS: Readonly<Record<string, number>> = {
  ALLOW,
  EPERM: failWith(EPERM),
  ENOSYS: failWith(ENOSYS),
};

/** A tree of comparisons: the lower half at once, the upper half behind a label. */
function tree(segments: readonly Segment[], path = "tree"): readonly Step[] {
  const [only] = segments;
  if (only === undefined) return [];
  if (segments.length === 1) {
    const given = ANSWERS[only.to];
    return [given === undefined ? goto(only.to) : answer(given)];
  }
  const half = Math.ceil(segments.length / 2);
  const upper = segments.slice(half);
  const name = `${path}.${upper[0]?.from ?? 0}`;
  return [
    when("ifAtLeast", upper[0]?.from ?? 0, name),
    ...tree(segments.slice(0, half), name),
    label(name),
    ...tree(upper, name),
  ];
}

/** A check with the answers that it jumps to right behind it, within reach. */
function checkSteps(name: string, steps: readonly Step[]): readonly Step[] {
  const own = (to: string): string => (to in ANSWERS ? `${name}:${to}` : to);
  return [
    label(name),
    ...steps.map((step): Step => {
      if (step.op === "goto") return { ...step, to: own(step.to) };
      if (!("yes" in step)) return step;
      const yes = own(step.yes);
      return step.no === undefined ? { ...step, yes } : { ...step, yes, no: own(step.no) };
    }),
    ...Object.entries(ANSWERS).flatMap(([to, given]) => [label(own(to)), answer(given)]),
  ];
}

/** The program for an architecture, as `bwrap --seccomp` reads it. */
export function filterFor(architecture: Architecture): Uint8Array {
  return assemble([
    load(ARCHITECTURE_AT),
    when("ifEqual", AUDIT[architecture], "native"),
    label("foreign"),
    answer(KILL_PROCESS),
    label("native"),
    load(NUMBER_AT),
    // The same numbers with this bit are the calls of x32, where pointers are shorter: a second way in.
    ...(architecture === "x64"
      ? [when("ifAtLeast", X32_BIT, "x32", "number"), label("x32"), answer(KILL_PROCESS)]
      : []),
    label("number"),
    ...tree(segmentsOf(architecture)),
    ...[...checkedCalls(architecture).keys()].flatMap((name) => checkSteps(name, CHECKS[name] ?? [])),
  ]);
}

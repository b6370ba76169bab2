// What becomes of a system call in a sandbox: the one table that every filter is made of, whatever its language.
//
// A decision is an answer, or a look at an argument that leads to one. Of an argument only the lower 32 bits are looked at, and only where
// the kernel itself drops the upper ones or they hold no meaning for the question.
//
// Invariants:
//   P1. What has no entry is answered by `UNKNOWN`: unknown numbers, those of kernels to come, and those between.
import { checkedCalls, deniedCalls, freeCalls, type Architecture } from "./system-calls.ts";

/** It passes, or fails with this number. */
export type Answer = "allow" | number;
export type Decision = Answer | Look;
export type Look = {
  /** From 0. */
  readonly argument: number;
  /** The bits of it that count. */
  readonly mask: number;
  /** For those of its values that are named; no value stands in two cases. */
  readonly cases: readonly (readonly [values: readonly number[], then: Decision])[];
  readonly otherwise: Decision;
};

export type Entry = { readonly name: string; readonly number: number; readonly decision: Decision };

export const EPERM = 1;
export const EPROTONOSUPPORT = 93;
export const ESOCKTNOSUPPORT = 94;
export const EAFNOSUPPORT = 97;

/** ENOSYS: as on a kernel that lacks it, so that libraries fall back on what they did before. */
export const UNKNOWN = 38;

/** From here on calls have the same number everywhere, and libraries know how to do without them: `clone3` becomes `clone`, whose arguments a filter can see. */
const FIRST_OF_NEW = 424;

export const WHOLE = 0xffff_ffff;

const oneOf = (argument: number, values: readonly number[], mask = WHOLE): Look => ({
  ...{ argument, mask, cases: [[values, "allow"]], otherwise: EPERM },
});
const withoutBits = (argument: number, bits: number): Look => oneOf(argument, [0], bits);

const NEW_NAMESPACES = 0x7e02_0080;
const MAP_HUGETLB = 0x4_0000;
const SHM_HUGETLB = 0x800;
const MFD_HUGETLB = 0x4;
const SECCOMP_NEW_LISTENER = 0x8;
const TERMINAL_IOCTLS = [
  0x5412, // TIOCSTI: types into the terminal
  0x541c, // TIOCLINUX: the same on a console
  0x541d, // TIOCCONS: takes the console's output
  0x5423, // TIOCSETD: loads line disciplines
];
const PRCTL_OPTIONS = [
  1, 2, 3, 4, 7, 8, 13, 14, 15, 16, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 36, 37, 38, 39, 40, 41, 42, 47, 50, 51, 52,
  53, 54, 55, 56, 63, 64, 65, 66, 0x4155_5856, 0x5356_4d41,
];
/** Files, pipes and sockets; no devices. */
const FILE_TYPES = [0, 0o010000, 0o100000, 0o140000];
const FILE_TYPE = 0o170000;

const LOCAL = 1;
const INTERNET = [2, 10];
const NETLINK = 16;
const STREAM = 1;
const DATAGRAM = 2;
const SEQUENCED = 5;
const TCP = 6;
const UDP = 17;
/** What may stand beside the kind of a socket. */
const SOCKET_FLAGS = 0x8_0800;
const KIND = WHOLE - SOCKET_FLAGS;

const protocol = (values: readonly number[]): Look => ({ ...oneOf(2, values), otherwise: EPROTONOSUPPORT });

/** Local, internet (streams of TCP and datagrams of UDP only) and the kernel's list of interfaces. */
const SOCKET: Look = {
  argument: 0,
  mask: WHOLE,
  cases: [
    [[LOCAL], { ...oneOf(1, [STREAM, DATAGRAM, SEQUENCED], KIND), otherwise: ESOCKTNOSUPPORT }],
    [
      INTERNET,
      {
        argument: 1,
        mask: KIND,
        cases: [
          [[STREAM], protocol([0, TCP])],
          [[DATAGRAM], protocol([0, UDP])],
        ],
        otherwise: EPERM,
      },
    ],
    [[NETLINK], protocol([0])],
  ],
  otherwise: EAFNOSUPPORT,
};

/** By the names of checked calls. */
const LOOKS: Readonly<Record<string, Look>> = {
  // Huge pages are not counted as memory of the sandbox.
  mmap: withoutBits(3, MAP_HUGETLB),
  shmget: withoutBits(2, SHM_HUGETLB),
  memfd_create: withoutBits(1, MFD_HUGETLB),
  ioctl: { argument: 1, mask: WHOLE, cases: [[TERMINAL_IOCTLS, EPERM]], otherwise: "allow" },
  clone: withoutBits(0, NEW_NAMESPACES),
  socket: SOCKET,
  socketpair: oneOf(0, [LOCAL]),
  // The usual personality, or a question which it is.
  personality: oneOf(0, [0, WHOLE]),
  prctl: oneOf(0, PRCTL_OPTIONS),
  mknod: oneOf(1, FILE_TYPES, FILE_TYPE),
  mknodat: oneOf(2, FILE_TYPES, FILE_TYPE),
  // By the old way of calling it, by a filter of one's own, and the question what there is.
  seccomp: {
    argument: 0,
    mask: WHOLE,
    cases: [
      [[1], withoutBits(1, SECCOMP_NEW_LISTENER)],
      [[0, 2], "allow"],
    ],
    otherwise: EPERM,
  },
};

/** Every call that was reviewed. */
export function policyFor(architecture: Architecture): readonly Entry[] {
  const entries = (calls: ReadonlyMap<string, number>, decide: (name: string, number: number) => Decision): Entry[] =>
    [...calls].map(([name, number]) => ({ name, number, decision: decide(name, number) }));
  return [
    ...entries(freeCalls(architecture), () => "allow"),
    ...entries(checkedCalls(architecture), (name) => LOOKS[name] ?? EPERM),
    ...entries(deniedCalls(architecture), (_name, number) => (number < FIRST_OF_NEW ? EPERM : UNKNOWN)),
  ];
}

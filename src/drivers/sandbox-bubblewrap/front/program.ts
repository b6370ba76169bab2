// What stands in front of bubblewrap: a program of some dozen system calls. It enters the control groups, lowers the limits of processes,
// closes what Reeve itself was started with, and becomes bubblewrap.
//
// It joins before it is anything else, so the whole of what follows, bubblewrap too, is in the groups from its first instruction; no
// window is left in which Reeve could die between a start and a join.
//
// What lies below a folder that is closed to other users cannot be found by bubblewrap under a user id of its own. Then the program
// begins as root: it takes a copy of each such mount by its open descriptor, puts it at a place that all users find, in a mount
// namespace of its own which ends with the sandbox, and goes over to the sandbox's user id.
//
// Source: open_tree(2), move_mount(2), mount_namespaces(7).
//
// Invariants:
//   F1. What is put at a place is what the descriptor stands for, whatever has been done to its path meanwhile.
//   F2. Bubblewrap is reached only with all of it done; whoever began as root is not root any more.
import { assemble, RESULT, type Step } from "../../../lib/native-program.ts";
import type { Architecture } from "../../../lib/system-calls.ts";

export type Front = {
  readonly bwrap: string;
  /** Descriptors by which the control groups are entered. */
  readonly doors: readonly number[];
  /** Descriptors to close beside the doors. */
  readonly strays: readonly number[];
  readonly fileBytesMax: number;
  readonly cpuSecondsMax: number;
  /** Absent: all is found, and it begins as the sandbox's user. */
  readonly hidden?: Hidden;
};

/** Sources that bubblewrap would not find, where it will, and the user id to go over to. */
export type Hidden = {
  readonly uid: number;
  /** `place`: there is a file or a folder, as the source is one, which no sandbox uses for anything else. */
  readonly sources: readonly { readonly descriptor: number; readonly place: string }[];
};

const DESCRIPTORS_MAX = 1024;
/** From the kernel's headers; the same on x86-64 and arm64. */
const RESOURCES = { cpu: 0, fileBytes: 1, coreBytes: 4, descriptors: 7 } as const;
const O_CLOEXEC = 0o2000000;
/** OPEN_TREE_CLONE, with AT_RECURSIVE and AT_EMPTY_PATH. */
const COPY = 0x1 | 0x8000 | 0x1000 | O_CLOEXEC;
const MOVE_FROM_EMPTY_PATH = 0x4;
const AT_FDCWD = -100;
const CLONE_NEWNS = 0x20000;
/** MS_REC and MS_PRIVATE. */
const PRIVATE = 0x4000 | 0x40000;

/** What it is started with becomes the arguments of bubblewrap. */
export function frontProgram(front: Front, architecture: Architecture): Uint8Array {
  const { doors, strays, hidden } = front;
  const steps: readonly Step[] = [
    ...doors.map((door) => ({
      call: "write",
      args: [door, Buffer.from("0"), 1],
      orSay: "A control group could not be entered.",
    })),
    ...limitsOf(front).map(([resource, most]) => ({ call: "prlimit64", args: [0, resource, pair(most), 0] })),
    ...(hidden === undefined ? [] : showing(hidden)),
    ...[...doors, ...strays].map((number) => ({ call: "close", args: [number] })),
  ];
  return assemble({ steps, becomes: front.bwrap, orSay: `${front.bwrap} could not be started.` }, architecture);
}

/** A limit that is below already cannot be raised to this one, and need not be. */
const limitsOf = ({ fileBytesMax, cpuSecondsMax }: Front): readonly (readonly [number, number])[] => [
  [RESOURCES.coreBytes, 0],
  [RESOURCES.descriptors, DESCRIPTORS_MAX],
  [RESOURCES.fileBytes, fileBytesMax],
  [RESOURCES.cpu, cpuSecondsMax],
];

const showing = ({ uid, sources }: Hidden): readonly Step[] => [
  // A copy takes the number of what it is a copy of.
  ...sources.flatMap(({ descriptor }): Step[] => [
    { call: "open_tree", args: [descriptor, text(""), COPY], orSay: NOT_SHOWN },
    { call: "dup3", args: [RESULT, descriptor, O_CLOEXEC], orSay: NOT_SHOWN },
  ]),
  { call: "unshare", args: [CLONE_NEWNS], orSay: NO_NAMESPACE },
  { call: "mount", args: [0, text("/"), 0, PRIVATE, 0], orSay: "The mount namespace could not be made private." },
  ...sources.map(({ descriptor, place }): Step => ({
    call: "move_mount",
    args: [descriptor, text(""), AT_FDCWD, text(place), MOVE_FROM_EMPTY_PATH],
    orSay: NOT_SHOWN,
  })),
  { call: "setgroups", args: [0, 0], orSay: NOT_GONE_OVER },
  { call: "setresgid", args: [uid, uid, uid], orSay: NOT_GONE_OVER },
  { call: "setresuid", args: [uid, uid, uid], orSay: NOT_GONE_OVER },
];
const NOT_SHOWN =
  "A file or folder below one that is closed to other users could not be shown: that needs Linux 5.2 and the right to mount (CAP_SYS_ADMIN). " +
  "Move it, or the folder of Reeve that it is in, to where all users find it, or run Reeve as another user than root.";
const NO_NAMESPACE =
  "No mount namespace could be made: perhaps their number is used up. Raise `user.max_mnt_namespaces` (sysctl).";
const NOT_GONE_OVER = "The user id of the sandbox could not be taken on.";

const text = (value: string): Uint8Array => Buffer.from(`${value}\0`);

/** The limit that a program may raise, and the one that it may not: the same. */
function pair(value: number): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(BigInt(value), 0);
  bytes.writeBigUInt64LE(BigInt(value), 8);
  return bytes;
}

// What stands in front of bubblewrap: it enters the control groups, lowers the limits of processes, closes what Reeve itself was started
// with, and becomes bubblewrap. It is a program of a dozen system calls (fronts.ts) or, where that cannot be, a shell.
//
// It joins before it is anything else, so the whole of what follows, bubblewrap too, is in the groups from its first instruction; no
// window is left in which Reeve could die between a start and a join.
//
// What lies below a folder that is closed to other users cannot be found by bubblewrap under a user id of its own. Then the front is
// root's: in a mount namespace of its own, which ends with the sandbox, it binds the sources to a place that can be found, and goes
// over to the sandbox's user id with `setpriv`. That costs milliseconds, so it is done only where it is needed.
import { existsSync, readdirSync, readFileSync } from "node:fs";

export const DESCRIPTORS_MAX = 1024;
/** Doors of control groups stand here and in the numbers behind it; the shell's redirections know one digit. */
const FIRST_DOOR = 4;
const ONE_DIGIT_MAX = 9;
const FILE_BLOCK_BYTES = 512;
const O_CLOEXEC = 0o2000000;
const NAME = "reeve-sandbox";
const BASH = "/bin/bash";

/** A source that bubblewrap would not find. */
export type Hidden = { readonly name: string; readonly path: string; readonly device: number; readonly inode: number };

/** Where sources are bound that bubblewrap would not find, and the user that may find them there. */
export type Meeting = { readonly uid: number; readonly meeting: string; readonly hidden: readonly Hidden[] };

export type Front = {
  readonly bwrap: string;
  readonly doors: number;
  /** Descriptors to close beside the doors. */
  readonly strays: readonly number[];
  readonly fileBytesMax: number;
  readonly cpuSecondsMax: number;
  readonly args: readonly string[];
};

/** A program and its arguments. */
export type CommandLine = readonly [string, ...string[]];

/** The shell that runs under the sandbox's user id from its first instruction. */
export function frontOf(front: Front): CommandLine {
  const script = `${joining(front)}; ${LIMITS}; shift 2; exec ${front.bwrap} "$@" ${closing(front)}`;
  return [...shellFor(front), script, NAME, ...limitsOf(front), ...front.args];
}

/** The shell that begins as root. */
export function hiddenFrontOf(front: Front, { uid, meeting, hidden }: Meeting): CommandLine {
  const sources = hidden.flatMap(({ name, path, device, inode }) => [name, path, `${device}:${inode}`]);
  const script = hiddenScript(front);
  return [
    ...["/usr/bin/unshare", "--mount", "--propagation", "private", "--"],
    ...[...shellFor(front), script, NAME, ...limitsOf(front), meeting, String(uid), ...sources, "--", ...front.args],
  ] as unknown as CommandLine;
}

export const doorNumbers = ({ doors }: Pick<Front, "doors">): number[] =>
  Array.from({ length: doors }, (_, index) => FIRST_DOOR + index);
const joining = (front: Front): string =>
  doorNumbers(front)
    .map((number) => `echo 0 >&${number} || exit 125`)
    .join("; ") || ":";
const closing = (front: Front): string =>
  [...doorNumbers(front), ...front.strays].map((number) => `${number}>&-`).join(" ");

const limitsOf = ({ fileBytesMax, cpuSecondsMax }: Front): [string, string] => [
  String(Math.ceil(fileBytesMax / FILE_BLOCK_BYTES)),
  String(cpuSecondsMax),
];
/** A limit that is below already cannot be raised to this one, and need not be. */
const LIMITS = `ulimit -c 0; { ulimit -n ${DESCRIPTORS_MAX} || :; ulimit -f "$1" || :; ulimit -t "$2" || :; } 2>/dev/null`;

/** Bash takes a socket on its standard input for a login from far away, and would read files of its user. */
const shellFor = ({ strays }: Front): [string, ...string[]] =>
  strays.some((number) => number > ONE_DIGIT_MAX)
    ? [BASH, "--norc", "--noprofile", "--posix", "-c"]
    : ["/bin/sh", "-c"];

/** A mount namespace takes no sources by descriptors from outside, so paths are bound, and then compared with what was opened. */
const hiddenScript = (front: Front): string => `
set -e
${joining(front)}
${LIMITS}
meeting=$3
user=$4
shift 4
mount -t tmpfs -o size=64k,mode=711 none "$meeting"
while [ "$1" != -- ]; do
  if [ -d "$2" ]; then mkdir "$meeting/$1"; else : > "$meeting/$1"; fi
  mount --no-canonicalize --bind "$2" "$meeting/$1"
  if [ "$(stat -c %d:%i "$meeting/$1")" != "$3" ]; then echo "$2 was replaced meanwhile" >&2; exit 125; fi
  shift 3
done
shift
exec setpriv --reuid "$user" --regid "$user" --clear-groups -- ${front.bwrap} "$@" ${closing(front)}
`;

/**
 * Descriptors that Reeve was started with beside the standard ones, and that every program it starts is handed on by the system. Its
 * own are not among them.
 */
export const inherited = (): readonly number[] =>
  readdirSync("/proc/self/fd")
    .map(Number)
    .filter((number) => number > 2 && isHandedOn(number));

function isHandedOn(number: number): boolean {
  const file = `/proc/self/fdinfo/${number}`;
  // The one that the list itself was read by is closed again.
  if (!existsSync(file)) return false;
  return (Number.parseInt(/^flags:\s*(\d+)$/m.exec(readFileSync(file, "utf8"))?.[1] ?? "0", 8) & O_CLOEXEC) === 0;
}

/** Whether all of them can be closed. */
export const canClose = (numbers: readonly number[]): boolean =>
  numbers.every((number) => number <= ONE_DIGIT_MAX) || existsSync(BASH);

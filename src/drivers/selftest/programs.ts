// Payloads that have a start of their own: they use up what they were not given, or will not end.
import { setTimeout as after } from "node:timers/promises";
import type { SandboxLimits } from "../../abi/isolation.ts";
import { contained, endedBy, endOf, escaped, silent, type Found, type ProgramPayload, type Run } from "./payload.ts";
import { call, type Group } from "./prober.ts";
import { traps } from "./scripts.ts";

const MEBIBYTE = 1024 * 1024;
/** Above what any payload that is contained needs; those that must be ended have less of one kind. */
export const ROOMY: SandboxLimits = {
  cpus: 2,
  cpuMs: 30_000,
  memoryBytes: 512 * MEBIBYTE,
  processes: 64,
  diskBytes: 64 * MEBIBYTE,
  wallMs: 6_000,
  outputBytes: 4 * MEBIBYTE,
};

/** Where the programs of this test are found inside. */
export const INSIDE = {
  prober: "/selftest/probe",
  bomb: "/selftest/bomb",
  storm: "/selftest/storm",
  folder: "/selftest",
};

const POPULATED = 0x8022;
const TWO_SECONDS = new Uint8Array(BigUint64Array.from([2n, 0n]).buffer);
/** Asks for 600 MB, and touches all of it. */
export const BOMB: readonly Group[] = [
  { payload: "bomb", calls: [call("mmap", 9, 222, 0, 600 * MEBIBYTE, 3, POPULATED, -1, 0)] },
];
/** Doubles itself ten times, and sleeps. */
export const STORM: readonly Group[] = [
  {
    payload: "storm",
    calls: [
      ...Array.from({ length: 10 }, () => call("clone", 56, 220, 17, 0, 0, 0, 0)),
      call("nanosleep", 35, 101, TWO_SECONDS, 0),
    ],
  },
];

/** A text for the shell; what carries the mark of the start is found on the machine by it. */
const shell = (script: string): readonly [string, ...string[]] => ["/bin/sh", "-c", script, "MARK"];

const program = (
  name: string,
  tries: string,
  rest: Pick<ProgramPayload, "set" | "program" | "judge"> & Partial<ProgramPayload>,
): ProgramPayload => ({ kind: "program", name, tries, ...rest });

const diedWhole =
  (kind: "exited" | "killed") =>
  (run: Run): Found => {
    const { exit, left } = run;
    if (left.length > 0) return escaped(`when its end was told, these still lived: ${left.join(", ")}`);
    return exit.kind === kind
      ? contained("nothing of it was left at its end")
      : silent(`it was to be ${kind}: ${endOf(exit)}`);
  };

/** The file systems in memory hold no more than this together. */
const SCRATCH_MAX = 96 * MEBIBYTE;

function scratchHeld(run: Run): Found {
  const { exit, stdout } = run;
  if (exit.kind === "limit") return endedBy("memory", "disk")(run);
  const sizes = stdout.trim().split(/\s+/).map(Number);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (sizes.length !== 3 || Number.isNaN(total)) return silent(`${endOf(exit)}: ${stdout.slice(-80)}`);
  return total <= SCRATCH_MAX ? contained(`it could write ${total} bytes`) : escaped(`it wrote ${total} bytes`);
}

const SHARE = { cpus: 0.25, wallMs: 1_200 };
/** Twice its share, since the share is counted in tenths of a second. */
function sharePassed({ exit, tookMs }: Run): Found {
  if (exit.cpuMs === null) return escaped("nobody counts what it computes");
  const told = `${exit.cpuMs} ms of computing in ${Math.round(tookMs)} ms`;
  return exit.cpuMs <= 2 * SHARE.cpus * Math.max(SHARE.wallMs, tookMs) ? contained(told) : escaped(told);
}

const CPU_MS_MAX = 300;
/** It computes as long as it is let: what it was given beyond its limit is counted, or else nobody counts. */
function cpuHeld(run: Run): Found {
  const { exit } = run;
  const tooMuch = exit.cpuMs === null || exit.cpuMs > 2 * CPU_MS_MAX;
  if (exit.kind === "limit" && exit.limit === "wall" && tooMuch)
    return escaped(`no limit of cpu ended it: ${exit.cpuMs ?? "uncounted"} ms of computing`);
  return endedBy("cpu")(run);
}

export const PROGRAMS: readonly ProgramPayload[] = [
  program("membomb", "touch 600 MB of memory", {
    set: "quick",
    program: [INSIDE.bomb],
    limits: { memoryBytes: 64 * MEBIBYTE },
    layer: "memory limit",
    judge: endedBy("memory"),
  }),
  program("membomb-many", "use up memory by many processes that are small each", {
    set: "full",
    program: shell("for i in 1 2 3 4 5 6; do head -c 30000000 /dev/zero | tail -n 1 | wc -c & done; wait"),
    limits: { memoryBytes: 64 * MEBIBYTE },
    layer: "memory limit",
    judge: endedBy("memory"),
  }),
  program("memory-in-files", "use up memory by files in scratch folders and shared memory", {
    set: "full",
    program: shell(
      "for f in /tmp/a /tmp/b /dev/shm/a; do head -c 150000000 /dev/zero > $f 2>/dev/null; done; for f in /tmp/a /tmp/b /dev/shm/a; do wc -c < $f; done",
    ),
    limits: { memoryBytes: 256 * MEBIBYTE, diskBytes: 256 * MEBIBYTE },
    judge: scratchHeld,
  }),
  program("forkbomb", "start 400 processes", {
    set: "quick",
    program: shell("i=0; while [ $i -lt 400 ]; do sleep 3 & i=$((i + 1)); done; echo $i were started; wait"),
    limits: { processes: 32 },
    layer: "process limit",
    judge: endedBy("processes"),
  }),
  program("forkstorm", "double itself until there are a thousand", {
    set: "full",
    program: [INSIDE.storm],
    limits: { processes: 32 },
    layer: "process limit",
    judge: endedBy("processes"),
  }),
  program("loop", "spin for ever", {
    set: "quick",
    program: shell("while :; do :; done"),
    limits: { wallMs: 500 },
    judge: endedBy("wall"),
  }),
  program("sleep", "sleep for ever, deaf to signals", {
    set: "full",
    program: shell("trap '' TERM INT HUP; while :; do sleep 1; done"),
    limits: { wallMs: 500 },
    judge: endedBy("wall"),
  }),
  program("cpu-time", "compute without end in four processes at once", {
    set: "quick",
    program: shell("for i in 1 2 3 4; do (while :; do :; done) & done; wait"),
    limits: { cpuMs: CPU_MS_MAX },
    layer: "computing time limit",
    judge: cpuHeld,
  }),
  program("cpu-share", "take more of the processors than its share", {
    set: "full",
    program: shell("for i in 1 2 3 4; do (while :; do :; done) & done; wait"),
    limits: SHARE,
    layer: "processor share",
    judge: sharePassed,
  }),
  program("stdout", "print 200 MB", {
    set: "quick",
    program: shell("head -c 200000000 /dev/zero"),
    limits: { outputBytes: MEBIBYTE },
    judge: endedBy("output"),
  }),
  program("stderr", "print 200 MB as errors", {
    set: "full",
    program: shell("head -c 200000000 /dev/zero >&2"),
    limits: { outputBytes: MEBIBYTE },
    judge: endedBy("output"),
  }),
  program("diskfill", "write one large file", {
    set: "quick",
    program: shell("head -c 100000000 /dev/zero > /ws/large; ls -l /ws; sleep 3"),
    limits: { diskBytes: 8 * MEBIBYTE },
    layer: "disk quota",
    judge: endedBy("disk"),
  }),
  program("manyfill", "write many files, each of them small", {
    set: "quick",
    program: shell(
      "i=0; while [ $i -lt 60 ]; do head -c 1000000 /dev/zero > /ws/$i 2>/dev/null; i=$((i + 1)); done; du -s /ws; sleep 3",
    ),
    limits: { diskBytes: 8 * MEBIBYTE },
    layer: "disk quota",
    judge: endedBy("disk"),
  }),
  program("inodes", "make empty files until the machine has no more", {
    set: "full",
    program: shell("i=0; while [ $i -lt 300000 ]; do : > /ws/$i || exit 9; i=$((i + 1)); done; echo $i files"),
    limits: { memoryBytes: 32 * MEBIBYTE, diskBytes: 16 * MEBIBYTE },
    layer: "memory limit",
    judge: (run) =>
      run.exit.kind === "exited" && run.exit.code !== 0
        ? contained(`refused: ${endOf(run.exit)}`)
        : endedBy("memory", "disk")(run),
  }),
  program("daemon", "leave a process behind that belongs to nobody", {
    set: "quick",
    program: shell(
      "(setsid sh -c 'while :; do sleep 0.05; done' MARK </dev/null >/dev/null 2>&1 &) ; sleep 0.1; echo left one behind",
    ),
    judge: async (run) => {
      // It would have been seen at once; a moment later so would one that hid.
      await after(50);
      return diedWhole("exited")(run);
    },
  }),
  program("unkillable", "outlive its kill: stopped, deaf, and in sessions of its own", {
    set: "quick",
    program: shell(
      "trap '' TERM INT HUP; setsid sh -c 'trap \"\" TERM; sleep 60' MARK & sh -c 'kill -STOP $$' MARK & echo started; while :; do sleep 1; done",
    ),
    kill: true,
    judge: diedWhole("killed"),
  }),
  program("setuid-left", "leave a program of root, or a device, in its workspace", {
    set: "quick",
    workspace: true,
    program: shell(
      "cp /bin/sh /ws/sh; chown 0:0 /ws/sh 2>/dev/null; chmod 6755 /ws/sh 2>/dev/null; mkdir -m 2777 /ws/folder; mknod /ws/mem c 1 1 2>/dev/null; mknod /ws/disk b 8 0 2>/dev/null; ls /ws",
    ),
    judge: async ({ workspace, stdout, exit }) => {
      const found = await traps(workspace);
      if (found.length > 0) return escaped(`left behind: ${found.join(", ")}`);
      return stdout.includes("sh") ? contained("what it left has no rights") : silent(endOf(exit));
    },
  }),
];

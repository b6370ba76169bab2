// Starts bubblewrap, behind its front (front/program.ts), and tells when the world inside stands.
//
// When all mounts stand, bubblewrap has read what it was sent by the pipe `ready` and closed it; had it died before, the system
// would report a reset in the place of an end. The job itself begins right after.
//
// Invariants:
//   L1. Bubblewrap never runs as root of the machine.
//   L2. No descriptor is open in the job but 0, 1, 2, and 3 where there is a channel.
//   L3. Nothing stays open here of what was opened for a start, whether it succeeds or not.
import { spawn, type ChildProcess } from "node:child_process";
import { constants, openSync, closeSync } from "node:fs";
import { Socket } from "node:net";
import type { Mount } from "../../ports/sandbox.ts";
import type { Fronts } from "./front/fronts.ts";
import type { Hidden } from "./front/program.ts";
import type { Meeting } from "./front/meeting.ts";
import type { Source } from "../../linux/mounts.ts";
import { HOME, profileOf, setenv, type Given, type Place, type World } from "./profile.ts";

export type LaunchSpec = Omit<World, "root"> & {
  /** The host's user id; absent where Reeve may not change it. */
  readonly uid: number | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly channel: boolean;
  /** Doors of the control groups. */
  readonly doors: readonly number[];
  readonly workspace: Source | undefined;
  readonly door: Source | undefined;
  readonly mounts: readonly (Pick<Mount, "to" | "access"> & { readonly bind: Source })[];
  readonly fileBytesMax: number;
  readonly cpuSecondsMax: number;
};

/** What is the same for all starts. */
export type Launcher = {
  readonly bwrap: string;
  readonly fronts: Fronts;
  readonly filterFile: string;
  /** A descriptor that stands for the prepared /etc. */
  readonly etc: number;
  readonly root: readonly string[];
  readonly meeting: Meeting;
  /** Descriptors that Reeve was started with and that are not for sandboxes. */
  readonly inherited: readonly number[];
};

export type Launched = {
  readonly child: ChildProcess;
  readonly channel: Socket | undefined;
  /** Whether all mounts stand; false if it ended before. */
  readonly ready: Promise<boolean>;
};

const MARK = "A sandbox of Reeve.\n";
const SPAWN = { cwd: "/", detached: true } as const;

export function launch(launcher: Launcher, spec: LaunchSpec): Launched {
  const { bwrap, fronts, filterFile, etc, root, meeting, inherited } = launcher;
  const { uid } = spec;
  const stdio: ("pipe" | "ignore" | number)[] = ["pipe", "pipe", "pipe", spec.channel ? "pipe" : "ignore"];
  const pass = (what: "pipe" | number): number => stdio.push(what) - 1;
  const hidden: Hidden["sources"][number][] = [];
  const bind = ({ descriptor, found, stats }: Source): Place => {
    const number = pass(descriptor);
    if (found || uid === undefined) return number;
    const place = meeting.placeFor(hidden.length, stats);
    hidden.push({ descriptor: number, place });
    return place;
  };
  const filter = openSync(filterFile, constants.O_RDONLY);
  try {
    const doors = spec.doors.map(pass);
    const hasEnv = Object.keys(spec.env).length > 0;
    const given: Given = {
      filter: pass(filter),
      etc: pass(etc),
      ready: pass("pipe"),
      env: hasEnv ? pass("pipe") : undefined,
      workspace: spec.workspace === undefined ? undefined : bind(spec.workspace),
      door: spec.door === undefined ? undefined : bind(spec.door),
      mounts: spec.mounts.map(({ to, access, bind: source }) => ({ to, access, place: bind(source) })),
    };
    const isRoots = uid !== undefined && hidden.length > 0;
    const front = {
      ...{ bwrap, doors, fileBytesMax: spec.fileBytesMax, cpuSecondsMax: spec.cpuSecondsMax },
      // What this start has put in its place is bubblewrap's to close.
      strays: inherited.filter((number) => number >= stdio.length || (number === 3 && !spec.channel)),
      ...(isRoots ? { hidden: { uid, sources: hidden } } : {}),
    };
    const child = fronts.with(front, (program) =>
      spawn(program, profileOf({ ...spec, root }, given), {
        ...SPAWN,
        argv0: bwrap,
        stdio,
        env: {},
        ...(uid === undefined || isRoots ? {} : { uid, gid: uid }),
      }),
    );
    sendEnv(socketOf(child, given.env), spec.env);
    return {
      child,
      channel: spec.channel ? socketOf(child, 3) : undefined,
      ready: readyOf(child, socketOf(child, given.ready)),
    };
  } finally {
    closeSync(filter);
  }
}

function sendEnv(socket: Socket | undefined, env: Readonly<Record<string, string>>): void {
  // If nobody reads it, the start has failed, and `ready` says so.
  socket?.on("error", () => {});
  socket?.end(
    setenv(env)
      .map((text) => `${text}\0`)
      .join(""),
  );
}

/** Without descriptors left the child has no streams at all, and tells so by its `error`. */
function socketOf(child: ChildProcess, number: number | undefined): Socket | undefined {
  const stream: unknown =
    number === undefined ? undefined : (child.stdio as ChildProcess["stdio"] | undefined)?.[number];
  return stream instanceof Socket ? stream : undefined;
}

function readyOf(child: ChildProcess, socket: Socket | undefined): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  if (socket === undefined) resolve(false);
  child.once("error", () => resolve(false));
  socket?.once("end", () => resolve(true));
  socket?.once("error", () => resolve(false));
  socket?.once("close", () => resolve(false));
  socket?.resume();
  socket?.end(MARK);
  return promise;
}

/** What stands in the environment of every sandbox is given on the command line already. */
export const ownEnv = (env: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(env).filter(([name, value]) => HOME[name] !== value));

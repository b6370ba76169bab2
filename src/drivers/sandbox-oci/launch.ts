// Starts a runtime's program, and holds the streams of the job that it is to start.
//
// A runtime that nobody else knows of is killed by the system when Reeve dies; an engine's program is left to strike its container out.
// What runs by then is in control groups that the watchdog empties, and what has not begun ends at its gate (inside/first-process.ts).
//
// Invariants:
//   L1. What the runtime says of itself goes into its log; the streams here are the job's alone.
import { spawn, type ChildProcess, type StdioOptions } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { DESCRIPTORS } from "./inside/first-process.ts";
import type { Pipes } from "./inside/pipes.ts";
import type { Command } from "./runtimes/runtime.ts";

/** What holds a container back until everything was looked at. */
export type Gate = {
  /** Whether the sandbox stands, and waits for its word; false if it ended before. */
  readonly ready: Promise<boolean>;
  /** Of the job, once it is over; undefined where nothing is there any more to tell it. */
  readonly status: Promise<number | undefined>;
  open(word: string): void;
  /** Without a word there is no job; what is said is still heard. */
  close(): void;
  /** Nothing is heard any more. */
  leave(): void;
};

export type Streams = { readonly stdin: Socket; readonly stdout: Socket; readonly stderr: Socket };

export type Launched = {
  readonly child: ChildProcess;
  /** Absent where no process could be started. */
  readonly streams: Streams | undefined;
  readonly channel: Duplex | undefined;
  readonly gate: Gate;
};

const SCRIPT = `
while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs" || exit 125; shift; done
shift
exec "$@"
`;
const NAME = "reeve-sandbox";
/** Of the first process inside: an empty line, and a status. */
const SAID_MAX = 16;

/** What a runtime says of itself, in the folder of its container. */
export const logOf = (folder: string): string => join(folder, "log");

export type LaunchSpec = {
  readonly command: Command;
  readonly folder: string;
  readonly channel: boolean;
  /** Where the job's streams have names; elsewhere they are descriptors that the runtime hands on. */
  readonly pipes: Pipes | undefined;
};

export function launch({ command, folder, channel, pipes }: LaunchSpec): Launched {
  const { argv, env, groups } = command;
  const [program, ...args] = groups.length === 0 ? argv : ["/bin/sh", "-c", SCRIPT, NAME, ...groups, "--", ...argv];
  const log = openSync(logOf(folder), "a", 0o600);
  // What is handed on has no gap, also where there is no channel.
  const nothing = openSync("/dev/null", "r");
  const handedOn: StdioOptions = [channel ? "pipe" : nothing, "pipe", "pipe", "pipe", "pipe"];
  const stdio: StdioOptions = ["ignore", "ignore", log, ...(pipes === undefined ? handedOn : [])];
  const child: ChildProcess = spawn(program, args, { cwd: "/", env, detached: true, stdio });
  for (const descriptor of [log, nothing]) closeSync(descriptor);
  if (pipes !== undefined) return byPipes(child, pipes);
  const [stdin, stdout, stderr, gate] = (["stdin", "stdout", "stderr", "gate"] as const).map((name) =>
    socketOf(child, DESCRIPTORS[name]),
  );
  const streams =
    child.pid === undefined || stdin === undefined || stdout === undefined || stderr === undefined || gate === undefined
      ? undefined
      : { stdin, stdout, stderr };
  return {
    ...{ child, streams, channel: channel ? socketOf(child, DESCRIPTORS.channel) : undefined },
    gate: gateOf(child, { says: gate, hears: gate }),
  };
}

function byPipes(child: ChildProcess, pipes: Pipes): Launched {
  const gate = gateOf(child, { says: pipes.ready, hears: pipes.word });
  // From then on the ends inside are the only ones, and the last to close ends a stream.
  void gate.ready.then(() => pipes.letGo());
  if (child.pid === undefined) pipes.close();
  const { stdin, stdout, stderr, channel } = pipes;
  return { child, streams: child.pid === undefined ? undefined : { stdin, stdout, stderr }, channel, gate };
}

/** Without descriptors left the child has no streams at all, and tells so by its `error`. */
function socketOf(child: ChildProcess, number: number): Socket | undefined {
  const stream: unknown = (child.stdio as ChildProcess["stdio"] | undefined)?.[number];
  return stream instanceof Socket ? stream : undefined;
}

/** `says`: what the first process inside says that it stands by, and what became of its job; `hears`: what it waits at. */
function gateOf(child: ChildProcess, { says, hears }: { says: Socket | undefined; hears: Socket | undefined }): Gate {
  const ready = Promise.withResolvers<boolean>();
  const status = Promise.withResolvers<number | undefined>();
  const mute = (): void => {
    ready.resolve(false);
    status.resolve(undefined);
  };
  if (says === undefined || hears === undefined) mute();
  for (const event of ["error", "exit"]) child.once(event, () => ready.resolve(false));
  let said = "";
  says?.on("data", (chunk: Buffer) => {
    said += chunk.toString("latin1");
    ready.resolve(true);
    const told = /^\n(\d+)\n/.exec(said)?.[1];
    if (told !== undefined) status.resolve(Number(told));
    // A job may find where this is said. Nobody listens to more than is to be said there.
    if (said.length > SAID_MAX) says.destroy();
  });
  for (const event of ["end", "error", "close"]) says?.once(event, mute);
  // What becomes of the gate later is told by the sandbox's exit.
  for (const side of [says, hears]) side?.on("error", () => {});
  return {
    ready: ready.promise,
    status: status.promise,
    open: (word) => void hears?.end(word),
    close: () => {
      ready.resolve(false);
      hears?.end();
    },
    leave: () => {
      for (const side of [says, hears]) side?.destroy();
    },
  };
}

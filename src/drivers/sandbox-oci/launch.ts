// Starts a runtime on a bundle, so that it ends with Reeve: the system kills it when Reeve dies, and what it has started by then is in
// control groups that the watchdog empties. A container whose Reeve dies before it has begun ends at its gate (inside.ts).
//
// Invariants:
//   L1. What the runtime says of itself goes into its log; the streams here are the job's alone.
import { spawn, type ChildProcess } from "node:child_process";
import { Socket } from "node:net";
import { join } from "node:path";
import { DESCRIPTORS, HANDED_ON } from "./inside.ts";

export type Runtime = { readonly kind: "runc" | "crun"; readonly path: string; readonly version: string };

export type LaunchSpec = {
  readonly runtime: Runtime;
  /** Where the runtime keeps what it knows of its containers. */
  readonly state: string;
  readonly bundle: string;
  readonly id: string;
  /** Control groups for a runtime that knows nothing of them to enter; by one that does, the container alone is put into its group. */
  readonly groups: readonly string[];
  readonly channel: boolean;
};

export type Launched = {
  readonly child: ChildProcess;
  /** Absent where no process could be started. */
  readonly streams:
    | { readonly stdin: Socket; readonly stdout: Socket; readonly stderr: Socket; readonly gate: Socket }
    | undefined;
  readonly channel: Socket | undefined;
  /** Whether the sandbox stands, and waits for its word; false if it ended before. */
  readonly ready: Promise<boolean>;
};

const SCRIPT = `
while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs" || exit 125; shift; done
shift
exec "$@"
`;
const NAME = "reeve-sandbox";
/** Where runtimes find their helpers. */
const ENV = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" };

export const logOf = (bundle: string): string => join(bundle, "log");

/** `--keep`: its control group is read, and removed, after its end. */
const runtimeArgs = ({ runtime, state, bundle, id }: Omit<LaunchSpec, "groups" | "channel">): string[] => [
  ...["--root", state, "--log", logOf(bundle), "--log-format", "json"],
  ...(runtime.kind === "crun" ? ["--cgroup-manager=disabled", "run"] : ["run", "--keep"]),
  ...["--preserve-fds", String(HANDED_ON), "--bundle", bundle, id],
];

export function launch(spec: LaunchSpec): Launched {
  const { runtime, groups, channel } = spec;
  const front = groups.length === 0 ? [] : ["/bin/sh", "-c", SCRIPT, NAME, ...groups, "--"];
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", ...front, runtime.path, ...runtimeArgs(spec)], {
    cwd: "/",
    env: ENV,
    detached: true,
    stdio: ["ignore", "ignore", "ignore", channel ? "pipe" : "ignore", "pipe", "pipe", "pipe", "pipe"],
  });
  const [stdin, stdout, stderr, gate] = (["stdin", "stdout", "stderr", "gate"] as const).map((name) =>
    socketOf(child, DESCRIPTORS[name]),
  );
  const streams =
    child.pid === undefined || stdin === undefined || stdout === undefined || stderr === undefined || gate === undefined
      ? undefined
      : { stdin, stdout, stderr, gate };
  return {
    child,
    streams,
    channel: channel ? socketOf(child, DESCRIPTORS.channel) : undefined,
    ready: readyOf(child, streams?.gate),
  };
}

/** Without descriptors left the child has no streams at all, and tells so by its `error`. */
function socketOf(child: ChildProcess, number: number): Socket | undefined {
  const stream: unknown = (child.stdio as ChildProcess["stdio"] | undefined)?.[number];
  return stream instanceof Socket ? stream : undefined;
}

function readyOf(child: ChildProcess, gate: Socket | undefined): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  if (gate === undefined) resolve(false);
  child.once("error", () => resolve(false));
  gate?.once("data", () => resolve(true));
  for (const event of ["end", "error", "close"]) gate?.once(event, () => resolve(false));
  // What becomes of the gate later is told by the sandbox's exit.
  gate?.on("error", () => {});
  return promise;
}

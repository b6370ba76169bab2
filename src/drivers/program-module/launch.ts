// How a child that runs a module agent is started: in a sandbox, or as a plain process of ours where an operator says so.
//
// In both Node's permission model refuses it files (but for those granted), the network, child processes, workers and
// native code: a guard rail against mistakes, and not a wall. The sandbox is the wall: it sees the files that were granted
// and nothing else, has no network, no rights and limited memory, and ends with Reeve.
//
// Its environment is empty but for the time zone, so that dates are written alike on every machine.
import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { Socket } from "node:net";
import { dirname, extname, join } from "node:path";
import type { Duplex, Readable } from "node:stream";
import type { Sandboxes } from "../../ports/sandbox.ts";

export type LaunchOptions = {
  readonly folder: string;
  /** What it may read; see grants.ts. */
  readonly granted: readonly string[];
  /** The heap of JavaScript. Megabytes. */
  readonly memoryMb: number;
};

/** How it ended: by itself, by a signal, or by a limit of its sandbox, in words. */
export type Ended = { readonly status: number | null; readonly signal: string | null; readonly limit?: string };

/** A child that runs. Its end is told when its streams have come to theirs. */
export type Launched = {
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly channel: Duplex;
  readonly ended: Promise<Ended>;
  readonly kill: () => void;
};

export type Launch = (options: LaunchOptions) => Promise<Launched>;

const ENTRY = join(import.meta.dirname, `child${extname(import.meta.filename)}`);
/** What Node needs beside the heap. */
const OVERHEAD_MB = 256;
/** A program may wait and compute for weeks; its calls have limits of their own, and its output is bounded where it is read. */
const WEEKS_MS = 2 ** 31 - 1;
const UNBOUNDED_BYTES = Number.MAX_SAFE_INTEGER;

const nodeCommand = ({ granted, memoryMb }: LaunchOptions): [string, ...string[]] => [
  process.execPath,
  "--permission",
  `--max-old-space-size=${memoryMb}`,
  ...granted.map((path) => `--allow-fs-read=${path}`),
  ENTRY,
];

/** In a sandbox of the level `process`. Rejects with `isolation_unavailable` where there is none. */
export function inSandbox(sandboxes: Sandboxes): Launch {
  return async (options) => {
    const { granted, memoryMb, folder } = options;
    const runtime = dirname(process.execPath);
    const mounts = [...new Set([...granted, runtime])].map((path) => ({
      from: path,
      to: path,
      access: "read" as const,
    }));
    const child = await sandboxes.start({
      owner: "module-agent",
      level: "process",
      command: nodeCommand(options),
      cwd: granted.some((path) => path.startsWith(`${folder}/`)) ? folder : "/",
      env: { TZ: "UTC" },
      mounts,
      limits: {
        cpus: 1,
        cpuMs: WEEKS_MS,
        memoryBytes: (memoryMb + OVERHEAD_MB) * 2 ** 20,
        processes: 64,
        diskBytes: 2 ** 20,
        wallMs: WEEKS_MS,
        outputBytes: UNBOUNDED_BYTES,
      },
      channel: true,
      lasting: true,
    });
    const { channel } = child;
    if (channel === undefined) throw new Error("the sandbox gave no channel");
    return {
      stdout: child.stdout as Readable,
      stderr: child.stderr as Readable,
      channel: channel as Duplex,
      ended: child.exit.then((exit): Ended => {
        if (exit.kind === "exited") return { status: exit.code, signal: null };
        if (exit.kind === "limit") return { status: null, signal: null, limit: exit.limit };
        return { status: null, signal: exit.kind === "crashed" ? exit.signal : "SIGKILL" };
      }),
      kill: () => void child.kill(),
    };
  };
}

/** As a process of ours, with our rights but for what Node refuses it. */
export const asPlainProcess: Launch = async (options) => {
  const [command, ...args] = withDeathSignal(nodeCommand(options));
  // In a session of its own, so that Ctrl-C at a terminal reaches the server alone.
  const child = spawn(command, args, {
    cwd: options.folder,
    env: environment(),
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    detached: true,
  });
  // A failed start is an event; without a process there will be no other.
  if (child.pid === undefined) await once(child, "spawn");
  const channel = (child.stdio as ChildProcess["stdio"] | undefined)?.[3];
  const { stdout, stderr } = child;
  if (!(channel instanceof Socket) || stdout === null || stderr === null)
    throw new Error("no more files can be opened");
  const ended = Promise.withResolvers<Ended>();
  child.on("error", () => {});
  child.on("close", (status, signal) => ended.resolve({ status, signal }));
  return {
    stdout,
    stderr,
    channel,
    ended: ended.promise,
    kill: () => void child.kill("SIGKILL"),
  };
};

/** A child that never returns to its event loop does not see its socket close; on Linux the kernel ends it with the server. */
function withDeathSignal(command: [string, ...string[]]): [string, ...string[]] {
  const setpriv = findSetpriv();
  return setpriv === null ? command : [setpriv, "--pdeathsig", "KILL", "--", ...command];
}

let setprivFound: string | null | undefined;

/** The setpriv of util-linux; there is another that does not know the option. */
function findSetpriv(): string | null {
  if (setprivFound !== undefined) return setprivFound;
  const path =
    process.platform === "linux" ? ["/usr/bin/setpriv", "/bin/setpriv"].find((at) => existsSync(at)) : undefined;
  const works =
    path !== undefined &&
    spawnSync(path, ["--pdeathsig", "KILL", "--", process.execPath, "--version"], { stdio: "ignore" }).status === 0;
  setprivFound = works ? path : null;
  return setprivFound;
}

/** On Windows no program starts without SystemRoot. */
const environment = (): NodeJS.ProcessEnv => ({
  TZ: "UTC",
  ...(process.platform === "win32" ? { SystemRoot: process.env["SystemRoot"] } : {}),
});

// How a server's program is started: as a plain process of ours (here), or in a sandbox (sandboxed.ts).
//
// Invariants of the plain way:
//   L1. It gets PATH, HOME, LANG, TMPDIR and what its configuration names; nothing else of our environment.
//   L2. It leads a process group of its own. When it ends, by itself or by us, the rest of the group is killed.
//   L3. It cannot miss our end: its standard input is closed by the operating system even if we are killed.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import type { Readable, Writable } from "node:stream";

export type Program = {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
};

/** A program that runs, with all that it has started. */
export type Launched = {
  /** Of the process that stands for it. */
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** How it ended, in words. Nothing of it runs any more. */
  readonly ended: Promise<string>;
  /** Asks it to end; where nobody can be asked, it is ended. */
  readonly ask: () => void;
  /** Ends it with all that it has started. */
  readonly kill: () => void;
};

/** Resolves when it runs. Rejects with an error whose message says why it could not be started, or that `signal` has fired. */
export type Launch = (signal: AbortSignal) => Promise<Launched>;

const INHERITED = ["PATH", "HOME", "LANG", "TMPDIR"];

export function environmentOf(
  ours: Readonly<Record<string, string | undefined>>,
  configured: Readonly<Record<string, string>>,
): Record<string, string> {
  const inherited = INHERITED.flatMap((name) => (ours[name] === undefined ? [] : [[name, ours[name]] as const]));
  return { ...Object.fromEntries(inherited), ...configured };
}

/** Why a process could not be started, in words; the system names the command alike whatever was not found. */
function startFault(error: Error, { command, cwd }: Program): string {
  const code = "code" in error ? error.code : undefined;
  if (code === "EACCES") return notAProgram(command);
  if (code !== "ENOENT") return error.message;
  return existsSync(cwd) ? notFound(command) : noFolder(cwd);
}

export const notAProgram = (command: string): string =>
  `"${command}" may not be run: it is no program, or its mode forbids it`;
export const noFolder = (cwd: string): string => `its folder ${cwd} does not exist`;
export const notFound = (command: string): string =>
  /[/\\]/.test(command)
    ? `there is no program "${command}", or what it is to be run by is missing`
    : `the command "${command}" was not found on PATH`;

/** With our rights. */
export const plainly =
  (program: Program): Launch =>
  async (signal) => {
    signal.throwIfAborted();
    const { command, args, cwd, env } = program;
    const child = spawn(command, args, {
      cwd,
      env,
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
      windowsHide: true,
    });
    const { promise: ended, resolve } = Promise.withResolvers<string>();
    child.once("exit", (code, by) => {
      send(child.pid, "SIGKILL");
      resolve(by === null ? `exited with code ${code}` : `was ended by ${by}`);
    });
    await new Promise<void>((started, failed) => {
      child.once("spawn", started);
      child.once("error", (error) => failed(new Error(startFault(error, program))));
    });
    return {
      pid: child.pid ?? 0,
      stdin: child.stdin,
      stdout: child.stdout,
      stderr: child.stderr,
      ended,
      ask: () => send(child.pid, "SIGTERM"),
      kill: () => send(child.pid, "SIGKILL"),
    };
  };

function send(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // ESRCH: nobody of the group is left, which is what was wanted. EPERM: what is left runs as somebody else.
    if (!(error instanceof Error && "code" in error && (error.code === "ESRCH" || error.code === "EPERM"))) throw error;
  }
}

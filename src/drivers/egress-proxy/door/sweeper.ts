// Removes a folder after this process, however it ends: even killed, it lets go of the pipe that the sweeper waits on.
import { spawn } from "node:child_process";
import { Socket } from "node:net";

export type Sweeper = {
  /** Has it end now: it removes what is left. */
  readonly end: () => void;
};

/** Waits for the end of its input, then removes its argument. Nothing of it is read by the shell as a command. */
const SCRIPT = 'cat >/dev/null; rm -rf -- "$1"';

export function sweepAfter(folder: string): Sweeper {
  const child = spawn("/bin/sh", ["-c", SCRIPT, "reeve-sweeper", folder], {
    stdio: ["pipe", "ignore", "ignore"],
    cwd: "/",
    env: { PATH: "/usr/bin:/bin" },
    // In a group of its own, so that what ends ours by a signal does not end it.
    detached: true,
  });
  // Without a shell nothing is swept after a kill; all else works.
  child.on("error", () => {});
  child.stdin.on("error", () => {});
  child.unref();
  // The pipe is a socket, which would keep us running.
  if (child.stdin instanceof Socket) child.stdin.unref();
  return { end: () => child.stdin.end() };
}

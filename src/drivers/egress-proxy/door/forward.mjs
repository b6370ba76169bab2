// Runs a program behind a door: inside a sandbox there is no network but loopback, so this listens there and joins each connection to
// the door's socket. Started by `wrap` of door.ts; needs nothing but Node.
//
//   node forward.mjs PORT SOCKET [NAME=VALUE …] -- PROGRAM [ARGUMENT …]
//
// The program has this one's environment, and the names in front of it that are not set there: what Node reads at its own start would
// only make this one slow. It has this one's standard streams, and the channel at descriptor 3 if there is one. Signals are passed on to it, and this
// ends as it ended.
import { spawn } from "node:child_process";
import { readlinkSync } from "node:fs";
import { connect, createServer } from "node:net";

const PASSED = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGWINCH"];
const CANNOT_RUN = 126;
const NOT_FOUND = 127;

const [port = "", door = "", ...rest] = process.argv.slice(2);
const end = rest.indexOf("--");
const [program = "", ...programArgs] = rest.slice(end + 1);
const given = rest.slice(0, end).map((text) => [text.slice(0, text.indexOf("=")), text.slice(text.indexOf("=") + 1)]);
const env = { ...Object.fromEntries(given), ...process.env };

const server = createServer({ allowHalfOpen: true, noDelay: true }, (inside) => {
  const outside = connect({ path: door, allowHalfOpen: true });
  const over = () => {
    inside.destroy();
    outside.destroy();
  };
  inside.on("error", over).on("close", over);
  outside.on("error", over).on("close", over);
  inside.pipe(outside).pipe(inside);
});

server.once("error", (error) => {
  process.stderr.write(`reeve: the way out could not be opened on port ${port}: ${error.message}\n`);
  process.exit(CANNOT_RUN);
});
server.listen(Number(port), "127.0.0.1", start);

/** Descriptor 3 is the channel only if it is a socket: Node itself may have taken the number for something else. */
function hasChannel() {
  try {
    return readlinkSync("/proc/self/fd/3").startsWith("socket:");
  } catch {
    // There is no such descriptor, or no such folder.
    return false;
  }
}

function start() {
  const stdio = ["inherit", "inherit", "inherit", ...(hasChannel() ? [3] : [])];
  // Before the program is there: it may be signalled as soon as it has said its first word.
  for (const signal of PASSED) process.on(signal, () => child.kill(signal));
  const child = spawn(program, programArgs, { stdio, env });
  child.once("error", (error) => {
    process.stderr.write(`reeve: ${program} could not be started: ${error.message}\n`);
    process.exit(error.code === "ENOENT" ? NOT_FOUND : CANNOT_RUN);
  });
  child.once("exit", (code, signal) => {
    if (signal === null) process.exit(code);
    for (const name of PASSED) process.removeAllListeners(name);
    process.kill(process.pid, signal);
    // For signals that Node does not die of.
    setTimeout(() => process.exit(CANNOT_RUN), 1000);
  });
}

// No sandbox: the control of the self-test, in which payloads must be seen to get out. Never offered to anybody.
//
// Its programs run with Reeve's rights, so only payloads that do no harm are given to it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { OsError } from "../../abi/errors.ts";
import type { DriverState, Sandbox, SandboxExit, SandboxProcess, SandboxSpec } from "../../ports/sandbox.ts";

/** `env`: what every program finds, beside what its spec names. */
export function createPlain(level: Sandbox["level"], env: Readonly<Record<string, string>> = {}): Sandbox {
  const state: DriverState = { posture: "strong", layers: [], reason: "", fingerprint: "plain" };
  const running = new Set<SandboxProcess>();
  return {
    name: "plain",
    level,
    state: async () => state,
    start: async (spec) => {
      const process = await startPlain(spec, env);
      running.add(process);
      void process.exit.then(() => running.delete(process));
      return process;
    },
    close: async () => {
      await Promise.all([...running].map((process) => process.kill()));
    },
  };
}

async function startPlain(spec: SandboxSpec, env: Readonly<Record<string, string>>): Promise<SandboxProcess> {
  // Paths inside are found where they come from.
  const outside = (text: string): string =>
    spec.mounts
      .reduce((path, { from, to }) => (path === to ? from : path), text)
      .replace(/^\/ws$/, spec.workspace?.folder ?? "/tmp");
  const [program, ...args] = spec.command.map(outside);
  const child = spawn(program ?? "", args, {
    cwd: spec.workspace?.folder ?? "/",
    env: { ...env, ...spec.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const over = new Promise<SandboxExit>((resolve) => {
    child.once("close", (code, signal) =>
      resolve({
        ...(signal === null ? { kind: "exited", code: code ?? 0 } : { kind: "crashed", signal }),
        ...{ cpuMs: null, memoryPeakBytes: null },
      }),
    );
  });
  child.on("error", () => {});
  child.stdin.on("error", () => {});
  if (child.pid === undefined) {
    await once(child, "error").catch(() => []);
    throw new OsError("internal", `${program ?? ""} could not be started.`);
  }
  const wall = setTimeout(() => child.kill("SIGKILL"), spec.limits.wallMs);
  void over.then(() => clearTimeout(wall));
  return {
    ...{
      pid: child.pid,
      stdin: child.stdin,
      stdout: child.stdout,
      stderr: child.stderr,
      channel: undefined,
      exit: over,
    },
    kill: async () => {
      child.kill("SIGKILL");
      await over;
    },
  };
}

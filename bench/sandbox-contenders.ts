// Ways to run a program apart from the machine, each one start from the call to the end, for `bench sandbox`.
import { spawn, spawnSync, type ChildProcess, type SpawnOptions } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sandboxLimitsSchema } from "../src/abi/isolation.ts";
import type { Sandbox, SandboxSpec } from "../src/ports/sandbox.ts";
import { rootOf } from "../src/drivers/sandbox-bubblewrap/profile.ts";

/** Runs `true` and resolves when it is over; rejects if it did not run. */
export type Start = () => Promise<void>;

/** A peer that is set up once, and its version. */
export type SandboxRuntime = { readonly version: string; readonly start: Start; readonly close: () => Promise<void> };

/** An id that owns nothing, where sandboxes may not run as root. */
const NOBODYS = 299_999;
const unprivileged = process.geteuid?.() === 0 ? { uid: NOBODYS, gid: NOBODYS } : {};

function over(child: ChildProcess, what: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let said = "";
  child.stderr?.on("data", (chunk: Buffer) => (said += String(chunk)));
  child.stdout?.resume();
  child.stdin?.end();
  child.once("error", reject);
  child.once("exit", (code) => (code === 0 ? resolve() : reject(new Error(`${what} ended with ${code}: ${said}`))));
  return promise;
}

const run = (what: string, command: readonly string[], options: SpawnOptions = {}): Promise<void> => {
  const [program = "", ...args] = command;
  return over(spawn(program, args, { cwd: "/", env: {}, stdio: "pipe", ...options }), what);
};

/** Bubblewrap as its manual shows it: own namespaces, the system read-only, and nothing else. */
const PLAIN = [
  "/usr/bin/bwrap",
  ...rootOf(),
  ...["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--unshare-all", "--die-with-parent", "--"],
];
export const plain = (...command: string[]): Start => {
  const line = [...PLAIN, ...command];
  return () => run("bwrap", line, unprivileged);
};

export const specOf = (command: readonly [string, ...string[]], part: Partial<SandboxSpec> = {}): SandboxSpec => ({
  owner: "bench",
  level: "process",
  command,
  env: {},
  mounts: [],
  limits: sandboxLimitsSchema.parse({}),
  ...part,
});

export const hardened = (sandbox: Sandbox, command: readonly [string, ...string[]]): Start => {
  const spec = specOf(command);
  return async () => {
    const running = await sandbox.start(spec);
    running.stdout.resume();
    running.stderr.resume();
    running.stdin.end();
    const exit = await running.exit;
    if (exit.kind !== "exited" || exit.code !== 0) throw new Error(`a sandbox ended as ${JSON.stringify(exit)}`);
  };
};

/** runc with what `runc spec` proposes, on the system's own programs; null where it is not installed or does not run here. */
export async function runc(folder: string): Promise<Start | null> {
  if (spawnSync("runc", ["--version"], { stdio: "ignore" }).status !== 0) return null;
  const rootfs = join(folder, "rootfs");
  for (const name of ["proc", "dev", "sys", "usr"]) mkdirSync(join(rootfs, name), { recursive: true });
  if (spawnSync("runc", ["spec"], { cwd: folder }).status !== 0) return null;
  const { default: config } = (await import(join(folder, "config.json"), { with: { type: "json" } })) as {
    default: { process: object; mounts: object[]; linux: object };
  };
  const links = rootOf();
  for (let at = 0; at < links.length; at += 3)
    if (links[at] === "--symlink") spawnSync("ln", ["-s", links[at + 1] ?? "", join(rootfs, links[at + 2] ?? "")]);
  const bind = { destination: "/usr", type: "bind", source: "/usr", options: ["bind", "ro"] };
  const told = {
    ...config,
    process: { ...config.process, terminal: false, args: ["true"] },
    mounts: [...config.mounts, bind],
    linux: { ...config.linux, resources: { memory: { limit: 268_435_456 }, pids: { limit: 64 } } },
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(told));
  let count = 0;
  const start: Start = () => {
    count += 1;
    const name = `reeve-bench-${process.pid}-${count}`;
    return run("runc", ["runc", "run", "--bundle", folder, name], { env: { PATH: process.env["PATH"] } });
  };
  return start;
}

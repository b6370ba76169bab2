// What a sandbox must keep from what runs in it, laid out on the machine for one test: a file, a folder, sockets, a port, a process
// with a secret, shared memory. All of it is the test's own, so that a payload that gets out does no harm.
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { execFile } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { chmod, mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { setTimeout as after } from "node:timers/promises";
import { promisify } from "node:util";
import { OsError } from "../../abi/errors.ts";
import type { Architecture } from "../../lib/system-calls.ts";
import { assembleProber, call, type Call } from "./prober.ts";

export type Shown = {
  readonly folder: string;
  /** For a sandbox to have at /ws. */
  readonly workspace: string;
};

export type Bait = {
  readonly folder: string;
  /** Text that stands in what must not be read. */
  readonly secret: string;
  readonly secretFile: string;
  /** All users may write into it. */
  readonly open: string;
  /** What a sandbox is shown lies in one of these: all users find the one, and only Reeve the other. */
  readonly places: Readonly<Record<"found" | "hidden", Shown>>;
  /** Path of a socket that somebody listens on. */
  readonly socket: string;
  readonly abstract: string;
  readonly port: number;
  /** How often somebody has connected to that port. */
  readonly touched: () => number;
  /** The id of a process, with the secret in its environment. */
  readonly victim: number;
  readonly victimLives: () => Promise<boolean>;
  readonly ipcKey: number;
  readonly queue: string;
  dispose(): Promise<void>;
};

const run = promisify(execFile);

const BUSY_TRIES_MAX = 40;
const BUSY_PAUSE_MS = 25;

/**
 * Runs a program that was just written. Whatever else was forked while it was open to be written holds it open until that executes
 * something itself, and so long the system executes it for nobody (ETXTBSY).
 */
export async function runWritten(program: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await run(program, [], { encoding: "buffer" });
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ETXTBSY" || tries === BUSY_TRIES_MAX) throw error;
      await after(BUSY_PAUSE_MS);
    }
  }
}
const CREATE = 0o1000;
const MESSAGE_QUEUE_CREATE = 0o100;

/** Rejects with `isolation_unavailable` where the folder for temporary files lets nothing run; nothing is left then. */
export async function layBait(architecture: Architecture): Promise<Bait> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "reeve-selftest-")));
  const secret = `secret-${randomBytes(16).toString("hex")}`;
  const secretFile = join(folder, "secret");
  const open = join(folder, "open");
  const shown = (name: string): Shown => ({ folder: join(folder, name), workspace: join(folder, name, "workspace") });
  const places = { found: shown("found"), hidden: shown("hidden") };
  const socket = join(folder, "socket");
  const abstract = `reeve-${randomBytes(8).toString("hex")}`;
  const ipcKey = randomInt(1, 2 ** 31 - 1);
  await chmod(folder, 0o755);
  await writeFile(secretFile, secret, { mode: 0o644 });
  await mkdir(open);
  await chmod(open, 0o777);
  for (const place of Object.values(places)) await mkdir(place.workspace, { recursive: true });
  await chmod(places.found.folder, 0o755);
  await chmod(places.hidden.folder, 0o700);
  const port = await listen(createServer(), { host: "127.0.0.1", port: 0 });
  const servers: { readonly server: Server }[] = [port];
  servers.push(await listen(createServer(), { path: socket }), await listen(createServer(), { path: `\0${abstract}` }));
  const number = port.number;
  let touches = 0;
  port.server.on("connection", () => (touches += 1));
  try {
    servers.push(await listen(createServer(), { host: "::1", port: number }));
  } catch {
    // A machine without IPv6 has nothing there to be reached.
  }
  await chmod(socket, 0o777);
  const victim = spawn("/bin/cat", [], {
    env: { REEVE_SELFTEST_SECRET: secret },
    stdio: ["pipe", "pipe", "ignore"],
  });
  victim.on("error", () => {});
  const ipc = new HostIpc({ folder, architecture, key: ipcKey, queue: abstract });
  const takeAway = async (): Promise<void> => {
    victim.kill("SIGKILL");
    for (const { server } of servers) server.close();
    await rm(folder, { recursive: true, force: true });
  };
  await ipc.make().catch(async (error: unknown) => {
    await takeAway();
    throw error;
  });
  return {
    ...{ folder, secret, secretFile, open, places, socket, abstract, ipcKey, queue: abstract },
    port: number,
    touched: () => touches,
    victim: victim.pid ?? 0,
    victimLives: () => answers(victim),
    dispose: async () => {
      try {
        await ipc.remove();
      } finally {
        await takeAway();
      }
    },
  };
}

async function listen(
  server: Server,
  where: { readonly host: string; readonly port: number } | { readonly path: string },
): Promise<{ readonly server: Server; readonly number: number }> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.on("connection", (connection) => connection.on("error", () => {}).end());
  server.listen(where, resolve);
  await promise;
  server.unref();
  const address = server.address();
  return { server, number: typeof address === "object" && address !== null ? address.port : 0 };
}

/** Whether it still repeats what it is told. */
function answers(victim: ChildProcessByStdio<Writable, Readable, null>): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  if (victim.exitCode !== null || victim.signalCode !== null) resolve(false);
  victim.once("close", () => resolve(false));
  victim.stdin.once("error", () => resolve(false));
  victim.stdout.once("data", () => resolve(true));
  victim.stdin.write("well?\n");
  return promise;
}

/** Shared memory, a message queue and semaphores of System V, and a queue of POSIX: there are no programs for these on every machine. */
class HostIpc {
  readonly #program: string;
  readonly #options: { readonly architecture: Architecture; readonly key: number; readonly queue: string };

  constructor(options: { folder: string; architecture: Architecture; key: number; queue: string }) {
    this.#program = join(options.folder, "ipc");
    this.#options = options;
  }

  async make(): Promise<void> {
    const { key, queue } = this.#options;
    await this.#call([
      call("shmget", 29, 194, key, 4096, CREATE | 0o666),
      call("msgget", 68, 186, key, CREATE | 0o666),
      call("semget", 64, 190, key, 1, CREATE | 0o666),
      call("mq_open", 240, 180, queue, MESSAGE_QUEUE_CREATE, 0o666, 0),
    ]);
  }

  async remove(): Promise<void> {
    const { key, queue } = this.#options;
    await this.#call([
      call("shmget", 29, 194, key, 0, 0),
      call("shmctl", 31, 195, { result: 0 }, 0, 0),
      call("msgget", 68, 186, key, 0),
      call("msgctl", 71, 187, { result: 2 }, 0, 0),
      call("semget", 64, 190, key, 0, 0),
      call("semctl", 66, 191, { result: 4 }, 0, 0, 0),
      call("mq_unlink", 241, 181, queue),
    ]);
  }

  async #call(calls: readonly Call[]): Promise<void> {
    const groups = [{ payload: "ipc", calls }];
    await writeFile(this.#program, assembleProber(groups, this.#options.architecture), { mode: 0o755 });
    // A kernel without one of them answers with an error, and then there is nothing to be found.
    await runWritten(this.#program).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== "EACCES") throw error;
      throw new OsError(
        "isolation_unavailable",
        `no program can be run from ${tmpdir()}, which is mounted noexec: name another folder for temporary files as TMPDIR`,
        { cause: error },
      );
    });
  }
}

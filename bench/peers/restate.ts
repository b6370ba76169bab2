// Restate: one node with its default settings, a service whose handler performs `ctx.run` steps.
//
// The server is the binary of the npm package, on ports and in a folder of its own; the service runs in this
// process and is reached by the server over HTTP/2 in both directions, which is Restate's fastest way.
import * as restate from "@restatedev/restate-sdk";
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer as createHttp2Server, type Http2Server } from "node:http2";
import { createRequire } from "node:module";
import { createServer, type AddressInfo } from "node:net";
import { arch, platform } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Contender, Started } from "../contender.ts";

type Ports = { readonly node: number; readonly ingress: number; readonly admin: number };

const START_TIMEOUT_MS = 60_000;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

const binary = (): string =>
  createRequire(import.meta.url).resolve(`@restatedev/restate-server-${platform()}-${arch()}/bin/restate-server`);

const environmentOf = (ports: Ports): NodeJS.ProcessEnv => ({
  PATH: process.env["PATH"],
  RESTATE_BIND_IP: "127.0.0.1",
  RESTATE_BIND_PORT: String(ports.node),
  RESTATE_INGRESS__BIND_PORT: String(ports.ingress),
  RESTATE_ADMIN__BIND_PORT: String(ports.admin),
  RESTATE_LISTEN_MODE: "tcp",
  RESTATE_DISABLE_TELEMETRY: "true",
  RESTATE_LOG_FILTER: "error,octocrab=off",
});

/**
 * Starts the server. At its start it asks GitHub for a newer release, which no setting turns off; where the system lets us
 * (root on Linux) it therefore gets a hosts file in which GitHub is this machine, so that a benchmark speaks to nobody.
 */
function launch(folder: string, environment: NodeJS.ProcessEnv): ChildProcess {
  const args = ["--no-logo", "--base-dir", join(folder, "data"), "--node-name", "bench"];
  const options = { env: environment, stdio: ["ignore", "ignore", "inherit"] as ("ignore" | "inherit")[] };
  if (spawnSync("unshare", ["--mount", "true"]).status !== 0) return spawn(binary(), args, options);
  const hosts = join(folder, "hosts");
  writeFileSync(hosts, "127.0.0.1 localhost api.github.com\n::1 localhost api.github.com\n");
  return spawn(
    "unshare",
    ["--mount", "sh", "-c", 'mount --bind "$1" /etc/hosts && shift && exec "$@"', "sh", hosts, binary(), ...args],
    options,
  );
}

/** Waits until `attempt` answers true. Attempts that fail are taken as not yet: a server that never comes up ends in the time limit. */
async function until(attempt: () => Promise<boolean>, what: string): Promise<void> {
  const deadlineMs = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadlineMs) {
    if (await attempt().catch(() => false)) return;
    await delay(50);
  }
  throw new Error(`${what} within ${START_TIMEOUT_MS} ms.`);
}

function durabilityOf(environment: NodeJS.ProcessEnv): {
  readonly durability: string;
  readonly survivesPowerCut: boolean;
} {
  const config = execFileSync(binary(), ["--dump-config"], { env: environment, encoding: "utf8" });
  const section = config.slice(config.indexOf("[log-server]"));
  const fsyncOff = /rocksdb-disable-wal-fsync = (true|false)/.exec(section)?.[1];
  const provider = /default-provider = "(\w+)"/.exec(config)?.[1];
  return {
    durability: `log provider ${provider ?? "?"}, log server's rocksdb-disable-wal-fsync=${fsyncOff ?? "?"}`,
    survivesPowerCut: provider === "replicated" && fsyncOff === "false",
  };
}

let samplesMs: number[] = [];

const service = restate.service({
  name: "Bench",
  handlers: {
    run: async (ctx: restate.Context, { steps, sample }: { steps: number; sample: boolean }): Promise<number> => {
      let sum = 0;
      for (let at = 0; at < steps; at += 1) {
        const fromMs = performance.now();
        sum += await ctx.run("step", () => 1);
        if (sample) samplesMs.push(performance.now() - fromMs);
      }
      return sum;
    },
  },
});

async function serve(): Promise<Http2Server> {
  const endpoint = restate.endpoint().setLogger(() => {});
  const server = createHttp2Server(endpoint.bind(service).http2Handler());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

async function post(port: number, path: string, body: unknown): Promise<unknown> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`Restate answered ${response.status} to ${path}: ${text.slice(0, 500)}`);
  return JSON.parse(text);
}

class Restate implements Contender {
  readonly name = "Restate";
  #server: ChildProcess | undefined;
  #endpoint: Http2Server | undefined;
  #ports: Ports = { node: 0, ingress: 0, admin: 0 };

  async start(folder: string): Promise<Started> {
    const ports = { node: await freePort(), ingress: await freePort(), admin: await freePort() };
    const environment = environmentOf(ports);
    this.#ports = ports;
    this.#endpoint = await serve();
    this.#server = launch(folder, environment);
    const health = async (): Promise<boolean> => (await fetch(`http://127.0.0.1:${ports.admin}/health`)).ok;
    await until(health, "Restate's admin interface did not come up");
    const { port } = this.#endpoint.address() as AddressInfo;
    await post(ports.admin, "/deployments", { uri: `http://127.0.0.1:${port}` });
    await until(async () => (await this.#perform(1, false), true), "Restate did not perform a first step");
    const version = execFileSync(binary(), ["--version"], { encoding: "utf8" }).trim().split(" ")[1] ?? "?";
    return { ...durabilityOf(environment), version };
  }

  async one(steps: number): Promise<readonly number[]> {
    samplesMs = [];
    await this.#perform(steps, true);
    return samplesMs;
  }

  async many(workflows: number, steps: number): Promise<number> {
    const fromMs = performance.now();
    await Promise.all(Array.from({ length: workflows }, () => this.#perform(steps, false)));
    return ((workflows * steps) / (performance.now() - fromMs)) * 1000;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server !== undefined && server.exitCode === null) {
      const exit = once(server, "exit");
      server.kill("SIGKILL");
      await exit;
    }
    this.#endpoint?.close();
    this.#endpoint = undefined;
  }

  async #perform(steps: number, sample: boolean): Promise<void> {
    const done = await post(this.#ports.ingress, "/Bench/run", { steps, sample });
    if (done !== steps) throw new Error(`Restate performed ${String(done)} of ${steps} steps.`);
  }
}

export const contenders = { restate: () => new Restate() };

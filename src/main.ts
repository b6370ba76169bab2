#!/usr/bin/env node
// The program: hands the command line what it needs to talk to a server, to be one, or to boot the system in this process.
import { readFileSync, realpathSync } from "node:fs";
import { resolve } from "node:path";
import { cwd } from "node:process";
import { fileURLToPath } from "node:url";
import { type Booted, boot } from "./boot.ts";
import type { CliHost, Embedded, Serving } from "./cli/host.ts";
import { runCli } from "./cli/cli.ts";
import { type Project, readConfig } from "./drivers/config-file/config.ts";
import { readServer, removeServer, tokenOf, writeServer } from "./drivers/server-file/server-file.ts";
import { systemClock } from "./drivers/system/clock.ts";
import { createHttpApi } from "./gateway/http.ts";
import { listen } from "./gateway/listen.ts";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};
const environment = process.env;
const onNotice = (message: string): void => void process.stderr.write(`${message}\n`);

const projectOf = (config: string | undefined): Promise<Project> =>
  readConfig(cwd(), config ?? environment["REEVE_CONFIG"]);

async function up(
  project: Project,
  run: boolean,
): Promise<{ booted: Booted; fetch: (request: Request) => Promise<Response>; token: string }> {
  const booted = await boot({ project, version, environment, run, onNotice });
  const token = tokenOf(booted.folder);
  const { fetch } = createHttpApi({ system: booted.kernel, token, version, clock: systemClock });
  return { booted, fetch, token };
}

async function embed({ config, run }: { config?: string; run: boolean }): Promise<Embedded> {
  const { booted, fetch, token } = await up(await projectOf(config), run);
  return { fetch, token, notices: booted.notices, close: booted.close };
}

async function serve({ config, port }: { config?: string; port?: number }): Promise<Serving> {
  const project = await projectOf(config);
  // The port is taken before anything is run: a server that nobody can reach must not act.
  const { booted, fetch, token } = await up(project, false);
  try {
    const server = await listen({ fetch, port: port ?? project.config.server.port, clock: systemClock });
    writeServer(booted.folder, { url: server.url, token, pid: process.pid });
    await booted.kernel.run();
    const close = async (): Promise<void> => {
      removeServer(booted.folder);
      await server.close();
      await booted.close();
    };
    return { url: server.url, token, folder: booted.folder, notices: booted.notices, close };
  } catch (error) {
    await booted.close();
    throw error;
  }
}

async function locate({ config }: { config?: string }): Promise<{ url: string; token: string } | null> {
  const project = await projectOf(config);
  return readServer(resolve(project.folder, project.config.dataFolder)) ?? null;
}

function onInterrupt(listener: () => void): () => void {
  process.on("SIGINT", listener).on("SIGTERM", listener);
  return () => void process.off("SIGINT", listener).off("SIGTERM", listener);
}

const host: CliHost = {
  embed,
  serve,
  locate,
  version,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: environment,
  nowMs: () => systemClock.nowMs(),
  after: (ms, fire) => systemClock.after(ms, fire),
  onInterrupt,
};

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  // Ended outright: after a second Ctrl-C there may be work under way that would keep the program alive.
  process.exit(await runCli(process.argv.slice(2), host));
}

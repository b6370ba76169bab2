// The command line on the real terminal: hands it what it needs to talk to a server, to be one, or to boot the system in this process.
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { resolve } from "node:path";
import { cwd } from "node:process";
import { OsError } from "./abi/errors.ts";
import type { Booted } from "./boot.ts";
import type { CliHost, Embedded, OnNotice, Serving } from "./cli/host.ts";
import { runCli } from "./cli/cli.ts";
import { waitForBrowser } from "./drivers/browser/browser.ts";
import { type Project, readConfig } from "./drivers/config-file/config.ts";
import { readServer, removeServer, tokenOf, writeServer } from "./drivers/server-file/server-file.ts";
import { systemClock } from "./drivers/system/clock.ts";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};
const environment = process.env;

const projectOf = (config: string | undefined): Promise<Project> =>
  readConfig(cwd(), config ?? environment["REEVE_CONFIG"]);

async function up(
  project: Project,
  { run, onNotice }: { readonly run: boolean; readonly onNotice: OnNotice },
): Promise<{ booted: Booted; fetch: (request: Request) => Promise<Response>; token: string }> {
  // The parts take longer to load than all else that a command does. Those that talk to a server do without.
  const [{ boot }, { createHttpApi }] = await Promise.all([import("./boot.ts"), import("./gateway/http.ts")]);
  const booted = await boot({ project, version, environment, run: false, onNotice }).catch((error: unknown) => {
    throw OsError.is(error, "store_busy") ? busyWithCommand(error) : error;
  });
  try {
    // Nothing runs before all that can fail has gone well.
    const token = tokenOf(booted.folder);
    const { fetch } = createHttpApi({ system: booted.kernel, token, version, clock: systemClock });
    if (run) await booted.kernel.run();
    return { booted, fetch, token };
  } catch (error) {
    await booted.close();
    throw error;
  }
}

const embed: CliHost["embed"] = async ({ config, run, onNotice }): Promise<Embedded> => {
  const { booted, fetch, token } = await up(await projectOf(config), { run, onNotice });
  return { fetch, token, notices: booted.notices, close: booted.close };
};

/** No server is there to talk to, so it is a command with a kernel of its own that has the folder open. */
function busyWithCommand({ data }: OsError): OsError {
  const { folder, owner } = data;
  const pid = typeof owner === "number" ? ` (pid ${owner})` : "";
  const where = typeof folder === "string" ? folder : "this project";
  return new OsError(
    "store_busy",
    `Another command of Reeve${pid} works on ${where} by itself, and only one can. Wait for it to end, or press Ctrl-C in it: its process is parked and goes on later. While \`reeve up\` runs, any number of commands can work at once.`,
    { data },
  );
}

const serve: CliHost["serve"] = async ({ config, port, onNotice }): Promise<Serving> => {
  const project = await projectOf(config);
  // The port is taken before anything is run: a server that nobody can reach must not act.
  const { booted, fetch, token } = await up(project, { run: false, onNotice });
  try {
    const { listen } = await import("./gateway/listen.ts");
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
};

async function locate({ config }: { config?: string }): Promise<{ url: string; token: string } | null> {
  const project = await projectOf(config);
  const address = readServer(resolve(project.folder, project.config.dataFolder));
  return address !== undefined && (await isListening(address.url)) ? address : null;
}

/**
 * Whether anybody listens there. After a crash the file stays, and its process id may be another program's by now. A server
 * that listens and does not answer is believed: whoever talks to it is told.
 */
function isListening(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  const { promise, resolve: answer } = Promise.withResolvers<boolean>();
  const socket = connect({ host: hostname, port: Number(port) })
    .once("connect", () => answer(true))
    .once("error", () => answer(false));
  return promise.finally(() => socket.destroy());
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
  waitForBrowser,
};

/** Runs one command; resolves with its exit status. */
export const commandLine = (argv: readonly string[]): Promise<number> => runCli(argv, host);

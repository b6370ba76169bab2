// The server under test: `reeve up` as a user starts it, in a child process that may be killed at any time.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createClient, type Client } from "../src/sdk/client.ts";
import type { Scratch } from "./scratch.ts";

const MAIN = fileURLToPath(new URL("../src/main.ts", import.meta.url));
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const COMPLAINT_LINES = 20;

export type Ended = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

export type RunningServer = {
  readonly client: Client;
  /** Fires when the server has ended, however that came about. */
  readonly gone: AbortSignal;
  readonly ended: Promise<Ended>;
  /** Milliseconds from its start to its word that it is ready. */
  readonly startMs: number;
  readonly pid: number;
  kill(): void;
  /** Asks it to end, and kills it if it does not. */
  stop(): Promise<void>;
  /** The last lines on its standard error. */
  complaints(): string;
};

/** It ended before it was ready. */
export class StartFailed extends Error {
  readonly ended: Ended;
  constructor(ended: Ended, complaints: string) {
    super(`The server ended before it was ready (${ended.signal ?? `exit ${ended.code}`}): ${complaints}`);
    this.ended = ended;
  }
}

export type StartOptions = {
  readonly scratch: Scratch;
  readonly configFile: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Called with the child as soon as it exists, before it is ready. */
  readonly onSpawn?: (child: ChildProcess) => void;
};

type Ready = { readonly url: string; readonly token: string };

function collectComplaints(child: ChildProcess): () => string {
  const lines: string[] = [];
  if (child.stderr === null) return () => "";
  createInterface({ input: child.stderr }).on("line", (line) => {
    lines.push(line);
    if (lines.length > COMPLAINT_LINES) lines.shift();
  });
  return () => lines.join("\n");
}

function readyLine(child: ChildProcess): Promise<Ready> {
  const { promise, resolve } = Promise.withResolvers<Ready>();
  if (child.stdout === null) return promise;
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (!line.startsWith("{")) return;
    const { url, token } = JSON.parse(line) as Partial<Ready>;
    if (url !== undefined && token !== undefined) resolve({ url, token });
  });
  return promise;
}

/** Starts a server and waits until it is ready. Rejects with `StartFailed` if it ends first. */
export async function startServer({ scratch, configFile, env = {}, onSpawn }: StartOptions): Promise<RunningServer> {
  const fromMs = performance.now();
  const child = spawn(process.execPath, [MAIN, "up", "--json", "--config", configFile], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const undo = scratch.defer(() => void child.kill("SIGKILL"));
  const gone = new AbortController();
  const complaints = collectComplaints(child);
  const ended = once(child, "close").then(async ([code, signal]): Promise<Ended> => {
    gone.abort();
    await undo();
    return { code: code as number | null, signal: signal as NodeJS.Signals | null };
  });
  onSpawn?.(child);
  const timeout = new AbortController();
  const late = delay(START_TIMEOUT_MS, undefined, { signal: timeout.signal }).then(
    () => child.kill("SIGKILL"),
    // Aborted: it was ready, or ended, in time.
    () => undefined,
  );
  const ready = await Promise.race([readyLine(child), ended]);
  timeout.abort();
  await late;
  if (!("url" in ready)) throw new StartFailed(ready, complaints());
  return {
    client: createClient(ready),
    gone: gone.signal,
    ended,
    startMs: performance.now() - fromMs,
    pid: child.pid ?? 0,
    kill: () => void child.kill("SIGKILL"),
    async stop() {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
      await ended;
      clearTimeout(timer);
    },
    complaints,
  };
}

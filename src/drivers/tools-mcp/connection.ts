// One connection to an MCP server, from the first word to the last. Revision 2026-07-28 of the protocol is tried first,
// older ones after it.
import { Client, type StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { SourceConfig } from "../../abi/config.ts";
import { environmentOf } from "./child.ts";
import { createHttpTransport } from "./http-transport.ts";
import { StdioTransport } from "./stdio-transport.ts";

export type McpConfig = Extract<SourceConfig, { type: "mcp-stdio" | "mcp-http" }>;
export type McpDeps = {
  /** Of which PATH, HOME, LANG and TMPDIR go to children. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The folder of the configuration: children run in it, and `cwd` is relative to it. */
  readonly folder: string;
  /** Reeve's version, which servers are told. */
  readonly version: string;
};
export type Server = { readonly name: string; readonly config: McpConfig; readonly deps: McpDeps };

/** The library's own limits lie behind ours, so that ours speak. */
const SLACK_MS = 1000;
/** How long a server may take to hear that its session is not needed any more. */
const LEAVE_MS = 1000;

const withoutSecrets = (url: string): string => {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
};

/** What to do about a server that does not work. Arguments, headers and queries may hold secrets and are not repeated. */
export function remedyFor({ name, config }: Server): string {
  return config.type === "mcp-stdio"
    ? `Check that "${config.command}" (tools.${name}.command) runs by itself with the arguments, folder and environment that stand beside it.`
    : `Check that a server answers at ${withoutSecrets(config.url)} (tools.${name}.url).`;
}

const isStdio = (config: McpConfig): config is Extract<McpConfig, { type: "mcp-stdio" }> => config.type === "mcp-stdio";

function stdioTransport(config: Extract<McpConfig, { type: "mcp-stdio" }>, deps: McpDeps): StdioTransport {
  const { command, args } = config;
  const cwd = resolve(deps.folder, config.cwd ?? ".");
  return new StdioTransport({ command, args, cwd, env: environmentOf(deps.environment, config.env) });
}

export class Connection {
  readonly client: Client;
  readonly #transport: StdioTransport | StreamableHTTPClientTransport;
  #calls = 0;
  #retired = false;
  #open = true;
  #onEnd: () => void = () => {};

  constructor({ config, deps }: Server) {
    this.#transport = isStdio(config) ? stdioTransport(config, deps) : createHttpTransport(config);
    // Silence on the first question is an old server's way on a pipe, which leaves half the time for the old greeting;
    // over HTTP it is an outage, whose end is the end of the start time.
    const timeoutMs = isStdio(config) ? config.startTimeoutMs / 2 : config.startTimeoutMs + SLACK_MS;
    const versionNegotiation = { mode: "auto", probe: { timeoutMs } } as const;
    const options = { versionNegotiation, inputRequired: { autoFulfill: false } };
    this.client = new Client({ name: "reeve", version: deps.version }, options);
    this.client.onclose = () => {
      this.#open = false;
      this.#onEnd();
    };
  }

  /** Says hello, in about `timeout` milliseconds. `legacy`: in the old way, without trying the new one. */
  async open(options: { readonly timeout: number; readonly legacy: boolean }): Promise<void> {
    await this.client.connect(this.#transport, {
      timeout: options.timeout + SLACK_MS,
      ...(options.legacy ? { prior: { kind: "legacy" } } : {}),
    });
  }

  get isOpen(): boolean {
    return this.#open && !this.#retired;
  }

  /** Whether it is a child that ended without being told to. */
  get diedByItself(): boolean {
    return this.#stdio()?.diedByItself ?? false;
  }

  get hasSession(): boolean {
    return "sessionId" in this.#transport && this.#transport.sessionId !== undefined;
  }

  get isBusy(): boolean {
    return this.#calls > 0;
  }

  set onEnd(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  /** How it ended, or undefined while it stands. */
  ended(): string | undefined {
    return this.#open ? undefined : (this.#stdio()?.describe() ?? "the connection was closed");
  }

  /** Why something failed: the server's own end before what the library makes of it, and what the server last said. */
  explain(why: string): string {
    const state = this.#stdio()?.describe();
    if (state === undefined) return why;
    return this.#stdio()?.isBroken === true ? `it ${state}` : `${why}; ${state}`;
  }

  /** Keeps the connection from being closed under a call that is under way. */
  async during<T>(call: () => Promise<T>): Promise<T> {
    this.#calls += 1;
    try {
      return await call();
    } finally {
      this.#calls -= 1;
      if (this.#retired && this.#calls === 0) void this.close();
    }
  }

  /** Takes no new calls, and closes when the last one is done. */
  retire(): void {
    this.#retired = true;
    if (this.#calls === 0) void this.close();
  }

  async close(): Promise<void> {
    this.#retired = true;
    // What goes wrong at the end of a connection concerns nobody any more.
    if (this.#open) await this.#leaveSession().catch(() => {});
    await this.client.close().catch(() => {});
    await this.#transport.close().catch(() => {});
  }

  /** Ends it without giving the server time. `cause` says in words why. */
  kill(cause: string): void {
    this.#retired = true;
    const stdio = this.#stdio();
    if (stdio === undefined) void this.close();
    else stdio.kill(cause);
  }

  async #leaveSession(): Promise<void> {
    const transport = this.#transport;
    if (transport instanceof StdioTransport || transport.sessionId === undefined) return;
    await Promise.race([transport.terminateSession(), delay(LEAVE_MS, undefined, { ref: false })]);
  }

  #stdio(): StdioTransport | undefined {
    return this.#transport instanceof StdioTransport ? this.#transport : undefined;
  }
}

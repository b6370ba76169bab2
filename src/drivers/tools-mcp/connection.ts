// One connection to an MCP server, from the first word to the last. Revision 2026-07-28 of the protocol is tried first,
// older ones after it.
import { Client, type StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { SourceConfig } from "../../abi/config.ts";
import type { IsolationLevel } from "../../abi/isolation.ts";
import type { Egress, EgressLog } from "../../ports/egress.ts";
import type { CallOptions } from "../../ports/tools.ts";
import { createHttpTransport } from "./http-transport.ts";
import { environmentOf, plainly } from "./launch.ts";
import type { Keys } from "./keys.ts";
import type { OAuth } from "./oauth.ts";
import { inSandbox, type Sandboxing } from "./sandboxed.ts";
import { StdioTransport } from "./stdio-transport.ts";
import { CallsUnderWay } from "./under-way.ts";
import type { HttpConfig, WayOut } from "./way-out.ts";

type StdioConfig = Extract<SourceConfig, { type: "mcp-stdio" }>;
export type McpConfig = StdioConfig | HttpConfig;
export type McpDeps = {
  /** Of which PATH, HOME, LANG and TMPDIR go to children. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The folder of the configuration: children run in it, and `cwd` is relative to it. */
  readonly folder: string;
  /** Reeve's version, which servers are told. */
  readonly version: string;
  readonly sandboxing: Sandboxing;
  readonly egress: Egress;
  readonly log: EgressLog;
  /** Through the door of one server over its life; by one request to one over HTTP. Bytes. */
  readonly serverBytesMax: number;
  /** Where logins are kept. */
  readonly loginFolder: string;
  /** What no caller waits for. */
  readonly onNotice: (message: string) => void;
};
export type StdioServer = {
  readonly name: string;
  readonly keys: Keys;
  readonly config: StdioConfig;
  readonly deps: McpDeps;
  readonly wayOut?: undefined;
  readonly oauth?: undefined;
};
export type HttpServer = {
  readonly name: string;
  readonly keys: Keys;
  readonly config: HttpConfig;
  readonly deps: McpDeps;
  readonly wayOut: WayOut;
  /** Absent where the headers say who calls. */
  readonly oauth: OAuth | undefined;
};
export type Server = StdioServer | HttpServer;

/** The library's own limits lie behind ours, so that ours speak. */
const SLACK_MS = 1000;
/** How long a server may take to hear that its session is not needed any more. */
const LEAVE_MS = 1000;

/** What calls of this server run under. What answers over HTTP runs wherever it is, and Reeve keeps it from nothing. */
export const isolationOf = (config: McpConfig): IsolationLevel =>
  config.type === "mcp-stdio" ? config.isolation : "none";

function stdioTransport({ name, keys, config, deps }: StdioServer, calls: CallsUnderWay): StdioTransport {
  const { command, args, sandbox: grant } = config;
  const absolute = (path: string): string => resolve(deps.folder, path);
  const program = { command, args, cwd: absolute(config.cwd ?? ".") };
  if (config.isolation === "none")
    return new StdioTransport(plainly({ ...program, env: environmentOf(deps.environment, config.env) }));
  return new StdioTransport(
    inSandbox({
      ...deps.sandboxing,
      egress: deps.egress,
      bytesMax: deps.serverBytesMax,
      source: name,
      key: keys.sandbox,
      program: { ...program, env: config.env },
      path: config.env["PATH"] ?? deps.environment["PATH"] ?? "",
      grant: { ...grant, read: grant.read.map(absolute), write: grant.write.map(absolute) },
      notes: calls.notesOf(`tools.${name}`, deps.onNotice),
    }),
  );
}

export class Connection {
  readonly client: Client;
  readonly #transport: StdioTransport | StreamableHTTPClientTransport;
  readonly #calls = new CallsUnderWay();
  #retired = false;
  #open = true;
  #onEnd: () => void = () => {};

  constructor(server: Server) {
    const { config, deps, wayOut, oauth } = server;
    const isHttp = wayOut !== undefined;
    this.#transport = isHttp
      ? createHttpTransport({ ...server.config, oauth, wayOut })
      : stdioTransport(server, this.#calls);
    // Silence on the first question is an old server's way on a pipe, which leaves half the time for the old greeting;
    // over HTTP it is an outage, whose end is the end of the start time.
    const timeoutMs = isHttp ? config.startTimeoutMs + SLACK_MS : config.startTimeoutMs / 2;
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
    return this.#calls.size > 0;
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
  async during<T>(options: Pick<CallOptions, "call" | "notes">, run: () => Promise<T>): Promise<T> {
    try {
      return await this.#calls.during({ call: options.call, notes: options.notes }, run);
    } finally {
      if (this.#retired && !this.isBusy) void this.close();
    }
  }

  /** Takes no new calls, and closes when the last one is done. */
  retire(): void {
    this.#retired = true;
    if (!this.isBusy) void this.close();
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

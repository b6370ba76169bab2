// A source of tools that is an MCP server: started at first use, started again at the next use after its end.
//
// Invariants:
//   M1. A listing belongs to one connection and ends with it; a call goes over the connection whose listing is in force.
//   M2. A call is not sent to a server that meanwhile shows another tool under that name.
//   M3. Whatever the server does, `tools` ends within the start time, and `call` soon after its signal. Whether sandboxes can be had
//       here is found out before that, and is not the server's time.
import type { Tool } from "@modelcontextprotocol/client";
import { SdkHttpError } from "@modelcontextprotocol/client";
import { OsError } from "../../abi/errors.ts";
import type { IsolationLevel } from "../../abi/isolation.ts";
import type { JsonObject } from "../../abi/json.ts";
import type { Login, LoginStep, SourceTool, ToolOutcome, ToolSource } from "../../ports/tools.ts";
import { notPerformed, outcomeOfFault } from "./classify.ts";
import { isolationOf, type Connection, type McpConfig, type McpDeps, type Server } from "./connection.ts";
import { outcomeOf } from "./content.ts";
import { Dispatch, dispatching } from "./dispatch.ts";
import { ownWord, plain, textOf, unavailable } from "./faults.ts";
import { fetchTools, sourceToolOf } from "./listing.ts";
import { inCourseOf } from "./course.ts";
import { type Keys, keysOf } from "./keys.ts";
import { OAuth } from "./oauth.ts";
import { headerFault } from "./parameter-headers.ts";
import { remedyFor } from "./remedy.ts";
import { start } from "./start.ts";
import { WayOut } from "./way-out.ts";

/** The `_meta` key under which a call's idempotency key travels. */
const KEY_META = "reeve/idempotencyKey";
/** The library's own timer must not end a call: time is kept by whoever calls. The longest that a timer takes. */
const NO_TIMEOUT_MS = 2 ** 31 - 1;
/** A server behind HTTP can be exchanged without a word; what it lists is taken as true for so long. */
const HTTP_LISTING_MS = 60_000;

type Listing = {
  readonly connection: Connection;
  readonly tools: readonly SourceTool[];
  readonly byName: ReadonlyMap<string, Tool>;
  readonly fingerprint: string;
  readonly atMs: number;
};
type CallOptions = Parameters<ToolSource["call"]>[2];
type Attempt = {
  readonly listing: Listing;
  readonly tool: Tool;
  readonly args: JsonObject;
  readonly options: CallOptions;
};

const SESSION_GONE = Symbol("session gone");

function faultsOf({ name, inputSchema }: Tool): [name: string, fault: string][] {
  const fault = headerFault(inputSchema);
  return fault === undefined ? [] : [[name, fault]];
}

/** The tools of the MCP server that `config` names, as the source `name`. Nothing is started before the first use. */
export function createMcpSource(name: string, config: McpConfig, deps: McpDeps, keys: Keys = keysOf(name)): ToolSource {
  if (config.type === "mcp-stdio") return new McpSource({ name, keys, config, deps });
  const { environment, loginFolder: folder, egress, log, serverBytesMax: bytesMax } = deps;
  const wayOut = new WayOut({ source: name, keys, config, egress, log: log(`tools.${name}`), bytesMax });
  const proves = Object.keys(config.headers).some((key) => /^authorization$/i.test(key));
  const oauth = proves ? undefined : new OAuth({ source: name, config, folder, environment, wayOut });
  return new McpSource({ name, keys, config, deps, oauth, wayOut });
}

class McpSource implements ToolSource {
  readonly isolation: IsolationLevel;
  readonly #server: Server;
  readonly #open = new Set<Connection>();
  #connecting: Promise<Connection> | undefined;
  #current: Connection | undefined;
  #listing: Promise<Listing> | undefined;
  /** The listing last shown, also after its end: to compare with, and to show again if nothing changed. */
  #shown: Listing | undefined;
  /** The program speaks only the old revisions, as its last start has shown. */
  #legacy = false;
  /** What the operator was told last of tools that are not offered. */
  #leftOut = "";
  #closed = false;

  constructor(server: Server) {
    this.#server = server;
    this.isolation = isolationOf(server.config);
  }

  async tools(): Promise<readonly SourceTool[]> {
    return (await this.#listed()).tools;
  }

  async call(name: string, args: JsonObject, options: CallOptions): Promise<ToolOutcome> {
    const call = (): Promise<ToolOutcome> => this.#call(name, args, options);
    return this.#server.wayOut === undefined ? call() : inCourseOf(options, call);
  }

  async #call(name: string, args: JsonObject, options: CallOptions): Promise<ToolOutcome> {
    const shown = this.#shown?.byName.get(name);
    // A session that the server has forgotten is the one refusal that starting anew cures.
    for (let attempt = 0; ; attempt += 1) {
      let ready: Attempt;
      try {
        ready = { ...(await this.#ready(name, shown, options.signal)), args, options };
      } catch (error) {
        return notPerformed(error);
      }
      const outcome = await this.#attempt(ready, attempt === 0);
      if (outcome !== SESSION_GONE) return outcome;
    }
  }

  async login(login: Login): Promise<LoginStep> {
    const { oauth, name } = this.#server;
    if (oauth !== undefined) return oauth.login(login);
    throw new OsError(
      "unsupported",
      `The MCP server "${name}" knows no login: it runs on this machine, or its headers say who calls.`,
    );
  }

  async logout(): Promise<boolean> {
    const removed = this.#server.oauth?.logout() ?? false;
    if (removed && this.#current !== undefined) this.#drop(this.#current);
    return removed;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#open].map(async (connection) => connection.close()));
    // A start that is under way ends with its connection; that it failed is what was wanted.
    await this.#connecting?.catch(() => {});
    await Promise.all([...this.#open].map(async (connection) => connection.close()));
  }

  /** The listing in force and the tool in it. Rejects with `tool_unavailable` if it is not there, or not as it was shown. */
  async #ready(
    name: string,
    shown: Tool | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly listing: Listing; readonly tool: Tool }> {
    const listing = await this.#untilGivenUp(this.#listed(), signal);
    const tool = listing.byName.get(name);
    const remedy = "Ask for its tools again.";
    if (tool === undefined) throw unavailable(this.#server.name, `has no tool "${plain(name, 128)}" any more`, remedy);
    if (shown !== undefined && shown !== tool && JSON.stringify(shown) !== JSON.stringify(tool))
      throw unavailable(
        this.#server.name,
        `shows "${plain(name, 128)}" otherwise than before; the call was not sent`,
        remedy,
      );
    return { listing, tool };
  }

  async #untilGivenUp<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
    if (signal.aborted) throw unavailable(this.#server.name, "was not called, since the call was given up before", "");
    let stop = (): void => {};
    const givenUp = new Promise<never>((_, reject) => {
      stop = () =>
        reject(unavailable(this.#server.name, "had not started when the call was given up", remedyFor(this.#server)));
      signal.addEventListener("abort", stop, { once: true });
    });
    return Promise.race([work, givenUp]).finally(() => signal.removeEventListener("abort", stop));
  }

  async #attempt(attempt: Attempt, mayRestart: boolean): Promise<ToolOutcome | typeof SESSION_GONE> {
    const { listing, options } = attempt;
    const { connection } = listing;
    const dispatch = new Dispatch();
    try {
      return outcomeOf(
        await connection.during(options, async () => dispatching(dispatch, async () => this.#send(attempt, dispatch))),
      );
    } catch (error) {
      const http = SdkHttpError.isInstance(error);
      if (mayRestart && http && error.status === 404 && connection.hasSession) {
        this.#drop(connection);
        return SESSION_GONE;
      }
      const isHttp = this.#server.config.type === "mcp-http";
      // One that did not answer may never answer again: it is asked for its tools before it gets another call.
      if (!isHttp && dispatch.left && options.signal.aborted) this.#unlist(connection);
      // Over HTTP a broken exchange is the only sign that the server behind the address may be another one now.
      if (isHttp && (http || dispatch.lostReason !== undefined || !dispatch.left)) this.#drop(connection);
      return outcomeOfFault({
        source: this.#server.name,
        error,
        dispatch,
        ended: connection.ended(),
        givenUp: options.signal.aborted,
        remedy: remedyFor(this.#server),
      });
    }
  }

  async #send(
    { listing, tool, args, options }: Attempt,
    dispatch: Dispatch,
  ): ReturnType<Connection["client"]["callTool"]> {
    const { name, inputSchema } = tool;
    return listing.connection.client.callTool(
      { name, arguments: args, _meta: { [KEY_META]: options.key } },
      // Given the definition, the library looks nothing up; without an output schema, it judges no answer that has already come.
      {
        signal: AbortSignal.any([options.signal, dispatch.signal]),
        timeout: NO_TIMEOUT_MS,
        toolDefinition: { name, inputSchema },
      },
    );
  }

  async #listed(): Promise<Listing> {
    const known = this.#listing;
    if (known !== undefined) {
      const listing = await known;
      const stale = this.#server.config.type === "mcp-http" && performance.now() - listing.atMs > HTTP_LISTING_MS;
      if (!stale || this.#listing !== known) return listing;
    }
    const listing = this.#list();
    this.#listing = listing;
    listing.catch(() => {
      if (this.#listing === listing) this.#listing = undefined;
    });
    return listing;
  }

  async #list(): Promise<Listing> {
    const { name, config } = this.#server;
    await this.#isolated();
    const timeoutMs = config.startTimeoutMs;
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), timeoutMs);
    try {
      const connection = await this.#connected(late.signal);
      const tools = await fetchTools(connection.client, { signal: late.signal, timeout: NO_TIMEOUT_MS }).catch(
        (error: unknown) => {
          if (!connection.isBusy) this.#drop(connection);
          const why = late.signal.aborted
            ? `did not list its tools within ${timeoutMs} ms`
            : connection.explain(`did not list its tools: ${textOf(error)}`);
          throw ownWord(error) ?? unavailable(name, why, remedyFor(this.#server), error);
        },
      );
      return this.#show(connection, this.#offered(connection, tools));
    } finally {
      clearTimeout(timer);
    }
  }

  /** Rejects with `isolation_unavailable` where a sandbox is to be used and cannot be had. */
  async #isolated(): Promise<void> {
    const { name, keys, config, deps } = this.#server;
    if (this.isolation === "none" || config.type !== "mcp-stdio" || this.#closed) return;
    try {
      await deps.sandboxing.sandboxes.ready("process");
    } catch (error) {
      if (!OsError.is(error)) throw error;
      const remedy = `To run it with your rights all the same, set ${keys.isolation} to "none".`;
      throw new OsError(error.code, `The MCP server "${name}" was not started. ${error.message} ${remedy}`, {
        data: error.data,
        cause: error,
      });
    }
  }

  /** Without those whose marks of headers the protocol does not let be offered over HTTP; the operator is told, once for each change. */
  #offered(connection: Connection, tools: readonly Tool[]): readonly Tool[] {
    const { name, config, deps } = this.#server;
    if (config.type !== "mcp-http" || connection.client.getProtocolEra() !== "modern") return tools;
    const faults = new Map(tools.flatMap((tool) => faultsOf(tool)));
    const told = [...faults].map(([tool, fault]) => `"${plain(tool, 128)}" (${fault})`).join(", ");
    if (told !== "" && told !== this.#leftOut)
      deps.onNotice(
        `The MCP server "${name}" lists tools that break revision 2026-07-28 of the protocol, and they are left out: ${told}. Have the server corrected.`,
      );
    this.#leftOut = told;
    return tools.filter((tool) => !faults.has(tool.name));
  }

  /** Unchanged tools are shown as the same array, by which others know that nothing changed. */
  #show(connection: Connection, tools: readonly Tool[]): Listing {
    const fingerprint = JSON.stringify(tools);
    const before = this.#shown?.fingerprint === fingerprint ? this.#shown : undefined;
    const shown = before?.tools ?? tools.map((tool) => sourceToolOf(tool, this.#server.config.trustAnnotations));
    const byName = before?.byName ?? new Map(tools.map((tool) => [tool.name, tool]));
    this.#shown = { connection, tools: shown, byName, fingerprint, atMs: performance.now() };
    return this.#shown;
  }

  async #connected(late: AbortSignal): Promise<Connection> {
    if (this.#closed) throw unavailable(this.#server.name, "is not in use any more", "Reeve is shutting down.");
    const known = this.#connecting;
    if (known !== undefined) return known;
    const connecting = this.#start(late);
    this.#connecting = connecting;
    connecting.catch(() => {
      if (this.#connecting === connecting) this.#connecting = undefined;
    });
    return connecting;
  }

  async #start(late: AbortSignal): Promise<Connection> {
    const attempts: Connection[] = [];
    const onAttempt = (connection: Connection): void => {
      attempts.push(connection);
      this.#open.add(connection);
    };
    try {
      const connection = await start({ server: this.#server, legacy: this.#legacy, late, onAttempt });
      for (const failed of attempts) if (failed !== connection) this.#open.delete(failed);
      this.#established(connection);
      return connection;
    } catch (error) {
      this.#legacy = false;
      for (const connection of attempts) this.#open.delete(connection);
      throw error;
    }
  }

  #established(connection: Connection): void {
    connection.onEnd = () => {
      this.#open.delete(connection);
      this.#forget(connection);
    };
    if (!connection.isOpen)
      throw unavailable(
        this.#server.name,
        connection.explain("hung up right after its start"),
        remedyFor(this.#server),
      );
    this.#current = connection;
    // The next start of the same program need not find out anew; another address may lead to another server.
    this.#legacy = this.#server.config.type === "mcp-stdio" && connection.client.getProtocolEra() === "legacy";
    this.#watch(connection);
  }

  /** Has the listing end when the server says that its tools have changed. */
  #watch(connection: Connection): void {
    const { client } = connection;
    client.setNotificationHandler("notifications/tools/list_changed", () => this.#unlist(connection));
    if (client.getProtocolEra() !== "modern" || client.getServerCapabilities()?.tools?.listChanged !== true) return;
    client.listen({ toolsListChanged: true }).then(
      async (subscription) => {
        // Without the subscription changes go unheard, so the listing ends with it.
        if ((await subscription.closed) !== "local") this.#unlist(connection);
      },
      // A server that promises word of changes and gives none: the listing then stands as for one that promises nothing.
      () => {},
    );
  }

  #unlist(connection: Connection): void {
    if (this.#current === connection) this.#listing = undefined;
  }

  #drop(connection: Connection): void {
    this.#forget(connection);
    connection.retire();
  }

  #forget(connection: Connection): void {
    if (this.#current !== connection) return;
    this.#current = undefined;
    this.#connecting = undefined;
    this.#listing = undefined;
  }
}

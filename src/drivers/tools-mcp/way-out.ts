// All that this driver asks over HTTP, as a `fetch` for the library, by the only way out (ports/egress.ts).
//
// The operator's word is taken: the origin of `url` and of `oauth.issuer` may stand for any address, and what `egress` allows is
// allowed. A server's word is not: an address that its metadata name, or that it sends a redirect to, has to be https and to stand for
// public addresses alone. Otherwise a server could have Reeve ask the machine's own services, its network, and the metadata of its cloud.
//
// Invariants:
//   W1. Nothing is sent but by the way out: under rules, to addresses that were judged, and recorded first.
//   W2. Where the operator's rules speak of a host and port, nothing but they holds there.
//   W3. The record holds no query, and nothing of the operator's own address but its origin: both may hold secrets.
import type { FetchLike } from "@modelcontextprotocol/client";
import { type EgressRule, egressRuleSchema } from "../../abi/isolation.ts";
import type { SourceConfig } from "../../abi/config.ts";
import { OsError } from "../../abi/errors.ts";
import type { Egress, HttpRequest, HttpStream } from "../../ports/egress.ts";
import type { EgressNotes } from "../../ports/tools.ts";
import { MESSAGE_BYTES_MAX } from "./bounds.ts";
import { Recording } from "./course.ts";
import { isDispatching } from "./dispatch.ts";
import type { Keys } from "./keys.ts";
import { causesOf, plain } from "./faults.ts";

export type HttpConfig = Extract<SourceConfig, { type: "mcp-http" }>;
export type WayOutOptions = {
  readonly source: string;
  readonly keys: Keys;
  readonly config: HttpConfig;
  readonly egress: Egress;
  /** For what is asked in no call's course. */
  readonly log: EgressNotes;
  /** One request with its answer. */
  readonly bytesMax: number;
};

const UNUSABLE: ReadonlySet<string> = new Set(["not_found", "config_invalid", "invalid_argument"]);

/** Nothing was sent. */
class Unsent extends TypeError {}

export const neverLeft = (error: unknown): boolean => causesOf(error).some((cause) => cause instanceof Unsent);

export class WayOut {
  readonly #options: WayOutOptions;
  readonly #own: readonly EgressRule[];

  constructor(options: WayOutOptions) {
    const { url, oauth, egress } = options.config;
    this.#options = options;
    this.#own = [...sameHost(url), ...(oauth.issuer === undefined ? [] : [privately(oauth.issuer)]), ...egress];
  }

  /** For what the protocol says to the server. */
  readonly fetch: FetchLike = async (url, init) => this.#ask(url, init, { own: isDispatching() });

  /** For logins and tokens, which serve whoever comes. */
  readonly fetchForLogin: FetchLike = async (url, init) => this.#ask(url, init, { own: false });

  /** Whether the operator's own word allows the place, whatever address it stands for. */
  isTrusted(url: URL): boolean {
    return this.#own.some((rule) => names(rule, url));
  }

  async #ask(url: string | URL, init: RequestInit | undefined, { own }: { readonly own: boolean }): Promise<Response> {
    const { egress, config, log, bytesMax, source } = this.#options;
    const address = new URL(url);
    const recording = new Recording(log, own);
    const notes = { requested: this.#requested(recording, address), ended: recording.ended };
    const door = { owner: `tools.${source}`, rules: this.#rulesFor(address), secrets: config.secrets, notes, bytesMax };
    const request = requestOf(address, init);
    const given = init?.signal ?? undefined;
    try {
      return responseOf(await recording.send(given, (signal) => egress.stream(request, door, { signal })));
    } catch (error) {
      throw this.#fault(error, address, given);
    }
  }

  /** As `fetch` fails: by a TypeError, which the library passes on. */
  #fault(error: unknown, address: URL, signal: AbortSignal | undefined): unknown {
    if (OsError.is(error, "egress_denied")) return new Unsent("fetch failed", { cause: this.#refusal(error, address) });
    // A secret or a rule of the configuration that cannot be used.
    if (OsError.is(error) && UNUSABLE.has(error.code)) return new Unsent("fetch failed", { cause: error });
    if (signal?.aborted === true && !OsError.is(error, "tool_unavailable")) return signal.reason;
    const Kind = OsError.is(error, "tool_unavailable") ? Unsent : TypeError;
    return new Kind("fetch failed", { cause: plainly(error) });
  }

  #refusal(error: OsError, address: URL): OsError {
    const { source, keys } = this.#options;
    if (this.isTrusted(address))
      return new OsError("egress_denied", `The MCP server "${source}" was not asked: ${error.message}`, {
        data: error.data,
      });
    const { hostname, port, protocol } = address;
    const scheme = protocol === "https:" ? "" : ', scheme: "http"';
    const rule = `{ host: "${bare(hostname)}"${port === "" ? "" : `, port: ${port}`}${scheme}, allowPrivate: true }`;
    const isAddress = error.data["rule"] === "address";
    const why = isAddress ? "it stands for an address that is not public" : "it is not https";
    return new OsError(
      "egress_denied",
      `The MCP server "${source}" names ${plain(address.origin, 300)}, and Reeve did not ask there: ${why}. A server's own word leads to public addresses by https alone. If this is where its login is, say so in the configuration: ${keys.issuer === undefined ? "" : `${keys.issuer}, or `}${keys.egress}: [${rule}].`,
      { data: error.data },
    );
  }

  #rulesFor(address: URL): readonly EgressRule[] {
    if (this.isTrusted(address) || address.protocol !== "https:") return this.#own;
    const named = { host: bare(address.hostname), port: portOf(address), methods: ["GET", "POST"] };
    return [egressRuleSchema.parse(named)];
  }

  #requested(recording: Recording, address: URL): EgressNotes["requested"] {
    const { origin, pathname } = new URL(this.#options.config.url);
    // Where its metadata are looked up is made of its own path.
    const isServer =
      address.origin === origin && (pathname === "/" ? address.pathname === "/" : address.pathname.includes(pathname));
    return async ({ request: { path, ...request }, ...event }) => {
      const shown = typeof path === "string" && !isServer ? { path: path.replace(/\?.*$/s, "") } : {};
      return recording.requested({ ...event, request: { ...request, ...shown } });
    };
  }
}

const bare = (hostname: string): string => hostname.replace(/^\[(.*)\]$/, "$1");
const portOf = ({ port, protocol }: URL): number => (port === "" ? (protocol === "https:" ? 443 : 80) : Number(port));

/** The origin of an address that the operator wrote, whatever it stands for. */
function privately(url: string | URL): EgressRule {
  const address = new URL(url);
  const scheme = address.protocol === "https:" ? "https" : "http";
  return egressRuleSchema.parse({ host: bare(address.hostname), port: portOf(address), scheme, allowPrivate: true });
}

/** A server may send from plain http to https. */
function sameHost(url: string): readonly EgressRule[] {
  const address = new URL(url);
  const secured = address.protocol === "http:" && address.port === "" ? [privately(`https://${address.host}`)] : [];
  return [privately(address), ...secured];
}

/** Whether a rule speaks of the place. */
function names({ host, port, scheme }: EgressRule, url: URL): boolean {
  const at = bare(url.hostname);
  const isHost = host.startsWith("*.") ? at.endsWith(host.slice(1).toLowerCase()) : at === host.toLowerCase();
  return isHost && (port ?? (scheme === "https" ? 443 : 80)) === portOf(url) && `${scheme}:` === url.protocol;
}

function requestOf(address: URL, init: RequestInit = {}): HttpRequest {
  const headers = Object.fromEntries(new Headers(init.headers));
  const { body = null } = init;
  if (body !== null && typeof body !== "string" && !(body instanceof URLSearchParams))
    throw new TypeError("A body of this kind is not sent.");
  if (body instanceof URLSearchParams) headers["content-type"] ??= "application/x-www-form-urlencoded;charset=UTF-8";
  const method = (init.method ?? "GET").toUpperCase();
  return { url: address.href, method, headers, ...(body === null ? {} : { body: String(body) }) };
}

/** Statuses with which no body comes. */
const BODILESS = new Set([204, 205, 304]);

function responseOf(stream: HttpStream): Response {
  const headers = stream.headers.map(([name, value]): [string, string] => [name, value]);
  const { status } = stream;
  if (status < 200 || status > 599) {
    void stream.close();
    throw new TypeError(`the server answered with the status ${status}, which HTTP does not know`);
  }
  const events = headers.some(([name, value]) => /^content-type$/i.test(name) && /^text\/event-stream/i.test(value));
  const chunks = bounded(stream.body, events)[Symbol.asyncIterator]();
  const body = new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const next = await chunks.next();
        if (next.done === true) controller.close();
        else controller.enqueue(next.value);
      },
      cancel: () => stream.close(),
    },
    { highWaterMark: 0 },
  );
  if (!BODILESS.has(status)) return new Response(body, { status, headers });
  // Read to its end, which is here, so that its connection serves again.
  chunks.next().catch(() => {});
  return new Response(null, { status, headers });
}

const BLANK_LINES = [Buffer.from("\n\n"), Buffer.from("\r\n\r\n")];

/** Bytes after the last end of an event, or undefined if no event ends in the chunk. */
function afterEvent(chunk: Buffer): number | undefined {
  const ends = BLANK_LINES.flatMap((blank) => {
    const at = chunk.lastIndexOf(blank);
    return at === -1 ? [] : [at + blank.length];
  });
  return ends.length === 0 ? undefined : chunk.length - Math.max(...ends);
}

/** Fails the body once a message in it is too long; a stream of events may go on for ever, one event may not. */
async function* bounded(body: AsyncIterable<Uint8Array>, events: boolean): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  try {
    for await (const chunk of body) {
      const rest = events ? afterEvent(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)) : undefined;
      bytes = rest ?? bytes + chunk.byteLength;
      if (bytes > MESSAGE_BYTES_MAX)
        throw new Error(`the server sent a message of more than ${MESSAGE_BYTES_MAX} bytes`);
      yield chunk;
    }
  } catch (error) {
    throw plainly(error);
  }
}

/** What broke in an exchange is no word of this driver's own on what became of a call (faults.ts). */
function plainly(error: unknown): unknown {
  if (!OsError.is(error)) return error;
  return error.cause instanceof Error && !OsError.is(error.cause) ? error.cause : new Error(error.message);
}

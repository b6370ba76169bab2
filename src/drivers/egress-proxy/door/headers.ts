// Headers, as they come and as they are passed on: nothing that is meant for one connection goes further than that connection.
//
// Invariants:
//   H1. What frames a message (Host, Content-Length, Transfer-Encoding) is never passed on, but written anew from what was read; under no name that a
//       server could take for it.
//   H2. What servers take in place of the first line's method or path is judged as these are.
import type { IncomingMessage } from "node:http";
import { asVariable, namesMethod, namesPath } from "../../../lib/http-overrides.ts";
import { authorityOf, type Origin, parseAuthority } from "../rules/hosts.ts";
import { isRequestPath } from "../rules/paths.ts";
import { type Asked, type Decision, refuse } from "../rules/rules.ts";
import type { Headers } from "../rules/secrets.ts";

const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
  "expect",
  "host",
]);

export function headersOf({ rawHeaders }: Pick<IncomingMessage, "rawHeaders">): Headers {
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) pairs.push([rawHeaders[at] ?? "", rawHeaders[at + 1] ?? ""]);
  return pairs;
}

export const valuesOf = (headers: Headers, name: string): readonly string[] =>
  headers.filter(([own]) => own.toLowerCase() === name).map(([, value]) => value);

/** Without what belongs to the connection, and without `drop`. */
export function endToEnd(headers: Headers, drop: readonly string[] = []): Headers {
  const named = valuesOf(headers, "connection").flatMap((value) => value.toLowerCase().split(/\s*,\s*/));
  const gone = new Set([...HOP_BY_HOP, ...named, ...drop]);
  return headers.filter(([name]) => {
    const own = asVariable(name);
    return !gone.has(own) && !own.startsWith("proxy-");
  });
}

export const flat = (headers: Headers): string[] => headers.flatMap(([name, value]) => [name, value]);

/** About what they take up on the wire. */
export const headerBytes = (headers: Headers): number =>
  headers.reduce((sum, [name, value]) => sum + name.length + value.length + 4, 32);

/** How a message's end is known: by its length, by chunks, or there is no body. */
export type Framing = { readonly kind: "length"; readonly bytes: number } | { readonly kind: "chunked" | "none" };

export type Read = { readonly kind: "asked"; readonly asked: Asked; readonly framing: Framing };

const malformed = (message: string): Decision & { kind: "deny" } => refuse("form", message);

/** What of a request is read here. */
export type RequestHead = Pick<IncomingMessage, "url" | "method" | "rawHeaders" | "httpVersion">;

function framingOf(request: RequestHead, headers: Headers): Framing | string {
  const codings = valuesOf(headers, "transfer-encoding");
  const lengths = valuesOf(headers, "content-length");
  if (codings.length > 0) {
    if (codings.length > 1 || !/^chunked$/i.test(codings[0] ?? ""))
      return "it has a Transfer-Encoding other than chunked";
    if (lengths.length > 0) return "it has both a Content-Length and a Transfer-Encoding";
    if (request.httpVersion === "1.0") return "HTTP/1.0 knows no Transfer-Encoding";
    return { kind: "chunked" };
  }
  if (lengths.length > 1 || !/^\d{0,15}$/.test(lengths[0] ?? "")) return "its Content-Length is no length";
  const bytes = Number(lengths[0] ?? 0);
  return lengths.length === 0 ? { kind: "none" } : { kind: "length", bytes };
}

const ABSOLUTE = /^(https?):\/\/([^/?#]*)([^?#]*)(\?[^#]*)?$/i;

/** Where it goes, by its first line; `within` is the origin that its connection is for. */
function targetOf(url: string, within: Origin | undefined): (Origin & { path: string; query: string }) | undefined {
  const absolute = ABSOLUTE.exec(url);
  if (absolute === null) {
    if (within === undefined || !url.startsWith("/")) return undefined;
    const mark = url.indexOf("?");
    const [path, query] = mark === -1 ? [url, ""] : [url.slice(0, mark), url.slice(mark)];
    return { ...within, path, query };
  }
  const scheme = absolute[1]?.toLowerCase() === "https" ? "https" : "http";
  const authority = parseAuthority(absolute[2] ?? "");
  if (authority === undefined) return undefined;
  const port = authority.port ?? (scheme === "https" ? 443 : 80);
  const path = absolute[3] === "" ? "/" : (absolute[3] ?? "/");
  const origin = { scheme, host: authority.host, port } as const;
  const isWithin =
    within === undefined || (within.host === origin.host && within.port === port && within.scheme === scheme);
  return isWithin ? { ...origin, path, query: absolute[4] ?? "" } : undefined;
}

function overridesOf(headers: Headers): Asked["overrides"] {
  const methods = headers.filter(([name]) => namesMethod(name));
  return {
    methods: methods.flatMap(([, value]) => value.split(",")).map((value) => value.trim().toUpperCase()),
    path: headers.find(([name]) => namesPath(name))?.[0],
  };
}

/** A request as it came in; or why it is none that can be judged. */
export function readRequest(request: RequestHead, within?: Origin): Read | (Decision & { kind: "deny" }) {
  const headers = headersOf(request);
  const target = targetOf(request.url ?? "", within);
  if (target === undefined)
    return malformed(
      within === undefined
        ? "The proxy takes a whole http or https address without credentials in its first line, or CONNECT."
        : "A request within a connection to one host takes a path of that host.",
    );
  const { path, query, ...origin } = target;
  if (!isRequestPath(path + query)) return malformed("The path holds what no path can: write it percent-encoded.");
  const hosts = valuesOf(headers, "host");
  const host = hosts[0] === undefined ? undefined : parseAuthority(hosts[0]);
  const isOwn = host?.host === origin.host && (host.port ?? (origin.scheme === "https" ? 443 : 80)) === origin.port;
  // Only HTTP/1.0 may go without.
  if (hosts.length > 1 || (hosts.length === 1 ? !isOwn : request.httpVersion !== "1.0"))
    return malformed(`The Host header is not the ${authorityOf(origin)} that the request goes to.`);
  if (valuesOf(headers, "expect").some((value) => !/^100-continue$/i.test(value)))
    return malformed("Of what can be expected (Expect), only 100-continue is known.");
  const method = request.method ?? "";
  if (method === "TRACE" || method === "CONNECT") return malformed(`${method} is not passed on.`);
  const framing = framingOf(request, headers);
  if (typeof framing === "string") return malformed(`The request cannot be passed on safely: ${framing}.`);
  return { kind: "asked", asked: { ...origin, method, path, query, overrides: overridesOf(headers) }, framing };
}

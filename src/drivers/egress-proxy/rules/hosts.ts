// Names of hosts in one form, whoever wrote them: lower case, IDNA, addresses as the system would read them.
import { isIP } from "node:net";
import { HOST_CHARS_MAX } from "../bounds.ts";

export type Scheme = "http" | "https";
/** `host` is in normal form; an IPv6 address stands without brackets. */
export type Origin = { readonly scheme: Scheme; readonly host: string; readonly port: number };

export const defaultPort = (scheme: Scheme): number => (scheme === "https" ? 443 : 80);

/** As it stands in a URL or a Host header; the port only where it is not the scheme's own. */
export function authorityOf({ scheme, host, port }: Origin): string {
  const name = isIP(host) === 6 ? `[${host}]` : host;
  return port === defaultPort(scheme) ? name : `${name}:${port}`;
}

export const originText = (origin: Origin): string => `${origin.scheme}://${authorityOf(origin)}`;

/**
 * The normal form of a host; undefined for what is none. `0x7f.1` becomes `127.0.0.1` as it would when it is dialled; one trailing
 * dot, which only says that the name is complete, is left out.
 */
export function normalHost(text: string): string | undefined {
  if (text === "" || text.length > HOST_CHARS_MAX + 2 || /[\s/?#@\\%]/.test(text)) return undefined;
  const bare = isIP(text) === 6 ? `[${text}]` : text;
  if (bare.includes(":") && !/^\[[0-9a-fA-F:.]+\]$/.test(bare)) return undefined;
  const parsed = URL.parse(`http://${bare}/`);
  if (parsed === null || parsed.port !== "" || parsed.username !== "") return undefined;
  const name = parsed.hostname;
  if (name.startsWith("[")) return name.slice(1, -1);
  const host = name.endsWith(".") ? name.slice(0, -1) : name;
  const isName = host.length <= HOST_CHARS_MAX && /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/.test(host);
  return isName ? host : undefined;
}

/** `host`, `host:port`, `[address]:port`; undefined for anything else. `port` is undefined where none is named. */
export function parseAuthority(text: string): { host: string; port: number | undefined } | undefined {
  const found = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(text);
  const host = normalHost(found?.[1] ?? "");
  const port = found?.[2] === undefined ? undefined : Number(found[2]);
  if (host === undefined || (port !== undefined && (port < 1 || port > 65_535))) return undefined;
  return { host, port };
}

/** Which hosts a configuration means: one name or address, or (`*.name`) all names below one. */
export type HostPattern = { readonly kind: "is" | "below"; readonly name: string };

export function parsePattern(text: string): HostPattern | undefined {
  const below = text.startsWith("*.");
  const name = normalHost(below ? text.slice(2) : text);
  if (name === undefined || (below && isIP(name) !== 0)) return undefined;
  return { kind: below ? "below" : "is", name };
}

export function matchesHost({ kind, name }: HostPattern, host: string): boolean {
  return kind === "is" ? host === name : isIP(host) === 0 && host.endsWith(`.${name}`);
}

// What a host's name stands for, and whether that may be dialled.
//
// Invariants:
//   A1. A name is resolved once for a connection, all its addresses are judged, and one of those very addresses is dialled.
//   A2. What is not plainly a public address of somebody else is refused, unless the rule allows private ones; then what reaches nobody in particular
//       (multicast, broadcast, unspecified, reserved) still is.
import { lookup } from "node:dns/promises";
import { isIP, type LookupFunction } from "node:net";
import { networkInterfaces } from "node:os";
import ipaddr from "ipaddr.js";

/** All addresses of a name. Rejects if there are none. By `signal` an asker gives up what has not begun. */
export type Resolve = (host: string, signal?: AbortSignal) => Promise<readonly string[]>;

export const systemResolve: Resolve = async (host) => {
  const found = await lookup(host, { all: true, order: "verbatim" });
  return found.map(({ address }) => address);
};

/** Addresses of this machine: what answers at them may trust whoever comes from here, and no firewall stands between. */
export type Own = () => readonly string[];

export const systemOwn: Own = () =>
  Object.values(networkInterfaces()).flatMap((each = []) => each.map(({ address }) => address));

/** Looks public, and is a service of Azure for each machine in it. */
const METADATA: ReadonlySet<string> = new Set(["168.63.129.16"]);
const PRIVATE: ReadonlySet<string> = new Set(["loopback", "private", "linkLocal", "uniqueLocal", "carrierGradeNat"]);
/** All that was ever given out for public use; the library calls what may be given out one day unicast as well. */
const GIVEN_OUT = ipaddr.IPv6.parseCIDR("2000::/3");

/** Why the address may not be dialled, in one word; undefined if it may. */
export function refusedAddress(address: string, allowPrivate: boolean): string | undefined {
  if (isIP(address) === 0) return "malformed";
  const parsed = ipaddr.parse(address);
  const range = parsed.range();
  if (METADATA.has(address)) return allowPrivate ? undefined : "metadata";
  if (range === "ipv4Mapped" && parsed instanceof ipaddr.IPv6)
    return allowPrivate ? refusedAddress(parsed.toIPv4Address().toString(), true) : range;
  if (range === "unicast") return parsed instanceof ipaddr.IPv4 || parsed.match(GIVEN_OUT) ? undefined : "reserved";
  return allowPrivate && PRIVATE.has(range) ? undefined : range;
}

export type Addresses =
  | { readonly kind: "found"; readonly addresses: readonly string[] }
  | { readonly kind: "refused"; readonly range: string }
  | { readonly kind: "unknown_host" };

/** How names are resolved, and which addresses are this machine's own. */
export type Names = { readonly resolve: Resolve; readonly own: Own };

/** All addresses of a host, or the first reason not to dial any of them. */
export async function addressesOf(
  host: string,
  { allowPrivate, signal }: { readonly allowPrivate: boolean; readonly signal?: AbortSignal },
  { resolve, own }: Names,
): Promise<Addresses> {
  let addresses: readonly string[];
  try {
    addresses = isIP(host) === 0 ? await resolve(host, signal) : [host];
  } catch {
    // Why a name stands for nothing is nobody's business inside, and a program can do nothing about it.
    return { kind: "unknown_host" };
  }
  const range = addresses.map((address) => refusedAddress(address, allowPrivate)).find((found) => found !== undefined);
  if (range !== undefined) return { kind: "refused", range };
  const mine = allowPrivate ? [] : own();
  if (addresses.some((address) => mine.includes(address))) return { kind: "refused", range: "own" };
  return addresses.length === 0 ? { kind: "unknown_host" } : { kind: "found", addresses };
}

/** Hands a socket the addresses that were judged, whatever it asks for. */
export const pinned =
  (addresses: readonly string[]): LookupFunction =>
  (_host, options, callback) => {
    const found = addresses.map((address) => ({ address, family: isIP(address) }));
    const [first] = found;
    if (options.all === true) callback(null, found);
    else if (first === undefined) callback(new Error("there is no address"), "", 4);
    else callback(null, first.address, first.family);
  };

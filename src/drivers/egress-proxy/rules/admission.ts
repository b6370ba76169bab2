// Whether a request leaves: one road for programs behind a door and for Reeve's own requests.
//
// Invariants:
//   M1. The order is: the rules, the addresses, the record, and only then the far side.
//   M2. What is refused is recorded as what is let out is, and nothing of it leaves.
import type { Addresses } from "./addresses.ts";
import type { Authority } from "../tls/authority.ts";
import type { Times } from "../bounds.ts";
import { authorityOf, type Origin } from "./hosts.ts";
import type { Entry, Ledger, Wanted } from "./ledger.ts";
import { type Asked, decide, type Decision, type Refusal, refuse, type Rule } from "./rules.ts";
import type { Scrubber } from "./scrub.ts";
import { type Headers, placeholdersIn, type Secret, substitute } from "./secrets.ts";
import type { Upstream, Way } from "../upstream.ts";

/** What a door consists of, as its requests see it. */
export type Parts = {
  readonly rules: readonly Rule[];
  readonly secrets: readonly Secret[];
  /** Whether a secret of that name exists, granted here or not. */
  readonly known: (name: string) => boolean;
  /** Undefined where there are no values to look for. */
  readonly scrubber: Scrubber | undefined;
  readonly ledger: Ledger;
  readonly upstream: Upstream;
  /** Undefined where no rule needs a look into HTTPS. */
  readonly authority: Authority | undefined;
  readonly times: Times;
};

export type Admitted = {
  readonly kind: "admitted";
  readonly asked: Asked;
  readonly rule: Rule;
  readonly path: string;
  /** With the secrets' values: to be sent, and for nothing else. */
  readonly headers: Headers;
  readonly way: Way & { kind: "way" };
  readonly entry: Entry;
};

export type Admission = Admitted | (Refusal & { readonly kind: "deny" }) | { readonly kind: "unreachable" };

type Deny = Decision & { kind: "deny" };

/** Records a refusal, and hands it back. */
export async function denied({ ledger }: Parts, refusal: Deny, wanted: Omit<Wanted, "reason">): Promise<Deny> {
  await ledger.denied(refusal, wanted);
  return refusal;
}

export function isSpent({ ledger }: Parts): Deny | undefined {
  const spent = ledger.spent;
  return spent === undefined ? undefined : refuse("limit", spent.message);
}

export function refusedWay(origin: Origin, way: Addresses & { kind: "refused" }): Deny {
  const what = way.range === "malformed" ? "no address" : "an address that is not public, or is this machine's own";
  return refuse(
    "address",
    `${authorityOf(origin)} stands for ${what}, and its rule does not allow private ones. An operator can set "allowPrivate" in the rule.`,
  );
}

type Admitting = { readonly headers: Headers; readonly signal?: AbortSignal };

/**
 * Rejects where the record cannot be kept; nothing has left then. What is given up by `signal` before it could be recorded is
 * not recorded any more, and counts as unreachable.
 */
export async function admit(parts: Parts, asked: Asked, { headers, signal }: Admitting): Promise<Admission> {
  const { rules, secrets, known, ledger, upstream } = parts;
  const put = substitute(headers, { secrets, origin: asked, known });
  const inAddress = placeholdersIn(asked.path + asked.query).filter(known);
  const wanted: Wanted = {
    method: asked.method,
    scheme: asked.scheme,
    host: asked.host,
    port: asked.port,
    path: asked.path + asked.query,
    leaked: [...new Set([...put.leaked, ...inAddress])],
  };
  const decision = isSpent(parts) ?? decide(rules, asked);
  if (decision.kind === "deny") return denied(parts, decision, wanted);
  const way = await upstream.way(asked, decision.rule.allowPrivate);
  if (way.kind === "refused") return denied(parts, refusedWay(asked, way), wanted);
  if (signal?.aborted === true) return { kind: "unreachable" };
  const entry = await ledger.allowed(decision.rule.text, wanted, put.sent);
  if (way.kind === "way")
    return { kind: "admitted", asked, rule: decision.rule, path: decision.path, headers: put.headers, way, entry };
  entry.end();
  return { kind: "unreachable" };
}

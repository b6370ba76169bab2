// Who may come in at all, before anything is read.
//
// Invariants:
//   G1. A request for another host than this machine's loopback is refused, whatever it carries: a page whose name was
//       rebound to 127.0.0.1 arrives with its own name in `Host`.
//   G2. A request that a page of another origin sent is refused; no answer ever carries a CORS header.
//   G3. The token is compared in constant time, and not before its length is hidden by a hash.
import { createHash, timingSafeEqual } from "node:crypto";
import { processIdSchema } from "../abi/ids.ts";
import type { Actor } from "../abi/events.ts";
import { OsError } from "../abi/errors.ts";

const LOOPBACK = /^(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?$/i;
const METHODS: ReadonlySet<string> = new Set(["GET", "POST"]);

/** Who is recorded when the request names nobody. */
const DEFAULT_ACTOR: Actor = "operator";
export const ACTOR_HEADER = "x-reeve-actor";
const ACTOR = /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$/;
/** Names that the record gives to the system's own parts. */
const RESERVED: ReadonlySet<string> = new Set(["kernel", "reeve", "system"]);

/** Throws `denied` (data.rule: host, origin, method) unless the request was meant for this server by this machine. */
export function checkSource(request: Request): void {
  const url = new URL(request.url);
  const host = request.headers.get("host") ?? url.host;
  if (!LOOPBACK.test(host) || !LOOPBACK.test(url.host)) {
    throw refused(
      "host",
      `The host ${JSON.stringify(host.slice(0, 100))} is not this machine's own. Ask for 127.0.0.1, localhost or [::1].`,
    );
  }
  const origin = request.headers.get("origin");
  if (origin !== null && origin.toLowerCase() !== `http://${host.toLowerCase()}`) {
    throw refused(
      "origin",
      `A page of ${JSON.stringify(origin.slice(0, 100))} may not call this server. Call it from outside a browser, or from its own pages.`,
    );
  }
  if (!METHODS.has(request.method))
    throw refused("method", `No route takes ${request.method}: there are only GET and POST.`);
}

const refused = (rule: string, reason: string): OsError => new OsError("denied", reason, { data: { rule, reason } });

/** A check of the bearer token. Throws `unauthenticated`. */
export function tokenCheck(token: string): (request: Request) => void {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  const expected = digest(token);
  return (request) => {
    const given = /^Bearer +(\S+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
    if (given !== undefined && timingSafeEqual(digest(given), expected)) return;
    const fault = given === undefined ? "carries no token" : "carries a wrong token";
    throw new OsError(
      "unauthenticated",
      `The request ${fault}. Send the header "Authorization: Bearer TOKEN" with the token that \`reeve up\` prints.`,
    );
  };
}

/**
 * Whom the record names: the name in `x-reeve-actor`, taken at its word, or `operator`.
 * Throws `invalid_argument` for a name that has another form or that could pass for a process or a part of the system.
 */
export function actorOf(request: Request): Actor {
  const name = request.headers.get(ACTOR_HEADER);
  if (name === null) return DEFAULT_ACTOR;
  if (ACTOR.test(name) && !RESERVED.has(name.toLowerCase()) && !processIdSchema.safeParse(name).success) return name;
  throw new OsError(
    "invalid_argument",
    `The header ${ACTOR_HEADER} does not name a person: use at most 100 letters, digits and . _ @ + -, beginning with a letter or digit, and no process id or name of a part of the system.`,
    { data: { issues: [`${ACTOR_HEADER}: is not a name`] } },
  );
}

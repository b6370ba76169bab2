// CONNECT: a connection to one host and port, passed on unseen or looked into, as the rules say.
//
//   tunnel   A rule says `tunnel`: whatever is spoken passes unseen.
//   sealed   Rules for the host alone: TLS passes unseen, but for the server's name at its beginning, which has to be the host.
//   open     Rules by methods or paths, plain http, or a secret that is registered for the host: TLS ends here, and each request in
//            it is judged for itself.
//
// Invariants:
//   C1. What is looked into is never passed on unseen: in doubt, `open` wins over `sealed`. A `tunnel` is only what a rule calls so.
//   C2. In `sealed` and `open`, nothing goes to another host than the one that was asked for, by whichever name.
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import { denied, isSpent, type Parts, refusedWay } from "../rules/admission.ts";
import { answerRaw, closingAnswer, refusalAnswer, unreachableAnswer } from "./answers.ts";
import { headersOf, valuesOf } from "./headers.ts";
import { firstBytes, isTls, serverNameOf } from "../tls/hello.ts";
import { authorityOf, normalHost, type Origin, parseAuthority } from "../rules/hosts.ts";
import { type Decision, noRule, refuse, type Rule, rulesFor } from "../rules/rules.ts";
import { isRegistered } from "../rules/secrets.ts";
import { limitIdle, splice } from "./splice.ts";

export type Dialled = {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  /** What came with the request already. */
  readonly head: Buffer;
  /** The origin that the connection is for already; there is no CONNECT within one. */
  readonly within?: Origin | undefined;
  /** Takes over a connection whose requests are for one origin. */
  readonly serve: (socket: Duplex, origin: Origin) => void;
};

type Place = { readonly host: string; readonly port: number };
type Deny = Decision & { kind: "deny" };

function placeOf({ request, within }: Dialled): Place | Deny {
  if (within !== undefined) return refuse("form", "There is no CONNECT within a connection to one host.");
  const { host, port } = parseAuthority(request.url ?? "") ?? {};
  if (host === undefined || port === undefined) return refuse("form", "CONNECT takes a host and a port.");
  const hosts = valuesOf(headersOf(request), "host");
  const named = hosts[0] === undefined ? undefined : parseAuthority(hosts[0]);
  // Some clients leave the port out, but the host is the host.
  const isOwn = named?.host === host && (named.port ?? port) === port;
  if (hosts.length > 1 || (hosts.length === 1 && !isOwn))
    return refuse("form", "The Host header is not the host of CONNECT.");
  return { host, port };
}

export type TunnelMode = { readonly kind: "tunnel" | "sealed"; readonly rule: Rule } | { readonly kind: "open" };

/** How a connection to the place is treated; undefined where no rule names it. */
export function modeOf(
  { rules, secrets }: Pick<Parts, "rules" | "secrets">,
  { host, port }: Place,
): TunnelMode | undefined {
  const here = rulesFor(rules, host, port);
  const [first] = here;
  if (first === undefined) return undefined;
  const unseen = here.find((rule) => rule.tunnel);
  if (unseen !== undefined) return { kind: "tunnel", rule: unseen };
  const isFree = here.every(
    ({ scheme, methods, paths }) => scheme === "https" && methods === undefined && paths === undefined,
  );
  const isSealed = isFree && !isRegistered(secrets, { scheme: "https", host, port });
  return isSealed ? { kind: "sealed", rule: first } : { kind: "open" };
}

/** Serves it to its end, or hands it over. Never rejects. */
export async function tunnel(parts: Parts, dialled: Dialled): Promise<void> {
  const { socket, request, head } = dialled;
  socket.on("error", () => {});
  limitIdle(socket, parts.times.idleMs);
  try {
    const place = placeOf(dialled);
    const wanted = { method: "CONNECT", host: "", port: 0, path: request.url };
    if ("kind" in place) {
      answerRaw(socket, refusalAnswer(await denied(parts, place, wanted)));
      return;
    }
    const mode = modeOf(parts, place);
    const refusal =
      isSpent(parts) ?? (mode === undefined ? noRule(authorityOf({ ...place, scheme: "https" })) : undefined);
    if (refusal !== undefined || mode === undefined) {
      if (refusal !== undefined)
        answerRaw(socket, refusalAnswer(await denied(parts, refusal, { method: "CONNECT", ...place })));
      return;
    }
    if (head.length > 0) socket.unshift(head);
    if (mode.kind === "open") await open(parts, dialled, place);
    else await pass(parts, socket, { mode, place });
  } catch {
    // The record cannot be kept, so the door is shutting.
    answerRaw(socket, closingAnswer);
  }
}

const ESTABLISHED = "HTTP/1.1 200 Connection established\r\n\r\n";

/** Ends TLS here, if it is TLS, and has the requests in it served. */
async function open(parts: Parts, { socket, serve }: Dialled, { host, port }: Place): Promise<void> {
  socket.write(ESTABLISHED);
  const first = await firstBytes(socket, parts.times.headersMs);
  if (first === undefined) {
    socket.destroy();
    return;
  }
  if (!isTls(first)) {
    serve(socket, { scheme: "http", host, port });
    return;
  }
  const { authority } = parts;
  if (authority === undefined) {
    // Only plain http is ruled for here.
    await denied(parts, noRule(`https://${host}:${port}`), { method: "CONNECT", scheme: "https", host, port });
    socket.destroy();
    return;
  }
  const context = authority.contextFor(host);
  const tls = new TLSSocket(socket, {
    isServer: true,
    secureContext: context,
    ALPNProtocols: ["http/1.1"],
    SNICallback: (name, done) => {
      if (normalHost(name) === host) {
        done(null, context);
        return;
      }
      const told = denied(parts, otherServer(host), { method: "CONNECT", scheme: "https", host, port });
      // Where it cannot be recorded, the door shuts; the connection ends either way.
      const end = (): void => done(new Error("another server"));
      told.then(end, end);
    },
  });
  tls.on("error", () => socket.destroy());
  const late = setTimeout(() => socket.destroy(), parts.times.headersMs);
  tls.once("secure", () => clearTimeout(late)).once("close", () => clearTimeout(late));
  serve(tls, { scheme: "https", host, port });
}

const otherServer = (host: string): Deny =>
  refuse("server_name", `The connection was opened for ${host}, and TLS in it is for another server or for none.`);

type Passing = { readonly mode: TunnelMode & { rule: Rule }; readonly place: Place };

/** Passes it on unseen. */
async function pass(parts: Parts, socket: Duplex, { mode, place }: Passing): Promise<void> {
  const { rule } = mode;
  const origin: Origin = { scheme: rule.scheme, ...place };
  const wanted = { method: "CONNECT", ...place };
  const way = await parts.upstream.way(origin, rule.allowPrivate);
  if (way.kind === "refused") {
    answerRaw(socket, refusalAnswer(await denied(parts, refusedWay(origin, way), wanted)));
    return;
  }
  const entry = await parts.ledger.allowed(rule.text, wanted, []);
  try {
    const far =
      way.kind === "way" ? await parts.upstream.connect(origin, way.lookup).catch(() => undefined) : undefined;
    if (far === undefined) {
      answerRaw(socket, unreachableAnswer);
      return;
    }
    far.on("error", () => {});
    socket.once("close", () => far.destroy());
    if (socket.destroyed) {
      far.destroy();
      return;
    }
    socket.write(ESTABLISHED);
    if (mode.kind === "sealed" && !(await isFor(parts, socket, place.host))) {
      far.destroy();
      socket.destroy();
      await denied(parts, otherServer(place.host), wanted);
      return;
    }
    await splice(socket, far, entry);
  } finally {
    entry.end();
  }
}

/** Whether what begins is TLS for the host; an address is asked for by no name. */
async function isFor({ times }: Parts, socket: Duplex, host: string): Promise<boolean> {
  const name = await serverNameOf(socket, times.headersMs);
  if (name === undefined) return false;
  return name === null ? isIP(host) !== 0 : normalHost(name) === host;
}

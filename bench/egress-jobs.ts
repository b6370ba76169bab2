// What the programs of the egress benchmark ask for: what the rules allow, and every way past them that we could think of.
import type { EgressRule } from "../src/abi/isolation.ts";
import { egressRuleSchema, placeholderOf, type SecretConfig, secretSchema } from "../src/abi/isolation.ts";
import type { Arrived, FarPorts } from "./egress-far.ts";
import type { Job, Polite, Rude } from "./egress-client.ts";

export const SECRET = { name: "KEY", value: "bench-secret-5f3a9c1e7b" } as const;
const PLACEHOLDER = placeholderOf(SECRET.name);

/** `a` is ruled by path over both schemes and may get the secret over https; `s` by its name alone; `p` may only be public, and is not. */
export const rulesOf = ({ plain, tls }: FarPorts): EgressRule[] =>
  [
    { scheme: "http", host: "a.test", port: plain, methods: ["GET", "POST"], paths: ["/ok"], allowPrivate: true },
    { host: "a.test", port: tls, methods: ["GET", "POST"], paths: ["/ok"], allowPrivate: true },
    { scheme: "http", host: "b.test", port: plain, methods: ["GET"], paths: ["/ok"], allowPrivate: true },
    { host: "s.test", port: tls, allowPrivate: true },
    { scheme: "http", host: "p.test", port: plain },
    { scheme: "http", host: "127.0.0.1", port: plain },
  ].map((rule) => egressRuleSchema.parse(rule));

export const secretsOf = ({ tls }: FarPorts): Readonly<Record<string, SecretConfig>> => ({
  [SECRET.name]: secretSchema.parse({ from: SECRET.name, to: [{ host: "a.test", port: tls }] }),
});

/** Whether what arrived may have: judged by the plain meaning of the rules, and not by the proxy's code. */
export function isWithinRules(arrived: Arrived, { plain, tls }: FarPorts, rude: ReadonlySet<string>): boolean {
  const { id, door, method, host, path, serverName, text } = arrived;
  if (id === "" || rude.has(id)) return false;
  const ok = /^\/ok(\/[A-Za-z0-9-]*)*(\?.*)?$/.test(path);
  const mayRead = method === "GET" && ok;
  const isA = (mayRead || (method === "POST" && ok)) && door !== "other";
  if (text.includes(SECRET.value)) return door === "tls" && host === `a.test:${tls}` && serverName === "a.test" && isA;
  if (door === "tls")
    return (
      (host === `a.test:${tls}` && serverName === "a.test" && isA) ||
      (host === `s.test:${tls}` && serverName === "s.test")
    );
  return door === "plain" && ((host === `a.test:${plain}` && isA) || (host === `b.test:${plain}` && mayRead));
}

/** Ordinary requests, all of which the rules allow. */
export function politeJob(at: number, { plain, tls }: FarPorts): Polite {
  const common = { kind: "polite", id: `ok-${at}`, method: "GET", headers: {}, path: `/ok/${at}?n=${at}` } as const;
  const kinds: readonly Polite[] = [
    { ...common, scheme: "http", host: "a.test", port: plain },
    { ...common, scheme: "http", host: "a.test", port: plain, method: "POST", body: "b".repeat(500) },
    { ...common, scheme: "https", host: "a.test", port: tls, headers: { authorization: `Bearer ${PLACEHOLDER}` } },
    { ...common, scheme: "http", host: "b.test", port: plain, headers: { authorization: `Bearer ${PLACEHOLDER}` } },
  ];
  return kinds[at % kinds.length] ?? kinds[0] ?? { ...common, scheme: "http", host: "a.test", port: plain };
}

type Attack = (far: FarPorts, id: string) => Omit<Rude, "kind" | "id">;

const request = (line: string, host: string, id: string, more = ""): string =>
  `${line} HTTP/1.1\r\nHost: ${host}\r\nX-Id: ${id}\r\nConnection: close\r\n${more}\r\n`;
const toA =
  (line: (place: string) => string, more = ""): Attack =>
  ({ plain }, id) => ({ text: request(line(`http://a.test:${plain}`), `a.test:${plain}`, id, more) });
const path = (written: string): Attack => toA((at) => `GET ${at}${written}`);
/** Behind what is allowed (its id is none of an attack) stands what is not. */
const hidden =
  (framing: (length: number) => string, before = ""): Attack =>
  ({ plain }, id) => {
    const inner = request(`GET http://a.test:${plain}/secret`, `a.test:${plain}`, id);
    return {
      text: `POST http://a.test:${plain}/okay HTTP/1.1\r\nHost: a.test:${plain}\r\nX-Id: ${id}\r\n${framing(inner.length)}\r\n${before}${inner}`,
    };
  };
const within =
  (serverName: string | undefined, text: (far: FarPorts, id: string) => string): Attack =>
  (far, id) => ({
    text: text(far, id),
    connect: { place: `a.test:${far.tls}`, ...(serverName === undefined ? {} : { serverName }) },
  });

export const ATTACKS: Readonly<Record<string, Attack>> = {
  "another host": ({ plain }, id) => ({ text: request(`GET http://c.test:${plain}/ok`, `c.test:${plain}`, id) }),
  "a host below": ({ plain }, id) => ({ text: request(`GET http://x.a.test:${plain}/ok`, `x.a.test:${plain}`, id) }),
  "another port": ({ other }, id) => ({ text: request(`GET http://a.test:${other}/ok`, `a.test:${other}`, id) }),
  "another scheme": ({ tls }, id) => ({ text: request(`GET http://a.test:${tls}/ok`, `a.test:${tls}`, id) }),
  "another method": toA((at) => `DELETE ${at}/ok`),
  "a method of another rule": ({ plain }, id) => ({
    text: request(`POST http://b.test:${plain}/ok`, `b.test:${plain}`, id, "Content-Length: 0\r\n"),
  }),
  TRACE: toA((at) => `TRACE ${at}/ok`),
  "another path": path("/secret"),
  "a longer segment": path("/okay"),
  "another case": path("/OK"),
  dots: path("/ok/../secret"),
  "encoded dots": path("/ok/%2e%2e/secret"),
  "half encoded dots": path("/ok/.%2E/secret"),
  "dots encoded twice": path("/ok/%252e%252e/secret"),
  "an encoded slash": path("/ok%2f..%2fsecret"),
  "a backslash": path("/ok/..\\secret"),
  "an encoded backslash": path("/ok/..%5csecret"),
  "a dot segment with a parameter": path("/ok/..;/secret"),
  "an overlong slash": path("/ok/..%c0%afsecret"),
  "an encoded null": path("/ok/%00/../../secret"),
  "a fragment": path("/secret#/ok"),
  credentials: ({ plain }, id) => ({
    text: request(`GET http://a.test:${plain}@c.test:${plain}/ok`, `c.test:${plain}`, id),
  }),
  "another Host": ({ plain }, id) => ({ text: request(`GET http://a.test:${plain}/ok`, `c.test:${plain}`, id) }),
  "two Hosts": ({ plain }, id) => ({
    text: request(`GET http://a.test:${plain}/ok`, `a.test:${plain}`, id, `Host: c.test:${plain}\r\n`),
  }),
  "a folded Host": ({ plain }, id) => ({
    text: request(`GET http://a.test:${plain}/ok`, `a.test:${plain}`, id, `X: y\r\n Host: c.test\r\n`),
  }),
  "space before a colon": toA((at) => `GET ${at}/ok`, "Host : c.test\r\n"),
  "a bare line feed": toA((at) => `GET ${at}/ok`, "X: y\nHost: c.test\r\n"),
  "a null in a header": toA((at) => `GET ${at}/ok`, "X: a\0b\r\n"),
  "length and chunks": hidden(
    (length) => `Content-Length: ${length + 5}\r\nTransfer-Encoding: chunked\r\n`,
    "0\r\n\r\n",
  ),
  "two lengths": hidden((length) => `Content-Length: 0\r\nContent-Length: ${length}\r\n`),
  "two codings": hidden(() => "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
  "a coding that is none": hidden(() => "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
  "a second request at once": hidden(() => "Content-Length: 0\r\n"),
  "a change to HTTP/2": toA(
    (at) => `GET ${at}/secret`,
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
  ),
  "a WebSocket": toA(
    (at) => `GET ${at}/secret`,
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
  ),
  "a name of a private address": ({ plain }, id) => ({
    text: request(`GET http://p.test:${plain}/ok`, `p.test:${plain}`, id),
  }),
  "a private address": ({ plain }, id) => ({
    text: request(`GET http://127.0.0.1:${plain}/ok`, `127.0.0.1:${plain}`, id),
  }),
  "a private address in other figures": ({ plain }, id) => ({
    text: request(`GET http://0x7f.1:${plain}/ok`, `0x7f.1:${plain}`, id),
  }),
  "a mapped address": ({ plain }, id) => ({
    text: request(`GET http://[::ffff:127.0.0.1]:${plain}/ok`, `[::ffff:127.0.0.1]:${plain}`, id),
  }),
  "CONNECT to another host": ({ tls }, id) => ({
    text: request("GET /ok", `c.test:${tls}`, id),
    connect: { place: `c.test:${tls}`, serverName: "c.test" },
  }),
  "CONNECT to another port": ({ other }, id) => ({
    text: request("GET /ok", `a.test:${other}`, id),
    connect: { place: `a.test:${other}` },
  }),
  "another server's name": ({ tls }, id) => ({
    text: request("GET /ok", `c.test:${tls}`, id),
    connect: { place: `s.test:${tls}`, serverName: "c.test" },
  }),
  "no TLS where TLS is ruled": ({ tls }, id) => ({
    text: request("GET /ok", `s.test:${tls}`, id),
    connect: { place: `s.test:${tls}` },
  }),
  "another name within TLS": within("c.test", ({ tls }, id) => request("GET /ok", `a.test:${tls}`, id)),
  "another Host within TLS": within("a.test", ({ tls }, id) => request("GET /ok", `c.test:${tls}`, id)),
  "another path within TLS": within("a.test", ({ tls }, id) => request("GET /secret", `a.test:${tls}`, id)),
  "another address within TLS": within("a.test", ({ tls }, id) =>
    request(`GET https://s.test:${tls}/`, `s.test:${tls}`, id),
  ),
  "CONNECT within TLS": within("a.test", ({ tls }, id) => request(`CONNECT s.test:${tls}`, `s.test:${tls}`, id)),
  "plain HTTP where TLS is ruled by path": within(undefined, ({ tls }, id) => request("GET /ok", `a.test:${tls}`, id)),
};

const NAMES = Object.keys(ATTACKS);

export function rudeJob(at: number, far: FarPorts): Job & { kind: "rude" } {
  const id = `no-${at}`;
  const attack = ATTACKS[NAMES[at % NAMES.length] ?? ""];
  if (attack === undefined) throw new Error("There are no attacks.");
  return { kind: "rude", id, ...attack(far, id) };
}

export const attackOf = (id: string): string => NAMES[Number(id.slice(3)) % NAMES.length] ?? "unknown";

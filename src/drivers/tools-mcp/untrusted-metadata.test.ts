// Goal: what a server names for its login (metadata, authorisation server, token endpoint, a redirect) leads Reeve to public addresses by
// https and nowhere else, unless the operator says so; the error names the place and says what to write.
// Method: a lying server on loopback, and a victim on another port of this machine that counts who comes; names are resolved by the test.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcp } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { configSchema } from "../../abi/config.ts";
import { OsError } from "../../abi/errors.ts";
import type { ToolSource } from "../../ports/tools.ts";
import { caller } from "../../../test/caller.ts";
import { createEgress } from "../egress-proxy/egress.ts";
import type { McpConfig } from "./connection.ts";
import { openScene, type Scene } from "./scene.fake.ts";
import { createMcpSource } from "./source.ts";

/** What the lying server says. `at` is its own origin, `victim` the port of the victim. */
type Lie = {
  /** In its challenge; its own metadata if absent. */
  readonly resourceMetadata?: string;
  readonly issuer?: string;
  readonly tokenEndpoint?: string;
  readonly registrationEndpoint?: string;
  readonly authorizationEndpoint?: string;
  /** Where its metadata are sent on to. */
  readonly redirect?: string;
};

const REDIRECT = "http://127.0.0.1:7/callback";
const ends: (() => Promise<void>)[] = [];
let victim: { readonly port: number; visits: number };
let lie: Lie;
let at: string;
let names: Record<string, readonly (readonly string[])[]>;
let scene: Scene;

async function listen(server: ReturnType<typeof createTcp>): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ends.push(() => new Promise((resolve) => server.close(() => resolve())));
  return (server.address() as AddressInfo).port;
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  const json = (status: number, value: object, headers = {}): void =>
    void response
      .writeHead(status, { "content-type": "application/json", connection: "close", ...headers })
      .end(JSON.stringify(value));
  const path = request.url ?? "";
  if (path.startsWith("/.well-known/oauth-protected-resource")) {
    if (lie.redirect !== undefined) return void response.writeHead(302, { location: lie.redirect }).end();
    return json(200, { resource: `${at}/mcp`, authorization_servers: [lie.issuer ?? at] });
  }
  if (path === "/.well-known/oauth-authorization-server")
    return json(200, {
      issuer: at,
      authorization_endpoint: lie.authorizationEndpoint ?? `${at}/authorize`,
      token_endpoint: lie.tokenEndpoint ?? `${at}/token`,
      registration_endpoint: lie.registrationEndpoint ?? `${at}/register`,
      response_types_supported: ["code"],
      code_challenge_methods_supported: ["S256"],
      token_endpoint_auth_methods_supported: ["none", "client_secret_post"],
    });
  if (path === "/register")
    return json(201, { client_id: "c", redirect_uris: [REDIRECT], token_endpoint_auth_method: "none" });
  if (path === "/token") return json(200, { access_token: "t", token_type: "Bearer", refresh_token: "r" });
  const metadata = lie.resourceMetadata ?? `${at}/.well-known/oauth-protected-resource/mcp`;
  return json(401, {}, { "www-authenticate": `Bearer resource_metadata="${metadata}"` });
}

beforeEach(async () => {
  lie = {};
  names = {};
  const counted = { port: 0, visits: 0 };
  const port = await listen(
    createTcp((socket) => {
      counted.visits += 1;
      socket.destroy();
    }),
  );
  victim = Object.assign(counted, { port });
  at = `http://127.0.0.1:${await listen(createServer(answer))}`;
  const folder = mkdtempSync(join(tmpdir(), "reeve-metadata-"));
  const egress = createEgress({
    secrets: {},
    secretOf: () => undefined,
    times: { connectMs: 300 },
    resolve: async (host) => {
      const [first = [], ...rest] = names[host] ?? [];
      if (rest.length > 0) names[host] = rest;
      return first;
    },
  });
  scene = openScene(folder, { egress, environment: { SECRET: "machine-secret" }, loginFolder: folder });
  ends.push(async () => rmSync(folder, { recursive: true }));
  ends.push(() => scene.close());
});
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

function open(more: Record<string, unknown> = {}): ToolSource {
  const config = configSchema.parse({ tools: { crm: { type: "mcp-http", url: `${at}/mcp`, ...more } } }).tools["crm"];
  const source = createMcpSource("crm", config as McpConfig, scene.deps);
  ends.push(() => source.close());
  return source;
}

async function faultOf(work: Promise<unknown> | undefined): Promise<OsError> {
  const error: unknown = await work?.then(
    () => new Error("it was not refused"),
    (thrown: unknown) => thrown,
  );
  if (!OsError.is(error)) throw error;
  return error;
}

/** The places that were refused, as they were recorded. */
const refused = (): unknown[] =>
  scene.logged.flatMap(({ kind, event }) =>
    kind === "requested" && event["decision"] === "deny" ? [event["request"]] : [],
  );

/** Places of the machine and of its network, as a liar would name them. */
const places = (): readonly (readonly [string, string])[] => [
  ["http://169.254.169.254", "169.254.169.254"],
  ["https://169.254.169.254", "169.254.169.254"],
  [`http://127.0.0.1:${victim.port}`, `127.0.0.1:${victim.port}`],
  [`https://127.0.0.1:${victim.port}`, `127.0.0.1:${victim.port}`],
  [`https://[::1]:${victim.port}`, `[::1]:${victim.port}`],
  [`https://0x7f.1:${victim.port}`, `127.0.0.1:${victim.port}`],
  [`https://[::ffff:127.0.0.1]:${victim.port}`, "ffff"],
];

async function expectRefusal(fault: OsError, place: string): Promise<void> {
  expect(fault).toMatchObject({ code: "egress_denied", retryable: false });
  expect(fault.message).toContain(`The MCP server "crm" names`);
  expect(fault.message).toContain(place);
  expect(fault.message).toMatch(/tools\.crm\.oauth\.issuer.*tools\.crm\.egress: \[\{ host: "[^"]+"/);
  expect(refused().length).toBeGreaterThan(0);
  expect(victim.visits).toBe(0);
}

describe("an address that a server names is not asked where it is not public", () => {
  test("as its authorisation server", async () => {
    for (const [url, place] of places()) {
      lie = { issuer: url };
      await expectRefusal(await faultOf(open().login?.({ redirect: REDIRECT })), place);
    }
  });

  test("as its metadata, for whoever renews a token by itself", async () => {
    const oauth = { grant: "client_credentials", clientId: "c", clientSecretFrom: "SECRET", issuer: at };
    for (const [url, place] of places()) {
      lie = { resourceMetadata: `${url}/metadata` };
      await expectRefusal(await faultOf(open({ oauth }).tools()), place);
    }
  });

  test("as its token endpoint, which gets no secret", async () => {
    const oauth = { grant: "client_credentials", clientId: "c", clientSecretFrom: "SECRET", issuer: at };
    for (const [url, place] of places().filter(([each]) => each.startsWith("https:"))) {
      lie = { tokenEndpoint: `${url}/token` };
      await expectRefusal(await faultOf(open({ oauth }).tools()), place);
    }
  });

  test("as its token endpoint, when a login that was good is renewed", async () => {
    const source = open();
    const begun = await source.login?.({ redirect: REDIRECT });
    const state = new URL(begun?.address ?? "").searchParams.get("state") ?? "";
    await source.login?.({ redirect: REDIRECT, answer: `code=x&state=${state}` });
    lie = { tokenEndpoint: `https://127.0.0.1:${victim.port}/token` };
    const outcome = await source.call("act", {}, { ...caller(), key: "k", signal: new AbortController().signal });
    expect(outcome).toMatchObject({ kind: "not_performed", error: { code: "egress_denied" } });
    expect(victim.visits).toBe(0);
  });

  test("as the place to register at", async () => {
    for (const [url, place] of places().filter(([each]) => each.startsWith("https:"))) {
      lie = { registrationEndpoint: `${url}/register` };
      await expectRefusal(await faultOf(open().login?.({ redirect: REDIRECT })), place);
    }
  });

  test("by a redirect, which is not followed to another place at all", async () => {
    for (const url of [`http://127.0.0.1:${victim.port}/`, "https://login.example.com/"]) {
      lie = { redirect: url };
      await open()
        .login?.({ redirect: REDIRECT })
        .catch(() => {});
      const asked = scene.logged.map(({ event }) => event["request"] as { host?: string; port?: number } | undefined);
      expect(asked.filter((request) => request !== undefined && request.port !== Number(new URL(at).port))).toEqual([]);
    }
    expect(victim.visits).toBe(0);
  });

  test("as the page of the login, where it would be a service of the person's own machine", async () => {
    lie = { authorizationEndpoint: `http://127.0.0.1:${victim.port}/authorize` };
    await expect(open().login?.({ redirect: REDIRECT })).rejects.toThrow(/no address to log in at that can be trusted/);
  });
});

describe("a name", () => {
  test("that stands for a private address among others is refused whole", async () => {
    names = { "login.example.com": [["93.184.216.34", "127.0.0.1"]] };
    lie = { issuer: `https://login.example.com:${victim.port}` };
    await expectRefusal(await faultOf(open().login?.({ redirect: REDIRECT })), "login.example.com");
  });

  test("that changes what it stands for is asked once for a request, and what was judged is what is dialled", async () => {
    // The second answer is the attack: it would be used if the connection looked the name up again. Nobody listens at the first.
    names = { "login.example.com": [["127.0.0.2"], ["127.0.0.1"]] };
    lie = { issuer: `https://login.example.com:${victim.port}` };
    const egress = [{ host: "login.example.com", port: victim.port, allowPrivate: true }];
    await faultOf(open({ egress }).login?.({ redirect: REDIRECT }));
    expect(victim.visits).toBe(0);
    expect(names["login.example.com"]).toEqual([["127.0.0.1"]]);
    // The next request looks it up anew, and is judged anew.
    await expectRefusal(await faultOf(open().login?.({ redirect: REDIRECT })), "login.example.com");
  });
});

test("what the operator names is asked, by issuer or by rule", async () => {
  const asked = async (more: Record<string, unknown>): Promise<void> => {
    victim.visits = 0;
    lie = { issuer: `http://127.0.0.1:${victim.port}` };
    await faultOf(open(more).login?.({ redirect: REDIRECT }));
    expect(victim.visits).toBeGreaterThan(0);
  };
  await asked({ oauth: { issuer: `http://127.0.0.1:${victim.port}` } });
  await asked({ egress: [{ host: "127.0.0.1", port: victim.port, scheme: "http", allowPrivate: true }] });
});

test("the operator's rules for a place are the only ones there", async () => {
  lie = { issuer: `https://127.0.0.1:${victim.port}` };
  const egress = [{ host: "127.0.0.1", port: victim.port, allowPrivate: true, paths: ["/elsewhere"] }];
  const fault = await faultOf(open({ egress }).login?.({ redirect: REDIRECT }));
  expect(fault).toMatchObject({ code: "egress_denied", data: { rule: "path" } });
  expect(victim.visits).toBe(0);
});

// An authorisation server and an MCP server that asks for its tokens, both real servers on loopback ports: codes that count once and
// only with their verifier, rotating refresh tokens, scopes, a client with a secret, and faults that a test sets.
import { createHash, randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { createMcpHandler } from "@modelcontextprotocol/server";
import { createShopServer } from "./fixtures/shop-server.ts";

export type Faults = {
  /** What the metadata name as the issuer, in place of the real one. */
  issuer?: string;
  /** What stands as `iss` in the answer; null leaves it out. */
  iss?: string | null;
  /** The person says no. */
  refuse?: boolean;
  /** Refresh tokens are not taken any more. */
  revoked?: boolean;
  /** The only path at which the server's metadata stand. */
  metadataAt?: string;
  /** The scope that whoever is asked to log in is to have. */
  loginScope?: string;
  /** The authorisation server does not say that it knows PKCE. */
  withoutPkce?: boolean;
  /** The scope that calls of tools need. */
  callScope?: string;
};

export type Authority = {
  readonly issuer: string;
  readonly mcp: string;
  readonly faults: Faults;
  /** Bodies that the token endpoint got, and clients that registered. */
  readonly asked: URLSearchParams[];
  readonly registered: Record<string, unknown>[];
  /** Headers of all requests to the authorisation server. */
  readonly headers: IncomingMessage["headers"][];
  /** Has all access tokens expire. */
  expire(): void;
  close(): Promise<void>;
};

export const MACHINE = { id: "machine", secret: "s3cret" };

type Code = { readonly challenge: string; readonly client: string; readonly redirect: string; readonly scope: string };
type Given = { readonly access: Map<string, string>; readonly refresh: Map<string, string> };

/** What the authorisation server knows; addresses are filled in when it listens. */
class Books {
  readonly faults: Faults = {};
  readonly asked: URLSearchParams[] = [];
  readonly registered: Record<string, unknown>[] = [];
  readonly headers: IncomingMessage["headers"][] = [];
  readonly given: Given = { access: new Map(), refresh: new Map() };
  readonly #codes = new Map<string, Code>();
  issuer = "";
  mcp = "";

  /** Where the browser is sent back to. */
  authorize(query: URLSearchParams): string {
    const redirect = query.get("redirect_uri") ?? "";
    const back = new URL(redirect);
    back.searchParams.set("state", query.get("state") ?? "");
    const iss = this.faults.iss === undefined ? this.issuer : this.faults.iss;
    if (iss !== null) back.searchParams.set("iss", iss);
    if (this.faults.refuse === true) back.searchParams.set("error", "access_denied");
    else {
      const code = randomUUID();
      this.#codes.set(code, {
        challenge: query.get("code_challenge") ?? "",
        client: query.get("client_id") ?? "",
        redirect,
        scope: query.get("scope") ?? "",
      });
      back.searchParams.set("code", code);
    }
    return back.href;
  }

  grant(form: URLSearchParams, basic: string): object | undefined {
    if (form.get("resource") !== this.mcp) return undefined;
    const { refresh } = this.given;
    if (form.get("grant_type") === "client_credentials") {
      const said = `${form.get("client_id") ?? ""}:${form.get("client_secret") ?? ""}`;
      const known = `${MACHINE.id}:${MACHINE.secret}`;
      return basic === known || said === known ? this.#tokens(form.get("scope") ?? "") : undefined;
    }
    if (form.get("grant_type") === "refresh_token") {
      const scope = refresh.get(form.get("refresh_token") ?? "");
      refresh.delete(form.get("refresh_token") ?? "");
      return scope === undefined || this.faults.revoked === true ? undefined : this.#tokens(scope);
    }
    const code = this.#codes.get(form.get("code") ?? "");
    this.#codes.delete(form.get("code") ?? "");
    const proof = createHash("sha256")
      .update(form.get("code_verifier") ?? "")
      .digest("base64url");
    const fits =
      code?.challenge === proof && code.client === form.get("client_id") && code.redirect === form.get("redirect_uri");
    return fits ? this.#tokens(code.scope) : undefined;
  }

  #tokens(scope: string): object {
    const [token, renewal] = [randomUUID(), randomUUID()];
    this.given.access.set(token, scope);
    this.given.refresh.set(renewal, scope);
    return { access_token: token, token_type: "Bearer", expires_in: 3600, scope, refresh_token: renewal };
  }
}

async function answerAuthority(books: Books, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { issuer, faults, asked, registered, headers } = books;
  const url = new URL(request.url ?? "", issuer);
  const body = await bodyOf(request);
  headers.push(request.headers);
  if (url.pathname === "/.well-known/oauth-authorization-server")
    return json(response, 200, {
      issuer: faults.issuer ?? issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      registration_endpoint: `${issuer}/register`,
      response_types_supported: ["code"],
      grant_types_supported: ["authorization_code", "refresh_token", "client_credentials"],
      ...(faults.withoutPkce !== true && { code_challenge_methods_supported: ["S256"] }),
      token_endpoint_auth_methods_supported: ["none", "client_secret_basic"],
      authorization_response_iss_parameter_supported: true,
    });
  if (url.pathname === "/register") {
    const client = JSON.parse(body) as Record<string, unknown>;
    registered.push(client);
    return json(response, 201, { ...client, client_id: `client-${registered.length}` });
  }
  if (url.pathname === "/authorize")
    return void response.writeHead(302, { location: books.authorize(url.searchParams) }).end();
  if (url.pathname !== "/token") return json(response, 404, {});
  const form = new URLSearchParams(body);
  asked.push(form);
  const basic = Buffer.from((request.headers.authorization ?? "").replace("Basic ", ""), "base64").toString();
  const given = books.grant(form, basic);
  return given === undefined ? json(response, 400, { error: "invalid_grant" }) : json(response, 200, given);
}

type Handle = (request: Request) => Promise<Response>;

async function answerMcp(
  { books, handle }: { readonly books: Books; readonly handle: Handle },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { issuer, mcp, faults, given } = books;
  const at = new URL(mcp).origin;
  const metadata = faults.metadataAt ?? "/.well-known/oauth-protected-resource/mcp";
  if (request.url === metadata)
    return json(response, 200, { resource: mcp, authorization_servers: [issuer], scopes_supported: ["tools"] });
  const body = await bodyOf(request);
  const scope = given.access.get((request.headers.authorization ?? "").replace("Bearer ", ""));
  const challenge = (what: string): Record<string, string> => ({
    "www-authenticate": `Bearer ${what}resource_metadata="${at}${metadata}"`,
  });
  const { callScope, loginScope } = faults;
  if (scope === undefined)
    return json(response, 401, {}, challenge(loginScope === undefined ? "" : `scope="${loginScope}", `));
  if (callScope !== undefined && body.includes('"tools/call"') && !scope.split(" ").includes(callScope))
    return json(response, 403, {}, challenge(`error="insufficient_scope", scope="${callScope}", `));
  const init = {
    method: request.method ?? "GET",
    headers: request.headers as Record<string, string>,
    ...(body === "" ? {} : { body }),
  };
  const answered = await handle(new Request(`${at}${request.url}`, init));
  await getRequestListener(() => answered, { overrideGlobalObjects: false })(request, response);
}

export async function openAuthority(): Promise<Authority> {
  const books = new Books();
  const handler = createMcpHandler(() => createShopServer(), { legacy: "reject", keepAliveMs: 0 });
  const mcpParts = { books, handle: async (request: Request) => handler.fetch(request) };
  const authority = createServer((request, response) => void answerAuthority(books, request, response));
  const server = createServer((request, response) => void answerMcp(mcpParts, request, response));
  books.issuer = await listen(authority);
  books.mcp = `${await listen(server)}/mcp`;
  const { issuer, mcp, faults, asked, registered, headers } = books;
  return {
    ...{ issuer, mcp, faults, asked, registered, headers },
    expire: () => books.given.access.clear(),
    close: async () => {
      await handler.close();
      await Promise.all([authority, server].map(shut));
    },
  };
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const shut = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

function json(response: ServerResponse, status: number, value: object, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
}

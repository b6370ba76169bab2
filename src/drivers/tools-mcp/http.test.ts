// Goal: over Streamable HTTP the driver does right by servers of both eras, and tells a call that never left or was
// refused at the door from one that may have been performed.
// Method: loopback servers: the official server SDK, with a gate in front that spoils chosen exchanges.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createMcpHandler, WebStandardStreamableHTTPServerTransport } from "@modelcontextprotocol/server";
import { getRequestListener } from "@hono/node-server";
import { afterEach, expect, test } from "vitest";
import { configSchema } from "../../abi/config.ts";
import type { ToolSource } from "../../ports/tools.ts";
import type { McpConfig } from "./connection.ts";
import { createShopServer } from "./fixtures/shop-server.ts";
import { openScene } from "./scene.fake.ts";
import { createMcpSource } from "./source.ts";
import { caller } from "../../../test/caller.ts";

type Gate = (request: IncomingMessage, response: ServerResponse, body: string) => boolean;
const ends: (() => Promise<void>)[] = [];
const scene = openScene(import.meta.dirname, { environment: {} });

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function listen(server: Server, port = 0): Promise<string> {
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  ends.push(
    async () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

/** `gate` answers a request itself and says so by true. */
async function serve(
  fetchCallback: (request: Request) => Promise<Response>,
  gate: Gate = () => false,
): Promise<string> {
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await bodyOf(request);
    if (gate(request, response, body)) return;
    const init = {
      method: request.method ?? "GET",
      headers: request.headers as Record<string, string>,
      ...(body === "" ? {} : { body }),
    };
    const answered = await fetchCallback(new Request(`http://127.0.0.1${request.url}`, init));
    await getRequestListener(() => answered, { overrideGlobalObjects: false })(request, response);
  };
  return listen(createServer((request, response) => void answer(request, response)));
}

/** A server of the era before 2026-07-28, with sessions. */
function oldServer(): (request: Request) => Promise<Response> {
  const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>();
  let count = 0;
  return async (request) => {
    const id = request.headers.get("mcp-session-id");
    const known = id === null ? undefined : sessions.get(id);
    if (known !== undefined) return known.handleRequest(request);
    if (id !== null)
      return Response.json(
        { jsonrpc: "2.0", id: null, error: { code: -32001, message: "Session not found" } },
        { status: 404 },
      );
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => `session-${(count += 1)}`,
      onsessioninitialized: (session) => void sessions.set(session, transport),
    });
    await createShopServer().connect(transport);
    return transport.handleRequest(request);
  };
}

function newServer(): (request: Request) => Promise<Response> {
  const handler = createMcpHandler(() => createShopServer(), { legacy: "reject", keepAliveMs: 0 });
  ends.push(async () => handler.close());
  return async (request) => handler.fetch(request);
}

function open(url: string, more: Record<string, unknown> = {}): ToolSource {
  const config = configSchema.parse({ tools: { shop: { type: "mcp-http", url, ...more } } }).tools["shop"] as McpConfig;
  const source = createMcpSource("shop", config, scene.deps);
  ends.push(async () => source.close());
  return source;
}

const call = async (
  source: ToolSource,
  name = "refund",
  args = { id: "o-1" },
  signal = new AbortController().signal,
): ReturnType<ToolSource["call"]> => source.call(name, args, { ...caller(), key: "key-1", signal });
const isCall: (body: string) => boolean = (body) => body.includes('"tools/call"');

/** A gate for calls of tools; everything else goes through. */
const atCalls =
  (act: (response: ServerResponse, request: IncomingMessage) => void): Gate =>
  (request, response, body) => {
    if (!isCall(body)) return false;
    act(response, request);
    return true;
  };

test.each([
  ["old", oldServer],
  ["new", newServer],
])("a server of the %s era lists its tools and answers; headers and the key reach it", async (_, make) => {
  const seen: (string | undefined)[] = [];
  const url = await serve(make(), (request, _response, body) => {
    if (isCall(body)) seen.push(request.headers.authorization);
    return false;
  });
  const source = open(url, { headers: { authorization: "Bearer t" } });
  expect((await source.tools()).map(({ name }) => name)).toContain("refund");
  expect(await call(source)).toEqual({ kind: "done", content: { text: "key-1" } });
  expect(await call(source, "wipe")).toEqual({ kind: "failed", content: { text: "not allowed" } });
  expect(seen).toEqual(["Bearer t", "Bearer t"]);
});

test("nobody listens: not performed, and the address is named without its secrets", async () => {
  const url = await serve(newServer());
  const port = new URL(url).port;
  await ends.pop()?.();
  const source = open(`http://127.0.0.1:${port}/mcp?token=hush`);
  await expect(source.tools()).rejects.toMatchObject({
    code: "tool_unavailable",
    message: expect.stringMatching(
      /"shop" could not be started: .*ECONNREFUSED.*127\.0\.0\.1:\d+\/mcp \(tools\.shop\.url\)/,
    ),
  });
  const outcome = await call(source);
  expect(outcome).toMatchObject({ kind: "not_performed", error: { code: "tool_unavailable" } });
  expect(JSON.stringify(outcome)).not.toContain("hush");
});

test("a server that is silent at the start is given up within its start time", async () => {
  const source = open(await listen(createServer(() => {})), { startTimeoutMs: 300 });
  await expect(source.tools()).rejects.toMatchObject({
    code: "tool_unavailable",
    message: expect.stringContaining("did not answer within 300 ms"),
  });
});

test("a server that is no MCP server is named", async () => {
  const source = open(
    await listen(createServer((_, response) => response.setHeader("content-type", "text/html").end("<html>"))),
    { startTimeoutMs: 2000 },
  );
  await expect(source.tools()).rejects.toMatchObject({
    code: "tool_unavailable",
    message: expect.stringContaining("shop"),
  });
});

test.each([401, 403, 404, 413, 429, 501, 505])("HTTP %i to a call is a refusal: not performed", async (status) => {
  const source = open(
    await serve(
      newServer(),
      atCalls((response) => response.writeHead(status).end("no")),
    ),
  );
  expect(await call(source)).toMatchObject({
    kind: "not_performed",
    error: { code: "tool_unavailable", message: expect.stringContaining(`HTTP ${status}`) },
  });
});

test.each([408, 500, 502, 503, 504])("HTTP %i to a call says nothing of what was done: unknown", async (status) => {
  const source = open(
    await serve(
      newServer(),
      atCalls((response) => response.writeHead(status).end("oh")),
    ),
  );
  expect(await call(source)).toMatchObject({ kind: "unknown" });
});

test("HTTP 422 to a call is an answer", async () => {
  const source = open(
    await serve(
      newServer(),
      atCalls((response) => response.writeHead(422).end("no such order")),
    ),
  );
  expect(await call(source)).toEqual({ kind: "failed", content: { text: "HTTP 422: no such order" } });
});

test("a connection cut under a call: unknown, and the next call goes through", async () => {
  let cut = true;
  const url = await serve(newServer(), (request, _response, body) => {
    if (!isCall(body) || !cut) return false;
    cut = false;
    request.socket.destroy();
    return true;
  });
  const source = open(url);
  expect(await call(source)).toMatchObject({ kind: "unknown", reason: expect.stringContaining('"shop" got the call') });
  expect(await call(source)).toMatchObject({ kind: "done" });
});

test("a stream that ends without an answer: unknown at once", async () => {
  const source = open(
    await serve(
      newServer(),
      atCalls((response) => response.writeHead(200, { "content-type": "text/event-stream" }).end(": nothing\n\n")),
    ),
  );
  expect(await call(source)).toEqual({
    kind: "unknown",
    reason: expect.stringContaining("ended the stream without an answer"),
  });
});

test.each([
  ["application/json", '{"jsonrpc":"2.0","id":1,"result":{"x":"'],
  ["text/event-stream", "data: "],
])("an answer without end (%s) is cut off within bounds: unknown", async (type, beginning) => {
  const source = open(
    await serve(
      newServer(),
      atCalls((response) => {
        response.writeHead(200, { "content-type": type }).write(beginning);
        const chunk = "x".repeat(1024 * 1024);
        const more = (): void => {
          while (!response.destroyed && response.write(chunk));
          if (!response.destroyed) response.once("drain", more);
        };
        more();
      }),
    ),
  );
  expect(await call(source)).toMatchObject({ kind: "unknown" });
});

test("a call given up while its server thinks: unknown", async () => {
  const controller = new AbortController();
  const source = open(
    await serve(
      newServer(),
      atCalls(() => controller.abort(new Error("enough"))),
    ),
  );
  expect(await call(source, "refund", { id: "o-1" }, controller.signal)).toEqual({
    kind: "unknown",
    reason: expect.stringContaining("had not answered when it was given up"),
  });
});

test("a session that the server has forgotten is begun anew, and the call made once", async () => {
  let make = oldServer();
  let calls = 0;
  const url = await serve(
    async (request) => make(request),
    (_request, _response, body) => {
      if (isCall(body)) calls += 1;
      return false;
    },
  );
  const source = open(url);
  expect(await call(source)).toMatchObject({ kind: "done" });
  make = oldServer();
  expect(await call(source)).toEqual({ kind: "done", content: { text: "key-1" } });
  // The second was refused with 404 first.
  expect(calls).toBe(3);
});

test("close tells the server that its session is not needed any more", async () => {
  const methods: (string | undefined)[] = [];
  const url = await serve(oldServer(), (request) => {
    methods.push(request.method);
    return false;
  });
  const source = open(url);
  await source.tools();
  expect(methods).not.toContain("DELETE");
  await source.close();
  expect(methods).toContain("DELETE");
});

test("a server that now shows another tool under the name does not get the call", async () => {
  const other = (): ((request: Request) => Promise<Response>) => {
    const handler = createMcpHandler(() => {
      const server = createShopServer();
      server.registerTool("grown", { description: `Was added ${version} times.` }, async () => ({ content: [] }));
      return server;
    });
    ends.push(async () => handler.close());
    return async (request) => handler.fetch(request);
  };
  let version = 1;
  let spoil = false;
  const url = await serve(other(), (_request, response, body) => {
    if (!isCall(body) || !spoil) return false;
    spoil = false;
    response.writeHead(500).end();
    return true;
  });
  const source = open(url);
  await source.tools();
  version = 2;
  spoil = true;
  expect(await call(source)).toMatchObject({ kind: "unknown" });
  expect(await call(source, "grown")).toMatchObject({
    kind: "not_performed",
    error: { message: expect.stringContaining("otherwise than before") },
  });
  expect(await call(source, "grown")).toMatchObject({ kind: "done" });
});

test("a tool whose marks of headers break the protocol is left out of what a new server offers, and the operator is told once", async () => {
  const marked = (mark: string) => ({ type: "object", properties: { id: { type: "string", "x-mcp-header": mark } } });
  const spoilt: Gate = (_request, response, body) => {
    if (!body.includes('"tools/list"')) return false;
    const { id } = JSON.parse(body) as { id: number };
    const tools = [
      { name: "fine", inputSchema: marked("Order") },
      { name: "broken", inputSchema: marked("Or der") },
    ];
    const result = { resultType: "complete", ttlMs: 0, cacheScope: "private", tools };
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ jsonrpc: "2.0", id, result }));
    return true;
  };
  const before = scene.notices.length;
  const source = open(await serve(newServer(), spoilt));
  expect((await source.tools()).map(({ name }) => name)).toEqual(["fine"]);
  expect(scene.notices.slice(before)).toEqual([
    expect.stringMatching(/"shop" lists tools .* left out: "broken" \(\/properties\/id: x-mcp-header is no name/),
  ]);
  // What came before that revision knows nothing of such marks.
  expect((await open(await serve(oldServer(), spoilt)).tools()).map(({ name }) => name)).toEqual(["fine", "broken"]);
});

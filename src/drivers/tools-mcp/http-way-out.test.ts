// Goal: whatever is asked of a server over HTTP goes by the way out: recorded first in the journal of the call or in the log, with secrets
// that only their destination gets, and with streams that stay streams.
// Method: a real way out, and a server on loopback that says what it got and answers as the test wants it.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { configSchema } from "../../abi/config.ts";
import { OsError } from "../../abi/errors.ts";
import { secretSchema } from "../../abi/isolation.ts";
import type { NoteHeader, ToolSource } from "../../ports/tools.ts";
import { caller } from "../../../test/caller.ts";
import { createEgress } from "../egress-proxy/egress.ts";
import type { McpConfig } from "./connection.ts";
import { openScene, type Scene } from "./scene.fake.ts";
import { createMcpSource } from "./source.ts";

const VALUE = "sk-live/abc+def&123";
const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

type Asked = { readonly method: string; readonly id?: number; readonly params?: { readonly name?: string } };
type Answer = (asked: Asked, response: ServerResponse, request: IncomingMessage) => void;

const result = (asked: Asked, value: object): string => JSON.stringify({ jsonrpc: "2.0", id: asked.id, result: value });
const said = (text: string): object => ({ content: [{ type: "text", text }] });

/** An MCP server of the old era with one tool; calls of it are answered by `answer`. */
type Served = { readonly port: number; readonly headers: IncomingMessage["headers"][]; readonly methods: string[] };

async function serve(answer: Answer): Promise<Served> {
  const headers: IncomingMessage["headers"][] = [];
  const methods: string[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      headers.push(request.headers);
      if (request.method !== "POST") return void response.writeHead(405).end();
      const asked = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Asked;
      methods.push(asked.method);
      if (asked.method === "tools/call") return answer(asked, response, request);
      response.setHeader("content-type", "application/json");
      if (asked.method === "initialize")
        return void response.end(
          result(asked, {
            protocolVersion: "2025-06-18",
            capabilities: { tools: {} },
            serverInfo: { name: "shop", version: "1" },
          }),
        );
      if (asked.method === "tools/list")
        return void response.end(result(asked, { tools: [{ name: "act", inputSchema: { type: "object" } }] }));
      if (asked.id === undefined) return void response.writeHead(202).end();
      response.end(
        JSON.stringify({ jsonrpc: "2.0", id: asked.id, error: { code: -32601, message: "There is no such method." } }),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ends.push(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return { port: (server.address() as AddressInfo).port, headers, methods };
}

function open(port: number, more: Record<string, unknown> = {}): { source: ToolSource; scene: Scene } {
  const secret = secretSchema.parse({ from: "KEY", to: [{ host: "127.0.0.1", port, scheme: "http" }] });
  const egress = createEgress({ secrets: { KEY: secret }, secretOf: () => VALUE });
  const scene = openScene(import.meta.dirname, { egress });
  const url = `http://127.0.0.1:${port}/u/in-the-path/mcp?token=in-the-query`;
  const config = configSchema.parse({ tools: { shop: { type: "mcp-http", url, ...more } } }).tools["shop"];
  const source = createMcpSource("shop", config as McpConfig, scene.deps);
  ends.push(() => scene.close());
  ends.push(() => source.close());
  return { source, scene };
}

type Options = Parameters<ToolSource["call"]>[2];
const optionsOf = (noted: NoteHeader[] = [], signal = new AbortController().signal): Options => ({
  ...caller({}, noted),
  key: "k",
  signal,
});

const plainly: Answer = (asked, response) =>
  void response.writeHead(200, { "content-type": "application/json" }).end(result(asked, said("done")));

test("a listing stands in the log, a call in its process's journal, before and after; addresses show no more than they have to", async () => {
  const { port } = await serve(plainly);
  const { source, scene } = open(port);
  await source.tools();
  expect(scene.logged.filter(({ kind }) => kind === "requested").length).toBeGreaterThan(1);
  expect(scene.logged[0]).toMatchObject({ owner: "tools.shop", event: { decision: "allow", request: { port } } });
  const before = scene.logged.length;
  const noted: NoteHeader[] = [];
  expect(await source.call("act", {}, optionsOf(noted))).toEqual({ kind: "done", content: { text: "done" } });
  expect(noted).toMatchObject([
    { kind: "egress.requested", call: 0, decision: "allow", rule: `http://127.0.0.1:${port} private`, secrets: [] },
    { kind: "egress.ended", call: 0, status: 200 },
  ]);
  expect(scene.logged.length).toBe(before);
  expect(JSON.stringify([noted, scene.logged])).not.toMatch(/in-the-(path|query)/);
});

test("what a call needs first, a connection and a listing, stands in its journal as well", async () => {
  const { port } = await serve(plainly);
  const { source, scene } = open(port);
  const noted: NoteHeader[] = [];
  expect(await source.call("act", {}, optionsOf(noted))).toMatchObject({ kind: "done" });
  expect(noted.filter(({ kind }) => kind === "egress.requested").length).toBeGreaterThan(2);
  expect(scene.logged.filter(({ kind }) => kind === "requested")).toEqual([]);
});

test("a call whose record cannot be kept is not sent; what others need as well is", async () => {
  let calls = 0;
  const { port } = await serve((asked, response, request) => {
    calls += 1;
    plainly(asked, response, request);
  });
  const { source } = open(port);
  const over = (): Promise<never> => Promise.reject(new OsError("cancelled", "The process is over."));
  expect(await source.call("act", {}, { ...optionsOf(), notes: over })).toMatchObject({
    kind: "not_performed",
    error: { code: "tool_unavailable", message: expect.stringContaining("The process is over") },
  });
  expect(calls).toBe(0);
  expect(await source.call("act", {}, optionsOf())).toMatchObject({ kind: "done" });
});

test("a secret in a header reaches the server, and comes back from it as its placeholder", async () => {
  const { port, headers } = await serve((asked, response, request) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write("data: ");
    const text = result(asked, said(`You are ${request.headers.authorization}.`));
    for (const part of [text.slice(0, 90), text.slice(90, 100), text.slice(100)]) response.write(part);
    response.end("\n\n");
  });
  const authorization = "Bearer reeve-secret:KEY";
  const { source } = open(port, { headers: { authorization }, secrets: ["KEY"] });
  const noted: NoteHeader[] = [];
  expect(await source.call("act", {}, optionsOf(noted))).toEqual({
    kind: "done",
    content: { text: `You are ${authorization}.` },
  });
  expect(new Set(headers.map((each) => each.authorization))).toEqual(new Set([`Bearer ${VALUE}`]));
  expect(noted.findLast(({ kind }) => kind === "egress.requested")).toMatchObject({ secrets: ["KEY"] });
});

test("a secret that cannot be used is named, and nothing is sent", async () => {
  const { port, headers } = await serve(plainly);
  const { source } = open(port, { secrets: ["GONE"] });
  expect(await source.call("act", {}, optionsOf())).toMatchObject({
    kind: "not_performed",
    error: { code: "not_found", message: expect.stringContaining('no secret "GONE"') },
  });
  expect(headers).toEqual([]);
});

test("an answer counts when it has come, though its stream goes on, and the stream ends with the call", async () => {
  const gone = Promise.withResolvers<void>();
  const { port } = await serve((asked, response) => {
    response.on("close", () => gone.resolve());
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(`data: ${result(asked, said("early"))}\n\n`);
  });
  const { source } = open(port);
  const noted: NoteHeader[] = [];
  expect(await source.call("act", {}, optionsOf(noted))).toEqual({ kind: "done", content: { text: "early" } });
  expect(noted.at(-1)).toMatchObject({ kind: "egress.ended", status: 200 });
  await gone.promise;
});

test("a call that is given up ends its request at the server, which is told", async () => {
  const gone = Promise.withResolvers<void>();
  const given = new AbortController();
  const { port, methods } = await serve((_, response) => {
    response.on("close", () => gone.resolve());
    response.writeHead(200, { "content-type": "text/event-stream" }).write(": wait\n\n");
    given.abort();
  });
  const { source } = open(port);
  const noted: NoteHeader[] = [];
  expect(await source.call("act", {}, optionsOf(noted, given.signal))).toMatchObject({ kind: "unknown" });
  await gone.promise;
  expect(noted.at(-1)).toMatchObject({ kind: "egress.ended" });
  await expect.poll(() => methods).toContain("notifications/cancelled");
});

test("an answer that carries more than a request may is cut off: unknown", async () => {
  const { port } = await serve((asked, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(result(asked, said("x".repeat(200_000))));
  });
  const { source, scene } = open(port);
  const small = createMcpSource(
    "shop",
    configSchema.parse({ tools: { shop: { type: "mcp-http", url: `http://127.0.0.1:${port}/mcp` } } }).tools[
      "shop"
    ] as McpConfig,
    { ...scene.deps, serverBytesMax: 100_000 },
  );
  ends.push(() => small.close());
  expect(await small.call("act", {}, optionsOf())).toMatchObject({
    kind: "unknown",
    reason: expect.stringContaining("100000 bytes"),
  });
  expect(await source.call("act", {}, optionsOf())).toMatchObject({ kind: "done" });
});

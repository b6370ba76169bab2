// Goal: every route of the table answers as the table says, and nothing gets in that should not.
// Method: requests to `fetch` without a socket, on a fake system; the OpenAPI document is walked as data.
import { beforeEach, describe, expect, test } from "vitest";
import { ERRORS, OsError } from "../abi/errors.ts";
import { PAYLOAD_BYTES_MAX } from "../abi/limits.ts";
import { OPERATOR_CALLS, rowOf } from "../abi/syscalls.ts";
import { createHttpApi, type HttpApi } from "./http.ts";
import type { Problem } from "./problem.ts";
import { FakeSystem, type FakeProcess } from "./system.fake.ts";

const TOKEN = "a-token-of-the-test";
const URL_BASE = "http://127.0.0.1:4180";

let system: FakeSystem;
let api: HttpApi;
let process: FakeProcess;

beforeEach(() => {
  system = new FakeSystem();
  system.scripts.set("refunds", async () => undefined);
  process = system.create("refunds");
  api = createHttpApi({
    system,
    token: TOKEN,
    version: "0.1.0",
    clock: { nowMs: () => 0, after: () => () => undefined },
  });
});

type Sent = {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly token?: string | null;
};

function send(path: string, { method = "GET", headers = {}, body, token = TOKEN }: Sent = {}): Promise<Response> {
  const authorization = token === null ? {} : { authorization: `Bearer ${token}` };
  return api.fetch(
    new Request(URL_BASE + path, {
      method,
      headers: { ...authorization, ...headers },
      ...(body === undefined ? {} : { body }),
    }),
  );
}

const post = (path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  send(path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });

async function problem(answer: Response | Promise<Response>): Promise<Problem> {
  const response = await answer;
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  const body = (await response.json()) as Problem;
  expect(body.status).toBe(response.status);
  return body;
}

describe("routes", () => {
  const bodies: Partial<Record<string, () => object>> = {
    "process.spawn": () => ({ agent: "refunds", task: { ticket: 17 } }),
    "process.exec": () => ({ command: ["true"] }),
    "process.signal": () => ({ signal: "stop" }),
    "process.nice": () => ({ class: "batch", weight: 2 }),
    "process.limit": () => ({ budget: { costUsd: 5 } }),
    "message.send": () => ({ body: "hello" }),
    "human.decide": () => ({ decision: { verdict: "approved", note: "fine" } }),
    "journal.verify": () => ({}),
    "schedule.create": () => ({ name: "nightly", cron: "0 3 * * *", agent: "refunds" }),
    "schedule.change": () => ({ paused: true }),
    "schedule.remove": () => ({}),
    "tool.login": () => ({ redirect: "http://127.0.0.1:1/callback" }),
  };

  test.each(OPERATOR_CALLS)("%s is reached and answers as its row says", async (name) => {
    const { http, output } = rowOf(name);
    if (http === undefined) throw new Error(`${name} has no route`);
    const { request } = system.open(process, { kind: "approval" });
    await system.operate("schedule.create", { name: "hourly", cron: "0 * * * *", agent: "refunds" }, "operator");
    const held = { name: "shop.refund", pin: "new", hash: null, before: null, after: null } as const;
    system.diffs.set("shop.refund", { ...held, by: null, atMs: null, diff: "" });
    const fields = { pid: process.pid, request, name: "hourly", tool: "shop.refund", source: "shop" };
    const path = Object.entries(fields).reduce((text, [field, value]) => text.replace(`{${field}}`, value), http.path);
    if (http.stream === true) return;
    const response = http.method === "get" ? await send(path) : await post(path, bodies[name]?.());
    expect(response.status).toBe(200);
    expect(output.safeParse(await response.json()).success).toBe(true);
    expect(system.operated.at(-1)).toMatchObject({ name, by: "operator" });
  });

  test("path, query and body become one set of arguments", async () => {
    await send(`/v1/processes/${process.pid}/journal?from=3&limit=7`);
    expect(system.operated.at(-1)?.args).toEqual({ pid: process.pid, from: "3", limit: "7" });
    await post(`/v1/processes/${process.pid}/signals`, { signal: "kill", reason: "why not" });
    expect(system.operated.at(-1)?.args).toEqual({ pid: process.pid, signal: "kill", reason: "why not" });
  });

  test("a field of the path may not stand in the body or query as well", async () => {
    expect(
      await problem(post(`/v1/processes/${process.pid}/signals`, { pid: process.pid, signal: "kill" })),
    ).toMatchObject({ status: 400, code: "invalid_argument" });
    expect(await problem(send(`/v1/processes/${process.pid}?pid=x`))).toMatchObject({
      status: 400,
      data: { issues: ["pid: pid stands in the path already"] },
    });
  });

  test("a query field given twice is refused by name", async () => {
    const { detail } = await problem(send("/v1/processes?limit=1&limit=2"));
    expect(detail).toContain("limit");
  });

  test("an unknown route names the near ones", async () => {
    const body = await problem(send("/v1/process"));
    expect(body).toMatchObject({ status: 404, code: "not_found" });
    expect(body.data["near"]).toContain("GET /v1/processes");
    expect((await problem(post("/v1/processes/x/signal", {}))).data["near"]).toContain(
      "POST /v1/processes/{pid}/signals",
    );
  });

  test("Idempotency-Key becomes the key, and only there", async () => {
    const first = await post("/v1/processes", { agent: "refunds", task: "t" }, { "idempotency-key": "k-1" });
    const second = await post("/v1/processes", { agent: "refunds", task: "t" }, { "idempotency-key": "k-1" });
    expect(await second.json()).toEqual(await first.json());
    expect(system.operated.at(-1)?.args).toMatchObject({ key: "k-1" });
    expect(
      await problem(post("/v1/processes", { agent: "refunds", task: "t", key: "k-2" }, { "idempotency-key": "k-1" })),
    ).toMatchObject({ status: 400 });
    await post(`/v1/processes/${process.pid}/signals`, { signal: "stop" }, { "idempotency-key": "k-1" });
    expect(system.operated.at(-1)?.args).toEqual({ pid: process.pid, signal: "stop" });
  });
});

describe("errors", () => {
  test("an error of the system leaves with its own status, code and data", async () => {
    system.operate = async () => {
      throw new OsError("model_failed", "The provider is overloaded. Try later.", {
        retryable: true,
        data: { retryAfterMs: 5 },
      });
    };
    expect(await problem(send("/v1/agents"))).toEqual({
      type: "urn:reeve:error:model_failed",
      title: "The model's provider refused or failed",
      status: ERRORS.model_failed.status,
      detail: "The provider is overloaded. Try later.",
      code: "model_failed",
      retryable: true,
      data: { retryAfterMs: 5 },
    });
  });

  test("what is no error of the system is a fault of its own", async () => {
    system.operate = async () => {
      throw new TypeError("x is not a function");
    };
    expect(await problem(send("/v1/agents"))).toMatchObject({ status: 500, code: "internal" });
  });

  test.each([
    ['{"agent": "refunds",', "line 1 column"],
    ["agent=refunds", "agent=refun"],
    ['{\n  "agent": oops\n}', "oops"],
    ["[1, 2]", "must be a JSON object"],
  ])("the body %j is refused naming the place", async (body, place) => {
    const found = await problem(send("/v1/processes", { method: "POST", body }));
    expect(found).toMatchObject({ status: 400, code: "invalid_argument" });
    expect(found.detail).toContain(place);
  });

  test("a body over the limit is 413, declared or not", async () => {
    const body = JSON.stringify({ agent: "refunds", task: "x".repeat(PAYLOAD_BYTES_MAX) });
    expect(await problem(send("/v1/processes", { method: "POST", body }))).toMatchObject({
      status: 413,
      code: "limit_exceeded",
      data: { max: PAYLOAD_BYTES_MAX },
    });
    const declared = await send("/v1/processes", {
      method: "POST",
      body: "{}",
      headers: { "content-length": String(PAYLOAD_BYTES_MAX + 1) },
    });
    expect(declared.status).toBe(413);
    expect(system.operated).toEqual([]);
  });
});

describe("who may come in", () => {
  test("without the token nothing answers but the health check", async () => {
    expect(await (await send("/healthz", { token: null })).json()).toEqual({ status: "ok" });
    for (const path of ["/v1/processes", "/v1/openapi.json", "/", "/v1/nothing"]) {
      const missing = await send(path, { token: null });
      expect(missing.headers.get("www-authenticate")).toContain("Bearer");
      expect(await problem(missing)).toMatchObject({ status: 401, code: "unauthenticated" });
      expect(await problem(send(path, { token: `${TOKEN}x` }))).toMatchObject({ status: 401 });
    }
    expect(
      await problem(send("/v1/processes", { token: null, headers: { authorization: `Basic ${TOKEN}` } })),
    ).toMatchObject({ status: 401 });
    expect(system.operated).toEqual([]);
  });

  test.each(["127.0.0.1:4180", "localhost", "LOCALHOST:80", "[::1]:9"])("the host %s is this machine", async (host) => {
    expect((await send("/v1/agents", { headers: { host } })).status).toBe(200);
  });

  test.each([
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost:80@evil.example",
    "0.0.0.0",
    "192.168.1.4:4180",
    "[::1].evil.example",
  ])("the host %s is refused", async (host) => {
    expect(await problem(send("/healthz", { headers: { host } }))).toMatchObject({
      status: 403,
      data: { rule: "host" },
    });
  });

  test("a request line that names another host is refused, whatever Host says", async () => {
    const request = new Request("http://evil.example/healthz", { headers: { host: "127.0.0.1" } });
    expect((await api.fetch(request)).status).toBe(403);
  });

  test("only pages of this server may call it", async () => {
    const host = "127.0.0.1:4180";
    expect((await send("/v1/agents", { headers: { host, origin: "http://127.0.0.1:4180" } })).status).toBe(200);
    for (const origin of [
      "http://evil.example",
      "null",
      "http://localhost:4180",
      "https://127.0.0.1:4180",
      "http://127.0.0.1:4181",
    ]) {
      const refused = await send("/v1/agents", { headers: { host, origin } });
      expect(refused.headers.has("access-control-allow-origin")).toBe(false);
      expect(await problem(refused)).toMatchObject({ status: 403, data: { rule: "origin" } });
    }
  });

  test.each(["PUT", "DELETE", "OPTIONS", "HEAD"])("%s is refused", async (method) => {
    expect((await send(`/v1/processes/${process.pid}/events`, { method })).status).toBe(403);
    expect(system.following).toBe(0);
  });

  test("the actor is the operator, or the name that the header gives", async () => {
    await send("/v1/agents", { headers: { "x-reeve-actor": "ada@example.com" } });
    expect(system.operated.at(-1)?.by).toBe("ada@example.com");
    for (const name of [process.pid, "kernel", "System", "a b", "", "x".repeat(101), "é"]) {
      expect(await problem(send("/v1/agents", { headers: { "x-reeve-actor": name } }))).toMatchObject({
        status: 400,
        code: "invalid_argument",
      });
    }
  });

  test("answers carry the headers that keep browsers from misusing them", async () => {
    for (const response of [
      await send("/v1/agents"),
      await send("/v1/nothing"),
      await send("/healthz", { token: null }),
    ]) {
      expect(response.headers.get("x-content-type-options")).toBe("nosniff");
      expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
      expect(response.headers.get("cache-control")).toBe("no-store");
      expect(response.headers.has("strict-transport-security")).toBe(false);
    }
  });
});

describe("the OpenAPI document", () => {
  type Node = { readonly [key: string]: unknown };
  const document = async (): Promise<Node> => (await (await send("/v1/openapi.json")).json()) as Node;
  const at = (node: unknown, ...path: readonly string[]): unknown =>
    path.reduce<unknown>((value, key) => (value as Node | undefined)?.[key], node);

  test("has every operator's call, with its parameters, body, answer and errors", async () => {
    const found = await document();
    expect(found["openapi"]).toBe("3.1.0");
    for (const name of OPERATOR_CALLS) {
      const { http, doc, input, errors } = rowOf(name);
      const operation = at(found, "paths", http?.path ?? "", http?.method ?? "") as Node;
      expect(operation, name).toMatchObject({ operationId: name, summary: doc, security: [{ token: [] }] });
      const parameters = operation["parameters"] as { name: string; in: string; required: boolean; schema: object }[];
      for (const parameter of parameters) expect(parameter.schema, `${name} ${parameter.name}`).toBeTypeOf("object");
      const body = Object.keys(
        at(operation, "requestBody", "content", "application/json", "schema", "properties") ?? {},
      );
      const referred =
        (at(operation, "requestBody", "content", "application/json", "schema", "$ref") as string | undefined)
          ?.split("/")
          .at(-1) ?? "";
      const whole = Object.keys(at(found, "components", "schemas", referred, "properties") ?? {});
      const named = parameters.filter((parameter) => parameter.in !== "header").map((parameter) => parameter.name);
      expect([...named, ...body, ...whole].toSorted(), name).toEqual(Object.keys(input.shape).toSorted());
      for (const code of errors)
        expect(at(operation, "responses", String(ERRORS[code].status), "description"), `${name} ${code}`).toContain(
          `${code}:`,
        );
    }
    expect(Object.values(found["paths"] as object).flatMap((path) => Object.keys(path as object))).toHaveLength(
      OPERATOR_CALLS.length,
    );
  });

  test("every reference in it leads somewhere, and every path field is declared", async () => {
    const found = await document();
    const references: string[] = [];
    JSON.stringify(found, (key, value: unknown) => {
      if (key === "$ref") references.push(String(value));
      return value;
    });
    expect(references.length).toBeGreaterThan(10);
    for (const reference of new Set(references))
      expect(at(found, ...reference.replace("#/", "").split("/")), reference).toBeTypeOf("object");
    for (const [path, methods] of Object.entries(found["paths"] as Node)) {
      const fields = [...path.matchAll(/\{(\w+)\}/g)].map(([, field]) => field);
      for (const operation of Object.values(methods as Node)) {
        const declared = (at(operation, "parameters") as { name: string; in: string; required: boolean }[]).filter(
          (parameter) => parameter.in === "path" && parameter.required,
        );
        expect(declared.map(({ name }) => name)).toEqual(fields);
      }
    }
  });
});

// Goal: the operations of a document become tools that send just what the document says, through the real way out, and nowhere
// else. Method: a document in a file, a server on loopback that tells what it received, the real proxy with a record.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../abi/json.ts";
import type { Egress } from "../../ports/egress.ts";
import type { CallOptions, NoteHeader, ToolOutcome, ToolSource } from "../../ports/tools.ts";
import { type Far, respond, type Seen, Stage } from "../egress-proxy/scene.fake.ts";
import { createOpenApiSource, type OpenApiConfig } from "./source.ts";

const parameter = (name: string, place: string, more: JsonObject = {}): JsonObject => ({
  name,
  in: place,
  schema: {},
  ...more,
});

const DOCUMENT = (port: number): JsonObject => ({
  openapi: "3.1.0",
  info: { title: "Shop", version: "1" },
  servers: [{ url: "http://api.test:{port}/v1", variables: { port: { default: String(port) } } }],
  security: [{ token: [] }],
  components: {
    securitySchemes: {
      token: { type: "http", scheme: "bearer" },
      login: { type: "http", scheme: "basic" },
      key: { type: "apiKey", in: "header", name: "X-Key" },
      inUrl: { type: "apiKey", in: "query", name: "key" },
    },
    parameters: { id: parameter("id", "path", { schema: { type: "integer" } }) },
    schemas: {
      Node: { type: "object", properties: { value: { type: "string" }, next: { $ref: "#/components/schemas/Node" } } },
    },
  },
  paths: {
    "/orders/{id}": {
      parameters: [{ $ref: "#/components/parameters/id" }],
      get: { operationId: "getOrder", summary: "One order" },
      delete: { operationId: "dropOrder", "x-reeve": { effect: "write", idempotency: "natural" } },
    },
    "/orders": {
      get: {
        parameters: [
          parameter("tags", "query", { style: "pipeDelimited", explode: false }),
          parameter("filter", "query", { style: "deepObject" }),
          parameter("ids", "query"),
          parameter("X-Trace", "header"),
          parameter("session", "cookie"),
          parameter("id", "query"),
          parameter("id", "header"),
        ],
        security: [{ inUrl: [] }, { key: [] }],
      },
      post: {
        operationId: "createOrder",
        parameters: [parameter("Idempotency-Key", "header", { required: true })],
        requestBody: {
          required: true,
          content: { "application/json": { schema: { $ref: "#/components/schemas/Node" } } },
        },
        security: [{ login: [] }],
      },
    },
    "/files/{path}": { get: { operationId: "getFile", parameters: [parameter("path", "path")] } },
    "/upload": {
      post: { operationId: "upload", requestBody: { required: true, content: { "image/png": {} } } },
    },
    "/broken": { get: { operationId: "broken", parameters: [{ $ref: "other.yaml#/x" }] } },
    "/form": {
      post: {
        operationId: "form",
        security: [],
        requestBody: { content: { "application/x-www-form-urlencoded": { schema: {} } } },
      },
    },
    "/answers/{status}": { post: { operationId: "answer", parameters: [parameter("status", "path")] } },
  },
});

const SECRET = "s3cret-value-of-token";

describe("the operations of an OpenAPI document", () => {
  let far: Far;
  let stage: Stage;
  let egress: Egress;
  let folder: string;
  let source: ToolSource;
  const notices: string[] = [];
  const noted: NoteHeader[] = [];
  const logged: unknown[] = [];

  const make = (more: Partial<OpenApiConfig> = {}): ToolSource =>
    createOpenApiSource(
      "shop",
      {
        document: join(folder, "shop.yaml"),
        headers: { "X-From": "reeve" },
        secrets: ["token"],
        allowPrivate: true,
        ...more,
      },
      {
        egress,
        log: () => ({ requested: async (event) => void logged.push(event), ended: async () => {} }),
        onNotice: (message) => notices.push(message),
      },
    );
  const call = (name: string, args: JsonObject = {}, using = source): Promise<ToolOutcome> =>
    using.call(name, args, {
      process: { pid: "p_1" } as unknown as CallOptions["process"],
      call: 3,
      key: "p_1.3",
      signal: new AbortController().signal,
      notes: async (header) => void noted.push(header),
      output: () => {},
    });
  const received = (): Seen => {
    const last = far.seen.at(-1);
    if (last === undefined) throw new Error("Nothing was received.");
    return last;
  };
  const headerOf = (name: string): string | undefined => {
    const { headers } = received();
    const at = headers.findIndex((each, index) => index % 2 === 0 && each.toLowerCase() === name);
    return at < 0 ? undefined : headers[at + 1];
  };

  beforeEach(async () => {
    notices.length = 0;
    noted.length = 0;
    logged.length = 0;
    stage = new Stage();
    far = await stage.far({
      handle: (_request, response, seen) => {
        const status = /\/(?:answers|files)\/(\d+)/.exec(seen.url)?.[1];
        if (status === undefined) respond(response, JSON.stringify({ ok: true }));
        else if (status === "299") response.writeHead(200).end("x".repeat(1024 * 1024));
        else response.writeHead(Number(status), { "content-type": "application/json" }).end('{"why":"so"}');
      },
    });
    folder = mkdtempSync(join(tmpdir(), "reeve-openapi-"));
    writeFileSync(join(folder, "shop.yaml"), stringify(DOCUMENT(far.port)));
    const to = ["authorization", "x-key"].map((header) => ({
      host: "api.test",
      port: far.port,
      scheme: "http",
      header,
    }));
    ({ egress } = stage.egress({ secrets: { token: { from: "T", to } }, values: { token: SECRET } }));
    source = make();
  });
  afterEach(async () => {
    await source.close();
    await stage.end();
    rmSync(folder, { recursive: true });
  });

  it("have effects from their methods, unless the document says otherwise", async () => {
    const tools = await source.tools();
    expect(tools.map(({ name, declared }) => [name, declared.effect, declared.idempotency])).toEqual([
      ["getOrder", "read", "none"],
      ["dropOrder", "write", "natural"],
      ["get_orders", "read", "none"],
      ["createOrder", "send", "key"],
      ["getFile", "read", "none"],
      ["form", "send", "none"],
      ["answer", "send", "none"],
    ]);
    expect(notices).toHaveLength(1);
    expect(notices[0]).toMatch(/POST \/upload.*image\/png.*GET \/broken.*leads out of the document/);
  });

  it("take schemas that stand alone, also such that contain themselves", async () => {
    const tools = await source.tools();
    expect(tools.find(({ name }) => name === "createOrder")?.inputSchema).toEqual({
      type: "object",
      properties: { body: { $ref: "#/$defs/Node" } },
      required: ["body"],
      additionalProperties: false,
      $defs: { Node: { type: "object", properties: { value: { type: "string" }, next: { $ref: "#/$defs/Node" } } } },
    });
  });

  it("read 3.0 as JSON Schema says it", async () => {
    const schema = { type: "integer", nullable: true, minimum: 1, exclusiveMinimum: true, example: 3 };
    const document = {
      openapi: "3.0.3",
      servers: [{ url: "http://api.test/" }],
      paths: { "/a": { get: { operationId: "a", parameters: [parameter("n", "query", { schema })] } } },
    };
    writeFileSync(join(folder, "old.json"), JSON.stringify(document));
    const [tool] = await make({ document: join(folder, "old.json") }).tools();
    expect(tool?.inputSchema["properties"]).toEqual({
      n: { type: ["integer", "null"], exclusiveMinimum: 1 },
    });
  });

  it("send arguments in their places and styles, with the secret put in on the way", async () => {
    const args: { [name: string]: Json } = {
      tags: ["a b", "c|d"],
      filter: { color: "red&blue", size: { min: 1 } },
      ids: [1, 2],
      "X-Trace": "t",
      session: "s",
      id: "q",
      id_header: "h",
    };
    expect((await call("get_orders", args)).kind).toBe("done");
    expect(received().url).toBe(
      "/v1/orders?tags=a%20b%7Cc%7Cd&filter%5Bcolor%5D=red%26blue&filter%5Bsize%5D%5Bmin%5D=1&ids=1&ids=2&id=q",
    );
    expect([headerOf("x-trace"), headerOf("cookie"), headerOf("id"), headerOf("x-from")]).toEqual([
      "t",
      "session=s",
      "h",
      "reeve",
    ]);
    expect(headerOf("x-key")).toBe(SECRET);
  });

  it("send a body as JSON, the call's key, and Basic credentials", async () => {
    expect((await call("createOrder", { body: { value: "x" } })).kind).toBe("done");
    expect(received()).toMatchObject({ method: "POST", body: '{"value":"x"}' });
    expect(headerOf("idempotency-key")).toBe("p_1.3");
    expect(headerOf("authorization")).toBe(`Basic ${Buffer.from(SECRET).toString("base64")}`);
    await call("form", { body: { a: "1 2", b: ["x", "y"] } });
    expect(received().body).toBe("a=1%202&b=x&b=y");
    expect(headerOf("authorization")).toBeUndefined();
  });

  it("give the answer as text and data, with each request in the journal first", async () => {
    expect(await call("getOrder", { id: 7 })).toEqual({
      kind: "done",
      content: { text: '{"ok":true}', data: { status: 200, body: { ok: true } } },
    });
    expect(received().url).toBe("/v1/orders/7");
    expect(headerOf("authorization")).toBe(`Bearer ${SECRET}`);
    expect(noted).toMatchObject([
      { kind: "egress.requested", call: 3, decision: "allow", secrets: ["token"] },
      { kind: "egress.ended", call: 3, status: 200 },
    ]);
  });

  it("let no argument make another address", async () => {
    for (const path of ["..", ".", ""]) {
      const outcome = await call("getFile", { path });
      expect(outcome, JSON.stringify(path)).toMatchObject({
        kind: "not_performed",
        error: { code: "invalid_argument" },
      });
    }
    expect((await call("getFile", { path: "../orders/7?x#y" })).kind).toBe("done");
    expect(received().url).toBe("/v1/files/..%2Forders%2F7%3Fx%23y");
    expect(await call("getOrder", { id: 7, extra: 1 })).toMatchObject({ kind: "not_performed" });
    expect(await call("getOrder", {})).toMatchObject({ kind: "not_performed" });
    expect(await call("get_orders", { "X-Trace": "a\r\nX-Key: b" })).toMatchObject({ kind: "not_performed" });
    expect(far.seen).toHaveLength(1);
  });

  it("tell what is known of a call that has no good answer", async () => {
    const errorOf = async (status: string): Promise<string> => (await call("answer", { status })).kind;
    expect(await errorOf("404")).toBe("failed");
    expect(await errorOf("302")).toBe("failed");
    expect(await errorOf("501")).toBe("failed");
    for (const status of ["408", "500", "502", "503", "504"])
      expect([status, await errorOf(status)]).toEqual([status, "unknown"]);
    expect(await call("answer", { status: "500" })).toMatchObject({
      reason: expect.stringContaining('500. Whether it was performed is not known. {"why":"so"}'),
    });
    // What only reads was not performed in any way that matters.
    expect((await call("getFile", { path: "500" })).kind).toBe("failed");
    const flood = await call("answer", { status: "299" });
    expect(flood).toMatchObject({ kind: "failed" });
    const closed = make({ baseUrl: "http://api.test:1/" });
    expect(await call("answer", { status: "200" }, closed)).toMatchObject({
      kind: "not_performed",
      error: { code: "tool_unavailable" },
    });
    const private_ = make({ allowPrivate: false });
    expect(await call("answer", { status: "200" }, private_)).toMatchObject({
      kind: "not_performed",
      error: { code: "egress_denied" },
    });
  });

  it("follow the file, and keep the same listing while it stays the same", async () => {
    const before = await source.tools();
    writeFileSync(join(folder, "shop.yaml"), `${stringify(DOCUMENT(far.port))}\n# more\n`);
    expect(await source.tools()).toBe(before);
    writeFileSync(join(folder, "shop.yaml"), "openapi: 2.0.0");
    await expect(source.tools()).rejects.toThrow(/no OpenAPI document of version 3.0 or 3.1/);
    writeFileSync(join(folder, "shop.yaml"), stringify({ ...DOCUMENT(far.port), paths: {} }));
    expect(await source.tools()).toEqual([]);
  });

  it("come from an address by the way out as well, recorded, and from no other that it redirects to", async () => {
    const pages = await stage.far({
      tls: ["docs.test"],
      handle: (request, response) =>
        request.url === "/shop.json"
          ? respond(response, JSON.stringify(DOCUMENT(far.port)))
          : void response.writeHead(302, { location: "/shop.json" }).end(),
    });
    const remote = make({ document: `https://docs.test:${pages.port}/shop.json` });
    expect((await remote.tools()).map(({ name }) => name)).toContain("getOrder");
    expect(logged).toMatchObject([{ decision: "allow", request: { host: "docs.test", path: "/shop.json" } }]);
    expect((await call("getOrder", { id: 7 }, remote)).kind).toBe("done");
    const moved = make({ document: `https://docs.test:${pages.port}/moved` });
    await expect(moved.tools()).rejects.toThrow(/redirects \(302\); name the address/);
    expect(pages.seen).toHaveLength(2);
  });

  /** The tools of a document of these paths, and a way to call them. */
  const having = (paths: JsonObject, more: Partial<OpenApiConfig> = {}): ToolSource => {
    const file = join(folder, "other.json");
    writeFileSync(
      file,
      JSON.stringify({ openapi: "3.1.0", servers: [{ url: `http://api.test:${far.port}/v1` }], paths }),
    );
    return make({ document: file, secrets: [], ...more });
  };
  const sending = (content: JsonObject): JsonObject => ({ requestBody: { required: true, content } });

  it("are those that the configuration chooses; a word that speaks of none is an error", async () => {
    const paths = {
      "/orders": { get: { operationId: "orders/list", tags: ["orders"] }, post: { operationId: "orders/add" } },
      "/orders/{id}/notes": { get: { operationId: "notes/list", tags: ["notes"] } },
      "/users": { get: { operationId: "users/list", tags: ["users"] }, delete: { operationId: "users/drop" } },
    };
    const chosen = async (only: NonNullable<OpenApiConfig["only"]>): Promise<readonly string[]> =>
      (await having(paths, { only }).tools()).map(({ name }) => name);
    expect(await chosen({ tags: ["users", "notes"] })).toEqual(["notes_list", "users_list"]);
    expect(await chosen({ operations: ["*/list"] })).toEqual(["orders_list", "notes_list", "users_list"]);
    expect(await chosen({ operations: ["users/d*p"], paths: ["GET /orders"] })).toEqual(["orders_list", "users_drop"]);
    expect(await chosen({ paths: ["/orders*"] })).toEqual(["orders_list", "orders_add", "notes_list"]);
    await expect(chosen({ tags: ["user"], operations: ["users/li"] })).rejects.toThrow(
      /no operation of it is meant by tags: "user", operations: "users\/li" of `only`.*orders \(1\), notes \(1\)/,
    );
  });

  it("are not more than can be tools: the error says how some are chosen", async () => {
    const paths = Object.fromEntries(
      Array.from({ length: 501 }, (_, n) => [`/p${n}`, { get: { tags: [n === 0 ? "few" : "many"] } }]),
    );
    await expect(having(paths).tools()).rejects.toThrow(/501 operations.*`only:.*many \(500\), few \(1\)/);
    expect(await having(paths, { only: { tags: ["many"] } }).tools()).toHaveLength(500);
  });

  it("take arguments under names that every model takes, and send them under their own", async () => {
    const long = "n".repeat(70);
    const names = ["filter[name]", "$top", "filter.name", "[]", `${long}1`, `${long}2`, "filter_name"];
    const shop = having({
      "/a": { get: { operationId: "a", parameters: names.map((name) => parameter(name, "query")) } },
    });
    const [tool] = await shop.tools();
    const taken = Object.keys(tool?.inputSchema["properties"] as JsonObject);
    expect(taken).toHaveLength(names.length);
    for (const name of taken) expect(name).toMatch(/^[A-Za-z0-9_.-]{1,64}$/);
    await call("a", Object.fromEntries(taken.map((name, n) => [name, n])), shop);
    expect([...new URL(received().url, "http://x").searchParams]).toEqual(names.map((name, n) => [name, String(n)]));
  });

  it("ask for nothing that only answers hold, and say what is deprecated", async () => {
    const Id = { type: "string", readOnly: true };
    const schema = {
      type: "object",
      required: ["id", "name"],
      properties: { id: { $ref: "#/paths/~1a/x-id" }, at: Id, name: { type: "string" } },
    };
    const post = {
      operationId: "add",
      summary: "Adds.",
      deprecated: true,
      ...sending({ "application/json": { schema } }),
    };
    const [tool] = await having({ "/a": { "x-id": Id, post } }).tools();
    expect(tool?.description).toBe("Deprecated.\nAdds.");
    expect(tool?.inputSchema["properties"]).toEqual({
      body: { type: "object", required: ["name"], properties: { name: { type: "string" } } },
    });
  });

  it("send text of any kind, and fields as parts", async () => {
    const fields = { properties: { note: {}, meta: {}, file: { type: "string", format: "binary" }, tags: {} } };
    const shop = having({
      "/xml": { post: { operationId: "xml", ...sending({ "application/soap+xml; charset=utf-8": { schema: {} } }) } },
      "/parts": { post: { operationId: "parts", ...sending({ "multipart/form-data": { schema: fields } }) } },
    });
    const [xml] = await shop.tools();
    expect(xml?.inputSchema["properties"]).toEqual({
      body: { type: "string", description: "Text of the type application/soap+xml; charset=utf-8." },
    });
    await call("xml", { body: "<a/>" }, shop);
    expect(headerOf("content-type")).toBe("application/soap+xml; charset=utf-8");
    expect(received().body).toBe("<a/>");
    const said = { note: "a\r\nb", meta: { n: 1 }, file: 'x"\r\n--', tags: ["p", "q"] };
    await call("parts", { body: said }, shop);
    const form = await new Response(received().body, {
      headers: { "content-type": headerOf("content-type") ?? "" },
    }).formData();
    expect([form.get("note"), form.get("meta"), form.getAll("tags")]).toEqual(["a\r\nb", '{"n":1}', ["p", "q"]]);
    expect(await (form.get("file") as File).text()).toBe('x"\r\n--');
    expect(await call("parts", { body: "note" }, shop)).toMatchObject({ kind: "not_performed" });
  });

  it("may share a path, told apart behind it", async () => {
    const shop = having({
      "/a#one": { get: { operationId: "one", parameters: [parameter("n", "query")] } },
      "/a?cmd=two": { get: { operationId: "two", parameters: [parameter("n", "query")] } },
    });
    await call("one", { n: 1 }, shop);
    expect(received().url).toBe("/v1/a?n=1");
    await call("two", { n: 1 }, shop);
    expect(received().url).toBe("/v1/a?cmd=two&n=1");
  });

  it("bound what a document may unfold into", async () => {
    writeFileSync(
      join(folder, "shop.yaml"),
      "openapi: 3.1.0\na: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n",
    );
    await expect(source.tools()).rejects.toThrow(/alias/i);
  });
});

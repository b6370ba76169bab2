// Goal: Reeve's own requests are judged, recorded and scrubbed as those of programs are, and say for certain when nothing left; their
// answers come whole, or as they come.
// Method: whole requests to servers on loopback, and to where there is none.
import type { ServerResponse } from "node:http";
import { createServer, type AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { OsError } from "../../abi/errors.ts";
import type { HttpRequest } from "../../ports/egress.ts";
import { Notebook, respond, ruleOf, Stage, type SceneOptions } from "./scene.fake.ts";

const stage = new Stage();
afterEach(() => stage.end());

const VALUE = "sk-live/abc+def&123";

function asker(rules: Parameters<typeof ruleOf>[0][], options: SceneOptions & { granted?: string[] } = {}) {
  const { granted = [], ...rest } = options;
  const { egress } = stage.egress(rest);
  const notebook = new Notebook();
  const door = { owner: "p_1", rules: rules.map(ruleOf), secrets: granted, notes: notebook };
  const ask = (
    request: Partial<HttpRequest> & { url: string },
    more: { signal?: AbortSignal; responseBytesMax?: number } = {},
  ) =>
    egress.request({ method: "GET", headers: {}, ...request }, door, {
      signal: new AbortController().signal,
      responseBytesMax: 100_000,
      ...more,
    });
  const begin = (
    request: Partial<HttpRequest> & { url: string },
    more: { signal?: AbortSignal; bytesMax?: number } = {},
  ) =>
    egress.stream(
      { method: "GET", headers: {}, ...request },
      { ...door, ...(more.bytesMax === undefined ? {} : { bytesMax: more.bytesMax }) },
      { signal: more.signal ?? new AbortController().signal },
    );
  return { ask, begin, notebook, egress };
}

async function allOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

const textOf = (body: Uint8Array): string => Buffer.from(body).toString("utf8");

describe("a request of Reeve's own", () => {
  it("is sent with its secret over verified TLS, recorded, and answered without it", async () => {
    const far = await stage.far({ tls: ["a.test"] });
    const { ask, notebook } = asker(
      [{ host: "a.test", port: far.port, methods: ["POST"], paths: ["/v1"], allowPrivate: true }],
      {
        secrets: { key: { from: "KEY", to: [{ host: "a.test", port: far.port }] } },
        values: { key: VALUE },
        granted: ["key"],
      },
    );
    const answer = await ask({
      url: `https://a.test:${far.port}/v1/x?y#z`,
      method: "POST",
      headers: { Authorization: "Bearer reeve-secret:key", "content-type": "text/plain" },
      body: "hello",
    });
    expect(far.seen[0]).toMatchObject({ method: "POST", url: "/v1/x?y", body: "hello", tls: true });
    expect(far.seen[0]?.headers).toContain(`Bearer ${VALUE}`);
    expect(far.seen[0]?.headers).toContain("reeve");
    expect(answer).toMatchObject({ status: 200, headers: { "content-type": "application/json" } });
    expect(textOf(answer.body)).toContain("Bearer reeve-secret:key");
    expect(textOf(answer.body)).not.toContain(VALUE);
    expect(notebook.notes.map(({ kind }) => kind)).toEqual(["requested", "ended"]);
    expect(notebook.events("requested")[0]).toMatchObject({ decision: "allow", secrets: ["key"] });
  });

  it("is refused and recorded where no rule allows it, or it is none", async () => {
    const far = await stage.far();
    const { ask, notebook } = asker([{ scheme: "http", host: "a.test", port: far.port, methods: ["GET"] }]);
    const at = `http://a.test:${far.port}/`;
    const refused: (Partial<HttpRequest> & { url: string })[] = [
      { url: at, method: "POST" },
      { url: at },
      { url: "https://b.test/" },
      { url: "file:///etc/passwd" },
      { url: "no address" },
      { url: `http://u:p@a.test:${far.port}/` },
      { url: at, method: "get it" },
      { url: at, headers: { "x y": "1" } },
      { url: at, headers: { x: "a\r\nHost: b" } },
    ];
    for (const request of refused) await expect(ask(request)).rejects.toMatchObject({ code: "egress_denied" });
    expect(far.seen).toEqual([]);
    expect(notebook.events("requested").map(({ decision }) => decision)).toEqual(refused.map(() => "deny"));
  });

  it("did for certain not leave where it could not be recorded, resolved, connected or secured", async () => {
    const far = await stage.far({ tls: ["a.test"] });
    const unsent = { code: "tool_unavailable", message: expect.stringContaining("Nothing was performed") };
    const rule = { host: "*.test", port: far.port, allowPrivate: true };
    const { ask, notebook } = asker([rule]);
    const post = { url: `https://a.test:${far.port}/`, method: "POST", body: "x" };
    notebook.over = true;
    await expect(ask(post)).rejects.toMatchObject(unsent);
    await expect(ask(post, { signal: AbortSignal.abort() })).rejects.toMatchObject(unsent);
    await expect(
      asker([rule], { resolve: () => Promise.reject(new Error("ENOTFOUND")) }).ask(post),
    ).rejects.toMatchObject(unsent);
    await expect(asker([rule], { resolve: async () => ["127.0.0.77"] }).ask(post)).rejects.toMatchObject(unsent);
    await expect(asker([rule], { authorities: [] }).ask(post)).rejects.toMatchObject({
      ...unsent,
      message: expect.stringContaining("certificate"),
    });
    // A certificate for another name: the far side shows that of the name it is asked for, so an address shows none of its own.
    await expect(
      asker([{ ...rule, host: "127.0.0.1" }]).ask({ ...post, url: `https://127.0.0.1:${far.port}/` }),
    ).rejects.toMatchObject(unsent);
    expect(far.seen).toEqual([]);
  });

  it("has left where the answer does not come, and says so", async () => {
    const rude = createServer((socket) => socket.once("data", () => socket.destroy()));
    await new Promise<void>((resolve) => rude.listen(0, "127.0.0.1", () => resolve()));
    const { port } = rude.address() as AddressInfo;
    const { ask } = asker([{ scheme: "http", host: "a.test", port, allowPrivate: true }]);
    await expect(ask({ url: `http://a.test:${port}/`, method: "POST" })).rejects.toMatchObject({
      code: "unreachable",
      message: expect.stringContaining("not known"),
    });
    rude.close();
    const arrived = Promise.withResolvers<void>();
    const far = await stage.far({ handle: () => arrived.resolve() });
    const given = new AbortController();
    const { ask: wait, notebook } = asker([{ scheme: "http", host: "a.test", port: far.port, allowPrivate: true }]);
    const answer = wait({ url: `http://a.test:${far.port}/` }, { signal: given.signal });
    void arrived.promise.then(() => given.abort());
    await expect(answer).rejects.toMatchObject({ code: "cancelled" });
    expect(notebook.events("ended")[0]).toMatchObject({ status: 0 });
  });

  it("waits for no name when it is given up, and is not recorded afterwards", async () => {
    const asked = Promise.withResolvers<void>();
    const found = Promise.withResolvers<readonly string[]>();
    const { ask, begin, notebook } = asker([{ host: "a.test", allowPrivate: true }], {
      resolve: () => {
        asked.resolve();
        return found.promise;
      },
    });
    const given = new AbortController();
    const answers = [ask, begin].map((way) => way({ url: "https://a.test/" }, { signal: given.signal }));
    const refused = Promise.all(
      answers.map((answer) => expect(answer).rejects.toMatchObject({ code: "tool_unavailable" })),
    );
    await asked.promise;
    given.abort();
    await refused;
    found.resolve(["127.0.0.1"]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(notebook.notes).toEqual([]);
  });

  it("takes no larger answer than it may, and follows no redirect", async () => {
    const far = await stage.far({
      handle: (request, response) => {
        if (request.url === "/big") respond(response, "x".repeat(5000));
        else
          response
            .writeHead(302, { location: "http://b.test/", "set-cookie": ["a=1", "b=2"], "content-length": 0 })
            .end();
      },
    });
    const { ask } = asker([{ scheme: "http", host: "a.test", port: far.port, allowPrivate: true }]);
    await expect(ask({ url: `http://a.test:${far.port}/big` }, { responseBytesMax: 4999 })).rejects.toMatchObject({
      code: "limit_exceeded",
    });
    expect(await ask({ url: `http://a.test:${far.port}/` })).toMatchObject({
      status: 302,
      headers: { location: "http://b.test/", "set-cookie": "a=1\nb=2" },
    });
    expect(await ask({ url: `http://a.test:${far.port}/`, method: "HEAD" })).toMatchObject({ status: 302 });
  });
});

describe("a stream of Reeve's own", () => {
  const rule = (port: number): Parameters<typeof ruleOf>[0] => ({
    scheme: "http",
    host: "a.test",
    port,
    allowPrivate: true,
  });

  it("comes as it comes, is recorded before it leaves and when it has ended, and gives its connection back", async () => {
    let answering: ServerResponse | undefined;
    const far = await stage.far({
      handle: (_, response) => {
        answering = response;
        response.writeHead(200, { "content-type": "text/event-stream", "x-two": ["1", "2"] }).write("data: 1\n\n");
      },
    });
    const connections = new Set<unknown>();
    far.server.on("connection", (socket) => connections.add(socket));
    const { begin, notebook } = asker([rule(far.port)]);
    for (const turn of [1, 2]) {
      const { status, headers, body } = await begin({ url: `http://a.test:${far.port}/` });
      expect([status, headers.filter(([name]) => name === "x-two").map(([, value]) => value)]).toEqual([
        200,
        ["1", "2"],
      ]);
      const chunks = body[Symbol.asyncIterator]();
      expect(Buffer.from((await chunks.next()).value ?? []).toString()).toBe("data: 1\n\n");
      expect(notebook.notes.filter(({ kind }) => kind === "ended")).toHaveLength(turn - 1);
      // It is not over, and what has come is here.
      answering?.end("data: 2\n\n");
      expect(Buffer.from((await chunks.next()).value ?? []).toString()).toBe("data: 2\n\n");
      expect((await chunks.next()).done).toBe(true);
      await notebook.until((notes) => notes.filter(({ kind }) => kind === "ended").length === turn);
      expect(notebook.events("ended").at(-1)).toMatchObject({ status: 200, receivedBytes: 18 });
    }
    expect(connections.size).toBe(1);
  });

  it.each([
    ["signal", "cancelled"],
    ["close", "unreachable"],
    ["reader", "done"],
  ])("is ended by its %s, at the far side and in the record", async (by, outcome) => {
    const gone = Promise.withResolvers<void>();
    const far = await stage.far({
      handle: (_, response) => {
        response.on("close", () => gone.resolve());
        response.writeHead(200).write("begun");
      },
    });
    const { begin, notebook } = asker([rule(far.port)]);
    const given = new AbortController();
    const stream = await begin({ url: `http://a.test:${far.port}/`, method: "POST" }, { signal: given.signal });
    const chunks = stream.body[Symbol.asyncIterator]();
    await chunks.next();
    const ends = {
      signal: () => given.abort(),
      close: () => stream.close(),
      reader: () => chunks.return?.(),
    };
    const told = (): Promise<unknown> =>
      chunks.next().then(
        ({ done }) => (done === true ? "done" : "more"),
        (error: unknown) => (OsError.is(error) ? error.code : error),
      );
    const next = by === "reader" ? undefined : told();
    await ends[by as keyof typeof ends]();
    await gone.promise;
    const found = await (next ?? told());
    expect(found).toBe(outcome);
    await notebook.until((notes) => notes.some(({ kind }) => kind === "ended"));
    expect(notebook.events("ended")).toMatchObject([{ status: 200, receivedBytes: 5 }]);
    await stream.close();
    expect(notebook.events("ended")).toHaveLength(1);
  });

  it("is unpacked, and carries no more than it may", async () => {
    const far = await stage.far({
      handle: (_, response) =>
        void response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("x".repeat(100_000))),
    });
    const { begin, notebook } = asker([rule(far.port)]);
    const url = `http://a.test:${far.port}/`;
    const whole = await begin({ url });
    expect(whole.headers.map(([name]) => name)).not.toContain("content-encoding");
    expect(await allOf(whole.body)).toHaveLength(100_000);
    const cut = await begin({ url }, { bytesMax: 50_000 });
    await expect(allOf(cut.body)).rejects.toMatchObject({ code: "limit_exceeded" });
    await expect(begin({ url, method: "POST", body: "x".repeat(60_000) }, { bytesMax: 50_000 })).rejects.toMatchObject({
      code: "tool_unavailable",
    });
    expect(far.seen.map(({ method }) => method)).toEqual(["GET", "GET"]);
    expect(notebook.events("requested")).toHaveLength(3);
  });

  it("did for certain not leave where it was refused, and may have left on a connection that was there before", async () => {
    let cut = false;
    const far = await stage.far({
      handle: (request, response) => (cut ? request.socket.destroy() : respond(response, "ok")),
    });
    const { begin, notebook } = asker([rule(far.port)]);
    const url = `http://a.test:${far.port}/`;
    await expect(begin({ url: "http://b.test/" })).rejects.toMatchObject({ code: "egress_denied" });
    await allOf((await begin({ url })).body);
    cut = true;
    await expect(begin({ url, method: "POST" })).rejects.toMatchObject({ code: "unreachable" });
    await far.close();
    await expect(begin({ url, method: "POST" })).rejects.toMatchObject({ code: "tool_unavailable" });
    notebook.over = true;
    await expect(begin({ url })).rejects.toMatchObject({ code: "tool_unavailable" });
  });

  it("ends with the way out, and what is under way is recorded first", async () => {
    const far = await stage.far({ handle: (_, response) => void response.writeHead(200).write("begun") });
    const { begin, notebook, egress } = asker([rule(far.port)]);
    const stream = await begin({ url: `http://a.test:${far.port}/` });
    await egress.close();
    expect(notebook.events("ended")).toHaveLength(1);
    await expect(allOf(stream.body)).rejects.toMatchObject({ code: "unreachable" });
    await expect(begin({ url: `http://a.test:${far.port}/` })).rejects.toMatchObject({ code: "tool_unavailable" });
  });
});

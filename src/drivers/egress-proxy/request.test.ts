// Goal: Reeve's own requests are judged, recorded and scrubbed as those of programs are, and say for certain when nothing left.
// Method: whole requests to servers on loopback, and to where there is none.
import { createServer, type AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
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
  return { ask, notebook, egress };
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

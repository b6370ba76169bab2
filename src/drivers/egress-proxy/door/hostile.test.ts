// Goal: nothing that a program does on its socket gets another request out than the one that was judged, or keeps the door busy for nothing.
// Method: raw bytes on the door's socket; what counts is what the far side has seen.
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import type { Door } from "../../../ports/egress.ts";
import { dial, get, raw, respond, secured, socketOf, Stage } from "../scene.fake.ts";

const stage = new Stage();
afterEach(() => stage.end());

async function world(options: Parameters<Stage["open"]>[1] = {}, farOptions: Parameters<Stage["far"]>[0] = {}) {
  const far = await stage.far(farOptions);
  const opened = await stage.open(
    [{ scheme: "http", host: "a.test", port: far.port, paths: ["/ok"], allowPrivate: true }],
    options,
  );
  return { ...opened, far, at: `a.test:${far.port}` };
}

const statusOf = (text: string): string => text.split(" ")[1] ?? "";

describe("a request that can be read in two ways", () => {
  const BODY = "GET /secret HTTP/1.1\r\nHost: AT\r\n\r\n";
  const table: Readonly<Record<string, string>> = {
    "both lengths and chunks": `POST http://AT/ok HTTP/1.1\r\nHost: AT\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${BODY}`,
    "chunks before a length": `POST http://AT/ok HTTP/1.1\r\nHost: AT\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${BODY}`,
    "two lengths": `POST http://AT/ok HTTP/1.1\r\nHost: AT\r\nContent-Length: 0\r\nContent-Length: 36\r\n\r\n${BODY}`,
    "a list of lengths": `POST http://AT/ok HTTP/1.1\r\nHost: AT\r\nContent-Length: 0, 36\r\n\r\n${BODY}`,
    "a length with a sign": `POST http://AT/ok HTTP/1.1\r\nHost: AT\r\nContent-Length: +0\r\n\r\n${BODY}`,
    "two codings": `POST http://AT/ok HTTP/1.1\r\nHost: AT\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n${BODY}`,
    "a coding that is none": `POST http://AT/ok HTTP/1.1\r\nHost: AT\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${BODY}`,
    "a coding before chunked": `POST http://AT/ok HTTP/1.1\r\nHost: AT\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n${BODY}`,
    "chunks in HTTP/1.0": `POST http://AT/ok HTTP/1.0\r\nHost: AT\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${BODY}`,
    "space before a colon": `GET http://AT/ok HTTP/1.1\r\nHost : evil\r\nHost: AT\r\n\r\n`,
    "a folded header": `GET http://AT/ok HTTP/1.1\r\nHost: AT\r\nX: a\r\n Host: evil\r\n\r\n`,
    "a bare line feed in a header": `GET http://AT/ok HTTP/1.1\r\nHost: AT\r\nX: a\nHost: evil\r\n\r\n`,
    "a bare carriage return": `GET http://AT/ok HTTP/1.1\r\nHost: AT\r\nX: a\rHost: evil\r\n\r\n`,
    "a null in a header": `GET http://AT/ok HTTP/1.1\r\nHost: AT\r\nX: a\0b\r\n\r\n`,
    "a header without a name": `GET http://AT/ok HTTP/1.1\r\nHost: AT\r\n: a\r\n\r\n`,
    "two hosts": `GET http://AT/ok HTTP/1.1\r\nHost: AT\r\nhost: evil.test\r\n\r\n`,
    "another host": `GET http://AT/ok HTTP/1.1\r\nHost: evil.test\r\n\r\n`,
    "no host": `GET http://AT/ok HTTP/1.1\r\nX: y\r\n\r\n`,
    "a chunk that is longer than it says": `POST http://AT/ok HTTP/1.1\r\nHost: AT\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n`,
    "a chunk's length that is no number": `POST http://AT/ok HTTP/1.1\r\nHost: AT\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n`,
    "credentials in the address": `GET http://u:p@AT/ok HTTP/1.1\r\nHost: AT\r\n\r\n`,
    "a fragment": `GET http://AT/ok#/x HTTP/1.1\r\nHost: AT\r\n\r\n`,
    "a backslash": `GET http://AT/ok\\..\\secret HTTP/1.1\r\nHost: AT\r\n\r\n`,
    "another protocol": `GET ftp://AT/ok HTTP/1.1\r\nHost: AT\r\n\r\n`,
    "a path alone": `GET /ok HTTP/1.1\r\nHost: AT\r\n\r\n`,
    "an expectation that is none": `GET http://AT/ok HTTP/1.1\r\nHost: AT\r\nExpect: banana\r\n\r\n`,
    "an asterisk": `OPTIONS * HTTP/1.1\r\nHost: AT\r\n\r\n`,
    TRACE: `TRACE http://AT/ok HTTP/1.1\r\nHost: AT\r\n\r\n`,
    "HTTP/2": `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`,
    "no HTTP at all": `\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03`,
  };
  for (const [name, text] of Object.entries(table))
    it(`is refused: ${name}`, async () => {
      // What waits for more is cut off.
      const { door, far, at, notebook } = await world({ times: { headersMs: 300, idleMs: 300 } });
      const answer = await raw(door, Buffer.from(text.replaceAll("AT", at), "latin1"));
      // A body may be found wrong only after its head was passed on; then the request is broken off, and was never whole.
      expect(answer.startsWith("HTTP/1.1 200")).toBe(false);
      expect(far.seen).toEqual([]);
      await notebook.until((notes) => notes.length > 0);
    });

  it("says nothing to the far side of what belongs to the connection", async () => {
    const { door, far, at } = await world();
    const more =
      "Connection: close, X-Hop\r\nX-Hop: 1\r\nProxy-Connection: keep-alive\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nTransfer_Encoding: chunked\r\nContent_Length: 9\r\nProxy_X: 1\r\nX-Kept: 1\r\n";
    await raw(door, `GET http://${at}/ok HTTP/1.1\r\nHost: ${at}\r\n${more}\r\n`);
    expect(far.seen[0]?.headers).toEqual(["Host", at, "X-Kept", "1", "Connection", "keep-alive"]);
  });

  it("takes one connection's requests one by one, each judged for itself", async () => {
    const { door, far, at } = await world();
    const text = await raw(
      door,
      `GET http://${at}/ok HTTP/1.1\r\nHost: ${at}\r\n\r\nGET http://${at}/secret HTTP/1.1\r\nHost: ${at}\r\n\r\n${get(`http://${at}/ok/2`)}`,
    );
    expect([...text.matchAll(/HTTP\/1.1 (\d+)/g)].map((match) => match[1])).toEqual(["200", "403", "200"]);
    expect(far.seen.map(({ url }) => url)).toEqual(["/ok", "/ok/2"]);
  });
});

describe("a connection that was opened for one host", () => {
  async function looked() {
    const far = await stage.far({ tls: ["a.test"] });
    const opened = await stage.open([
      { host: "a.test", port: far.port, paths: ["/ok"], allowPrivate: true },
      { host: "b.test", port: far.port, paths: ["/ok"], allowPrivate: true },
    ]);
    const { readFileSync } = await import("node:fs");
    const ca = [readFileSync(`${opened.door.folder}/ca.pem`, "utf8")];
    const say = async (text: string, servername = "a.test") =>
      secured(await dial(opened.door, `a.test:${far.port}`), {
        servername,
        ca,
        text: text.replaceAll("AT", `a.test:${far.port}`).replaceAll("BT", `b.test:${far.port}`),
      });
    return { ...opened, far, say, ca };
  }

  it("takes no request for another, by whichever name, though its own rules allow it", async () => {
    const { say, far, door, notebook } = await looked();
    const end = "Connection: close\r\n\r\n";
    expect(statusOf((await say(`GET /ok HTTP/1.1\r\nHost: BT\r\n${end}`)).text)).toBe("400");
    expect(statusOf((await say(`GET https://BT/ok HTTP/1.1\r\nHost: BT\r\n${end}`)).text)).toBe("400");
    expect(statusOf((await say(`GET http://AT/ok HTTP/1.1\r\nHost: AT\r\n${end}`)).text)).toBe("400");
    expect(statusOf((await say(`CONNECT BT HTTP/1.1\r\nHost: BT\r\n\r\n`)).text)).toBe("400");
    expect(far.seen).toEqual([]);
    expect(statusOf((await say(`GET https://AT/ok HTTP/1.1\r\nHost: AT\r\n${end}`)).text)).toBe("200");
    const socket = await dial(door, `a.test:${far.port}`);
    const text = `GET /ok HTTP/1.1\r\nHost: a.test:${far.port}\r\n${end}`;
    await expect(secured(socket, { servername: "b.test", ca: [], text, careless: true })).rejects.toThrow();
    await notebook.until((notes) => notes.some(({ event }) => event["rule"] === "server_name"));
    expect(far.seen).toHaveLength(1);
  });

  it("speaks no HTTP/2", async () => {
    const { door, far, ca } = await looked();
    const socket = await dial(door, `a.test:${far.port}`);
    await expect(secured(socket, { servername: "a.test", ca, text: "", alpn: ["h2"] })).rejects.toThrow();
  });

  it("by its address carries TLS that names no other, and nothing that only begins like it", async () => {
    const far = await stage.far({ tls: ["127.0.0.1"] });
    let said = "";
    const plain = createServer((socket) => {
      socket.on("error", () => {}).on("data", (chunk: Buffer) => (said += chunk.toString("latin1")));
    });
    await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", () => resolve()));
    const { port } = plain.address() as AddressInfo;
    const { door, notebook } = await stage.open(
      [far.port, port].map((each) => ({ host: "127.0.0.1", port: each, allowPrivate: true })),
    );
    const greetings = ["\x00\x05hello", "\x00\x04\x01\x00\x00\x00", "\x00\x01\x01\x80more"];
    for (const greeting of greetings) {
      const socket = await dial(door, `127.0.0.1:${port}`);
      socket.write(`\x16\x03\x01${greeting}`, "latin1");
      socket.end();
      await once(socket.resume(), "close");
    }
    expect(said).toBe("");
    expect(notebook.events("requested").filter(({ rule }) => rule === "server_name")).toHaveLength(greetings.length);
    plain.close();
    const text = `GET / HTTP/1.1\r\nHost: 127.0.0.1:${far.port}\r\nConnection: close\r\n\r\n`;
    const socket = await dial(door, `127.0.0.1:${far.port}`);
    const answer = await secured(socket, { servername: "", ca: [], careless: true, text });
    expect(statusOf(answer.text)).toBe("200");
  });

  it("carries plain HTTP only where that is ruled", async () => {
    const { door, far } = await looked();
    const socket = await dial(door, `a.test:${far.port}`);
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.write(`GET /ok HTTP/1.1\r\nHost: a.test:${far.port}\r\nConnection: close\r\n\r\n`);
    await once(socket.resume(), "close");
    expect(statusOf(text)).toBe("403");
    const plain = await world();
    const open = await dial(plain.door, plain.at);
    text = "";
    open.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    open.write(`GET /ok HTTP/1.1\r\nHost: ${plain.at}\r\nConnection: close\r\n\r\n`);
    await once(open.resume(), "close");
    expect(statusOf(text)).toBe("200");
  });

  it("is not opened for what is no host and port, or what no rule names", async () => {
    const { door, far } = await looked();
    for (const place of [
      "a.test",
      "a.test:0",
      ":443",
      `a.test:${far.port}/x`,
      `c.test:${far.port}`,
      "a.test:1",
      `u@a.test:${far.port}`,
    ])
      await expect(dial(door, place)).rejects.toThrow(/40[03]/);
    const text = await raw(door, `CONNECT a.test:${far.port} HTTP/1.1\r\nHost: b.test:${far.port}\r\n\r\n`);
    expect(statusOf(text)).toBe("400");
  });
});

describe("an address behind a name", () => {
  it("is asked for once, and that very one is dialled", async () => {
    const answers = [["127.0.0.2"], ["127.0.0.1"]];
    let times = 0;
    const far = await stage.far({ address: "127.0.0.2" });
    const other = await stage.far({ address: "127.0.0.1", port: far.port });
    const { door } = await stage.open([{ scheme: "http", host: "a.test", port: far.port, allowPrivate: true }], {
      resolve: async () => answers[Math.min(times++, 1)] ?? [],
    });
    await raw(door, get(`http://a.test:${far.port}/`));
    expect(times).toBe(1);
    expect(far.seen.map(({ localAddress }) => localAddress)).toEqual(["127.0.0.2"]);
    expect(other.seen).toEqual([]);
  });

  it("is refused where it is not public, on every way in, and nobody hears of it", async () => {
    const far = await stage.far();
    const rules = [
      { scheme: "http" as const, host: "*.test", port: far.port },
      { host: "s.test", port: far.port, tunnel: true },
      { scheme: "http" as const, host: "127.0.0.1", port: far.port },
    ];
    const { door, notebook } = await stage.open(rules);
    expect(statusOf(await raw(door, get(`http://a.test:${far.port}/`)))).toBe("403");
    expect(
      statusOf(await raw(door, get(`http://0x7f.1:${far.port}/`).replace(/Host: .*\r/, `Host: 0x7f.1:${far.port}\r`))),
    ).toBe("403");
    await expect(dial(door, `s.test:${far.port}`)).rejects.toThrow(/403.*not public/);
    const ws =
      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    expect(
      statusOf(await raw(door, `GET http://a.test:${far.port}/ HTTP/1.1\r\nHost: a.test:${far.port}\r\n${ws}\r\n`)),
    ).toBe("403");
    expect(far.seen).toEqual([]);
    expect(notebook.events("requested").map(({ decision, rule }) => [decision, rule])).toEqual(
      Array.from({ length: 4 }, () => ["deny", "address"]),
    );
  });

  it("that was dialled under a rule for private ones is not used under one without", async () => {
    const far = await stage.far();
    const { door } = await stage.open([
      { scheme: "http", host: "a.test", port: far.port, paths: ["/private"], allowPrivate: true },
      { scheme: "http", host: "a.test", port: far.port, paths: ["/public"] },
    ]);
    expect(statusOf(await raw(door, get(`http://a.test:${far.port}/private`)))).toBe("200");
    expect(statusOf(await raw(door, get(`http://a.test:${far.port}/public`)))).toBe("403");
    expect(far.seen).toHaveLength(1);
  });
});

describe("what would never end", () => {
  const until = async (socket: Socket): Promise<string> => {
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    // However it ends, it ends.
    socket.on("error", () => {});
    await new Promise<void>((resolve) => socket.once("close", () => resolve()));
    return text;
  };

  it("headers that come drop by drop are cut off", async () => {
    const { door } = await world({ times: { headersMs: 200 } });
    const socket = connect(socketOf(door));
    socket.write("GET http://a.test/ HTTP/1.1\r\nX: ");
    const drip = setInterval(() => socket.write("a"), 20);
    const text = await until(socket).finally(() => clearInterval(drip));
    expect(["408", "400", ""]).toContain(statusOf(text));
  });

  it("a tunnel in which nothing is said is closed", async () => {
    const far = await stage.far({ tls: ["a.test"] });
    const { door } = await stage.open(
      [
        { host: "a.test", port: far.port, allowPrivate: true },
        { host: "b.test", port: far.port, methods: ["GET"], allowPrivate: true },
      ],
      { times: { headersMs: 200 } },
    );
    for (const host of ["a.test", "b.test"]) {
      const socket = await dial(door, `${host}:${far.port}`);
      socket.write("\x16");
      await until(socket.resume());
    }
    expect(far.seen).toEqual([]);
  });

  it("a name that nobody answers for is given up", async () => {
    const { door, notebook } = await stage.open([{ scheme: "http", host: "a.test", allowPrivate: true }], {
      times: { connectMs: 200 },
      resolve: () => new Promise(() => {}),
    });
    expect(statusOf(await raw(door, get("http://a.test/")))).toBe("502");
    await notebook.until((notes) => notes.length === 2);
  });

  it("a far side that does not answer is given up", async () => {
    const mute = createServer(() => {});
    await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", () => resolve()));
    const { port } = mute.address() as AddressInfo;
    const { door, notebook } = await stage.open([{ scheme: "http", host: "a.test", port, allowPrivate: true }], {
      times: { idleMs: 300 },
    });
    const text = await raw(door, get(`http://a.test:${port}/`));
    expect(text === "" || statusOf(text) === "502").toBe(true);
    await notebook.until((notes) => notes.length === 2);
    expect(notebook.events("ended")[0]).toMatchObject({ status: 0 });
    mute.close();
  });

  it("headers and addresses that are too long are refused", async () => {
    const { door, far, at } = await world();
    expect(statusOf(await raw(door, get(`http://${at}/ok`, `X: ${"a".repeat(40_000)}\r\n`)))).toBe("400");
    expect(statusOf(await raw(door, get(`http://${at}/ok/${"a".repeat(40_000)}`)))).toBe("400");
    expect(far.seen).toEqual([]);
  });

  it("requests that wait for their answers on one connection are few", async () => {
    let asked = 0;
    const { door, at } = await world({}, { handle: () => (asked += 1) });
    const socket = connect(socketOf(door));
    socket.write(`GET http://${at}/ok HTTP/1.1\r\nHost: ${at}\r\n\r\n`.repeat(500));
    await until(socket);
    expect(asked).toBeLessThanOrEqual(16);
  });

  it("requests of no size are bounded as well, and what stands in addresses counts", async () => {
    const nowhere = await stage.open([{ scheme: "http", host: "a.test", allowPrivate: true }], {
      bytesMax: 20 * 1024,
      resolve: async () => [],
    });
    const statuses: string[] = [];
    for (let turn = 0; turn < 22; turn += 1) statuses.push(statusOf(await raw(nowhere.door, get("http://a.test/"))));
    expect(statuses).toEqual([...Array.from({ length: 20 }, () => "502"), "403", "403"]);
    const { door, at, notebook } = await world(
      { bytesMax: 24 * 1024 },
      { handle: (_request, response) => respond(response, "ok") },
    );
    const ask = (): Promise<string> => raw(door, get(`http://${at}/ok?${"q".repeat(10_000)}`));
    expect([statusOf(await ask()), statusOf(await ask())]).toEqual(["200", "200"]);
    expect(notebook.events("ended")[0]?.["sentBytes"]).toBeGreaterThan(10_000);
    const text = await ask();
    expect(text).toMatch(/^HTTP\/1.1 403 [^]*nothing more passes/);
  });

  it("an answer that is larger than the door carries is cut off, and what follows is refused", async () => {
    const chunk = Buffer.alloc(64 * 1024);
    let sentBytes = 0;
    const { door, notebook, at } = await world(
      { bytesMax: 1024 * 1024 },
      {
        handle: (_request, response) => {
          response.writeHead(200, { "content-length": 1024 ** 3 });
          const more = (): void => {
            while (!response.destroyed && sentBytes < 1024 ** 3) {
              sentBytes += chunk.length;
              if (!response.write(chunk)) return void response.once("drain", more);
            }
          };
          more();
        },
      },
    );
    const text = await raw(door, get(`http://${at}/ok`));
    expect(text.length).toBeLessThanOrEqual(1024 * 1024);
    await notebook.until((notes) => notes.length === 2);
    expect(Number(notebook.events("ended")[0]?.["receivedBytes"])).toBeLessThanOrEqual(1024 * 1024);
    // The far side was stopped too: what it could hand to the system is a few buffers.
    expect(sentBytes).toBeLessThan(64 * 1024 * 1024);
    expect(statusOf(await raw(door, get(`http://${at}/ok`)))).toBe("403");
    expect(notebook.events("requested").at(-1)).toMatchObject({ decision: "deny", rule: "limit" });
  });

  it("a program that does not read holds the far side back, and one that goes lets it go", async () => {
    const chunk = Buffer.alloc(64 * 1024);
    let sentBytes = 0;
    let gone = (): void => {};
    const left = new Promise<void>((resolve) => (gone = resolve));
    const blocked = Promise.withResolvers<void>();
    const { door, notebook, at } = await world(
      { bytesMax: 1024 ** 3 },
      {
        handle: (_request, response) => {
          response.once("close", gone);
          response.writeHead(200);
          const more = (): void => {
            while (!response.destroyed) {
              sentBytes += chunk.length;
              if (!response.write(chunk)) {
                if (sentBytes > 1024 * 1024) blocked.resolve();
                return void response.once("drain", more);
              }
            }
          };
          more();
        },
      },
    );
    const socket = connect(socketOf(door));
    socket.write(get(`http://${at}/ok`));
    await once(socket, "readable");
    await blocked.promise;
    expect(sentBytes).toBeLessThan(64 * 1024 * 1024);
    socket.destroy();
    await left;
    await notebook.until((notes) => notes.length === 2);
  });

  it("an answer that breaks off does not look whole, looked through or not", async () => {
    const cut: Parameters<Stage["far"]>[0] = {
      handle: (request, response) => {
        response.writeHead(200, request.url === "/ok/length" ? { "content-length": 100 } : {});
        response.write("begun", () => response.destroy());
      },
    };
    const secrets = { key: { from: "KEY", to: [{ host: "a.test" }] } };
    const plain = await world({}, cut);
    const looked = await world({ secrets, values: { key: "0123456789abcdef" }, granted: ["key"] }, cut);
    for (const { door, at } of [plain, looked])
      for (const path of ["/ok/length", "/ok/chunks"]) {
        const text = await raw(door, get(`http://${at}${path}`)).catch(String);
        expect(text).not.toMatch(/\r\n0\r\n\r\n$/);
        expect(text).not.toMatch(/content-length: 5\r\n/i);
      }
  });

  it("a program that goes before it is answered lets the far side go", async () => {
    const [asked, left] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const { door, at } = await world(
      {},
      {
        handle: (_request, response) => {
          response.once("close", () => left.resolve());
          asked.resolve();
        },
      },
    );
    const socket = connect(socketOf(door));
    socket.write(get(`http://${at}/ok`));
    await asked.promise;
    socket.destroy();
    await left.promise;
    expect(socket.destroyed).toBe(true);
  });

  it("a program that closes its side has gone: a connection that is half closed looks the same", async () => {
    const { door, notebook, at } = await world({}, { handle: () => {} });
    expect(await raw(door, get(`http://${at}/ok`), { end: true })).toBe("");
    await notebook.until((notes) => notes.length === 2);
    expect(notebook.events("ended")[0]).toMatchObject({ status: 0 });
  });
});

describe("a WebSocket", () => {
  const frame = (text: string): Buffer => Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]);
  const HEADERS =
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Key: reeve-secret:key\r\n";

  async function echo() {
    const far = await stage.far();
    const heads: string[][] = [];
    far.server.on("upgrade", (request, socket: Socket, head: Buffer) => {
      heads.push(request.rawHeaders);
      socket.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
      );
      socket.write(frame("hello 0123456789abcdef"));
      if (head.length > 0) socket.write(head);
      socket.pipe(socket);
    });
    const to = [{ scheme: "http", host: "a.test", port: far.port, header: "x-key" }];
    const opened = await stage.open(
      [{ scheme: "http", host: "a.test", port: far.port, paths: ["/ok"], allowPrivate: true }],
      { secrets: { key: { from: "KEY", to } }, values: { key: "0123456789abcdef" }, granted: ["key"] },
    );
    const begin = (door: Door, path: string): Socket => {
      const socket = connect({ path: socketOf(door), allowHalfOpen: true });
      socket.write(`GET http://a.test:${far.port}${path} HTTP/1.1\r\nHost: a.test:${far.port}\r\n${HEADERS}\r\n`);
      socket.write(frame("more"));
      return socket;
    };
    return { ...opened, far, heads, begin };
  }

  it("is judged as the GET that it begins as, and passed on both ways", async () => {
    const { door, notebook, begin, heads } = await echo();
    const socket = begin(door, "/ok");
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      // The last letter may begin the value, in one of its forms: whoever asks waits for the whole message.
      if (text.endsWith("more")) socket.write(frame("and 0"));
      if (text.endsWith("and 0")) socket.end(frame("the end"));
    });
    await once(socket, "close");
    expect(text).toMatch(/^HTTP\/1.1 101 [^]*\r\n\r\n..hello \*{16}..more..and 0..the end$/);
    expect(heads[0]).toEqual(expect.arrayContaining(["0123456789abcdef", "websocket", "Upgrade"]));
    expect(heads[0]).not.toContain("permessage-deflate");
    await notebook.until((notes) => notes.length === 2);
    expect(notebook.events("ended")[0]).toMatchObject({ status: 101 });
  });

  it("is none where the far side was only led to answer 101, and would read on", async () => {
    const far = await stage.far();
    const read: string[] = [];
    for (const accept of ["", "Sec-WebSocket-Accept: x\r\n"]) {
      far.server.removeAllListeners("upgrade").on("upgrade", (_request, socket: Socket) => {
        socket.on("error", () => {}).on("data", (chunk: Buffer) => read.push(chunk.toString("latin1")));
        socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: any\r\nConnection: Upgrade\r\n${accept}\r\n`);
      });
      const { door } = await stage.open([
        { scheme: "http", host: "a.test", port: far.port, paths: ["/ok"], allowPrivate: true },
      ]);
      const at = `a.test:${far.port}`;
      const text = `GET http://${at}/ok HTTP/1.1\r\nHost: ${at}\r\n${HEADERS}\r\nGET /secret HTTP/1.1\r\nHost: ${at}\r\n\r\n`;
      expect(await raw(door, text)).toMatch(/^HTTP\/1.1 502 [^]*no WebSocket/);
      expect(statusOf(await raw(door, text.replace(/Sec-WebSocket-Key.*\r\n/, "")))).toBe("400");
    }
    expect(read).toEqual([]);
  });

  it("is refused by path as any request, and a far side that wants none says so", async () => {
    const { door, begin } = await echo();
    const refused = begin(door, "/secret");
    let text = "";
    refused.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    refused.once("end", () => refused.end());
    await once(refused, "close");
    expect(statusOf(text)).toBe("403");
    const { door: other, at } = await world({}, { handle: (_request, response) => respond(response, "no") });
    const answer = await raw(other, `GET http://${at}/ok HTTP/1.1\r\nHost: ${at}\r\n${HEADERS}\r\n`);
    expect(answer).toMatch(/^HTTP\/1.1 200 [^]*no$/);
  });
});

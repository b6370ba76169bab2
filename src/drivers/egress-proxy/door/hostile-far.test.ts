// Goal: nothing that a far side answers gets a secret past the scrubber, keeps a request busy for nothing, or passes for another answer.
// Method: a far side of raw bytes; what counts is what the program sees, and what is recorded.
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { constants, createZstdCompress, gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { get, raw, Stage } from "../scene.fake.ts";

const stage = new Stage();
const ends: (() => void)[] = [];
afterEach(async () => {
  await stage.end();
  for (const end of ends.splice(0)) end();
});

const VALUE = "sk-live/abc+def&123";
const PLACEHOLDER = "reeve-secret:key";

/** A far side that says the same to whoever has sent a head, and a door to it through which a secret may go. */
async function world(say: (socket: Socket) => void) {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => say(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  ends.push(() => server.close());
  const { port } = server.address() as AddressInfo;
  const place = { scheme: "http" as const, host: "a.test", port };
  const opened = await stage.open([{ ...place, allowPrivate: true }], {
    secrets: { key: { from: "KEY", to: [place] } },
    values: { key: VALUE },
    granted: ["key"],
  });
  return { ...opened, ask: () => raw(opened.door, get(`http://a.test:${port}/`)) };
}

const answering = (head: string, body: Buffer = Buffer.alloc(0)) =>
  world((socket) => socket.end(Buffer.concat([Buffer.from(`HTTP/1.1 ${head}\r\n\r\n`), body])));

const chunked = (body: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from("\r\n0\r\n\r\n")]);

describe("an answer", () => {
  it("is looked through where it is packed for its transfer alone", async () => {
    const { ask } = await answering(
      "200 OK\r\nTransfer-Encoding: gzip, chunked",
      chunked(gzipSync(`before ${VALUE} after`)),
    );
    expect(await ask()).toContain(`before ${PLACEHOLDER} after`);
  });

  it("that is packed in two ways, or so that it needs much memory, is not passed on, and that is said", async () => {
    const twice = await answering(
      "200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: gzip, chunked",
      chunked(gzipSync(gzipSync(VALUE))),
    );
    expect(await twice.ask()).toMatch(/^HTTP\/1.1 502 [^]*packed in a way that cannot be looked through/);
    const packer = createZstdCompress({ params: { [constants.ZSTD_c_windowLog]: 25 } });
    const chunks: Buffer[] = [];
    packer.on("data", (chunk: Buffer) => chunks.push(chunk));
    packer.write("begun");
    packer.end("ended");
    await once(packer, "end");
    const wide = await answering("200 OK\r\nContent-Encoding: zstd\r\nConnection: close", Buffer.concat(chunks));
    expect(await wide.ask().catch(String)).not.toContain("begun");
  });

  it("is whole where there is nothing in it, however that is packed", async () => {
    for (const status of ["200 OK", "204 No Content", "304 Not Modified"]) {
      const { ask } = await answering(`${status}\r\nContent-Encoding: gzip\r\nContent-Length: 0`);
      expect(await ask()).toMatch(/^HTTP\/1.1 (200 [^]*\r\n\r\n0\r\n\r\n|(204|304) [^]*\r\n\r\n)$/);
    }
  });

  it("that is announced without end is given up; a few announcements are not", async () => {
    const early = `HTTP/1.1 103 Early Hints\r\nLink: <${VALUE}>\r\n\r\n`;
    const endless = await world((socket) => {
      const more = (): void => {
        while (!socket.destroyed) if (!socket.write(early.repeat(100))) return void socket.once("drain", more);
      };
      more();
    });
    expect(await endless.ask()).toMatch(/^HTTP\/1.1 502 [^]*again and again/);
    await endless.notebook.until((notes) => notes.length === 2);
    expect(endless.notebook.events("ended")[0]).toMatchObject({ status: 0 });
    const few = await world((socket) => socket.end(`${early.repeat(3)}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`));
    const text = await few.ask();
    expect(text).toMatch(/^HTTP\/1.1 200 /);
    expect(text).not.toContain(VALUE);
  });

  it("whose end can be read in two ways is none", async () => {
    for (const head of [
      "Content-Length: 2\r\nTransfer-Encoding: chunked",
      "Content-Length: 2\r\nContent-Length: 5",
      "Content-Length: 2, 5",
      "Transfer-Encoding: chunked\r\n Content-Length: 2",
      "Transfer-Encoding: chunked\r\nX: a\nContent-Length: 2",
    ]) {
      const { ask } = await answering(
        `200 OK\r\n${head}`,
        Buffer.from("5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
      );
      expect([head, await ask()]).toEqual([head, expect.stringMatching(/^HTTP\/1.1 502 /)]);
    }
  });
});

// Goal: a secret's value goes to its destination in its header and nowhere else, and does not come back.
// Method: a far side that says back all that it got, in many forms; whole doors and the parts alone.
import { randomBytes } from "node:crypto";
import { deflateSync, gzipSync, brotliCompressSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { dial, get, raw, secured, Stage, respond } from "../scene.fake.ts";
import { createScrubber } from "./scrub.ts";
import { openSecrets, substitute } from "./secrets.ts";
import { secretSchema } from "../../../abi/isolation.ts";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const stage = new Stage();
afterEach(() => stage.end());

const VALUE = "sk-live/abc+def&123";
const PLACEHOLDER = "reeve-secret:key";

/** A door through which the secret may go to `a.test` in one header; the rest of its rules are for other places. */
async function world(
  options: {
    handle?: Parameters<Stage["far"]>[0] extends infer O ? (O extends { handle?: infer H } ? H : never) : never;
    header?: string;
  } = {},
) {
  const far = await stage.far(options.handle === undefined ? {} : { handle: options.handle });
  const to = [{ scheme: "http", host: "a.test", port: far.port, header: options.header ?? "authorization" }];
  const opened = await stage.open(
    ["a.test", "b.test"].map((host) => ({ scheme: "http", host, port: far.port, allowPrivate: true })),
    { secrets: { key: { from: "KEY", to } }, values: { key: VALUE }, granted: ["key"] },
  );
  const ask = (host: string, more: string, path = "/"): Promise<string> =>
    raw(opened.door, get(`http://${host}:${far.port}${path}`, more));
  return { ...opened, far, ask };
}

describe("a secret on its way out", () => {
  it("replaces its placeholder in its header toward its destination, and records its name", async () => {
    const { ask, far, notebook } = await world();
    const text = await ask("a.test", `Authorization: Bearer ${PLACEHOLDER}\r\nX-Other: ${PLACEHOLDER}\r\n`);
    expect(far.seen[0]?.headers).toEqual(expect.arrayContaining([`Bearer ${VALUE}`, PLACEHOLDER]));
    expect(text).not.toContain(VALUE);
    expect(text).toContain(`Bearer ${PLACEHOLDER}`);
    const [event] = notebook.events("requested");
    expect(event).toMatchObject({ secrets: ["key"], request: { leaked: ["key"] } });
    expect(JSON.stringify(notebook.notes)).not.toContain(VALUE);
  });

  it("is found within Basic credentials, whatever the case of the header", async () => {
    const { ask, far } = await world();
    const basic = (text: string): string => Buffer.from(text).toString("base64");
    const text = await ask("a.test", `AUTHORIZATION: basic ${basic(`user:${PLACEHOLDER}`)}\r\n`);
    expect(far.seen[0]?.headers).toContain(`Basic ${basic(`user:${VALUE}`)}`);
    expect(text).not.toContain(basic(`user:${VALUE}`));
    expect(text).not.toContain(basic(VALUE).slice(4, -4));
  });

  it("stays a placeholder toward any other place, and that is reported", async () => {
    const { ask, far, notebook } = await world();
    await ask("b.test", `Authorization: Bearer ${PLACEHOLDER}\r\n`);
    await ask("a.test", "", `/?q=reeve%2dsecret%3Akey`);
    expect(far.seen.map(({ headers }) => headers.join(" "))).toEqual([
      expect.stringContaining(PLACEHOLDER),
      expect.not.stringContaining(VALUE),
    ]);
    expect(
      notebook.events("requested").map(({ secrets, request }) => [secrets, (request as { leaked?: unknown }).leaked]),
    ).toEqual([
      [[], ["key"]],
      [[], ["key"]],
    ]);
  });

  it("is written down nowhere, though whoever asks has its value from elsewhere", async () => {
    const { ask, door, notebook, far } = await world();
    await ask("a.test", "", `/p/${encodeURIComponent(VALUE)}?k=${VALUE.replace("+", "%2B")}`);
    await ask("c.test", "", `/${VALUE}`);
    await ask(`u:${encodeURIComponent(VALUE)}@a.test`, "");
    await ask("u:hunter2@a.test", "", "/x@y?z");
    await raw(door, `CONNECT u:hunter2@a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n`);
    const paths = notebook.events("requested").map(({ request }) => (request as { path?: string }).path);
    expect(paths).toEqual([
      `/p/${PLACEHOLDER}?k=${PLACEHOLDER}`,
      `/${PLACEHOLDER}`,
      `http://a.test:${far.port}/`,
      `http://a.test:${far.port}/x@y?z`,
      "a.test:443",
    ]);
    expect(JSON.stringify(notebook.notes)).not.toMatch(/sk-live|hunter2/);
  });

  it("is not looked for in bodies, but reported there, also across chunks", async () => {
    const { door, far, notebook } = await world();
    const half = PLACEHOLDER.length - 4;
    const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
    await raw(
      door,
      `POST http://a.test:${far.port}/ HTTP/1.1\r\nHost: a.test:${far.port}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n${chunk(PLACEHOLDER.slice(0, half))}${chunk(PLACEHOLDER.slice(half))}0\r\n\r\n`,
    );
    expect(far.seen[0]?.body).toBe(PLACEHOLDER);
    await notebook.until((notes) => notes.length === 2);
    expect(notebook.events("ended")[0]).toMatchObject({ leaked: ["key"] });
  });

  it("makes the proxy look into HTTPS to its destination", async () => {
    const far = await stage.far({ tls: ["a.test"] });
    const { door } = await stage.open([{ host: "*.test", port: far.port, allowPrivate: true }], {
      secrets: { key: { from: "KEY", to: [{ host: "a.test", port: far.port, header: "x-key" }] } },
      values: { key: VALUE },
      granted: ["key"],
    });
    const ca = [readFileSync(join(door.folder, "ca.pem"), "utf8")];
    const text = `GET / HTTP/1.1\r\nHost: a.test:${far.port}\r\nX-Key: ${PLACEHOLDER}\r\nConnection: close\r\n\r\n`;
    const answer = await secured(await dial(door, `a.test:${far.port}`), { servername: "a.test", ca, text });
    expect(far.seen[0]?.headers).toContain(VALUE);
    expect(answer.text).toContain(PLACEHOLDER);
    expect(answer.text).not.toContain(VALUE);
  });
});

describe("an answer on its way back", () => {
  const PACKED = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync, zstd: zstdCompressSync };
  for (const [coding, pack] of Object.entries(PACKED))
    it(`is looked through when it is packed with ${coding} although nobody asked for it`, async () => {
      const { ask, far } = await world({
        handle: (_request, response) => {
          const body = pack(Buffer.from(`before ${VALUE} after`));
          response.writeHead(200, { "content-encoding": coding, "content-length": body.length }).end(body);
        },
      });
      const text = await ask("a.test", "Accept-Encoding: gzip\r\nRange: bytes=0-3\r\n");
      expect(text).toContain(`before ${PLACEHOLDER} after`);
      expect(far.seen[0]?.headers.map((part) => part.toLowerCase())).not.toContain("range");
      expect(far.seen[0]?.headers).toContain("identity");
    });

  it("is looked through in the case that a server writes all in, and in the names of its headers", async () => {
    const name = "Key0123456789abc";
    const scrubber = createScrubber([{ name: "key", value: name, to: [] }]);
    expect(scrubber?.text(`${name.toUpperCase()} ${name.toLowerCase()}`)).toBe(`${PLACEHOLDER} ${PLACEHOLDER}`);
    expect(
      scrubber?.headers([
        [`X-${name.toLowerCase()}`, "1"],
        ["X-Other", name],
      ]),
    ).toEqual([["X-Other", PLACEHOLDER]]);
  });

  it("is looked through in one go, whatever looks like an escape in it", () => {
    const stream = createScrubber([{ name: "key", value: VALUE, to: [] }])?.stream();
    const text = "&#".repeat(3_000_000);
    const passed = [stream?.push(Buffer.from(text)), stream?.end()].map(String).join("");
    expect(passed === text).toBe(true);
  });

  it("is refused when it is packed in a way that nobody here can unpack", async () => {
    const { ask } = await world({
      handle: (_request, response) => respond(response, VALUE, { "content-encoding": "rot13" }),
    });
    const text = await ask("a.test", "");
    expect(text).toMatch(/^HTTP\/1.1 502 /);
    expect(text).not.toContain(VALUE);
  });

  it("is passed on as it comes: what may not be held back is not", async () => {
    let more = (): void => {};
    const { door, far } = await world({
      handle: (_request, response) => {
        response.writeHead(200).write("data: one\n\n");
        more = () => void response.end(`data: ${VALUE}\n\n`);
      },
    });
    const { connect } = await import("node:net");
    const socket = connect(join(door.folder, "egress.sock"));
    socket.write(get(`http://a.test:${far.port}/`));
    let text = "";
    await new Promise<void>((resolve) => {
      socket.on("data", (chunk: Buffer) => {
        text += chunk.toString("latin1");
        if (text.includes("one\n\n") && !text.includes(PLACEHOLDER)) more();
      });
      socket.once("close", () => resolve());
    });
    expect(text).toContain(`data: ${PLACEHOLDER}`);
    expect(text).not.toContain(VALUE);
  });

  it("is scrubbed in its headers and its reason", async () => {
    const { ask } = await world({
      handle: (_request, response) => {
        response.writeHead(302, `Moved ${VALUE}`, {
          location: `http://b.test/?k=${encodeURIComponent(VALUE)}`,
          "content-length": 0,
        });
        response.end();
      },
    });
    const text = await ask("a.test", "");
    expect(text).toContain(`location: http://b.test/?k=${PLACEHOLDER}`);
    expect(text).not.toContain(VALUE);
  });
});

describe("the scrubber", () => {
  const scrubber = createScrubber([{ name: "key", value: VALUE, to: [] }]);

  it("finds a value in any form, however it is cut into chunks", () => {
    const forms = [
      VALUE,
      encodeURIComponent(VALUE),
      encodeURIComponent(encodeURIComponent(VALUE)),
      // As Python, Go and others write it in addresses: some characters as they are.
      "sk-live/abc%2Bdef%26123",
      "sk%2dlive%2Fabc%2bdef&123",
      Buffer.from(VALUE).toString("hex"),
      Buffer.from(VALUE).toString("hex").toUpperCase(),
      JSON.stringify({ a: VALUE }),
      // As Go, PHP and others write it in JSON, and that within JSON.
      "sk-live/abc+def\\u0026123",
      "sk-live\\/abc\\u002Bdef\\u0026123",
      "sk-live\\\\/abc\\\\u002bdef\\\\u0026123",
      "sk\\x2dlive/abc+def\\x26123",
      Buffer.from(`u:${VALUE}`).toString("base64"),
      Buffer.from(`us:${VALUE}:more`).toString("base64url"),
      encodeURIComponent(Buffer.from(`use:${VALUE}:more`).toString("base64")),
      Buffer.from(`${"user".repeat(12)}:${VALUE}`)
        .toString("base64")
        .replaceAll(/.{76}/g, "$&\r\n"),
      VALUE.replaceAll("&", "&amp;"),
      "sk-live/abc+def&#38;123",
      "sk-live&#x2F;abc&#43;def&amp;amp;123",
      VALUE.replaceAll("/", "\\/"),
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...forms),
        fc.string({ maxLength: 40 }),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 80 }),
        (form, around, cuts) => {
          const whole = Buffer.from(`${around}${form}${around}`, "utf8");
          const stream = scrubber!.stream();
          const out: Buffer[] = [];
          let at = 0;
          for (const cut of cuts) {
            out.push(stream.push(whole.subarray(at, at + cut)));
            at += cut;
          }
          out.push(stream.push(whole.subarray(at)), stream.end());
          const text = Buffer.concat(out).toString("utf8");
          expect(text).toContain(PLACEHOLDER);
          expect(text).not.toContain(form);
        },
      ),
    );
  });

  it("finds values that look like escapes, and one that another one begins", () => {
    const values = ["a%25b&amp;c\\\\d", 'e\\\\f\\n"g', "12345678", "12345678-and-more"];
    const several = createScrubber(values.map((value, at) => ({ name: `key${at}`, value, to: [] })));
    for (const [at, value] of values.entries())
      for (const form of at === 0 ? [value] : [value, JSON.stringify(value).slice(1, -1), encodeURIComponent(value)])
        for (let cut = 0; cut <= form.length; cut += 1) {
          const stream = several!.stream();
          const bytes = Buffer.from(`x${form}y`);
          const out = [stream.push(bytes.subarray(0, cut)), stream.push(bytes.subarray(cut)), stream.end()];
          expect(Buffer.concat(out).toString()).toBe(`xreeve-secret:key${at}y`);
        }
  });

  it("changes nothing else, and keeps no byte for itself", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 })), (chunks) => {
        const stream = scrubber!.stream();
        const out = Buffer.concat([...chunks.map((chunk) => stream.push(Buffer.from(chunk))), stream.end()]);
        expect(out.equals(Buffer.concat(chunks))).toBe(true);
      }),
    );
  });

  it("keeps lengths where it is asked to", () => {
    const stream = scrubber!.stream("fill");
    const bytes = Buffer.concat([randomBytes(5), Buffer.from(VALUE), randomBytes(5)]);
    const out = Buffer.concat([stream.push(bytes), stream.end()]);
    expect(out).toHaveLength(bytes.length);
    expect(out.includes("*".repeat(VALUE.length))).toBe(true);
  });
});

describe("secrets as they are opened", () => {
  const config = secretSchema.parse({ from: "KEY", to: [{ host: "*.a.test" }] });
  const opened = (value: string | undefined) =>
    openSecrets(["key"], { secrets: { key: config }, secretOf: () => value });

  it("are refused where they cannot be kept, by name and never by value", () => {
    for (const value of [undefined, "short", "with\nnewline", " spaced at an end", "ünicode-value"]) {
      let message = "";
      try {
        opened(value);
      } catch (error) {
        message = String(error);
      }
      expect(message).toContain("key");
      expect(message).not.toContain(value ?? VALUE);
    }
    expect(() => openSecrets(["other"], { secrets: {}, secretOf: () => VALUE })).toThrow(/no secret "other"/);
    expect(() => openSecrets(["constructor"], { secrets: {}, secretOf: () => VALUE })).toThrow(/no secret/);
  });

  it("know one name from a longer one", () => {
    const origin = { scheme: "https", host: "x.a.test", port: 443 } as const;
    const [, value] = substitute([["Authorization", "reeve-secret:keyring reeve-secret:key"]], {
      secrets: opened(VALUE),
      origin,
      known: () => true,
    }).headers[0]!;
    expect(value).toBe(`reeve-secret:keyring ${VALUE}`);
  });

  it("go to no name that only looks like their destination's", () => {
    for (const host of ["a.test", "xa.test", "a.test.evil.test", "evil-a.test"])
      expect(
        substitute([["authorization", PLACEHOLDER]], {
          secrets: opened(VALUE),
          origin: { scheme: "https", host, port: 443 },
          known: () => true,
        }),
      ).toEqual({ headers: [["authorization", PLACEHOLDER]], sent: [], leaked: ["key"] });
  });
});

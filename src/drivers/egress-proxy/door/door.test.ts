// Goal: programs get through a door what its rules allow, over plain HTTP and HTTPS, each request recorded before it leaves.
// Method: real servers on loopback with certificates of their own; raw clients on the door's socket, and curl, Python and Node behind the
// forwarder.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { Door } from "../../../ports/egress.ts";
import { dial, farAuthority, get, raw, secured, type Seen, Stage } from "../scene.fake.ts";

const stage = new Stage();
afterEach(() => stage.end());

const bodyOf = (text: string): string => text.slice(text.indexOf("\r\n\r\n") + 4);
const caOf = (door: Door): string[] => [readFileSync(join(door.folder, "ca.pem"), "utf8")];

describe("a door", () => {
  it("passes a plain request on and records it before and after", async () => {
    const { port, seen } = await stage.far();
    const { door, notebook } = await stage.open([{ scheme: "http", host: "a.test", port, allowPrivate: true }]);
    const text = await raw(door, get(`http://a.test:${port}/x?y=1`, "X-Own: 1\r\nProxy-Authorization: b\r\n"));
    expect(text).toMatch(/^HTTP\/1.1 200 OK/);
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({ method: "GET", url: "/x?y=1" });
    expect(seen[0]?.headers).toEqual(["Host", `a.test:${port}`, "X-Own", "1", "Connection", "keep-alive"]);
    await notebook.until((notes) => notes.length === 2);
    expect(notebook.events("requested")).toEqual([
      {
        n: expect.any(String),
        decision: "allow",
        rule: `http://a.test:${port} private`,
        secrets: [],
        request: { method: "GET", scheme: "http", host: "a.test", port, path: "/x?y=1" },
      },
    ]);
    expect(notebook.events("ended")[0]).toMatchObject({ status: 200 });
    expect(Number(notebook.events("ended")[0]?.["receivedBytes"])).toBeGreaterThan(bodyOf(text).length);
  });

  it("looks into HTTPS where a path is ruled, with a certificate of its own", async () => {
    const { port, seen } = await stage.far({ tls: ["a.test"] });
    const { door, notebook } = await stage.open([{ host: "a.test", port, paths: ["/v1"], allowPrivate: true }]);
    const through = async (path: string): Promise<string> => {
      const answer = await secured(await dial(door, `a.test:${port}`), {
        servername: "a.test",
        ca: caOf(door),
        text: get(`https://a.test:${port}${path}`).replace(/GET [^ ]+/, `GET ${path}`),
      });
      expect(answer.issuer).toMatch(/^Reeve door/);
      return answer.text;
    };
    expect(JSON.parse(bodyOf(await through("/v1/x"))) as Seen).toMatchObject({ url: "/v1/x", tls: true });
    expect(await through("/v2")).toMatch(/^HTTP\/1.1 403 /);
    expect(await through("/v1/../v2")).toMatch(/^HTTP\/1.1 403 /);
    expect(seen.map(({ url }) => url)).toEqual(["/v1/x"]);
    expect(notebook.events("requested").map(({ decision, rule }) => [decision, rule])).toEqual([
      ["allow", `https://a.test:${port} /v1 private`],
      ["deny", "path"],
      ["deny", "path"],
    ]);
  });

  it("passes TLS to a host that only its name rules as it is, and no other server in it", async () => {
    const { port, seen } = await stage.far({ tls: ["a.test"] });
    const { door, notebook, folder } = await stage.open([{ host: "a.test", port, allowPrivate: true }]);
    const text = get(`https://a.test:${port}/`).replace(/GET [^ ]+/, "GET /");
    const answer = await secured(await dial(door, `a.test:${port}`), {
      servername: "a.test",
      ca: [farAuthority.pem],
      text,
    });
    expect(answer.issuer).toBe("The far side");
    await expect(
      secured(await dial(door, `a.test:${port}`), { servername: "b.test", ca: [farAuthority.pem], text }),
    ).rejects.toThrow();
    const plain = await dial(door, `a.test:${port}`);
    const closed = new Promise<void>((resolve) => plain.once("close", () => resolve()));
    plain.resume();
    plain.write("GET / HTTP/1.1\r\n\r\n");
    await closed;
    expect(seen).toHaveLength(1);
    expect(notebook.events("requested").map(({ decision, rule }) => [decision, rule])).toEqual([
      ["allow", `https://a.test:${port} private`],
      ["allow", `https://a.test:${port} private`],
      ["deny", "server_name"],
      ["allow", `https://a.test:${port} private`],
      ["deny", "server_name"],
    ]);
    expect(existsSync(join(door.folder, "ca.pem"))).toBe(false);
    await door.close();
    expect(readdirSync(folder)).toHaveLength(1);
    expect(existsSync(door.folder)).toBe(false);
  });
});

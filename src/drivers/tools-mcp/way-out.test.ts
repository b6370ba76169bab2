// Goal: a server in a sandbox reaches what its rules allow and nothing else, with a secret that it never holds, and each request
// stands in the journal of the process with a call under way.
// Method: a real sandbox, a real door, and a web server on loopback that says what it got.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { configSchema } from "../../abi/config.ts";
import type { SourceConfig } from "../../abi/config.ts";
import { secretSchema } from "../../abi/isolation.ts";
import type { NoteHeader } from "../../ports/tools.ts";
import { caller } from "../../../test/caller.ts";
import { needs } from "../../../test/needs.ts";
import { createEgress } from "../egress-proxy/egress.ts";
import type { McpConfig } from "./connection.ts";
import { HAS_BUBBLEWRAP, openScene } from "./scene.fake.ts";
import { createMcpSource } from "./source.ts";

const BAD = fileURLToPath(new URL("./fixtures/bad-server.mjs", import.meta.url));

needs("bubblewrap", HAS_BUBBLEWRAP)("a server's way out", () => {
  test("is its door alone: the secret is put in outside, and the requests are recorded for the call", async () => {
    const got: (string | undefined)[] = [];
    const web = createServer((request, response) => {
      got.push(request.headers.authorization);
      response.end("hello");
    });
    await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
    const { port } = web.address() as AddressInfo;
    const to = [{ host: "127.0.0.1", port, scheme: "http" as const }];
    const egress = createEgress({
      secrets: { KEY: secretSchema.parse({ from: "KEY_OF_OURS", to }) },
      secretOf: () => "the-real-key",
    });
    const scene = openScene(import.meta.dirname, { egress });
    const noted: NoteHeader[] = [];
    const ask = async (path: string): Promise<string> => {
      const sandbox = {
        egress: [{ ...to[0], paths: ["/open"], allowPrivate: true }],
        secrets: ["KEY"],
      };
      const url = `http://127.0.0.1:${port}${path}`;
      const { tools } = configSchema.parse({
        tools: {
          shop: { type: "mcp-stdio", command: process.execPath, args: [BAD, "fetch"], env: { URL: url }, sandbox },
        },
      });
      const source = createMcpSource("shop", tools["shop"] as SourceConfig as McpConfig, scene.deps);
      const outcome = await source.call(
        "act",
        {},
        { ...caller({}, noted), key: "k", signal: AbortSignal.timeout(60_000) },
      );
      await source.close();
      return outcome.kind === "done" ? outcome.content.text : JSON.stringify(outcome);
    };
    try {
      expect(await ask("/open/door")).toBe("200 reeve-secret:KEY hello");
      expect(got).toEqual(["the-real-key"]);
      expect(await ask("/closed")).toMatch(/^403 reeve-secret:KEY /);
      expect(got).toHaveLength(1);
      expect(noted.filter(({ kind }) => kind === "egress.requested")).toMatchObject([
        { decision: "allow", secrets: ["KEY"], call: 0 },
        { decision: "deny", call: 0 },
      ]);
      expect(scene.notices).toEqual([]);
    } finally {
      await scene.close();
      await egress.close();
      await new Promise((resolve) => web.close(resolve));
    }
  });

  test("carries what the configuration says of servers", async () => {
    const scene = openScene(import.meta.dirname, { serverBytesMax: 100_000 });
    const { tools } = configSchema.parse({
      tools: {
        shop: {
          type: "mcp-stdio",
          command: process.execPath,
          args: [BAD, "none"],
          sandbox: { egress: [{ host: "a.example.com" }] },
        },
      },
    });
    const source = createMcpSource("shop", tools["shop"] as SourceConfig as McpConfig, scene.deps);
    try {
      await source.tools();
      expect(scene.doors).toMatchObject([{ owner: "tools.shop", bytesMax: 100_000 }]);
    } finally {
      await source.close();
      await scene.close();
    }
  });
});

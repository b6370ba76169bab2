// Goal: what the configuration says of how much may pass reaches the doors that are opened by it.
// Method: the parts as they are joined, a door of the size that is configured, and a server that sends more.
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { configSchema } from "./abi/config.ts";
import { egressRuleSchema } from "./abi/isolation.ts";
import { isolationOf } from "./boot-isolation.ts";

const MORE = 100_000;

/** What comes back through a door, in bytes; as much of it as passes. */
async function receivedThrough(egress: object): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "reeve-boot-"));
  const server = createServer((_, response) => void response.end("x".repeat(MORE)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const config = configSchema.parse({ egress });
  const project = { config, folder, file: undefined };
  const isolation = isolationOf({ project, folder, version: "0", environment: {}, onNotice: () => {} });
  try {
    const rule = egressRuleSchema.parse({ host: "127.0.0.1", port, scheme: "http", allowPrivate: true });
    const notes = { requested: async () => {}, ended: async () => {} };
    const door = await isolation.egress.open({ owner: "p_1", rules: [rule], secrets: [], notes });
    return await new Promise((resolve) => {
      let bytes = 0;
      const at = { path: `http://127.0.0.1:${port}/`, headers: { host: `127.0.0.1:${port}` } };
      const asked = request({ socketPath: join(door.folder, "egress.sock"), ...at });
      asked.once("response", (answer) => {
        answer.on("data", (chunk: Buffer) => (bytes += chunk.length));
        answer.on("error", () => {});
        answer.once("close", () => resolve(bytes));
      });
      asked.once("error", () => resolve(bytes));
      asked.end();
    });
  } finally {
    await isolation.close();
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

test("a door carries what the configuration says, and no more", async () => {
  expect(await receivedThrough({})).toBe(MORE);
  expect(await receivedThrough({ doorBytesMax: 64 * 1024 })).toBeLessThan(64 * 1024);
});

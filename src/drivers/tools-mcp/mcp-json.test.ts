// Goal: an `.mcp.json` is read as assistants write it; what cannot be used in it is named with its remedy, and takes nothing else down.
// Method: files written for each test, and what becomes of each server; one of them is really started.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { configSchema } from "../../abi/config.ts";
import type { SourceConfig } from "../../abi/config.ts";
import { needs } from "../../../test/needs.ts";
import { createMcpJsonSources, type NamedSource, noticeOfMcpJson, sourceNameOf } from "./mcp-json.ts";
import { HAS_BUBBLEWRAP, openScene, type Scene } from "./scene.fake.ts";

const BAD = fileURLToPath(new URL("./fixtures/bad-server.mjs", import.meta.url));

let folder: string;
let scene: Scene;
let made: readonly NamedSource[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "reeve-json-"));
  scene = openScene(folder, { environment: { ...process.env, TOKEN: "t0ken", EMPTY: "" } });
});
afterEach(async () => {
  await Promise.all(made.map(({ source }) => source.close()));
  await scene.close();
  rmSync(folder, { recursive: true });
});

function read(
  content: unknown,
  more: Record<string, unknown> = {},
  taken: readonly string[] = [],
): readonly NamedSource[] {
  writeFileSync(join(folder, ".mcp.json"), typeof content === "string" ? content : JSON.stringify(content));
  const config = configSchema.parse({ tools: { mcp: { type: "mcp-json", ...more } } }).tools["mcp"];
  made = createMcpJsonSources("mcp", config as Extract<SourceConfig, { type: "mcp-json" }>, {
    ...scene.deps,
    taken: new Set(taken),
  });
  return made;
}

/** By name: `process` or `none` for what can be used, else why not. */
async function states(sources: readonly NamedSource[]): Promise<Record<string, string>> {
  const each = sources.map(async ({ name, source }) => {
    const isMcp = source.login !== undefined;
    const why = isMcp ? source.isolation : await source.tools().then(String, (error: Error) => error.message);
    return [name, why] as const;
  });
  return Object.fromEntries(await Promise.all(each));
}

test("servers of all forms become sources under their own names", async () => {
  const sources = read({
    mcpServers: {
      files: { command: "npx", args: ["-y", "server"], env: { A: "b" }, alwaysAllow: ["x"] },
      "My Server!": { type: "stdio", command: "uvx" },
      docs: { type: "http", url: "https://docs.example.com/mcp", headers: { Authorization: "Bearer ${TOKEN}" } },
      search: { url: "https://search.example.com/mcp" },
      crm: { transport: "streamable-http", url: "${CRM:-https://crm.example.com}/mcp" },
      off: { command: "x", disabled: true },
    },
  });
  expect(await states(sources)).toEqual({
    files: "process",
    "My-Server": "process",
    docs: "none",
    search: "none",
    crm: "none",
  });
  expect(sourceNameOf("@scope/server.name ")).toBe("scope-server-name");
});

test("what cannot be used says why and what to do; the others can be used", async () => {
  const sources = read(
    {
      mcpServers: {
        old: { type: "sse", url: "https://old.example.com/sse" },
        shop: { command: "x" },
        "shop!": { command: "x" },
        mail: { command: "x" },
        unset: { command: "x", env: { KEY: "${NO_SUCH_VARIABLE}" } },
        bare: {},
        wrong: { command: ["x"] },
        strange: { type: "carrier-pigeon", url: "https://x.example.com" },
        "???": { command: "x" },
      },
    },
    {},
    ["mail"],
  );
  expect(await states(sources)).toEqual({
    old: expect.stringMatching(/server-sent events.*type http/),
    shop: "process",
    "mcp-1": expect.stringMatching(/"shop!" .* another source called "shop"\. Rename/),
    "mcp-2": expect.stringMatching(/"mail" .* another source called "mail"/),
    unset: expect.stringMatching(/NO_SUCH_VARIABLE is not set\. Set it, or write \$\{NO_SUCH_VARIABLE:-DEFAULT\}/),
    bare: expect.stringMatching(/neither a command nor an http address/),
    wrong: expect.stringMatching(/command: /),
    strange: expect.stringMatching(/"carrier-pigeon" is none that Reeve knows/),
    "mcp-3": expect.stringMatching(/no letters or digits/),
  });
});

test.each([
  ["{", /is no JSON/],
  [{ server: {} }, /names no servers: it should hold/],
])("a file of another form is named: %j", async (content, why) => {
  expect(await states(read(content))).toEqual({ mcp: expect.stringMatching(why) });
});

describe("files of other assistants", () => {
  /** A program that says where it runs and with what, and ends: so it stands in the error of its server. */
  const PRINTING = "process.stderr.write(JSON.stringify([process.cwd(), process.env.A, ...process.argv.slice(1)]))";
  const printing = (args: readonly string[], more: Record<string, unknown> = {}): Record<string, unknown> => ({
    command: process.execPath,
    args: ["-e", PRINTING, ...args],
    ...more,
  });
  const said = async (sources: readonly NamedSource[]): Promise<Record<string, string>> => {
    const each = sources.map(async ({ name, source }) => [
      name,
      await source.tools().then(String, (error: Error) => error.message),
    ]);
    return Object.fromEntries(await Promise.all(each)) as Record<string, string>;
  };
  const all = { isolation: { a: "none", b: "none", c: "none", d: "none" } };

  test("hold comments, commas too many, and a mark at their start", async () => {
    const text = `\uFEFF{ // which "servers"
      "servers": { "docs": { "type": "http", "url": "https://docs.example.com/a,}", /* } */ }, }, }`;
    expect(await states(read(text))).toEqual({ docs: "none" });
  });

  test("name folders, variables, inputs and files of variables in their own ways", async () => {
    writeFileSync(join(folder, "own.env"), "# what it takes\nA=from-file\n");
    const sources = read(
      {
        inputs: [
          { id: "api-key", type: "promptString", password: true },
          { id: "level", default: "low" },
        ],
        servers: {
          a: printing(["${workspaceFolder}/x", "${env:TOKEN}", "${input:level}", "$(${1})", "${/}"], {
            envFile: "${workspaceFolder}/own.env",
          }),
          b: printing([], { envFile: "own.env", env: { A: 7, B: null } }),
          c: printing(["${input:api-key}"]),
          d: printing([], { envFile: "gone.env" }),
        },
      },
      all,
    );
    const { a, b, c, d } = await said(sources);
    expect(a).toContain(JSON.stringify([folder, "from-file", `${folder}/x`, "t0ken", "low", "$(${1})", "/"]));
    expect(b).toContain(JSON.stringify([folder, "7"]));
    expect(c).toMatch(/asks whoever starts it for "api-key".*INPUT_API_KEY/);
    expect(d).toMatch(/envFile .*gone\.env cannot be read: it is not there/);
  });

  test("in a dot folder speak of the project", async () => {
    mkdirSync(join(folder, ".cursor"));
    const file = join(".cursor", "mcp.json");
    writeFileSync(join(folder, file), JSON.stringify({ mcpServers: { a: printing([], { env: { A: "1" } }) } }));
    const { a } = await said(read({}, { file, isolation: { a: "none" } }));
    expect(a).toContain(JSON.stringify([folder, "1"]));
  });

  test("use other words for address and kind, and switch servers off; of those no variable is missed", async () => {
    const sources = read({
      mcpServers: {
        surf: { serverUrl: "https://a.example.com/mcp" },
        twins: { httpUrl: "https://b.example.com/mcp" },
        near: { type: "local", command: "x", args: [8080] },
        snake: { type: "streamable_http", url: "https://c.example.com/mcp" },
        off: { enabled: false, command: "x", env: { K: "${NO_SUCH_VARIABLE}" } },
      },
    });
    expect(await states(sources)).toEqual({ surf: "none", twins: "none", near: "process", snake: "none" });
  });
});

test("a file that is not there is named, and so are words of the configuration about servers that it does not name", async () => {
  const gone = read({ mcpServers: {} }, { file: "gone.json" });
  expect(await states(gone)).toEqual({ mcp: expect.stringMatching(/gone\.json cannot be read: it is not there/) });
  const stray = read(
    { mcpServers: { shop: { command: "x" } } },
    {
      sandbox: { shp: {} },
      isolation: { shap: "none" },
      tools: { "shop.look": { effect: "read" }, "crm.look": { effect: "read" } },
    },
  );
  expect(await states(stray)).toEqual({
    shop: "process",
    "mcp-1": expect.stringMatching(
      /tools\.mcp\.sandbox\.shp, tools\.mcp\.isolation\.shap, tools\.mcp\.tools\.crm\.look speak of no server/,
    ),
  });
  expect(stray[0]?.overrides).toEqual({ look: { effect: "read" } });
});

test("a server runs with our rights only where the configuration says so of it, by either of its names", async () => {
  const program = { command: process.execPath, args: [BAD, "none"] };
  const sources = read(
    { mcpServers: { "My Server!": program, shop: program, web: { url: "https://web.example.com/mcp" } } },
    { isolation: { "My-Server": "none", web: "none" } },
  );
  expect(await states(sources)).toEqual({
    "My-Server": "none",
    shop: "process",
    web: expect.stringMatching(/"web" .* reached over HTTP .* `isolation`/),
  });
  expect((await sources[0]?.source.tools())?.map(({ name }) => name)).toEqual(["act"]);
});

test("one over HTTP has a way out of its own, and the message names where it is widened", async () => {
  const server = createServer((_, response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ resource: at, authorization_servers: ["http://127.0.0.1:9"] }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  const [web] = read({ mcpServers: { web: { url: at } } });
  await expect(web?.source.login?.({ redirect: "http://127.0.0.1:7/" })).rejects.toThrow(
    /"web" names http:\/\/127\.0\.0\.1:9, .*: tools\.mcp\.sandbox\.web\.egress: \[/,
  );
  server.closeAllConnections();
  server.close();
});

test("a project that has the file and does not name it is told so", () => {
  expect(noticeOfMcpJson(folder)).toEqual([]);
  writeFileSync(join(folder, ".mcp.json"), "{}");
  expect(noticeOfMcpJson(folder)).toEqual([expect.stringMatching(/`mcp: \{ type: "mcp-json" \}`/)]);
});

needs("bubblewrap", HAS_BUBBLEWRAP)("a server of the file", () => {
  test("runs in its sandbox, with what its grant names", async () => {
    const [shop] = read(
      { mcpServers: { shop: { command: process.execPath, args: [BAD, "none"] } } },
      { sandbox: { shop: { read: [BAD] } } },
    );
    expect((await shop?.source.tools())?.map(({ name }) => name)).toEqual(["act"]);
  });

  test("that cannot see its script says how it can", async () => {
    const [shop] = read({ mcpServers: { shop: { command: process.execPath, args: [BAD, "none"] } } });
    await expect(shop?.source.tools()).rejects.toThrow(
      /it cannot see .*bad-server\.mjs \(tools\.mcp\.sandbox\.shop\.read/,
    );
  });

  test("that would be fetched is asked for without a network at once, and the error says how it is installed", async () => {
    const npx = join(folder, "npx");
    writeFileSync(npx, "#!/bin/sh\necho offline: $npm_config_offline >&2\nexit 1\n", { mode: 0o755 });
    const fetched = { command: "./npx", args: ["-y", "@scope/server@1.2"] };
    const [shop, other] = read(
      { mcpServers: { shop: fetched, other: fetched } },
      { sandbox: { other: { egress: [{ host: "registry.example.com" }] } } },
    );
    await expect(shop?.source.tools()).rejects.toThrow(
      /offline: true.*no network\. Install the server \(npm install @scope\/server@1\.2\), or .*tools\.mcp\.sandbox\.shop\.egress/,
    );
    await expect(other?.source.tools()).rejects.toThrow(/offline:\. Check that.*`command` of "other" in \.mcp\.json/);
  });

  test("that an engine of containers would start is told to run outside", async () => {
    writeFileSync(join(folder, "docker"), "#!/bin/sh\nexit 125\n", { mode: 0o755 });
    const [shop] = read({ mcpServers: { shop: { command: "./docker", args: ["run"] } } });
    await expect(shop?.source.tools()).rejects.toThrow(/cannot be reached.*Set tools\.mcp\.isolation\.shop to "none"/);
  });
});

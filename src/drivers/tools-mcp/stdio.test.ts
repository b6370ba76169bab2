// Goal: over standard input and output the driver does right by good servers of both eras.
// Method: real children of the official server SDK, as plain processes and in real sandboxes.
import { afterAll, describe, expect, test } from "vitest";
import { fileURLToPath } from "node:url";
import type { ToolSource } from "../../ports/tools.ts";
import { configSchema } from "../../abi/config.ts";
import type { McpConfig } from "./connection.ts";
import { HAS_BUBBLEWRAP, openScene } from "./scene.fake.ts";
import { createMcpSource } from "./source.ts";
import { caller } from "../../../test/caller.ts";
import { needs } from "../../../test/needs.ts";

const SHOP = fileURLToPath(new URL("./fixtures/shop-stdio.ts", import.meta.url));
const scene = openScene(import.meta.dirname, { environment: { ...process.env, SECRET_OF_OURS: "1" } });
const opened: ToolSource[] = [];

type Isolation = "none" | "process";

function open(isolation: Isolation, era: string, more: Record<string, unknown>): ToolSource {
  const config = configSchema.parse({
    tools: { shop: { type: "mcp-stdio", command: process.execPath, args: [SHOP, era], isolation, ...more } },
  }).tools["shop"] as McpConfig;
  const source = createMcpSource("shop", config, scene.deps);
  opened.push(source);
  return source;
}

const forever = new AbortController().signal;
const call = async (source: ToolSource, name: string, args = {}, key = "k1"): ReturnType<ToolSource["call"]> =>
  source.call(name, args, { ...caller(), key, signal: forever });

afterAll(async () => {
  await Promise.all(opened.map(async (source) => source.close()));
  await scene.close();
});

function suite(isolation: Isolation): void {
  const shop = (era: string, more: Record<string, unknown> = {}): ToolSource => open(isolation, era, more);
  /** For the tests that need nothing of their own. */
  const standing = shop("new");

  test.each(["old", "new", "both"])(
    "a server of the %s era lists its tools, and answers byte for byte",
    async (era) => {
      const source = shop(era);
      const tools = await source.tools();
      expect(tools.map(({ name }) => name)).toContain("get_order");
      expect(tools.find(({ name }) => name === "get_order")?.inputSchema).toMatchObject({
        type: "object",
        properties: { id: { type: "string" } },
      });
      expect(await call(source, "get_order", { id: "o-1" })).toEqual({
        kind: "done",
        content: { text: '{"id": "o-1",  "paid":12.50, "note":"caf\u00e9 \\u200b"}' },
      });
      expect(await call(source, "refund", { id: "o-1" }, "key-of-this-call")).toEqual({
        kind: "done",
        content: { text: "key-of-this-call" },
      });
      expect(await call(source, "wipe")).toEqual({ kind: "failed", content: { text: "not allowed" } });
    },
  );

  test("data is given as data and as text; a resource is named and its text given; pictures are named with type and size", async () => {
    const source = standing;
    expect(await call(source, "stock")).toEqual({ kind: "done", content: { text: '{"left":3}', data: { left: 3 } } });
    expect(await call(source, "photo")).toEqual({
      kind: "done",
      content: { text: "Here:\n[image image/png, 5 bytes]\n[resource shop://terms text/plain 5 bytes]\ncaf\u00e9" },
    });
  });

  test("arguments that the server refuses are a failure with its message", async () => {
    const outcome = await call(standing, "get_order", { id: 7 });
    expect(outcome).toMatchObject({ kind: "failed", content: { text: expect.stringContaining("id") } });
  });

  test("annotations are believed only if the configuration says so", async () => {
    const declared = async (source: ToolSource, name: string): Promise<unknown> =>
      (await source.tools()).find((tool) => tool.name === name)?.declared;
    const doubted = standing;
    expect(await declared(doubted, "get_order")).toEqual({});
    const trusted = shop("new", { trustAnnotations: true });
    expect(await declared(trusted, "get_order")).toEqual({ effect: "read" });
    expect(await declared(trusted, "refund")).toEqual({ effect: "write", idempotency: "natural" });
    expect(await declared(trusted, "wipe")).toEqual({ effect: "destroy" });
    expect(await declared(trusted, "stock")).toEqual({});
  });

  test("a child gets PATH, HOME, LANG, TMPDIR and what is configured, and no more", async () => {
    const outcome = await call(shop("new", { env: { SHOP_TOKEN: "t" } }), "environment");
    const names = outcome.kind === "done" ? (JSON.parse(outcome.content.text) as string[]) : [];
    expect(names).toContain("SHOP_TOKEN");
    const known = ["PATH", "HOME", "LANG", "TMPDIR", "SHOP_TOKEN", ...(isolation === "process" ? ["PWD"] : [])];
    expect(names.filter((name) => !known.includes(name))).toEqual([]);
  });

  test("many calls at once are told apart", async () => {
    const source = standing;
    const ids = Array.from({ length: 50 }, (_, at) => `o-${at}`);
    const outcomes = await Promise.all(ids.map(async (id) => call(source, "get_order", { id })));
    expect(
      outcomes.map((outcome) =>
        outcome.kind === "done" ? (JSON.parse(outcome.content.text) as { id: string }).id : outcome.kind,
      ),
    ).toEqual(ids);
  });

  test("tools are listed once for as long as nothing changes, and anew when the server says so", async () => {
    for (const era of ["old", "new"]) {
      const source = shop(era);
      const before = await source.tools();
      expect(await source.tools()).toBe(before);
      expect(await call(source, "grow")).toMatchObject({ kind: "done" });
      await expect.poll(async () => (await source.tools()).map(({ name }) => name)).toContain("grown");
      expect(await call(source, "grown")).toEqual({ kind: "done", content: { text: "big" } });
    }
  });

  test("a server that dies over a call leaves its outcome unknown, says why, and is there again at the next call", async () => {
    const source = shop("new");
    const outcome = await call(source, "die");
    expect(outcome).toEqual({
      kind: "unknown",
      reason: expect.stringMatching(/"shop" got the call.*exited with code 3.*out of paper/),
    });
    expect(outcome.kind === "unknown" && outcome.reason).not.toContain("\u001b");
    expect(await call(source, "get_order", { id: "o-2" })).toMatchObject({ kind: "done" });
  });

  test("a call given up after it was sent is unknown; one given up before is not performed", async () => {
    const source = standing;
    await source.tools();
    const late = new AbortController();
    const pending = source.call("slow", {}, { ...caller(), key: "k", signal: late.signal });
    // Answered after it on the same pipe: the slow call has been read.
    await call(source, "get_order", { id: "o-3" });
    late.abort(new Error("enough"));
    expect(await pending).toEqual({
      kind: "unknown",
      reason: expect.stringContaining("had not answered when it was given up"),
    });
    expect(await source.call("slow", {}, { ...caller(), key: "k", signal: AbortSignal.abort() })).toMatchObject({
      kind: "not_performed",
      error: { code: "tool_unavailable" },
    });
  });

  test("of a program that crashes the error is told, and not the way to it", async () => {
    const crash = "const f = (n) => { if (n === 0) throw new Error('out of luck'); f(n - 1); }; f(8)";
    const error = await shop("new", { args: ["-e", crash] })
      .tools()
      .catch((thrown: unknown) => thrown);
    expect(String(error)).toContain("Error: out of luck");
  });

  test("after close nothing is started any more", async () => {
    const source = shop("new");
    await source.tools();
    await source.close();
    await expect(source.tools()).rejects.toMatchObject({
      code: "tool_unavailable",
      message: expect.stringContaining("shop"),
    });
  });
}

describe("as a plain process", () => suite("none"));
needs("bubblewrap", HAS_BUBBLEWRAP)("in a sandbox", () => suite("process"));

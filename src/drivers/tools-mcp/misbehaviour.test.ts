// Goal: whatever a server on standard input and output does wrong ends in time, in bounded memory, with an error that
// names the server and the fault, and tells a call that never left from one that may have been performed.
// Method: real children that do one thing wrong, as plain processes and in real sandboxes.
import { afterAll, describe, expect, test, vi } from "vitest";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { OsError } from "../../abi/errors.ts";
import type { ToolSource } from "../../ports/tools.ts";
import { configSchema } from "../../abi/config.ts";
import type { McpConfig } from "./connection.ts";
import { createMcpSource } from "./source.ts";
import { caller } from "../../../test/caller.ts";
import { needs } from "../../../test/needs.ts";
import { HAS_BUBBLEWRAP, openScene, processesWith } from "./scene.fake.ts";

const BAD = fileURLToPath(new URL("./fixtures/bad-server.mjs", import.meta.url));
const scene = openScene(import.meta.dirname);
const folder = mkdtempSync(join(tmpdir(), "reeve-mcp-"));
// In a sandbox the server is nobody, and counts its starts here all the same.
chmodSync(folder, 0o777);
const opened: ToolSource[] = [];
let count = 0;

const START_MS = 50_000;
/** Until its end has been heard of. */
const LONG = { timeout: 50_000 };

type Isolation = "none" | "process";
type Bad = {
  readonly source: ToolSource;
  readonly starts: () => number;
  readonly text: () => string;
  readonly alive: () => readonly number[];
};

function open(isolation: Isolation, source: Record<string, unknown>): ToolSource {
  const config = configSchema.parse({
    tools: { shop: { type: "mcp-stdio", isolation, sandbox: { write: [folder] }, ...source } },
  }).tools["shop"] as McpConfig;
  const made = createMcpSource("shop", config, scene.deps);
  opened.push(made);
  return made;
}

/** A server with this fault; `starts` counts how often it was started, `alive` gives what of it lives. */
function bad(isolation: Isolation, fault: string, more: Record<string, unknown> = {}): Bad {
  count += 1;
  const starts = join(folder, `starts-${count}`);
  // Each start in a sandbox is another user.
  writeFileSync(starts, "");
  chmodSync(starts, 0o666);
  const source = open(isolation, { command: process.execPath, args: [BAD, fault, starts], ...more });
  return {
    source,
    text: () => readFileSync(starts, "utf8"),
    starts: () => readFileSync(starts, "utf8").trim().split("\n").length,
    alive: () => processesWith(starts),
  };
}

const call = async (source: ToolSource): ReturnType<ToolSource["call"]> =>
  source.call("act", {}, { ...caller(), key: "k", signal: new AbortController().signal });

afterAll(async () => {
  await Promise.all(opened.map(async (source) => source.close()));
  await scene.close();
  rmSync(folder, { recursive: true });
});

function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended with the one before it.
    }
  }
}

function suite(isolation: Isolation): void {
  test.concurrent("a command that does not exist", async () => {
    const source = open(isolation, { command: "no-such-command-here" });
    await expect(source.tools()).rejects.toMatchObject({
      code: "tool_unavailable",
      message: expect.stringMatching(
        /"shop" could not be started: the command "no-such-command-here" was not found on PATH\..*\(tools\.shop\.command\)/s,
      ),
    });
    expect(await call(source)).toMatchObject({
      kind: "not_performed",
      error: { code: "tool_unavailable", retryable: true },
    });
  });

  test.concurrent.each([
    ["./no-such-file", /there is no program ".\/no-such-file"/],
    [folder, /may not be run: it is no program/],
  ])("a command that is no program, %s", async (command, cause) => {
    await expect(open(isolation, { command }).tools()).rejects.toThrow(cause);
  });

  test.concurrent("a folder that does not exist is named, and not the command", async () => {
    await expect(open(isolation, { command: process.execPath, cwd: "nowhere" }).tools()).rejects.toThrow(
      /its folder .*nowhere does not exist/,
    );
  });

  test.concurrent.each([
    ["exit", /exited with code 7.*no licence found/],
    ["hang", /did not answer within 1000 ms/, 1000],
    ["flood", /a line of more than \d+ bytes/],
    ["hang-list", /did not (answer|list its tools) within 1000 ms/, 1000],
    ["many-tools", /more than 1000 tools/],
    ["endless-pages", /does not end within 100 pages/],
    ["same-name", /lists the tool "act" twice/],
    ["wrong-schema", /did not list its tools: Invalid result/],
    ["long-descriptions", /more than \d+ characters/],
  ] as [string, RegExp, number?][])(
    "%s at the start: unavailable, with cause and remedy; a call is not performed; it is tried anew",
    async (fault, cause, startTimeoutMs = START_MS) => {
      const { source, starts } = bad(isolation, fault, { startTimeoutMs });
      const error = await source.tools().catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "tool_unavailable", data: { tool: "shop" } });
      expect((error as Error).message).toMatch(cause);
      expect((error as Error).message).toMatch(/The MCP server "shop" .* Check that/s);
      expect((error as Error).message.length).toBeLessThan(2000);
      const before = starts();
      expect(await call(source)).toMatchObject({ kind: "not_performed", error: { code: "tool_unavailable" } });
      // One whose time was up may not have come to say that it was started.
      expect(startTimeoutMs < START_MS || starts() > before).toBe(true);
    },
  );

  test.concurrent.each([
    ["no-message", /its answer is no JSON-RPC message/],
    ["half-answer", /ended without an answer: exited with code 0/],
    ["flood-answer", /a line of more than \d+ bytes/],
    ["noise-answer", /wrote more than \d+ bytes that are no messages/],
    ["notice-answer", /sent more than \d+ messages or \d+ bytes that nobody asked for/],
  ])("%s after a call was sent: unknown, with the cause; the next start is clean", async (fault, cause) => {
    const { source } = bad(isolation, fault);
    expect(await call(source)).toEqual({ kind: "unknown", reason: expect.stringMatching(cause) });
    expect((await source.tools()).map(({ name }) => name)).toEqual(["act"]);
  });

  test.concurrent.each(["wrong-result", "odd-data"])(
    "%s: the call was answered, so its outcome is known",
    async (fault) => {
      const { source } = bad(isolation, fault);
      expect(await call(source)).toEqual({
        kind: "failed",
        content: {
          text: expect.stringMatching(
            /"shop" answered the call, which therefore counts as performed; .*Invalid result/s,
          ),
        },
      });
      expect((await source.tools()).map(({ name }) => name)).toEqual(["act"]);
    },
  );

  test.concurrent("a server that has gone deaf costs the call that finds it out, and is started anew", async () => {
    const { source, starts, text } = bad(isolation, "deaf-answer", { startTimeoutMs: 10_000 });
    const givenUp = new AbortController();
    const lost = source.call("act", {}, { ...caller(), key: "k", signal: givenUp.signal });
    await vi.waitFor(() => expect(text()).toContain("called"), LONG);
    givenUp.abort();
    expect(await lost).toMatchObject({ kind: "unknown" });
    expect(await call(source)).toMatchObject({
      kind: "not_performed",
      error: { message: expect.stringMatching(/"shop" did not list its tools within 10000 ms/) },
    });
    expect((await source.tools()).map(({ name }) => name)).toEqual(["act"]);
    expect(starts()).toBe(3);
  });

  test.concurrent("an answer given with the last breath counts", async () => {
    expect(await call(bad(isolation, "last-words").source)).toEqual({
      kind: "done",
      content: { text: "done before the end" },
    });
  });

  test.concurrent("an error of the protocol is an answer", async () => {
    expect(await call(bad(isolation, "unknown-tool").source)).toEqual({
      kind: "failed",
      content: { text: expect.stringContaining("Unknown tool: act") },
    });
  });

  test.concurrent("lines that are no messages are passed over", async () => {
    expect(await call(bad(isolation, "banner").source)).toMatchObject({ kind: "done" });
  });

  test.concurrent("a server that dies of the new protocol's question is spoken to in the old way, and not asked again", async () => {
    const { source, starts, alive } = bad(isolation, "dies-of-probe");
    expect(await call(source)).toMatchObject({ kind: "done" });
    expect(starts()).toBe(2);
    killAll(alive());
    await vi.waitFor(async () => expect(await call(source)).toMatchObject({ kind: "done" }), LONG);
    expect(starts()).toBe(3);
  });

  test.concurrent("a server that is silent on the new protocol's question is spoken to in the old way", async () => {
    expect(await call(bad(isolation, "ignores-probe", { startTimeoutMs: 10_000 }).source)).toMatchObject({
      kind: "done",
    });
  });

  test.concurrent("a server killed between two calls is started again without a word", async () => {
    const { source, starts, alive } = bad(isolation, "none");
    expect(await call(source)).toMatchObject({ kind: "done" });
    killAll(alive());
    await vi.waitFor(() => expect(alive()).toEqual([]), LONG);
    await vi.waitFor(async () => expect((await call(source)).kind).toBe("done"), LONG);
    expect(starts()).toBe(2);
  });

  test.concurrent("close ends a server that does not want to end, and what it has started", async () => {
    const { source, starts, alive } = bad(isolation, "stubborn");
    await source.tools();
    expect(starts()).toBe(2);
    await vi.waitFor(() => expect(alive().length).toBeGreaterThanOrEqual(2), LONG);
    await source.close();
    await vi.waitFor(() => expect(alive()).toEqual([]), LONG);
  });
}

describe("as a plain process", () => {
  suite("none");

  test("a server that closes its input is ended, and started anew for the next call", async () => {
    const { source, starts, alive } = bad("none", "closes-input");
    expect(await call(source)).toMatchObject({ kind: "done", content: { text: "last" } });
    expect(await call(source)).toMatchObject({
      kind: "not_performed",
      error: { message: expect.stringContaining("does not read its standard input any more and was ended") },
    });
    expect(await call(source)).toMatchObject({ kind: "done" });
    expect([starts(), alive().length]).toEqual([2, 1]);
  });
});
needs("bubblewrap", HAS_BUBBLEWRAP)("in a sandbox", () => {
  suite("process");

  test.concurrent.each([
    ["fork-bomb", { processes: 40 }, /was ended: it started more than 40 processes/],
    ["memory-bomb", { memoryBytes: 128 * 2 ** 20 }, /was ended: it needed more than 128 MB of memory/],
    ["busy", { cpuMs: 1000 }, /was ended: it used more than 1000 ms of computing time/],
  ])("%s during a call: the limit is named, nothing is left, the next start is clean", async (fault, limits, cause) => {
    const { source, alive } = bad("process", fault, { sandbox: { write: [folder], limits } });
    expect(await call(source)).toEqual({ kind: "unknown", reason: expect.stringMatching(cause) });
    expect(alive()).toEqual([]);
    expect((await source.tools()).map(({ name }) => name)).toEqual(["act"]);
  });
});

test("where no sandbox can be had, nothing is started, and the error says how it could be", async () => {
  const refusal = new OsError("isolation_unavailable", "No sandbox can be had here.", { data: { level: "process" } });
  const sandboxes = { ...scene.deps.sandboxing.sandboxes, ready: () => Promise.reject(refusal) };
  const deps = { ...scene.deps, sandboxing: { ...scene.deps.sandboxing, sandboxes } };
  const config = configSchema.parse({ tools: { shop: { type: "mcp-stdio", command: process.execPath } } }).tools[
    "shop"
  ];
  const source = createMcpSource("shop", config as McpConfig, deps);
  opened.push(source);
  await expect(source.tools()).rejects.toMatchObject({
    code: "isolation_unavailable",
    message: expect.stringMatching(/"shop" was not started\. No sandbox .* set tools\.shop\.isolation to "none"/),
  });
  expect(await call(source)).toMatchObject({ kind: "not_performed", error: { code: "isolation_unavailable" } });
});

// Goal: whatever a server on standard input and output does wrong ends in time, in bounded memory, with an error that
// names the server and the fault, and tells a call that never left from one that may have been performed.
// Method: real children that do one thing wrong.
import { afterAll, expect, test, vi } from "vitest";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ToolSource } from "../../ports/tools.ts";
import { configSchema } from "../../abi/config.ts";
import type { McpConfig } from "./connection.ts";
import { createMcpSource } from "./source.ts";

const BAD = fileURLToPath(new URL("./fixtures/bad-server.mjs", import.meta.url));
const deps = { environment: process.env, folder: import.meta.dirname, version: "0.0.0" };
const folder = mkdtempSync(join(tmpdir(), "reeve-mcp-"));
const opened: ToolSource[] = [];
let count = 0;

function open(source: Record<string, unknown>): ToolSource {
  const config = configSchema.parse({ tools: { shop: { type: "mcp-stdio", ...source } } }).tools["shop"] as McpConfig;
  const made = createMcpSource("shop", config, deps);
  opened.push(made);
  return made;
}

function bad(
  fault: string,
  more: Record<string, unknown> = {},
): { readonly source: ToolSource; readonly pids: () => readonly number[] } {
  count += 1;
  const starts = join(folder, `starts-${count}`);
  const source = open({ command: process.execPath, args: [BAD, fault, starts], ...more });
  return { source, pids: () => readFileSync(starts, "utf8").trim().split("\n").map(Number) };
}

const call = async (source: ToolSource): ReturnType<ToolSource["call"]> =>
  source.call("act", {}, { key: "k", signal: new AbortController().signal });

/** Where nobody collects orphans a dead one keeps its number; /proc tells it from a living one. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !existsSync("/proc/self/stat") || !/\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    // There is no such process.
    return false;
  }
}

afterAll(async () => {
  await Promise.all(opened.map(async (source) => source.close()));
  rmSync(folder, { recursive: true });
});

test.concurrent("a command that does not exist", async () => {
  const source = open({ command: "no-such-command-here" });
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
  await expect(open({ command }).tools()).rejects.toThrow(cause);
});

test.concurrent("a folder that does not exist is named, and not the command", async () => {
  await expect(open({ command: process.execPath, cwd: "nowhere" }).tools()).rejects.toThrow(
    /its folder .*nowhere does not exist/,
  );
});

test.concurrent.each([
  ["exit", /exited with code 7.*no licence found/],
  ["hang", /did not answer within 500 ms/, 500],
  ["flood", /a line of more than \d+ bytes/],
  ["hang-list", /did not list its tools within 2000 ms/, 2000],
  ["many-tools", /more than 1000 tools/],
  ["endless-pages", /does not end within 100 pages/],
  ["same-name", /lists the tool "act" twice/],
  ["wrong-schema", /did not list its tools: Invalid result/],
  ["long-descriptions", /more than \d+ characters/],
] as [string, RegExp, number?][])(
  "%s at the start: unavailable, with cause and remedy; a call is not performed; it is tried anew",
  async (fault, cause, startTimeoutMs = 15_000) => {
    const { source, pids } = bad(fault, { startTimeoutMs });
    const error = await source.tools().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "tool_unavailable", data: { tool: "shop" } });
    expect((error as Error).message).toMatch(cause);
    expect((error as Error).message).toMatch(/The MCP server "shop" .* Check that/s);
    expect((error as Error).message.length).toBeLessThan(2000);
    const starts = pids().length;
    expect(await call(source)).toMatchObject({ kind: "not_performed", error: { code: "tool_unavailable" } });
    expect(pids().length).toBeGreaterThan(starts);
  },
);

test.concurrent.each([
  ["wrong-result", /no usable answer came: Invalid result/],
  ["no-message", /its answer is no JSON-RPC message/],
  ["half-answer", /ended without an answer: exited with code 0/],
  ["flood-answer", /a line of more than \d+ bytes/],
  ["noise-answer", /wrote more than \d+ bytes that are no messages/],
])("%s after a call was sent: unknown, with the cause; the next start is clean", async (fault, cause) => {
  const { source } = bad(fault);
  expect(await call(source)).toEqual({ kind: "unknown", reason: expect.stringMatching(cause) });
  expect((await source.tools()).map(({ name }) => name)).toEqual(["act"]);
});

test.concurrent("an answer given with the last breath counts", async () => {
  expect(await call(bad("last-words").source)).toEqual({ kind: "done", content: { text: "done before the end" } });
});

test.concurrent("an error of the protocol is an answer", async () => {
  expect(await call(bad("unknown-tool").source)).toEqual({
    kind: "failed",
    content: { text: expect.stringContaining("Unknown tool: act") },
  });
});

test.concurrent("lines that are no messages are passed over", async () => {
  expect(await call(bad("banner").source)).toMatchObject({ kind: "done" });
});

test.concurrent("a server that dies of the new protocol's question is spoken to in the old way, and not asked again", async () => {
  const { source, pids } = bad("dies-of-probe");
  expect(await call(source)).toMatchObject({ kind: "done" });
  expect(pids()).toHaveLength(2);
  process.kill(pids()[1] ?? 0, "SIGKILL");
  await vi.waitFor(async () => expect(await call(source)).toMatchObject({ kind: "done" }));
  expect(pids()).toHaveLength(3);
});

test.concurrent("a server that is silent on the new protocol's question is spoken to in the old way", async () => {
  expect(await call(bad("ignores-probe", { startTimeoutMs: 2000 }).source)).toMatchObject({ kind: "done" });
});

test.concurrent("a server killed between two calls is started again without a word", async () => {
  const { source, pids } = bad("none");
  expect(await call(source)).toEqual({ kind: "done", content: { text: `pid ${pids()[0]}` } });
  process.kill(pids()[0] ?? 0, "SIGKILL");
  await vi.waitFor(() => expect(isAlive(pids()[0] ?? 0)).toBe(false));
  await vi.waitFor(async () => expect((await call(source)).kind).toBe("done"));
  expect(pids()).toHaveLength(2);
});

test.concurrent("close ends a server that does not want to end, and what it has started", async () => {
  const { source, pids } = bad("stubborn");
  await source.tools();
  const all = pids();
  expect(all).toHaveLength(2);
  expect(all.every(isAlive)).toBe(true);
  await source.close();
  await vi.waitFor(() => expect(all.some(isAlive)).toBe(false));
});

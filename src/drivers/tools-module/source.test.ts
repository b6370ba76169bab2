// Goal: a module's named exports are tools, and whatever is wrong with the module is said with its file.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { createModuleSource } from "./source.ts";
import { caller } from "../../../test/caller.ts";

const CALCULATOR = fileURLToPath(new URL("./fixtures/calculator.ts", import.meta.url));
const NO_TOOLS = fileURLToPath(new URL("./fixtures/no-tools.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "reeve-module-"));
const source = createModuleSource("calc", CALCULATOR);
const call = async (name: string, args = {}, signal = new AbortController().signal): ReturnType<typeof source.call> =>
  source.call(name, args, { ...caller(), key: "k-1", signal });

afterAll(() => rmSync(folder, { recursive: true }));

function written(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

test("named exports made with tool() are the tools, with what they declare", async () => {
  const tools = await source.tools();
  expect(tools.map(({ name }) => name).sort()).toEqual(["add", "fail", "linger", "pay", "payment"]);
  expect(tools.find(({ name }) => name === "pay")).toMatchObject({
    description: "Pays.",
    declared: { effect: "send", idempotency: "key", reconcile: "payment", timeoutMs: 5000 },
  });
  expect(tools.find(({ name }) => name === "add")?.inputSchema).toMatchObject({
    type: "object",
    properties: { a: { type: "number" } },
    required: ["a"],
  });
  expect(await source.tools()).toBe(tools);
});

test("a call is checked, run with its key, and answered", async () => {
  expect(await call("add", { a: 2 })).toEqual({ kind: "done", content: { text: '{"sum":3}', data: { sum: 3 } } });
  expect(await call("pay", { to: "Ann" })).toEqual({ kind: "done", content: { text: "paid Ann under k-1" } });
  expect(await call("payment", { key: "k" })).toEqual({
    kind: "done",
    content: { text: "it is paid", data: { status: "done" } },
  });
});

test("arguments that do not fit, and what the function throws, are failures in words", async () => {
  expect(await call("add", { a: "two" })).toMatchObject({
    kind: "failed",
    content: { text: expect.stringMatching(/nothing was done: a: .*number/) },
  });
  expect(await call("fail")).toEqual({ kind: "failed", content: { text: "out of money" } });
});

test("a call that is given up while its module loads never runs, and a tool that is not there is not performed", async () => {
  const fresh = createModuleSource("calc", CALCULATOR);
  expect(
    await fresh.call("pay", { to: "Ann" }, { ...caller(), key: "k-1", signal: AbortSignal.abort() }),
  ).toMatchObject({
    kind: "not_performed",
  });
  expect(await call("nothing")).toMatchObject({
    kind: "not_performed",
    error: { message: expect.stringContaining('no tool "nothing"') },
  });
});

test("a function that ends because its call was given up leaves the outcome unknown", async () => {
  const late = new AbortController();
  const pending = call("linger", {}, late.signal);
  await new Promise(setImmediate);
  late.abort(new Error("too late"));
  expect(await pending).toMatchObject({ kind: "unknown", reason: expect.stringContaining("too late") });
});

test.each([
  ["a file that is not there", join(folder, "absent.mjs"), /absent\.mjs/],
  ["a module without tools", NO_TOOLS, /no-tools\.ts\) has no named export made with tool/],
  [
    "a module that throws",
    written("throws.mjs", "throw new Error('no database');"),
    /throws\.mjs\) could not be loaded: no database\./,
  ],
  ["a syntax error", written("syntax.mjs", "export const = 1;"), /syntax\.mjs\) could not be loaded/],
  [
    "half a tool",
    written("half.mjs", "export const half = { name: 'half', inputSchema: {}, run: 7 };"),
    /exports "half", which is not a tool.*run: is no function/,
  ],
  [
    "two of one name",
    written(
      "twice.mjs",
      "const t = { name: 't', description: '', inputSchema: {}, manifest: {}, run: async () => ({ text: '' }) }; export const a = t; export const b = { ...t };",
    ),
    /two tools called "t"/,
  ],
])("%s is unavailable, with file and fault", async (_, file, message) => {
  await expect(createModuleSource("calc", file).tools()).rejects.toMatchObject({
    code: "tool_unavailable",
    message: expect.stringMatching(message),
  });
});

test("a corrected file is loaded at the next use", async () => {
  const file = written("later.mjs", "throw new Error('not yet');");
  const later = createModuleSource("calc", file);
  await expect(later.tools()).rejects.toThrow("not yet");
  writeFileSync(
    file,
    "export const t = { name: 't', description: '', inputSchema: {}, manifest: {}, run: async () => ({ text: 'now' }) };",
  );
  expect((await later.tools()).map(({ name }) => name)).toEqual(["t"]);
});

// The native host against an `issue` that the test answers by hand.
import { expect, test } from "vitest";
import { OsError } from "../../abi/errors.ts";
import { agentManifestSchema } from "../../abi/agents.ts";
import type { Agent } from "../../abi/agents.ts";
import type { ProcessId } from "../../abi/ids.ts";
import type { Json } from "../../abi/json.ts";
import type { Issue, ProgramStart } from "../../ports/program.ts";
import { createNativeHost } from "./host.ts";
import type { NativeProgram } from "./host.ts";

const manifest = agentManifestSchema.parse({ name: "adder", description: "Adds." });
const startOf = (program: Agent["program"], issue: Issue = async () => null): ProgramStart => ({
  pid: "p_000000000000" as ProcessId,
  createdMs: 1_000_000_000_000,
  agent: { manifest, program, hash: "" },
  task: { of: 2 },
  issue,
});
const native = (program: NativeProgram) => createNativeHost({ native: new Map([["add", program]]) });
const ADD = { kind: "native", name: "add" } as const;
/** Long enough for every promise that can settle to have done so. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("runs a function with its start, and not before `start` has returned", async () => {
  let begun = false;
  const host = native(async ({ issue, task }) => {
    begun = true;
    return { task, answer: await issue(0, "clock.now", {}) };
  });
  const run = host.start(startOf(ADD, async (number, syscall) => `${number} ${syscall}`));
  expect(begun).toBe(false);
  expect(await run.result).toEqual({ task: { of: 2 }, answer: "0 clock.now" });
});

test("Markdown agents go to the function given for them", async () => {
  const host = createNativeHost({
    markdown: async ({ agent }) => (agent.program.kind === "markdown" ? agent.program.instructions : ""),
  });
  expect(await host.start(startOf({ kind: "markdown", instructions: "Be brief." })).result).toBe("Be brief.");
});

test("what the program throws is the run's error, thrown at once or later", async () => {
  const later = native(async () => Promise.reject(new OsError("denied", "no")));
  await expect(later.start(startOf(ADD)).result).rejects.toMatchObject({ code: "denied" });
  const atOnce = native(() => {
    throw new TypeError("slip");
  });
  await expect(atOnce.start(startOf(ADD)).result).rejects.toThrow("slip");
});

test("a program that is not there is named, with those that are", async () => {
  const host = createNativeHost({ native: new Map([["add", async () => null]]) });
  await expect(host.start(startOf({ kind: "native", name: "sub" })).result).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringMatching(/"sub".*add/),
  });
  await expect(host.start(startOf({ kind: "module", file: "/x.ts" })).result).rejects.toMatchObject({
    code: "unsupported",
  });
});

test("after dispose nothing reaches the kernel and nothing settles", async () => {
  const first = Promise.withResolvers<Json>();
  const seen: string[] = [];
  const issued: number[] = [];
  const retry = Promise.withResolvers<void>();
  const host = native(async ({ issue }) => {
    void issue(0, "clock.now", {}).finally(() => seen.push("settled"));
    await retry.promise;
    void issue(1, "clock.now", {}).finally(() => seen.push("settled"));
    return "done";
  });
  const run = host.start(startOf(ADD, (number) => (issued.push(number), first.promise)));
  void run.result.finally(() => seen.push("result"));
  await turn();
  run.dispose();
  run.dispose();
  retry.resolve();
  first.resolve("too late");
  await turn();
  expect(issued).toEqual([0]);
  expect(seen).toEqual([]);
});

test("a run disposed of before it began never begins", async () => {
  let begun = false;
  const host = native(async () => (begun = true));
  host.start(startOf(ADD)).dispose();
  await turn();
  expect(begun).toBe(false);
});

test("close disposes of all runs", async () => {
  const seen: string[] = [];
  const go = Promise.withResolvers<Json>();
  const host = native(() => go.promise);
  void host.start(startOf(ADD)).result.finally(() => seen.push("result"));
  await host.close();
  go.resolve(null);
  await turn();
  expect(seen).toEqual([]);
});

// Goal: snippets compute, and do nothing else; what ends one is named; a snippet that broke its interpreter harms no other.
// Method: the real interpreter in its real child.
import { afterAll, expect, test } from "vitest";
import { sandboxLimitsSchema } from "../../abi/isolation.ts";
import { createSnippets } from "./snippets.ts";

const snippets = createSnippets({ concurrency: 2 });
afterAll(() => snippets.close());

/** Time enough for any limit but that of time, however busy the machine is. */
const limits = sandboxLimitsSchema.parse({ memoryBytes: 64 * 1024 * 1024, wallMs: 60_000, cpuMs: 60_000 });
const run = (
  code: string,
  more: { readonly input?: unknown; readonly signal?: AbortSignal; readonly wallMs?: number } = {},
) =>
  snippets.run(code, {
    inputJson: JSON.stringify(more.input ?? null),
    limits: { ...limits, wallMs: more.wallMs ?? limits.wallMs },
    signal: more.signal ?? new AbortController().signal,
  });

test("the self-test passes, and holds a control that would fail if nothing worked", async () => {
  const report = await snippets.report();
  expect(report.verdicts.filter(({ expected }) => !expected)).toEqual([]);
  expect(report.verdicts.map(({ payload }) => payload)).toContain("control");
  expect(report.passed).toBe(true);
});

test("a snippet computes on its input and answers with JSON; what it prints is apart", async () => {
  const code = 'const sum = input.prices.reduce((a, b) => a + b, 0);\nconsole.log("sum", sum);\nreturn { sum };';
  expect(await run(code, { input: { prices: [1, 2, 3] } })).toEqual({
    kind: "value",
    json: '{"sum":6}',
    console: "sum 6\n",
  });
  expect(await run("let nothing")).toMatchObject({ kind: "value", json: "null" });
});

test("an error says what and in which line of the snippet", async () => {
  const result = await run("const a = 1;\n\nthrow new RangeError(`a is ${a}`);");
  expect(result).toMatchObject({ kind: "thrown", message: expect.stringMatching(/^RangeError: a is 1\n.*run\.js:3/s) });
  expect(await run("return 1n")).toMatchObject({ kind: "thrown", message: expect.stringContaining("as JSON") });
  expect(await run("return {")).toMatchObject({ kind: "thrown", message: expect.stringContaining("SyntaxError") });
});

test("limits end a snippet by name, and the next one is not harmed", async () => {
  expect(await run("const held = []; for (;;) held.push(new Array(1000).fill(1))")).toMatchObject({ limit: "memory" });
  expect(await run("await new Promise(() => {})", { wallMs: 200 })).toMatchObject({ limit: "wall", max: 200 });
  expect(await run('return "x".repeat(1_100_000)')).toMatchObject({ limit: "result" });
  expect(await run("return 1")).toMatchObject({ kind: "value", json: "1" });
});

test("a snippet that is given up is ended at once, those that wait for their turn run", async () => {
  const abort = new AbortController();
  const hanging = [1, 2].map(() => run("await new Promise(() => {})", { signal: abort.signal, wallMs: 60_000 }));
  const waiting = run("return 3");
  abort.abort();
  expect((await Promise.all(hanging)).map(({ kind }) => kind)).toEqual(["killed", "killed"]);
  expect(await waiting).toMatchObject({ kind: "value", json: "3" });
});

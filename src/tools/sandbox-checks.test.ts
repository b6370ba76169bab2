// Goal: `doctor` says of each driver what it is worth, and what to do. Method: reports of each kind, and the rows made of them.
import { expect, it } from "vitest";
import type { SelfTestReport, Verdict } from "../ports/sandbox.ts";
import { configSchema } from "../abi/config.ts";
import { sandboxChecks, unisolatedChecks } from "./sandbox-checks.ts";

const verdict = (payload: string, expected: boolean): Verdict => ({
  ...{ payload, tries: "get out", verdict: expected ? "contained" : "escaped", expected },
  detail: "why so",
});
const report = (part: Partial<SelfTestReport>, posture: "strong" | "reduced" | "none" = "strong"): SelfTestReport => ({
  ...{ driver: "d", level: "process", passed: true, set: "quick", tookMs: 1_234, atMs: 0 },
  state: { posture, layers: [], reason: posture === "strong" ? "" : "no memory limit (mend it)", fingerprint: "" },
  verdicts: [verdict("a", true), verdict("b", true)],
  ...part,
});

it("says of a driver that passed what it held, and when", () => {
  expect(sandboxChecks([report({})], "strong")).toEqual([
    {
      name: "sandbox d",
      state: "ok",
      detail: "process, strong: 2 of 2 payloads ended as they must (quick set, 1970-01-01T00:00:00Z, 1.2 s)",
    },
  ]);
});

it("says of one that failed which payloads got out", () => {
  const many = Array.from({ length: 7 }, (_, at) => verdict(`p${at}`, false));
  const [check] = sandboxChecks([report({ passed: false, verdicts: [verdict("a", true), ...many] })], "strong");
  expect(check?.state).toBe("failed");
  expect(check?.detail).toMatch(/1 of 8 .*not used: p0 escaped \(why so\).* p4 escaped \(why so\), and 2 more\.$/);
});

it("names what is missing, and whether it is used like that", () => {
  expect(sandboxChecks([report({}, "reduced")], "strong")[0]).toMatchObject({
    state: "warning",
    detail: expect.stringMatching(/not used: no memory limit \(mend it\)\. .*posture: "reduced"/),
  });
  expect(sandboxChecks([report({}, "reduced")], "reduced")[0]).toMatchObject({
    state: "warning",
    detail: expect.stringContaining("used without all of its layers: no memory limit"),
  });
  expect(sandboxChecks([report({ passed: false }, "none")], "strong")[0]).toMatchObject({
    state: "off",
    detail: "process: it does not run here. no memory limit (mend it)",
  });
});

it("warns of each server of tools that runs with the rights of whoever runs Reeve, and names the key", () => {
  const command = { type: "mcp-stdio", command: "x" } as const;
  const { tools } = configSchema.parse({
    tools: {
      kept: command,
      loose: { ...command, isolation: "none" },
      mcp: { type: "mcp-json", isolation: { "My Server!": "none", files: "process" } },
      web: { type: "mcp-http", url: "https://web.example.com/mcp" },
    },
  });
  expect(unisolatedChecks(tools)).toEqual([
    { name: "tools.loose", state: "warning", detail: 'runs with your rights: tools.loose.isolation is "none"' },
    {
      name: "tools.mcp: My Server!",
      state: "warning",
      detail: 'runs with your rights: tools.mcp.isolation of My Server! is "none"',
    },
  ]);
});

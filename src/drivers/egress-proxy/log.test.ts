// Goal: what is asked for in no process's name stands in a bounded file before it leaves, without what nobody could erase.
// Method: a file of its own for each test.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { EgressLog } from "../../ports/egress.ts";
import { createEgressLog } from "./log.ts";

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "reeve-log-"));
  file = join(folder, "data", "egress.log");
});
afterEach(() => rmSync(folder, { recursive: true }));

const request = { method: "GET", scheme: "https", host: "a.test", port: 443, path: "/x?token=hush" };
const requested = (log: EgressLog, n: string): Promise<void> =>
  log("tools.crm").requested({ n, decision: "allow", rule: "r", secrets: ["K"], request });
const lines = (path: string): unknown[] =>
  readFileSync(path, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);

it("has a line before and one after, for its owner alone, without queries", async () => {
  const log = createEgressLog({ file, nowMs: () => 1_000 });
  await requested(log, "a.1");
  await log("tools.crm").ended({ n: "a.1", status: 200, sentBytes: 1, receivedBytes: 2, leaked: ["K"] });
  const at = "1970-01-01T00:00:01.000Z";
  expect(lines(file)).toEqual([
    {
      ...{ at, owner: "tools.crm", n: "a.1", decision: "allow", rule: "r", secrets: ["K"] },
      request: { ...request, path: "/x" },
    },
    { at, owner: "tools.crm", n: "a.1", status: 200, sentBytes: 1, receivedBytes: 2, leaked: ["K"] },
  ]);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

it("is put aside when it is long, in place of the one before", async () => {
  const log = createEgressLog({ file, nowMs: () => 0, bytesMax: 300 });
  for (const n of ["1", "2", "3", "4", "5"]) await requested(log, n);
  const ns = (path: string): unknown[] => lines(path).map((line) => (line as { n: string }).n);
  expect([ns(`${file}.old`), ns(file)]).toEqual([["3", "4"], ["5"]]);
});

it("lets nothing leave that it cannot write down", async () => {
  writeFileSync(join(folder, "data"), "a file where the folder should be");
  await expect(requested(createEgressLog({ file, nowMs: () => 0 }), "1")).rejects.toMatchObject({
    code: "store_failed",
    message: expect.stringContaining("cannot be written"),
  });
});

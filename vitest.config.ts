// The tests, by kind. Unit tests stand beside their source; the other kinds each have a folder under test/.
//
// `npm test` runs all projects but `long`; `npm run test:long` runs that one alone. One kind: `npx vitest run --project e2e`.
import { defineConfig } from "vitest/config";

const LONG = ["test/simulation/**/*.test.ts", "{src,test,examples}/**/*.long.test.ts"];

/** A kind of test. `timeoutMs` is the bound of a single test, generous since the machine may be shared. */
const kind = (name: string, include: string[], timeoutMs: number) => ({
  extends: true as const,
  test: {
    name,
    include,
    exclude: name === "long" ? ["**/node_modules/**"] : ["**/node_modules/**", ...LONG],
    testTimeout: timeoutMs,
    hookTimeout: timeoutMs,
  },
});

export default defineConfig({
  test: {
    // Child processes, so that a test that ends its process or blocks its thread harms no other. Many tests wait more than they compute.
    pool: "forks",
    maxWorkers: 3,
    // Forgotten handles would hide a driver that does not close.
    teardownTimeout: 5_000,
    allowOnly: false,
    // As generous as a test's own bound: it only says that something hangs. Looked at often, so that nobody waits for the look.
    expect: { poll: { timeout: 30_000, interval: 10 } },
    projects: [
      kind("tidy", ["test/tidy.test.ts", "test/tidy/**/*.test.ts"], 60_000),
      kind("unit", ["src/**/*.test.ts", "bench/*.test.ts", "examples/**/*.test.ts", "scripts/**/*.test.ts"], 60_000),
      kind("claims", ["test/claims/**/*.test.ts"], 60_000),
      kind("conformance", ["test/conformance/**/*.test.ts"], 60_000),
      kind("e2e", ["test/e2e/**/*.test.ts"], 120_000),
      kind("long", LONG, 600_000),
    ],
  },
});

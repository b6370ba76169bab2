// Goal: a folder that no file system bounds is bounded all the same, whatever fills it. Method: real files, and a wait for the word.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { watchSize } from "./folder-size.ts";

const folder = mkdtempSync(join(tmpdir(), "reeve-size-"));
// Node removes by path, which does not reach all of it.
afterAll(() => void spawnSync("rm", ["-rf", folder]));

const MAX = 100_000;
const FILLS: readonly (readonly [string, (at: string) => void])[] = [
  ["one long file", (at) => writeFileSync(join(at, "long"), "x".repeat(MAX))],
  ["empty files", (at) => Array.from({ length: 300 }, (_, index) => writeFileSync(join(at, `${index}`), ""))],
  ["links", (at) => Array.from({ length: 300 }, (_, index) => symlinkSync("nowhere", join(at, `${index}`)))],
  ["folders in folders", (at) => mkdirSync(join(at, ...Array.from({ length: 300 }, () => "d")), { recursive: true })],
  ["a file below a path that is too long for the system", (at) => dig(at, 20)],
];

/** From folder to folder, as no path leads there: the system stops at 4096 characters. */
function dig(at: string, depth: number): void {
  const script = `for (let i = 0; i < ${depth}; i += 1) { fs.mkdirSync("d".repeat(250)); process.chdir("d".repeat(250)); }`;
  expect(spawnSync(process.execPath, ["-e", script], { cwd: at, stdio: "inherit" }).status).toBe(0);
}

test.each(FILLS)("the limit is passed by %s", async (_, fill) => {
  const at = mkdtempSync(join(folder, "at-"));
  const passed = new Promise<void>((resolve) => watchSize(at, MAX, resolve));
  fill(at);
  await expect(passed).resolves.toBeUndefined();
});

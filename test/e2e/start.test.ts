// The program's start: what it compiled is kept for the next one, and where that cannot be, it starts all the same.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const MAIN = join(import.meta.dirname, "..", "..", "src", "main.ts");
let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "reeve-start-"))));
afterAll(() => rmSync(folder, { recursive: true }));

const started = (env: NodeJS.ProcessEnv): { status: number | null; out: string; err: string } => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, "--version"], { env, encoding: "utf8" });
  return { status, out: stdout, err: stderr };
};
const FINE = { status: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string, err: "" };

/** Where the cache lies in a home of its own. */
const homeOf = (home: string): NodeJS.ProcessEnv => ({ HOME: home, LOCALAPPDATA: home, PATH: process.env["PATH"] });

test("what was compiled is kept in the user's cache folder", () => {
  const home = join(folder, "home");
  expect(started({ ...homeOf(home), XDG_CACHE_HOME: join(home, "cache") })).toEqual(FINE);
  const files = readdirSync(home, { recursive: true, encoding: "utf8" });
  expect(files.filter((file) => file.includes(join("reeve", "compiled"))).length).toBeGreaterThan(50);
});

test("nothing is kept where somebody does not want it", () => {
  const home = join(folder, "unwilling");
  expect(started({ ...homeOf(home), NODE_DISABLE_COMPILE_CACHE: "1" })).toEqual(FINE);
  expect(() => readdirSync(home)).toThrow(/ENOENT/);
});

test("it starts where nothing can be kept", () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  expect(started({ ...homeOf(file), XDG_CACHE_HOME: file })).toEqual(FINE);
});

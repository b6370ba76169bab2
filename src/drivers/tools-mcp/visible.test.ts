// Goal: a server in a sandbox sees its folder, its program with what that needs, and what is granted, and nothing else.
// Method: folders made for each test, and the list of what would appear inside.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEntries } from "../program-module/grants.ts";
import { unseenPaths, visibleTo, type Visible } from "./visible.ts";

let folder = "";
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "reeve-visible-")));
  mkdirSync(join(folder, "project"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Writes a file below the test's folder, with the folders above it. */
function put(path: string, text = "", mode = 0o644): string {
  const whole = join(folder, path);
  mkdirSync(join(whole, ".."), { recursive: true });
  writeFileSync(whole, text);
  chmodSync(whole, mode);
  return whole;
}

type Grants = { readonly read?: readonly string[]; readonly write?: readonly string[]; readonly path?: string };

const see = (command: string, { read = [], write = [], path = "/usr/bin:/bin" }: Grants = {}): Visible =>
  visibleTo({
    program: { command, args: [], cwd: join(folder, "project"), env: {} },
    path,
    read,
    write,
    openEntries: (at) => openEntries(at, [join(folder, "project/data")]),
  });

/** What appears below the test's folder, relative to it. */
const below = ({ mounts }: Visible): string[] =>
  mounts
    .flatMap(({ to }) => (to.startsWith(`${folder}/`) ? [to.slice(folder.length + 1)] : []))
    .toSorted((a, b) => (a < b ? -1 : 1));

test("the folder appears entry by entry, without dot files, the data folder, links that lead out of it, and what is closed", () => {
  put("project/server.js");
  put("project/.env", "SECRET=1");
  put("project/data/reeve.db");
  put("outside/secret");
  put("project/src/a.js");
  symlinkSync(join(folder, "outside/secret"), join(folder, "project/leak"));
  symlinkSync(join(folder, "project/.env"), join(folder, "project/env"));
  symlinkSync("src", join(folder, "project/code"));
  symlinkSync("nowhere", join(folder, "project/dangling"));
  const seen = see("sh");
  expect(below(seen)).toEqual(["project/code", "project/server.js", "project/src"]);
  expect(seen.mounts.every(({ access }) => access === "read")).toBe(true);
  expect(seen.mounts.find(({ to }) => to.endsWith("/code"))?.from).toBe(join(folder, "project/src"));
  expect(seen.cwd).toBe(join(folder, "project"));
});

test("with nothing to see of the folder, the server does not run in it", () => {
  put("project/.env");
  expect(see("sh").cwd).toBeUndefined();
});

test("what is granted appears under its own path; what is not there is named", () => {
  put("corpus/a.txt");
  put("out/b.txt");
  const seen = see("sh", { read: [join(folder, "corpus")], write: [join(folder, "out")] });
  expect(seen.mounts.filter(({ to }) => to.startsWith(folder))).toEqual([
    { from: join(folder, "corpus"), to: join(folder, "corpus"), access: "read" },
    { from: join(folder, "out"), to: join(folder, "out"), access: "write" },
  ]);
  expect(() => see("sh", { read: [join(folder, "gone")] })).toThrow(/sandbox\.read names .*gone, which is not there/);
});

describe("a program", () => {
  test("of the system needs nothing more", () => {
    expect(below(see("sh"))).toEqual([]);
    expect(see("sh").path).toBe("/usr/local/bin:/usr/bin:/bin");
  });

  test("of a package appears with all packages beside it, and so does what runs it", () => {
    put("node/bin/node", "\u007fELF", 0o755);
    put("node/lib/x.so");
    const script = put("tools/node_modules/server/cli.js", "#!/usr/bin/env -S node --no-warnings\n", 0o755);
    mkdirSync(join(folder, "tools/node_modules/.bin"));
    symlinkSync("../server/cli.js", join(folder, "tools/node_modules/.bin/server"));
    const seen = see("server", { path: [join(folder, "tools/node_modules/.bin"), join(folder, "node/bin")].join(":") });
    expect(seen.command).toBe(script);
    expect(below(seen)).toEqual(["node/bin", "node/lib", "tools/node_modules"]);
    expect(seen.path.split(":")).toContain(join(folder, "node/bin"));
  });

  test("of a virtual environment of Python is called by the path that it is known by", () => {
    put("venv/pyvenv.cfg");
    mkdirSync(join(folder, "venv/bin"));
    symlinkSync("/usr/bin/env", join(folder, "venv/bin/python"));
    const seen = see(join(folder, "venv/bin/python"));
    expect(seen.command).toBe(join(folder, "venv/bin/python"));
    expect(below(seen)).toEqual(["venv"]);
  });

  test("that is not there, or is none, is told apart", () => {
    expect(() => see("no-such-command")).toThrow(/"no-such-command" was not found on PATH/);
    expect(() => see("./gone")).toThrow(/there is no program ".\/gone"/);
    put("project/text.txt", "words");
    expect(() => see("./text.txt")).toThrow(/may not be run/);
  });
});

test("arguments that are paths and cannot be seen are named", () => {
  const script = put("elsewhere/server.js");
  put("project/own.js");
  const program = { command: "sh", args: [script, "--x", "own.js", "/usr/bin/env", "/no/such"], cwd: folder, env: {} };
  expect(unseenPaths(program, [])).toEqual([script]);
  expect(unseenPaths(program, [{ from: script, to: script, access: "read" }])).toEqual([]);
});

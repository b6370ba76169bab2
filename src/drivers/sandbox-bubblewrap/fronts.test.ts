// Goal: the front as a program does what the shell does. Method: both are started with the same work, with a shell in the place of
// bubblewrap that tells what it finds.
import { spawnSync } from "node:child_process";
import { chmodSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { needs } from "../../../test/needs.ts";
import { frontOf } from "./front.ts";
import { Fronts } from "./fronts.ts";
import { architecture } from "./host.ts";

needs("Linux", process.platform === "linux")("the program in front", () => {
  const held = {} as { folder: string; found: string; fronts: Fronts };
  beforeAll(() => {
    const folder = mkdtempSync(join(tmpdir(), "reeve-fronts-"));
    const found = join(folder, "found");
    writeFileSync(
      found,
      '#!/bin/sh\necho "$@"; ulimit -c; ulimit -n; ulimit -f; ulimit -t; ls /proc/self/fd | tr "\\n" " "\n',
    );
    chmodSync(found, 0o755);
    Object.assign(held, { folder, found, fronts: new Fronts(join(folder, "fronts"), architecture()) });
  });
  afterAll(() => rmSync(held.folder, { recursive: true, force: true }));

  const WORK = { doors: 2, strays: [7], fileBytesMax: 512 * 100, cpuSecondsMax: 9 };

  function run(program: string, args: readonly string[], way: string) {
    const doors = ["a", "b"].map((name) => join(held.folder, `${way}-${name}`));
    const open = doors.map((door) => openSync(door, "w"));
    const stray = openSync("/dev/null", "r");
    const { status, stdout, stderr } = spawnSync(program, args, {
      env: {},
      stdio: ["ignore", "pipe", "pipe", "ignore", ...open, stray, stray],
      encoding: "utf8",
    });
    for (const descriptor of [...open, stray]) closeSync(descriptor);
    return { status, stdout, stderr, entered: doors.map((door) => readFileSync(door, "utf8").trim()) };
  }

  test("enters, limits, closes and becomes the other one, like the shell", () => {
    const work = { ...WORK, bwrap: held.found };
    const args = ["--an", "argument with spaces"];
    const [shell, ...shellArgs] = frontOf({ ...work, args });
    const expected = run(shell, shellArgs, "shell");
    expect(expected).toMatchObject({ status: 0, stderr: "", entered: ["0", "0"] });
    expect(expected.stdout).toMatch(/^--an argument with spaces\n0\n1024\n100\n9\n/);
    expect(run(held.fronts.programFor(work) ?? "none", args, "program")).toEqual(expected);
  });

  test("is made once for the same work, and left to the shell when there are too many", () => {
    const work = { ...WORK, bwrap: held.found };
    expect(held.fronts.programFor(work)).toBe(held.fronts.programFor({ ...work }));
    const many = Array.from({ length: 100 }, (_, count) =>
      held.fronts.programFor({ ...work, cpuSecondsMax: 10 + count }),
    );
    expect(new Set(many.filter((file) => file !== undefined)).size).toBe(63);
    expect(many.at(-1)).toBeUndefined();
    expect(held.fronts.programFor(work)).toBeDefined();
  });

  test("says so where a group cannot be entered, and starts nothing", () => {
    const fronts = new Fronts(join(held.folder, "others"), architecture());
    const program = fronts.programFor({ ...WORK, doors: 5, bwrap: held.found }) ?? "none";
    const { status, stdout, stderr } = spawnSync(program, [], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    expect({ status, stdout }).toEqual({ status: 125, stdout: "" });
    expect(stderr).toContain("A control group could not be entered");
  });
});

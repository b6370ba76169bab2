// Goal: an assembled program makes its calls and becomes the other one, on both architectures. Method: it is run, the one of the other
// architecture by an emulator.
import { spawnSync } from "node:child_process";
import { closeSync, lstatSync, mkdtempSync, openSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { emulationOf } from "../../test/emulator.ts";
import { needs } from "../../test/needs.ts";
import { assemble, RESULT, type NativeProgram } from "./native-program.ts";

const AT_FDCWD = -100;
const AT_SYMLINK_FOLLOW = 0x400;
const NO_FILE: NativeProgram = { steps: [], becomes: "/nowhere/at/all", orSay: "It is not there." };

for (const architecture of ["x64", "arm64"] as const) {
  const { name, before, isHere } = emulationOf(architecture);
  needs(name, isHere)(`on ${architecture}`, () => {
    const held = {} as { folder: string };
    beforeAll(() => void (held.folder = mkdtempSync(join(tmpdir(), "reeve-native-"))));
    afterAll(() => rmSync(held.folder, { recursive: true, force: true }));

    const run = (program: NativeProgram, args: readonly string[], stdio: readonly (number | "pipe")[] = []) => {
      const file = join(held.folder, "program");
      rmSync(file, { force: true });
      writeFileSync(file, assemble(program, architecture), { mode: 0o755 });
      const [first = file, ...rest] = [...before, file, ...args];
      const { status, stdout, stderr } = spawnSync(first, rest, {
        env: { PATH: "/usr/bin:/bin", GIVEN: "in the environment" },
        stdio: ["ignore", "pipe", "pipe", ...stdio],
        encoding: "utf8",
      });
      return { status, stdout, stderr };
    };

    test("it makes its calls in order, and becomes a program with its own arguments and environment", () => {
      const written = join(held.folder, "written");
      const descriptor = openSync(written, "w");
      try {
        const told = run(
          {
            steps: [
              { call: "write", args: [3, Buffer.from("one "), 4], orSay: "never said" },
              { call: "write", args: [3, Buffer.from("two"), 3], orSay: "never said" },
              { call: "close", args: [99] },
              { call: "close", args: [3], orSay: "never said" },
            ],
            becomes: "/bin/sh",
            orSay: "never said",
          },
          ["-c", 'echo "$1 $GIVEN"; { echo x >&3; } 2>/dev/null || echo closed', "name", "an argument"],
          [descriptor],
        );
        expect(told).toEqual({ status: 0, stdout: "an argument in the environment\nclosed\n", stderr: "" });
        expect(readFileSync(written, "utf8")).toBe("one two");
      } finally {
        closeSync(descriptor);
      }
    });

    test("a call gets what the one before it answered, and what it becomes is an argument", () => {
      const steps = [
        { call: "dup", args: [1], orSay: "never said" },
        { call: "write", args: [RESULT, Buffer.from("said\n"), 5], orSay: "never said" },
      ] as const;
      expect(run({ steps, becomes: 1, orSay: "never said" }, ["/bin/echo", "a", "b"])).toEqual({
        status: 0,
        stdout: "said\na b\n",
        stderr: "",
      });
    });

    test("a call has up to five arguments, and numbers below zero", () => {
      const path = (file: string): Buffer => Buffer.from(`${join(held.folder, file)}\0`);
      writeFileSync(join(held.folder, "target"), "what the link leads to");
      symlinkSync("target", join(held.folder, "link"));
      const args = [AT_FDCWD, path("link"), AT_FDCWD, path("linked"), AT_SYMLINK_FOLLOW];
      const steps = [{ call: "linkat", args, orSay: "never said" }];
      expect(run({ steps, becomes: "/bin/true", orSay: "never said" }, [])).toMatchObject({ status: 0 });
      // Without its last argument the link itself has the other name.
      expect(lstatSync(join(held.folder, "linked")).isFile()).toBe(true);
    });

    test("it ends where a step that is needed fails, and where the other program is not there", () => {
      const failing: NativeProgram = {
        steps: [
          { call: "write", args: [77, Buffer.from("x"), 1], orSay: "It could not be written." },
          { call: "write", args: [1, Buffer.from("never"), 5] },
        ],
        becomes: "/bin/true",
        orSay: "never said",
      };
      expect(run(failing, [])).toEqual({ status: 125, stdout: "", stderr: "It could not be written.\n" });
      expect(run(NO_FILE, [])).toEqual({ status: 125, stdout: "", stderr: "It is not there.\n" });
    });
  });
}

describe("what cannot be assembled", () => {
  test("a call that the architecture does not have, and more arguments than five", () => {
    const of = (call: string, count: number): NativeProgram => ({
      ...NO_FILE,
      steps: [{ call, args: Array.from({ length: count }, () => 0) }],
    });
    expect(() => assemble(of("open", 3), "arm64")).toThrow(/arm64 has no system call open/);
    expect(() => assemble(of("mmap", 6), "x64")).toThrow(/five/);
  });
});

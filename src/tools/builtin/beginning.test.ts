// Goal: a program that is not there, or cannot be executed, is told from one that was begun, by status and by words; one that was begun
// finds nothing of the shell before it. Method: the shells of this machine run what a sandbox would.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { begun } from "./beginning.ts";

/** What /bin/sh is, on this machine and on others. */
const BUSYBOX = "/bin/busybox";
const SHELLS = ["/bin/sh", "/bin/dash", "/bin/bash", BUSYBOX];

const held = {} as { folder: string };
beforeAll(() => {
  held.folder = mkdtempSync(join(tmpdir(), "reeve-beginning-"));
  for (const [name, text, mode] of [
    ["plain", "#!/bin/sh\necho ran", 0o644],
    ["begins", '#!/bin/sh\necho "$# $2"; cat; exit 7', 0o755],
    ["lost", "#!/no/such/interpreter\n", 0o755],
    ["foreign", "\u007fELF of another kind\u0000", 0o755],
  ] as const) {
    writeFileSync(join(held.folder, name), text);
    chmodSync(join(held.folder, name), mode);
  }
  mkdirSync(join(held.folder, "folder"));
});
afterAll(() => rmSync(held.folder, { recursive: true, force: true }));

describe.each(SHELLS.filter((shell) => existsSync(shell)))("%s", (shell) => {
  const run = (command: readonly [string, ...string[]], path = "/usr/bin:/bin") => {
    const [, ...rest] = begun(command);
    const env = { PATH: path, GIVEN: "g", IFS: "i" };
    const options = { argv0: "sh", cwd: held.folder, env, input: "in", encoding: "utf8" } as const;
    const { status, stdout, stderr } = spawnSync(shell, rest, options);
    return { status, stdout, stderr };
  };

  const notBegun: readonly (readonly [string, number, string])[] = [
    ["no-such-program", 127, "PATH there, which is /usr/bin:/bin"],
    ["./no-such-file", 127, "--workspace"],
    ["", 127, "no such program"],
    ["cd", 127, "no such program"],
    ["./folder", 126, "it is a folder"],
    ["./plain", 126, "chmod +x"],
    ["./lost", 126, "its first line names"],
    // busybox takes it for a script, and says what comes of that.
    ...(shell === BUSYBOX ? [] : [["./foreign", 126, "another kind of machine"] as const]),
  ];
  it.each(notBegun)("tells that %s is not begun", (name, status, words) => {
    const told = run([name, "-c", "exit 0"]);
    expect(told).toMatchObject({ status, stdout: "" });
    expect(told.stderr).toContain(`reeve: ${name}: `);
    expect(told.stderr).toContain(words);
  });

  it("looks along the PATH that the program would be found by, past what may not be executed", () => {
    mkdirSync(join(held.folder, "first *"), { recursive: true });
    writeFileSync(join(held.folder, "first *", "begins"), "not executable");
    const told = run(["begins", "a", "b"], `${held.folder}/first *:${held.folder}:/usr/bin:/bin`);
    expect(told).toEqual({ status: 7, stdout: "2 b\nin", stderr: "" });
    expect(run(["plain"], held.folder)).toMatchObject({ status: 126 });
  });

  it("leaves status, words, arguments and standard input to a program that was begun", () => {
    expect(run(["./begins", "a", "b c"])).toEqual({ status: 7, stdout: "2 b c\nin", stderr: "" });
    for (const status of [126, 127]) expect(run(["sh", "-c", `exit ${status}`])).toMatchObject({ status, stderr: "" });
  });

  it("gives a program the environment that was named, and where it is", () => {
    const names = run(["env", "-0"])
      .stdout.split("\0")
      .filter(Boolean)
      .map((entry) => entry.replace(/=.*/s, ""));
    const ofShells = ["PWD", "_", "SHLVL", "IFS"];
    expect(names.filter((name) => !ofShells.includes(name)).toSorted()).toEqual(["GIVEN", "PATH"]);
  });
});

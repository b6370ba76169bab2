// Goal: the assembled program makes the calls of its table and reports each. Method: it is run on this machine, with calls whose answers are
// known; for both architectures its form is read.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { emulationOf } from "../../../test/emulator.ts";
import { needs } from "../../../test/needs.ts";
import { assembleProber, call, readResults, type Group } from "./prober.ts";

const groups: readonly Group[] = [
  {
    payload: "file",
    calls: [
      call("openat", 257, 56, -100, "/dev/zero", 0),
      call("read", 0, 63, { result: 0 }, new Uint8Array(32), 32),
      call("read", 0, 63, 99, new Uint8Array(8), 8),
    ],
  },
  {
    payload: "death",
    calls: [call("getpid", 39, 172), call("kill", 62, 129, { result: 0 }, 9), call("getpid", 39, 172)],
  },
  { payload: "absent", calls: [call("none", undefined, undefined)] },
  { payload: "after", calls: [call("getuid", 102, 174)] },
];

describe("its form", () => {
  it.each([
    ["x64", 62],
    ["arm64", 183],
  ] as const)("is an executable for %s", (architecture, machine) => {
    const file = Buffer.from(assembleProber(groups, architecture));
    expect(file.subarray(0, 4).toString("latin1")).toBe("\x7fELF");
    expect(file.readUInt16LE(18)).toBe(machine);
    expect(file.readBigUInt64LE(24)).toBe(0x401000n);
  });

  it("refuses a call with more arguments than there are", () => {
    expect(() => assembleProber([{ payload: "p", calls: [call("c", 0, 0, 1, 2, 3, 4, 5, 6, 7)] }], "x64")).toThrow(
      "six",
    );
  });
});

for (const architecture of ["x64", "arm64"] as const) {
  const { name, before, isHere } = emulationOf(architecture);
  needs(name, isHere)(`its run on ${architecture}`, () => {
    const folder = mkdtempSync(join(tmpdir(), "reeve-prober-"));
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    it("answers each call, goes on behind a group that died, and says of what is not there ENOSYS", () => {
      const file = join(folder, "prober");
      writeFileSync(file, assembleProber(groups, architecture), { mode: 0o755 });
      const whole = [...before, file];
      const results = readResults(groups, architecture, execFileSync(whole[0] ?? file, whole.slice(1)));
      const [opened, ...reads] = results.get("file") ?? [];
      expect(opened).toBeGreaterThan(2);
      expect(reads).toEqual([32, -9]);
      const [pid, ...never] = results.get("death") ?? [];
      expect(pid).toBeGreaterThan(0);
      expect(never).toEqual([undefined, undefined]);
      expect(results.get("absent")).toEqual([-38]);
      expect(results.get("after")).toEqual([process.getuid?.()]);
    });
  });
}

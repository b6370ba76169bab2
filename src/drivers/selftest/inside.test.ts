// Goal: a view of the kernel that a runtime of containers has covered is told apart from one that can be read. Method: the script itself, in
// a world where a device of our choice lies over such a view. That is /dev/mem, since a place for it can be made on every machine.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { needs } from "../../../test/needs.ts";

const BWRAP = "/usr/bin/bwrap";

/** What the payload says where `device` lies over the memory of the machine. */
function verdictOver(device: string): unknown {
  // Views of the machine that runs the test are none of the test.
  const world = ["--ro-bind", "/", "/", "--tmpfs", "/proc", "--dev", "/dev"];
  const script = join(import.meta.dirname, "inside.ts");
  const command = [process.execPath, "--no-warnings", script, "{}", "kernel-memory"];
  const { stdout } = spawnSync(BWRAP, [...world, "--dev-bind", device, "/dev/mem", "--", ...command], {
    encoding: "utf8",
  });
  return JSON.parse(stdout);
}

needs("bubblewrap", existsSync(BWRAP))("a view of the kernel", () => {
  it("that the null device lies over is not open", () => {
    const found = { payload: "kernel-memory", verdict: "contained", detail: expect.stringContaining("nothing found") };
    expect(verdictOver("/dev/null")).toEqual(found);
  });

  it("that can be read is open, whatever stands in it", () => {
    expect(verdictOver("/dev/zero")).toEqual({ payload: "kernel-memory", verdict: "escaped", detail: "/dev/mem" });
  });
});

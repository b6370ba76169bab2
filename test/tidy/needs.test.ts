// `needs`: a suite whose need is absent is skipped by name on a user's machine, and fails where CI is set.
//
// Method: the real test runner on a suite of its own in a folder of its own, so that its verdict is the runner's.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
let folder = "";

function run(ci: string): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(
    "npx",
    ["vitest", "run", "--root", folder, "--config", join(folder, "none.config.js")],
    {
      cwd: folder,
      encoding: "utf8",
      env: { ...process.env, CI: ci, NO_COLOR: "1", FORCE_COLOR: "0" },
    },
  );
  return { status, output: stdout + stderr };
}

describe("needs", () => {
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "reeve-needs-"));
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    writeFileSync(join(folder, "none.config.js"), "export default {};\n");
    const suite = [
      `import { expect, it } from "vitest";`,
      `import { needs } from ${JSON.stringify(join(root, "test/needs.ts"))};`,
      `needs("a thing that is here", true)("present", () => it("runs", () => expect(1).toBe(1)));`,
      `needs("a moon", false)("absent", () => it("never runs", () => expect(1).toBe(2)));`,
    ];
    writeFileSync(join(folder, "a.test.ts"), `${suite.join("\n")}\n`);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("skips on a user's machine, and says what is lacking", () => {
    const { status, output } = run("");
    expect(output).toContain("skipped: absent: needs a moon, which is not here");
    expect(output).toMatch(/1 passed \| 1 skipped/);
    expect(status).toBe(0);
  });

  it("fails where CI is set, and says what is lacking", () => {
    const { status, output } = run("true");
    expect(output).toContain("needs a moon, which is not here");
    expect(output).toMatch(/1 failed \| 1 passed/);
    expect(status).not.toBe(0);
  });
});

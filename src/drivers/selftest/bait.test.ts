// Goal: where nothing can be laid out it is said why, and nothing is left. Method: a folder for temporary files that lets nothing run.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { needs } from "../../../test/needs.ts";
import { layBait } from "./bait.ts";

const isRoot = process.platform === "linux" && process.getuid?.() === 0;

needs("root on Linux", isRoot)("a folder for temporary files without the right to run", () => {
  it("is named, with the way out, and is left as it was", async () => {
    const before = process.env["TMPDIR"];
    const folder = mkdtempSync(join(tmpdir(), "reeve-noexec-"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "noexec", "none", folder]);
    onTestFinished(() => {
      if (before === undefined) delete process.env["TMPDIR"];
      else process.env["TMPDIR"] = before;
      execFileSync("umount", ["-l", folder]);
      rmdirSync(folder);
    });
    process.env["TMPDIR"] = folder;
    await expect(layBait(process.arch === "arm64" ? "arm64" : "x64")).rejects.toMatchObject({
      code: "isolation_unavailable",
      message: expect.stringMatching(`${folder}, which is mounted noexec: .* TMPDIR`) as string,
    });
    expect(readdirSync(folder)).toEqual([]);
  });
});

// Goal: where nothing can be laid out it is said why, and nothing is left; and a program that was just written is run, whoever else was
// forked meanwhile. Method: a folder for temporary files that lets nothing run; a copy of `true` that is held open to be written.
import { execFileSync } from "node:child_process";
import { closeSync, copyFileSync, mkdtempSync, openSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { needs } from "../../../test/needs.ts";
import { layBait, runWritten } from "./bait.ts";

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

needs("Linux", process.platform === "linux")("a program that was just written", () => {
  it("is run as soon as nobody holds it open any more", async () => {
    const folder = mkdtempSync(join(tmpdir(), "reeve-bait-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const program = join(folder, "true");
    copyFileSync("/bin/true", program);
    const held = openSync(program, "r+");
    let open = true;
    setTimeout(() => {
      open = false;
      closeSync(held);
    }, 100);
    await runWritten(program);
    expect(open).toBe(false);
  });
});

// Goal: each run has a folder that serves, and what runs that are over left is gone. Method: folders of this test.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { needs } from "../../test/needs.ts";
import { runName } from "./cgroup.ts";
import { makeRunFolder } from "./run-folder.ts";

needs("Linux", process.platform === "linux")("a folder of a run", () => {
  let folder: string;
  beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), "reeve-run-folder-"))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test("is below the folder that is named, beside those of other runs, and all find what is in it", () => {
    const names = [runName(), runName()];
    const made = names.map((name) => makeRunFolder(join(folder, "named"), name, () => true));
    expect(made).toEqual(names.map((name) => join(folder, "named", name)));
    for (const path of [join(folder, "named"), ...made]) expect(statSync(path ?? "").mode & 0o777).toBe(0o711);
  });

  test("is in the system's temporary folder where the named one does not serve; nothing is left of what does not", () => {
    const name = runName();
    const made = makeRunFolder(folder, name, (path) => !path.startsWith(folder));
    expect(made).toBe(join(tmpdir(), name));
    expect(readdirSync(folder)).toEqual([]);
    rmSync(made ?? "", { recursive: true });
    expect(makeRunFolder(folder, name, () => false)).toBeUndefined();
    expect(existsSync(join(tmpdir(), name))).toBe(false);
  });

  test("of which it cannot be told whether it serves is not left there", () => {
    const serves = (): never => {
      throw new Error("out of descriptors");
    };
    expect(() => makeRunFolder(folder, runName(), serves)).toThrow("out of descriptors");
    expect(readdirSync(folder)).toEqual([]);
  });

  test("of a run that is over goes, and nothing else", () => {
    const space = runName().split("-")[1] ?? "";
    const over = `reeve-${space}-${process.pid}-1-abcd`;
    const kept = [runName(), "reeve-something", "other"];
    for (const name of [over, ...kept]) mkdirSync(join(folder, name));
    writeFileSync(join(folder, over, "file"), "");
    const name = runName();
    makeRunFolder(folder, name, () => true);
    expect(readdirSync(folder).toSorted()).toEqual([...kept, name].toSorted());
  });
});

// Goal: what is left when Reeve is gone without a word ends, also where the engine does not tell of it at once. Method: the real shell, and
// programs in the place of an engine that write down what they were asked.
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { askVersion } from "./podman.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "reeve-guard-test-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function program(name: string, script: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\ncd ${folder}\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

it("strikes out what an engine tells late, whose books were held at first", async () => {
  const list = program("list", "echo x >> asked; [ $(wc -l < asked) -gt 2 ] || exit 125; [ -e removed ] || echo left");
  const remove = program("remove", 'echo "$@" >> removed');
  const strikes = { list: [list], remove: [remove, "--force"], last: join(folder, "none") };
  const text = `import { startGuard } from ${JSON.stringify(new URL("guard.ts", import.meta.url).href)};
    startGuard(${JSON.stringify(strikes)}, { PATH: "/usr/bin:/bin" });
    process.stdout.write("on guard");
    setInterval(() => {}, 1_000);`;
  const reeve = spawn(process.execPath, ["--input-type=module-typescript", "-e", text]);
  await new Promise((resolve) => reeve.stdout.once("data", resolve));
  reeve.kill("SIGKILL");
  await vi.waitFor(() => expect(existsSync(join(folder, "removed"))).toBe(true), { timeout: 20_000 });
  expect(readFileSync(join(folder, "removed"), "utf8")).toBe("--force left\n");
});

it("asks podman without root in a place that goes again", async () => {
  const podman = program(
    "podman",
    'echo "$HOME $XDG_RUNTIME_DIR" > told; [ -z "$HOME" ] || touch "$HOME/own"; echo podman version 4.3.1',
  );
  const asked = vi.spyOn(process, "geteuid").mockReturnValue(1001);
  try {
    expect(await askVersion(podman)).toEqual({ said: "podman version 4.3.1" });
  } finally {
    asked.mockRestore();
  }
  const [home = "", place] = readFileSync(join(folder, "told"), "utf8").trim().split(" ");
  expect(home).toMatch(/reeve-podman-/);
  expect(place).toBe(home);
  expect(existsSync(home)).toBe(false);
});

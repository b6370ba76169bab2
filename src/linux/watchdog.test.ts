// Goal: what Reeve leaves is ended also where whoever started Reeve ends its whole control group at once, as systemd does with a service.
// Method: a program in the place of Reeve, in a real group of version 2, with a group of a sandbox at the root of that tree.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test, vi } from "vitest";
import { needs } from "../../test/needs.ts";
import { isRootOfAll } from "./cgroup-controllers.ts";
import { cgroupMounts } from "./cgroup-layout.ts";

const mountinfo = existsSync("/proc/self/mountinfo") ? readFileSync("/proc/self/mountinfo", "utf8") : "";
const tree = cgroupMounts(mountinfo).find(({ type }) => type === "cgroup2")?.point;
const isHere = process.getuid?.() === 0 && tree !== undefined && isRootOfAll(tree);

/** Says where its watchdog's files are, once a process is in a group of it. */
const REEVE = `
  import { spawn } from "node:child_process";
  const { Groups, runName } = await import(process.env.CGROUP);
  const { startWatchdog } = await import(process.env.WATCHDOG);
  const layout = { hierarchies: [{ version: 2, folder: process.env.TREE, duties: new Set(["kill"]) }], lacks: {} };
  const groups = new Groups(layout, runName());
  startWatchdog(groups, process.env.FOLDER);
  const group = groups.make({ cpus: 1, memoryBytes: 1, processes: 1, ownProcesses: 1 });
  group.admit(spawn("sleep", ["600"], { detached: true, stdio: "ignore" }).pid);
  process.stdout.write(groups.roots[0] + "\\n");
`;

needs("root, and the root of control groups of version 2", isHere)("a service that is ended whole", () => {
  test("leaves nothing at the root of the tree, and no folder", async () => {
    const unit = mkdtempSync(join(tree ?? "", "unit-"));
    onTestFinished(() => rmdirSync(unit));
    const folder = mkdtempSync(join(tmpdir(), "reeve-run-"));
    mkdirSync(join(folder, "etc"));
    const moduleOf = (name: string): string => new URL(name, import.meta.url).href;
    const env = {
      ...{ ...process.env, CGROUP: moduleOf("./cgroup.ts"), WATCHDOG: moduleOf("./watchdog.ts") },
      ...{ TREE: tree, FOLDER: folder },
    };
    const service = spawn(
      "/bin/sh",
      ["-c", `echo 0 > ${unit}/cgroup.procs && exec "$@"`, "sh", process.execPath, "--input-type=module", "-e", REEVE],
      { env, stdio: ["ignore", "pipe", "inherit"] },
    );
    const [root] = (await once(createInterface(service.stdout), "line")) as [string];
    expect(readFileSync(join(root, "1", "cgroup.procs"), "utf8")).not.toBe("");
    writeFileSync(join(unit, "cgroup.kill"), "1");
    await once(service, "exit");
    await vi.waitFor(() => expect([root, folder].filter((path) => existsSync(path))).toEqual([]), 10_000);
  });
});

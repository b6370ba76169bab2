// Goal: what is not held as it was asked for, or was exchanged under the driver's hands, is not let in. Method: this very process in the place
// of a container's first, and files in the place of control groups.
import { spawn } from "node:child_process";
import { closeSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { openSource } from "../../linux/mounts.ts";
import { own, withFolder } from "./containers.fake.ts";
import { checkAlone, checkHeld, checkLimits, checkMounts, firstInside } from "./inspection.ts";

withFolder();

test("what is mounted must be what was checked", () => {
  const [one, other] = [own("one"), own("other")];
  const source = openSource("mount", one);
  const places = (to: string): Parameters<typeof checkMounts>[1] => ({
    ...{ uid: undefined, workspace: undefined, door: undefined, close: () => {}, giveBack: () => {} },
    mounts: [{ to, access: "read", bind: source }],
  });
  expect(() => checkMounts(process.pid, places(one))).not.toThrow();
  for (const to of [other, join(one, "gone")])
    expect(() => checkMounts(process.pid, places(to))).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  closeSync(source.descriptor);
});

test("a process that is not held as it was asked for is not let in", () => {
  expect(() => checkHeld(process.pid, { uid: 1, gid: 1 })).toThrow(
    expect.objectContaining({
      code: "isolation_unavailable",
      message: expect.stringContaining("as the user") as string,
    }),
  );
  expect(() => checkHeld(process.pid, { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 })).toThrow(
    /new privileges|filter|capabilities/,
  );
});

test("a process that has started others already is not let in", async () => {
  const lone = spawn("cat");
  const child = spawn("sh", ["-c", "cat; :"]);
  await vi.waitFor(() => expect(() => checkAlone(child.pid ?? 0)).toThrow(/no limit would hold/));
  expect(() => checkAlone(lone.pid ?? 0)).not.toThrow();
  for (const each of [lone, child]) each.stdin.end();
  await Promise.all([lone, child].map((each) => new Promise((resolve) => each.once("exit", resolve))));
});

test("a limit that the system does not have as it was set is seen, and a process that is not in its group", () => {
  const folder = own("group");
  const plant = (files: Readonly<Record<string, string>>): void => {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  };
  const bound = { cpus: 0.5, memoryBytes: 1 << 20, processes: 9 };
  const check = () => checkLimits(7, [folder], bound);
  plant({ "cgroup.procs": "6\n70\n" });
  expect(check).toThrow(/not in its control group/);
  const good = { "memory.max": "1048576\n", "pids.max": "9\n", "cpu.max": "50000 100000\n" };
  plant({ "cgroup.procs": "6\n7\n", ...good });
  expect(check).not.toThrow();
  for (const [name, text] of [
    ["memory.max", "max\n"],
    ["pids.max", "10\n"],
    ["cpu.max", "max 100000\n"],
    ["cpu.cfs_quota_us", "-1\n"],
    ["memory.limit_in_bytes", "9223372036854771712\n"],
  ] as const) {
    plant({ ...good, [name]: text });
    expect(check, name).toThrow(expect.objectContaining({ code: "isolation_unavailable" }));
    rmSync(join(folder, name));
    plant(good);
  }
});

test("of processes that are in no other space of processes none is the first inside", () => {
  const self = readFileSync("/proc/self/status", "utf8");
  expect(self).toContain("NSpid:");
  expect(firstInside([process.pid, process.ppid, 0x7fff_ffff])).toBeUndefined();
});

// Goal: each kind of control groups is found for what it is, and gets the limits in its own terms. Method: the texts of machines of
// each kind, and plain folders in the place of groups, whose files can be read afterwards.
import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Groups, sweep } from "./cgroup.ts";
import { killsWhole } from "./cgroup-controllers.ts";
import { cgroupMounts, layoutOf, ownGroups, readLayout } from "./cgroup-layout.ts";
import { needs } from "../../test/needs.ts";

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), "reeve-groups-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const mountinfo = (...mounts: readonly (readonly [string, string, string])[]): string =>
  mounts
    .map(([point, type, options]) => `30 20 0:27 / ${join(folder, point)} rw - ${type} none rw,${options}`)
    .join("\n");

function plant(point: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(join(folder, point), { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, point, name), text);
}

const LIMITS = { cpus: 0.5, memoryBytes: 1 << 26, processes: 10, ownProcesses: 2 };
const dutiesOf = (layout: ReturnType<typeof layoutOf>) =>
  layout.hierarchies.map(({ version, duties }) => [version, [...duties].toSorted()]);

test("version 1: a tree for each controller, or one for two, and none of version 2 beside them", () => {
  for (const point of ["memory", "pids", "cpu", "unified"]) plant(point, {});
  const text = mountinfo(
    ["memory", "cgroup", "memory"],
    ["pids", "cgroup", "pids"],
    ["cpu", "cgroup", "cpu,cpuacct"],
    ["unified", "cgroup2", ""],
  );
  const layout = layoutOf(cgroupMounts(text), ownGroups("4:memory:/\n3:pids:/\n2:cpu,cpuacct:/\n0::/\n"));
  expect(dutiesOf(layout)).toEqual([
    [1, ["memory"]],
    [1, ["pids"]],
    [1, ["cpu", "usage"]],
  ]);
  expect(Object.keys(layout.lacks)).toEqual(["kill"]);
  const groups = new Groups(layout, "run");
  groups.make(LIMITS);
  const read = (point: string, file: string): string => readFileSync(join(folder, point, "run", "1", file), "utf8");
  expect(read("memory", "memory.limit_in_bytes")).toBe(String(1 << 26));
  expect(read("memory", "memory.memsw.limit_in_bytes")).toBe(String(1 << 26));
  expect(read("cpu", "cpu.cfs_quota_us")).toBe("50000");
  // The supervisor and the first process inside are counted as well.
  expect(read("pids", "pids.max")).toBe("12");
});

test("version 2: one tree for all, with swap forbidden and a whole group dying together", () => {
  plant("one", { "cgroup.controllers": "cpu io memory pids", "cgroup.subtree_control": "cpu memory pids" });
  const layout = layoutOf(cgroupMounts(mountinfo(["one", "cgroup2", ""])), ownGroups("0::/\n"));
  expect(dutiesOf(layout)).toEqual([[2, ["cpu", "kill", "memory", "pids", "usage"]]]);
  expect(layout.lacks).toEqual({});
  const group = new Groups(layout, "run").make(LIMITS);
  const own = join(folder, "one", "run", "1");
  const written = Object.fromEntries(readdirSync(own).map((name) => [name, readFileSync(join(own, name), "utf8")]));
  expect(written).toEqual({
    "cpu.max": "50000 100000",
    "memory.max": String(1 << 26),
    "memory.oom.group": "1",
    "memory.swap.max": "0",
    "pids.max": "12",
  });
  expect(readFileSync(join(folder, "one", "run", "cgroup.subtree_control"), "utf8")).toBe("+memory +pids +cpu");
  plant("one/run/1", {
    "cpu.stat": "usage_usec 1500\nuser_usec 1000\n",
    "memory.peak": "4096\n",
    "memory.events": "low 0\noom 2\noom_kill 1\n",
    "pids.events": "max 3\n",
  });
  expect(group.usage()).toEqual({ cpuMs: 1.5, memoryPeakBytes: 4096, killedForMemory: 1, forksRefused: 3 });
  group.kill();
  expect(readFileSync(join(own, "cgroup.kill"), "utf8")).toBe("1");
});

test("version 2: where Reeve has stepped aside already, groups are made above that", () => {
  plant("one", { "cgroup.type": "domain" });
  plant("one/unit", {
    "cgroup.controllers": "cpu memory pids",
    "cgroup.subtree_control": "cpu memory pids",
    "cgroup.kill": "",
  });
  plant("one/unit/reeve-self", {});
  const layout = layoutOf(cgroupMounts(mountinfo(["one", "cgroup2", ""])), ownGroups("0::/unit/reeve-self\n"));
  expect(layout.hierarchies.map((hierarchy) => hierarchy.folder)).toEqual([join(folder, "one/unit")]);
  expect(layout.lacks).toEqual({});
});

test("version 2: before Linux 5.14 a group that lets nobody in any more is ended one by one", () => {
  plant("one", { "cgroup.type": "domain" });
  plant("one/unit", {
    "cgroup.type": "domain",
    "cgroup.controllers": "cpu memory pids",
    "cgroup.subtree_control": "cpu memory pids",
  });
  const layout = layoutOf(cgroupMounts(mountinfo(["one", "cgroup2", ""])), ownGroups("0::/unit\n"));
  expect(dutiesOf(layout)).toEqual([[2, ["cpu", "memory", "pids", "usage"]]]);
  expect(layout.lacks).toEqual({ kill: expect.stringContaining("Linux 5.14") as string });
  const group = new Groups(layout, "run").make(LIMITS);
  group.kill();
  const own = join(folder, "one/unit/run/1");
  expect(readFileSync(join(own, "pids.max"), "utf8")).toBe("0");
  expect(readdirSync(own)).not.toContain("cgroup.kill");
});

test("at the root of all it is the kernel's version that tells whether groups can be ended as a whole", () => {
  plant("one", {});
  const at = join(folder, "one");
  const kernels = ["5.10.0-28-amd64", "5.13.0", "5.14.0-362.el9", "6.1.0", "4.18.0"];
  expect(kernels.filter((kernel) => killsWhole(at, kernel))).toEqual(["5.14.0-362.el9", "6.1.0"]);
});

test("version 2: a group that is not Reeve's to use is what is lacking, for each duty, and what to do is said", () => {
  const layout = layoutOf(cgroupMounts(mountinfo(["closed", "cgroup2", ""])), ownGroups("0::/session.scope\n"));
  expect(layout.hierarchies).toEqual([]);
  expect(Object.keys(layout.lacks).toSorted()).toEqual(["cpu", "kill", "memory", "pids", "usage"]);
  const said = new Set(Object.values(layout.lacks));
  expect(said.size).toBe(1);
  expect([...said][0]).toMatch(/^no group may be made in \S+\/closed\b.+(?:Delegate=yes|ProtectControlGroups=yes)/);
});

test("version 2: a controller that is not passed on is lacking, and the others serve", () => {
  plant("one", { "cgroup.controllers": "memory pids", "cgroup.subtree_control": "memory pids" });
  const layout = layoutOf(cgroupMounts(mountinfo(["one", "cgroup2", ""])), ownGroups("0::/\n"));
  expect(dutiesOf(layout)).toEqual([[2, ["kill", "memory", "pids", "usage"]]]);
  expect(Object.keys(layout.lacks)).toEqual(["cpu"]);
  expect(layout.lacks.cpu).toMatch(/not passed on to \S+\/one\b.+Delegate=yes/);
});

test("a machine without control groups lacks each duty by name", () => {
  const layout = layoutOf(cgroupMounts("30 20 0:27 / /proc rw - proc proc rw\n"), ownGroups(""));
  expect(layout.hierarchies).toEqual([]);
  expect(Object.keys(layout.lacks).toSorted()).toEqual(["cpu", "kill", "memory", "pids", "usage"]);
});

/** Of a Reeve that has no descriptor left until it is told that its group was looked at, and that its removal has begun. */
const EXHAUSTED = `
  import { closeSync, openSync, rmSync, writeFileSync } from "node:fs";
  import { join } from "node:path";
  const { Groups } = await import(process.env.MODULE);
  const folder = process.env.FOLDER;
  const layout = { hierarchies: [{ version: 2, folder, duties: new Set(["usage", "kill"]) }], lacks: {} };
  const group = new Groups(layout, "run").make({ cpus: 1, memoryBytes: 1, processes: 1, ownProcesses: 1 });
  writeFileSync(join(folder, "run/1/cpu.stat"), "usage_usec 1000\\n");
  const held = [];
  try {
    for (;;) held.push(openSync("/dev/null", "r"));
  } catch {}
  const before = group.usage().cpuMs;
  const removed = group.remove();
  held.forEach(closeSync);
  const after = group.usage().cpuMs;
  setImmediate(() => rmSync(join(folder, "run/1"), { recursive: true }));
  await removed;
  process.stdout.write(JSON.stringify({ before, after }));
`;

test("a group is looked at and removed later where no descriptor is left now", () => {
  const env = { ...process.env, MODULE: new URL("./cgroup.ts", import.meta.url).href, FOLDER: folder };
  const command = ["-c", 'ulimit -n 64; exec "$@"', "sh", process.execPath, "--input-type=module", "-e", EXHAUSTED];
  const { stdout, stderr } = spawnSync("/bin/sh", command, { env, encoding: "utf8" });
  expect(stderr).not.toContain("EMFILE");
  expect(JSON.parse(stdout)).toEqual({ before: null, after: 1 });
});

const hierarchies = process.getuid?.() === 0 ? readLayout().hierarchies : [];
needs("control groups, and root", hierarchies.length > 0)("what a run that is over has left", () => {
  test("is removed by all who come for it at once", async () => {
    const [space] = /\d+/.exec(readlinkSync("/proc/self/ns/pid")) ?? [];
    // Of the first process of the machine, which began at another time.
    const name = `reeve-${space}-1-0-${"0".repeat(8)}`;
    const roots = hierarchies.map((hierarchy) => join(hierarchy.folder, name));
    const left = Array.from({ length: 8 }, () => spawn("sleep", ["600"], { detached: true, stdio: "ignore" }));
    const ends = left.map((child) => new Promise((resolve) => child.once("exit", (_, signal) => resolve(signal))));
    for (const root of roots) {
      mkdirSync(join(root, "1"), { recursive: true });
      for (const { pid } of left) writeFileSync(join(root, "1", "cgroup.procs"), String(pid));
    }
    const layout = { hierarchies, lacks: {} };
    await Promise.all([sweep(layout), sweep(layout), sweep(layout)]);
    expect(await Promise.all(ends)).toEqual(left.map(() => "SIGKILL"));
    expect(roots.filter((root) => existsSync(root))).toEqual([]);
  });
});

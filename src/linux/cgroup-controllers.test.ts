// Goal: controllers reach the groups below one that has processes in it, and whoever is in the way is moved and nothing else happens to it.
// Method: real groups of version 2, and any controller that the tree of this machine has.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { needs } from "../../test/needs.ts";
import { ASIDE, passOn, wordsOf } from "./cgroup-controllers.ts";
import { cgroupMounts } from "./cgroup-layout.ts";

/** Not of threads: these may be passed on past processes. */
const OF_PROCESSES = ["memory", "hugetlb", "io", "rdma", "misc"];

const tree = (
  existsSync("/proc/self/mountinfo") ? cgroupMounts(readFileSync("/proc/self/mountinfo", "utf8")) : []
).find(({ type }) => type === "cgroup2")?.point;
const controller =
  tree === undefined
    ? undefined
    : wordsOf(join(tree, "cgroup.controllers")).find((name) => OF_PROCESSES.includes(name));
const isHere = process.getuid?.() === 0 && controller !== undefined;

const children: ChildProcess[] = [];
let unit = "";
let wasPassedOn = true;

/** A group that has been handed over, with so many processes in it. */
function handOver(processes: number): string[] {
  const passed = join(tree ?? "", "cgroup.subtree_control");
  wasPassedOn = wordsOf(passed).includes(controller ?? "");
  if (!wasPassedOn) writeFileSync(passed, `+${controller}`);
  unit = mkdtempSync(join(tree ?? "", "unit-"));
  for (let count = 0; count < processes; count += 1) {
    const child = spawn("sleep", ["600"], { stdio: "ignore" });
    children.push(child);
    writeFileSync(join(unit, "cgroup.procs"), String(child.pid));
  }
  return children.map(({ pid }) => String(pid));
}

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  if (unit === "") return;
  for (const folder of [join(unit, ASIDE), unit]) if (existsSync(folder)) rmdirSync(folder);
  unit = "";
  if (!wasPassedOn) writeFileSync(join(tree ?? "", "cgroup.subtree_control"), `-${controller}`);
});

needs("root, and control groups of version 2 with a controller", isHere)("a group with processes", () => {
  test("passes its controllers on once all of them have stepped aside", () => {
    const pids = handOver(3);
    expect(passOn(unit, [controller ?? ""])).toBeUndefined();
    expect(wordsOf(join(unit, "cgroup.subtree_control"))).toEqual([controller]);
    expect(wordsOf(join(unit, "cgroup.procs"))).toEqual([]);
    expect(wordsOf(join(unit, ASIDE, "cgroup.procs")).toSorted()).toEqual(pids.toSorted());
  });

  test("is left as it was where nothing has to be passed on", () => {
    const pids = handOver(2);
    expect(passOn(unit, [])).toBeUndefined();
    expect(wordsOf(join(unit, "cgroup.procs")).toSorted()).toEqual(pids.toSorted());
    expect(existsSync(join(unit, ASIDE))).toBe(false);
  });
});

test("who cannot be moved stays, with all the others, and it is said why", () => {
  const folder = mkdtempSync(join(tmpdir(), "reeve-group-"));
  try {
    // As the system lists a process that is in no namespace of ours.
    writeFileSync(join(folder, "cgroup.procs"), "12\n0\n");
    mkdirSync(join(folder, "cgroup.subtree_control"));
    expect(passOn(folder, ["memory"])).toMatch(/cannot pass controllers on \(a process that is not to be seen/);
    // A plain file holds what was written to it last: 12 has come back.
    expect(readFileSync(join(folder, "cgroup.procs"), "utf8")).toBe("12");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

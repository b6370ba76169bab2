// Goal: controllers reach the groups below one that has processes in it, and whoever is in the way is moved and nothing else happens to it.
// Method: real groups of version 2, and any controller that the tree of this machine has.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
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

/** A group that has been handed over, with nothing in it. */
function handOver(): void {
  const passed = join(tree ?? "", "cgroup.subtree_control");
  wasPassedOn = wordsOf(passed).includes(controller ?? "");
  if (!wasPassedOn) writeFileSync(passed, `+${controller}`);
  unit = mkdtempSync(join(tree ?? "", "unit-"));
}

/** So many processes enter it. */
function enter(processes: number): string[] {
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

/** One process of it is in the group before the others, and so the first to be moved. */
const ELSEWHERE = `
  import { spawn } from "node:child_process";
  import { once } from "node:events";
  import { readFileSync, writeFileSync } from "node:fs";
  const { passOn } = await import(process.env.MODULE);
  const { UNIT, CONTROLLER } = process.env;
  const own = spawn("sleep", ["600"], { stdio: "ignore" });
  writeFileSync(UNIT + "/cgroup.procs", String(own.pid));
  console.log("ready");
  await once(process.stdin, "data");
  const refusal = passOn(UNIT, [CONTROLLER]);
  const inPlace = readFileSync(UNIT + "/cgroup.procs", "utf8").trim().split("\\n").length;
  own.kill("SIGKILL");
  await once(own, "exit");
  console.log(JSON.stringify({ refusal, inPlace }));
`;

needs("root, and control groups of version 2 with a controller", isHere)("a group with processes", () => {
  test("passes its controllers on once all of them have stepped aside", () => {
    handOver();
    const pids = enter(3);
    expect(passOn(unit, [controller ?? ""])).toBeUndefined();
    expect(wordsOf(join(unit, "cgroup.subtree_control"))).toEqual([controller]);
    expect(wordsOf(join(unit, "cgroup.procs"))).toEqual([]);
    expect(wordsOf(join(unit, ASIDE, "cgroup.procs")).toSorted()).toEqual(pids.toSorted());
  });

  test("is left as it was where nothing has to be passed on", () => {
    handOver();
    const pids = enter(2);
    expect(passOn(unit, [])).toBeUndefined();
    expect(wordsOf(join(unit, "cgroup.procs")).toSorted()).toEqual(pids.toSorted());
    expect(existsSync(join(unit, ASIDE))).toBe(false);
  });

  test("stays with all that is in it where one cannot be moved, and it is said why", async () => {
    handOver();
    // In a space of processes of its own, where those that enter later are not to be seen.
    const program = ["--pid", "--fork", process.execPath, "--input-type=module", "--eval", ELSEWHERE];
    const module = new URL("./cgroup-controllers.ts", import.meta.url).href;
    const env = { ...process.env, MODULE: module, UNIT: unit, CONTROLLER: controller };
    const elsewhere = spawn("unshare", program, { env, stdio: ["pipe", "pipe", "inherit"] });
    const said = createInterface(elsewhere.stdout);
    await once(said, "line");
    const hidden = enter(2);
    elsewhere.stdin.end("go\n");
    const [told] = (await once(said, "line")) as [string];
    expect(JSON.parse(told)).toEqual({
      refusal: expect.stringContaining("a process that is not to be seen from here"),
      inPlace: 3,
    });
    await once(elsewhere, "exit");
    expect(wordsOf(join(unit, "cgroup.procs")).toSorted()).toEqual(hidden.toSorted());
    expect(existsSync(join(unit, ASIDE))).toBe(false);
  });
});

// Goal: what the suite of the port does not see of this driver: images, the door, who a container belongs to, what was exchanged under
// its hands, what remains, and what is said where there is no runtime. Method: containers of the real runc on folders of their own.
import { closeSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, test, vi } from "vitest";
import { openSource } from "../../linux/mounts.ts";
import { containers, make, own, specOf, withFolder } from "./containers.fake.ts";
import { explain } from "./host.ts";
import { checkHeld, checkLimits, checkMounts, firstInside } from "./inspection.ts";
import { placeOf } from "./programs.ts";

withFolder();

containers({
  runtime: "runc",
  need: "runc and root",
  present: placeOf("runc") !== undefined && process.geteuid?.() === 0,
});

describe("where there is no runtime", () => {
  it("names an image that is not there", async () => {
    const sandbox = make({ image: join(own("gone"), "no-image") });
    const { posture, reason } = await sandbox.state();
    expect(posture).toBe("none");
    expect(reason).toContain("no-image");
    await expect(sandbox.start(specOf({}))).rejects.toMatchObject({ code: "isolation_unavailable" });
    await sandbox.close();
  });

  it("does not take a client for an engine, nor an engine elsewhere for one here", async () => {
    vi.stubEnv("DOCKER_HOST", `unix://${join(own("gone"), "no-socket")}`);
    const reasonOf = async (): Promise<string> => {
      const sandbox = make({ runtime: "docker" });
      const { posture, reason } = await sandbox.state();
      await sandbox.close();
      expect(posture).toBe("none");
      return reason;
    };
    expect(await reasonOf()).toMatch(/docker (is not installed|is a client without an engine here|needs Reeve)/);
    vi.stubEnv("DOCKER_HOST", "tcp://192.0.2.1:2375");
    expect(await reasonOf()).toMatch(/not installed|elsewhere|needs Reeve/);
    vi.unstubAllEnvs();
  });
});

test("a runtime's refusal is told by its last word, with the remedy where one is known", () => {
  const runtime = { kind: "crun" } as const;
  const log = '{"level":"info","msg":"x"}\n{"level":"error","msg":"cgroups in hybrid mode \\"not supported\\""}\n';
  expect(explain(runtime, log)).toBe('cgroups in hybrid mode "not supported"');
  expect(explain(runtime, log.replaceAll('\\"', ""))).toContain("Use runc");
  expect(explain(runtime, "")).toBe("crun ended without a word");
  const refusal = "docker: Error response from daemon: no.\n";
  for (const advice of ["See 'docker run --help'.", "\nRun 'docker run --help' for more information"])
    expect(explain({ kind: "docker" }, `${refusal}${advice}\n`)).toBe(refusal.trim());
});

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

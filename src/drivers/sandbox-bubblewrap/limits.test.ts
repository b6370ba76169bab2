// Goal: each limit holds, ends all of the sandbox, and is named. Method: programs that pass it, and the machine looked at afterwards.
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { needs } from "../../../test/needs.ts";
import { HAS_BUBBLEWRAP, IS_ROOT, openScene, shell, specOf, type Scene } from "./sandbox.fake.ts";

const MEBIBYTE = 2 ** 20;

/** Programs of the machine whose command line holds `text`. */
function programsWith(text: string): number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && commandOf(pid).includes(text));
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    // It ended while the list was read.
    return "";
  }
}

needs("bubblewrap and root", HAS_BUBBLEWRAP && IS_ROOT)("limits of a sandbox", () => {
  let scene: Scene;
  beforeAll(() => void (scene = openScene()));
  afterAll(() => scene.end());

  test("memory, whoever of its processes takes it", async () => {
    const program = "python3 -c 'b = bytearray(300 << 20); print(len(b))'; echo went on; sleep 100";
    const { exit, out } = await shell(scene.sandbox, program, { limits: { memoryBytes: 64 * MEBIBYTE } });
    expect(exit).toMatchObject({ kind: "limit", limit: "memory", max: 64 * MEBIBYTE });
    expect(exit.memoryPeakBytes).toBeLessThanOrEqual(64 * MEBIBYTE);
    expect(out).not.toContain(String(300 << 20));
  });

  test("files in memory are memory", async () => {
    const { exit } = await shell(
      scene.sandbox,
      "head -c 60000000 /dev/zero > /tmp/x; head -c 60000000 /dev/zero > /ws/x; sleep 100",
      {
        limits: { memoryBytes: 80 * MEBIBYTE, diskBytes: 100 * MEBIBYTE },
      },
    );
    expect(exit).toMatchObject({ kind: "limit", limit: "memory" });
  });

  test("processes", async () => {
    const program = "i=0; while [ $i -lt 100 ]; do sleep 100 & i=$((i + 1)); done; wait";
    const { exit } = await shell(scene.sandbox, program, { limits: { processes: 20 } });
    expect(exit).toMatchObject({ kind: "limit", limit: "processes", max: 20 });
  });

  test("time of computing, of all processes together", async () => {
    const { exit } = await shell(scene.sandbox, "(while :; do :; done) & while :; do :; done", {
      limits: { cpuMs: 200 },
    });
    expect(exit).toMatchObject({ kind: "limit", limit: "cpu", max: 200 });
    expect(exit.cpuMs).toBeGreaterThanOrEqual(200);
  });

  test("wall time", async () => {
    const { exit } = await shell(scene.sandbox, "sleep 100", { limits: { wallMs: 150 } });
    expect(exit).toMatchObject({ kind: "limit", limit: "wall", max: 150 });
  });

  test("output, of both streams together, to the byte", async () => {
    const { exit, out, err } = await shell(scene.sandbox, "yes & yes >&2", { limits: { outputBytes: 100_000 } });
    expect(exit).toMatchObject({ kind: "limit", limit: "output", max: 100_000 });
    expect(out.length + err.length).toBe(100_000);
    const atOnce = await shell(scene.sandbox, "head -c 150000 /dev/zero", { limits: { outputBytes: 100_000 } });
    expect(atOnce.exit).toMatchObject({ kind: "limit", limit: "output" });
  });

  test("disk: many small files and one that is too large", async () => {
    const many = "i=0; while head -c 500000 /dev/zero > f$i; do i=$((i + 1)); done 2>/dev/null; sleep 100";
    expect((await shell(scene.sandbox, many, { limits: { diskBytes: 4 * MEBIBYTE } })).exit).toMatchObject({
      kind: "limit",
      limit: "disk",
      max: 4 * MEBIBYTE,
    });
    const large = await shell(scene.sandbox, "exec head -c 8000000 /dev/zero > /tmp/f", {
      limits: { diskBytes: 4 * MEBIBYTE },
    });
    expect(large.exit).toMatchObject({ kind: "limit", limit: "disk" });
  });

  test("disk, where the workspace is a plain folder", async () => {
    const folder = join(scene.folder, "plain");
    mkdirSync(folder);
    const { exit } = await shell(
      scene.sandbox,
      "i=0; while :; do head -c 500000 /dev/zero > f$i; i=$(((i + 1) % 40)); done",
      {
        workspace: { folder, quota: "none" },
        limits: { diskBytes: 4 * MEBIBYTE },
      },
    );
    expect(exit).toMatchObject({ kind: "limit", limit: "disk" });
  });

  test("nothing is left: not what daemonised, not what ignores signals, no group, no zombie", async () => {
    const mark = `4${Date.now()}`;
    const program = `trap '' TERM HUP INT; (setsid sh -c 'trap "" TERM; sleep ${mark}' &) ; setsid -f sleep ${mark}; echo ready; sleep ${mark}`;
    const running = await scene.sandbox.start(specOf({ command: ["sh", "-c", program] }));
    await new Promise((resolve) => running.stdout.once("data", resolve));
    expect(programsWith(`sleep ${mark}`).length).toBeGreaterThan(0);
    await Promise.all([running.kill(), running.kill()]);
    expect(await running.exit).toMatchObject({ kind: "killed" });
    expect(programsWith(mark)).toEqual([]);
    const left = await shell(scene.sandbox, `(setsid sleep ${mark} &); echo out`);
    expect(left).toMatchObject({ exit: { kind: "exited", code: 0 }, out: "out\n" });
    expect(programsWith(mark)).toEqual([]);
    await turn();
    expect(
      readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, "utf8").split(" ").filter(isZombie),
    ).toEqual([]);
  });

  test("many at once run under different users, and end with the driver", async () => {
    const other = openScene();
    const started = await Promise.all(
      Array.from({ length: 8 }, () => other.sandbox.start(specOf({ command: ["sleep", "100"] }))),
    );
    const users = started.map(({ pid }) => /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
    expect(new Set(users).size).toBe(8);
    for (const user of users) expect(Number(user)).toBeGreaterThanOrEqual(200_000);
    await other.end();
    for (const { exit } of started) expect(await exit).toMatchObject({ kind: "killed" });
    await expect(other.sandbox.start(specOf({}))).rejects.toMatchObject({ code: "isolation_unavailable" });
  });
});

const isZombie = (pid: string): boolean => {
  try {
    return pid.trim() !== "" && readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    // It has been waited for.
    return false;
  }
};

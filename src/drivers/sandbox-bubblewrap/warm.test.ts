// Goal: a sandbox that waited does what a fresh one would have done, for one job, and only for the kind of job that it was started for.
// Method: jobs that can tell whether they share anything, and the user that they run under.
import { mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { needs } from "../../../test/needs.ts";
import type { Sandbox, SandboxSpec } from "../../ports/sandbox.ts";
import { ended, HAS_BUBBLEWRAP, IS_ROOT, openScene, specOf, type Ran, type Scene } from "./sandbox.fake.ts";
import { WarmPool, type Waiting } from "./warm.ts";

const JOBS: readonly (readonly [NonNullable<SandboxSpec["warm"]>, readonly [string, ...string[]], string])[] = [
  ["shell", ["sh", "-c", "cat; echo $GIVEN; ls /proc/self/fd | wc -l; pwd; exit 3"], "in1\n4\n/ws\n"],
  [
    "python",
    [
      "python3",
      "-c",
      "import sys, os\nprint(sys.stdin.read(), sys.argv, __name__, os.environ['GIVEN'], os.getcwd())\nsys.exit(3)",
    ],
    "in ['-c'] __main__ 1 /ws\n",
  ],
  [
    "node",
    [
      "node",
      "-e",
      "console.log(require('fs').readFileSync(0, 'utf8'), process.env.GIVEN, process.cwd()); process.exit(3)",
    ],
    "in 1 /ws\n",
  ],
];

needs("bubblewrap and root", HAS_BUBBLEWRAP && IS_ROOT)("sandboxes that wait", () => {
  let scene: Scene;
  beforeAll(() => void (scene = openScene({ shell: 1, python: 1, node: 1 })));
  afterAll(() => scene.end());

  const job = async (sandbox: Sandbox, spec: SandboxSpec): Promise<Ran & { readonly pid: number }> => {
    const running = await sandbox.start(spec);
    return { pid: running.pid, ...(await ended(running, "in")) };
  };

  for (const [warm, command, out] of JOBS)
    test(`${warm}: the first job, and those that find one waiting, end alike`, async () => {
      const spec = specOf({ warm, command, env: { GIVEN: "1" } });
      for (let round = 0; round < 3; round += 1) {
        expect(await job(scene.sandbox, spec)).toMatchObject({ out, err: "", exit: { kind: "exited", code: 3 } });
      }
    });

  test("the pool hands out each once, only for the same place, and no more wait than may", async () => {
    const started: SandboxSpec[] = [];
    const filled = new Map<number, () => void>();
    const pool = new WarmPool({ shell: 1, python: 0, node: 0 }, async (spec) => {
      const running = await scene.sandbox.start(spec);
      started.push(spec);
      filled.get(started.length)?.();
      return { running, text: running.channel } as unknown as Waiting;
    });
    const folder = join(scene.folder, "place");
    mkdirSync(folder);
    const spec = {
      ...specOf({ warm: "shell", command: ["sh", "-c", "echo x"], workspace: { folder } }),
      warm: "shell" as const,
    };
    const refill = async (): Promise<void> => {
      const done = new Promise<void>((resolve) => filled.set(started.length + 1, resolve));
      const before = await scene.sandbox.start(specOf({}));
      pool.refillAfter(before as unknown as Waiting["running"], spec);
      await done;
    };
    expect(pool.serves(spec)).toBe(true);
    expect(pool.serves({ ...spec, channel: true })).toBe(false);
    expect(pool.serves({ ...spec, mounts: [{ from: "/usr", to: "/x", access: "read" }] })).toBe(false);
    expect(pool.serves({ ...spec, warm: "python" })).toBe(false);
    expect(pool.take(spec)).toBeUndefined();
    await refill();
    await new Promise(setImmediate);
    expect(pool.take({ ...spec, env: { OTHER: "1" } })).toBeUndefined();
    renameSync(folder, `${folder}-old`);
    mkdirSync(folder);
    expect(pool.take(spec)).toBeUndefined();
    await pool.close();
  });
});

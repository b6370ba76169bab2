// Goal: a sandbox that waited does what a fresh one would have done, for one job, and only for the kind of job that it was started for.
// Method: jobs that can tell whether they share anything, and the user that they run under.
import { mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { needs } from "../../../test/needs.ts";
import type { Sandbox, SandboxSpec } from "../../ports/sandbox.ts";
import { ended, HAS_BUBBLEWRAP, IS_ROOT, openScene, specOf, type Ran, type Scene } from "./sandbox.fake.ts";
import { IDLE_MS_MAX, WarmPool, type Waiting } from "./warm.ts";

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

/** Ways for a program of Python to end, and things that it may find. */
const PYTHONS = {
  "an error": "def f(): return 1 / 0\nprint('before')\nf()",
  "an error that stands on another": "try: [][0]\nexcept IndexError as e: raise ValueError('outer') from e",
  "a text that is no program": "print('never')\nif:",
  "an exit with words": "import sys\nsys.exit('good bye')",
  "an exit from deep inside": "import os\nos._exit(7)",
  "its names": "print(sorted(n for n in globals() if not n.startswith('__')), __name__)",
  "itself as a module":
    "class A: pass\nimport __main__, pickle\nprint(type(pickle.loads(pickle.dumps(A()))), __main__.A is A)",
  "a file that it leaves open":
    "f = open('/tmp/x', 'w')\nf.write('kept')\nimport atexit, os\natexit.register(lambda: print('at exit'))",
  "a hook of its own": "import sys\nsys.excepthook = lambda *a: print('hook', a[0].__name__)\n1 / 0",
  "streams that it closes": "import sys\nprint('said')\nsys.stdout.close()",
  letters: "print('\u00e4\u4e2d')",
  threads:
    "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.05), print('late'))).start()\nprint('early')",
  "a long text": `x = 0\n${"x += 1\n".repeat(10_000)}print(x)`,
} as const;

/** What differs from run to run is left out. */
const likeness = ({ exit, ...said }: Ran): unknown => ({ ...said, exit: { ...exit, cpuMs: 0, memoryPeakBytes: 0 } });

/** Sandboxes of this process in which a Python runs or waits. */
const pythons = (): number[] =>
  childrenOf(process.pid).filter((sandbox) =>
    childrenOf(sandbox)
      .flatMap(childrenOf)
      .some((pid) => read(`/proc/${pid}/cmdline`).startsWith("python3\0")),
  );

const childrenOf = (pid: number): number[] =>
  ls(`/proc/${pid}/task`).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).split(" ").filter(Boolean).map(Number),
  );

/** What ends meanwhile has nothing to say. */
const orEmpty = <T>(look: () => T, empty: T): T => {
  try {
    return look();
  } catch {
    return empty;
  }
};
const read = (file: string): string => orEmpty(() => readFileSync(file, "utf8"), "");
const ls = (folder: string): string[] => orEmpty(() => readdirSync(folder), []);

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

  for (const [what, text] of Object.entries(PYTHONS))
    test(`Python ends alike, fresh and waited: ${what}`, async () => {
      const spec = specOf({ command: ["python3", "-c", text], env: { PYTHONDONTWRITEBYTECODE: "1" } });
      const { pid: _pid, ...fresh } = await job(scene.sandbox, spec);
      const before = pythons();
      const timers = vi.spyOn(globalThis, "setTimeout");
      // This one finds none waiting.
      const { pid: first } = await job(scene.sandbox, { ...spec, warm: "python" });
      const waits = await vi.waitFor(() => {
        // Its interpreter is seen before it is one that waits.
        expect(timers).toHaveBeenCalledWith(expect.any(Function), IDLE_MS_MAX);
        const waiting = pythons().filter((pid) => !before.includes(pid) && pid !== first);
        expect(waiting).toHaveLength(1);
        return waiting;
      }, 20_000);
      timers.mockRestore();
      const { pid: own, ...waited } = await job(scene.sandbox, { ...spec, warm: "python" });
      expect([own]).toEqual(waits);
      expect(likeness(waited)).toEqual(likeness(fresh));
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

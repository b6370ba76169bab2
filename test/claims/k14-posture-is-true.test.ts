// K14: the posture is true. What is called a sandbox has held hostile programs on this machine; where nothing has, what asks for one is
// refused and nothing runs.
//
// Method: an agent runs a shell command that reads a file of the machine and leaves a mark there. Below it stand drivers that are what they
// say, that only say so, or that leak in one way, and the real self-test. Unplugged (a self-test that says yes to everything), the
// driver that is none is used: the agent has the file, and the mark is there.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { sandboxLimitsSchema } from "../../src/abi/isolation.ts";
import type { Json } from "../../src/abi/json.ts";
import { createBubblewrap } from "../../src/drivers/sandbox-bubblewrap/sandbox.ts";
import type * as Program from "../../src/drivers/sandbox-bubblewrap/front/program.ts";
import type { Front } from "../../src/drivers/sandbox-bubblewrap/front/program.ts";
import type * as Trial from "../../src/linux/trial.ts";
import { createPlain } from "../../src/drivers/selftest/plain.ts";
import { tryPayloads } from "../../src/drivers/selftest/run.ts";
import { createSelfTest, PAYLOADS } from "../../src/drivers/selftest/selftest.ts";
import { isFoundByAll } from "../../src/linux/mounts.ts";
import { systemClock } from "../../src/drivers/system/clock.ts";
import type { Architecture } from "../../src/lib/system-calls.ts";
import type { Egress } from "../../src/ports/egress.ts";
import type { Sandbox, SelfTest } from "../../src/ports/sandbox.ts";
import type { Workspace, Workspaces } from "../../src/ports/workspace.ts";
import type { Sys } from "../../src/sdk/sys.ts";
import { shellTool } from "../../src/tools/builtin/programs.ts";
import { createBuiltinSource } from "../../src/tools/builtin/source.ts";
import { createTools } from "../../src/tools/registry.ts";
import { createSandboxes } from "../../src/tools/sandboxes.ts";
import { needs } from "../needs.ts";
import { bootTest } from "../system.ts";
import { type Medium, temporaryMedium } from "./temporary.ts";

/** What is taken out of what stands in front of bubblewrap; the driver's own trial run would see the first of it. */
const taken = vi.hoisted(() => ({ groups: false, limits: false, user: false }));
vi.mock("../../src/drivers/sandbox-bubblewrap/front/program.ts", async (importOriginal) => {
  const { frontProgram } = await importOriginal<typeof Program>();
  const without = (front: Front): Front => ({
    ...front,
    ...(taken.groups ? { doors: [] } : {}),
    ...(taken.limits ? { fileBytesMax: 2 ** 50, cpuSecondsMax: 2 ** 50 } : {}),
    ...(taken.user && front.hidden !== undefined ? { hidden: { ...front.hidden, uid: 0 } } : {}),
  });
  return { frontProgram: (front: Front, architecture: Architecture) => frontProgram(without(front), architecture) };
});
vi.mock("../../src/linux/trial.ts", async (importOriginal) => {
  const whole = await importOriginal<typeof Trial>();
  return {
    ...whole,
    isInGroups: (...given: Parameters<typeof whole.isInGroups>) => taken.groups || whole.isInGroups(...given),
  };
});

const SECRET = "what only the machine knows";
const folder = mkdtempSync(join(tmpdir(), "reeve-k14-"));
const secretFile = join(folder, "secret");
const mark = join(folder, "open", "mark");
beforeAll(() => {
  chmodSync(folder, 0o755);
  mkdirSync(join(folder, "open"));
  chmodSync(join(folder, "open"), 0o777);
  writeFileSync(secretFile, SECRET);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const mediums: Medium[] = [];
afterEach(() => {
  mediums.splice(0).forEach((medium) => medium.dispose());
  rmSync(mark, { force: true });
  Object.assign(taken, { groups: false, limits: false, user: false });
});

const realTest = (): SelfTest =>
  createSelfTest({ folder: join(folder, "selftest"), version: "test", nowMs: () => systemClock.nowMs() });
/** The part in question, taken out. */
const yesToEverything: SelfTest = {
  run: async (sandbox, set) => ({
    ...{ driver: sandbox.name, level: sandbox.level, state: await sandbox.state(), passed: true, set },
    ...{ verdicts: [], tookMs: 0, atMs: 0 },
  }),
};

const bubblewrap = (): Sandbox =>
  createBubblewrap({
    folder: join(folder, "bubblewrap"),
    uids: { from: 320_000, to: 320_999 },
    warm: { shell: 0, python: 0, node: 0 },
  });
/** It starts programs as they are, and calls that a sandbox. */
const pretender = (): Sandbox => ({ ...createPlain("process"), name: "pretender" });

/** A workspace that is a folder, and no more. */
const workspaces = {
  open: async () =>
    ({ folder: join(folder, "workspace"), snapshot: async () => true, close: async () => {} }) as unknown as Workspace,
} as unknown as Workspaces;
const noEgress = {} as Egress;

/** What the agent got from its command; `starts` counts what was begun for it after the test of the driver. */
async function tryIt(
  sandbox: Sandbox,
  selfTest: SelfTest,
  isolation?: "container",
): Promise<{ got: string; starts: number }> {
  const medium = temporaryMedium();
  mediums.push(medium);
  mkdirSync(join(folder, "workspace"), { recursive: true });
  let starts = 0;
  const counted: Sandbox = {
    name: sandbox.name,
    level: sandbox.level,
    state: () => sandbox.state(),
    close: () => sandbox.close(),
    start: (spec, options) => {
      if (spec.owner !== "selftest") starts += 1;
      return sandbox.start(spec, options);
    },
  };
  const sandboxes = createSandboxes({
    ...{ drivers: [counted], selfTest, posture: "strong", concurrency: 2, clock: systemClock },
  });
  const limits = sandboxLimitsSchema.parse({ wallMs: 20_000 });
  const source = createBuiltinSource([shellTool({ sandboxes, workspaces, egress: noEgress, limits })], "process");
  const overrides = isolation === undefined ? {} : { shell: { isolation } };
  const store = await medium.open();
  const sources = new Map([["os", { source, overrides, outside: false }]]);
  const tools = createTools({ sources, store, clock: systemClock, onNotice: () => {} });
  const command = `cat ${secretFile}; echo x > ${mark}; echo ran`;
  const run = async (sys: Sys): Promise<Json> => {
    try {
      return (await sys.tool.call({ tool: "os.shell", args: { command } })).text;
    } catch (error) {
      return `${String((error as { code?: unknown }).code)}: ${(error as Error).message}`;
    }
  };
  const system = await bootTest({ store, tools, agents: { worker: { manifest: { tools: ["os.shell"] }, run } } });
  const { pid } = await system.operate("process.spawn", { agent: "worker", task: null }, "test");
  const { exit } = await system.operate("process.wait", { pid }, "test");
  system.close();
  await sandboxes.close();
  await store.close();
  return { got: JSON.stringify(exit), starts };
}

const trial = bubblewrap();
const { posture } = await trial.state();
await trial.close();
needs("bubblewrap in full force", posture === "strong")("K14 with a driver that holds", () => {
  it("is used: the command runs, and neither sees the machine nor leaves anything there", async () => {
    const { got, starts } = await tryIt(bubblewrap(), realTest());
    expect(starts).toBe(1);
    expect(got).toContain("ran");
    expect(got).not.toContain(SECRET);
    expect(existsSync(mark)).toBe(false);
  });

  it("refuses a tool that declares more than any driver gives, and runs nothing", async () => {
    const { got, starts } = await tryIt(bubblewrap(), realTest(), "container");
    expect(got).toContain("isolation_unavailable");
    expect(starts).toBe(0);
  });

  it.each([
    ["a secret in the environment", "envsecret", (spec) => ({ ...spec, env: { ...spec.env, MACHINE_TOKEN: SECRET } })],
    ["no limit of time", "loop", (spec) => ({ ...spec, limits: { ...spec.limits, wallMs: 60_000 } })],
    ["no limit of processes", "forkbomb", (spec) => ({ ...spec, limits: { ...spec.limits, processes: 2_000 } })],
  ] satisfies [string, string, (spec: Parameters<Sandbox["start"]>[0]) => Parameters<Sandbox["start"]>[0]][])(
    "turns off one that leaks: %s",
    async (what, payload, leak) => {
      const whole = bubblewrap();
      const leaky: Sandbox = {
        ...{ name: `leaky: ${what}`, level: whole.level, state: () => whole.state(), close: () => whole.close() },
        start: (spec, options) => whole.start(spec.owner === "selftest" ? leak(spec) : spec, options),
      };
      const selfTest = realTest();
      const { passed, verdicts } = await selfTest.run(leaky, "full");
      expect(passed).toBe(false);
      expect(verdicts.filter(({ expected }) => !expected).map((each) => each.payload)).toContain(payload);
      await whole.close();
    },
  );

  it.each([
    ["groups", "enters no control group", ["membomb", "forkbomb"]],
    ["limits", "lowers no limits of a process", ["process-limits"]],
  ] as const)(
    "the self-test sees when the program in front of it does not do its part: %s (%s)",
    async (part, _, names) => {
      taken[part] = true;
      const broken = bubblewrap();
      const payloads = PAYLOADS.filter(({ name }) => (names as readonly string[]).includes(name));
      const tried = await tryPayloads(broken, payloads, { architecture: process.arch as Architecture });
      expect(tried.map(({ payload, found }) => [payload.name, found.verdict])).toEqual(
        names.map((name) => [name, "escaped"]),
      );
      await broken.close();
    },
  );

  it("turns it off where it would run as root, for files that only root finds", { timeout: 300_000 }, async () => {
    taken.user = true;
    const broken = bubblewrap();
    expect((await broken.state()).posture).toBe("strong");
    const payloads = PAYLOADS.filter(({ name }) => name === "setuid-left");
    const means = { architecture: process.arch as Architecture };
    const [found] = await tryPayloads(broken, payloads, means);
    const [hidden] = await tryPayloads(broken, payloads, { ...means, lies: "hidden" });
    expect(found?.found.verdict).toBe("contained");
    // Another's workspace is closed to it, so it does not get as far as to leave anything: that is no verdict, and passes for none.
    expect(hidden?.found.verdict).not.toBe("contained");
    const { passed, verdicts } = await realTest().run(broken, "full");
    expect(passed).toBe(false);
    const failed = verdicts.filter(({ expected }) => !expected);
    expect(failed).not.toEqual([]);
    // Where this very checkout is closed to others, what runs by its Node is seen to be root's before the rest is tried.
    const elsewhere = failed.filter(({ detail }) => !detail.includes("only Reeve finds"));
    expect(elsewhere.length === 0).toBe(isFoundByAll(realpathSync(process.execPath)));
    await broken.close();
  });
});

const isKnown = process.platform === "linux" && (process.arch === "x64" || process.arch === "arm64");
needs("Linux on x86-64 or arm64", isKnown)("K14 with a driver that only says so", () => {
  it("refuses by its name and what got out, and runs nothing", async () => {
    const { got, starts } = await tryIt(pretender(), realTest());
    expect(got).toContain("isolation_unavailable");
    expect(got).toContain("pretender: it failed its self-test");
    expect(got).toContain("read-host escaped");
    expect(got).not.toContain(SECRET);
    expect(starts).toBe(0);
    expect(existsSync(mark)).toBe(false);
  });

  it("unplugged: without the self-test it is used, and the agent has the machine's file", async () => {
    const { got, starts } = await tryIt(pretender(), yesToEverything);
    expect(starts).toBe(1);
    expect(got).toContain(SECRET);
    expect(existsSync(mark)).toBe(true);
  });
});

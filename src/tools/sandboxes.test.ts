// Goal: nothing runs where isolation is not proven, and what is refused says why. Method: drivers and a self-test in the test's hand.
import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { sandboxLimitsSchema, type IsolationLevel, type Posture } from "../abi/isolation.ts";
import type { Sandbox, SandboxExit, SandboxProcess, SandboxSpec, SelfTest, SelfTestReport } from "../ports/sandbox.ts";
import { createSandboxes } from "./sandboxes.ts";

const clock = { nowMs: () => 7, after: () => () => {} };
const spec = (level: SandboxSpec["level"] = "process"): SandboxSpec => ({
  owner: "test",
  level,
  command: ["true"],
  env: {},
  mounts: [],
  limits: sandboxLimitsSchema.parse({}),
});
const EXITED: SandboxExit = { kind: "exited", code: 0, cpuMs: 1, memoryPeakBytes: 1 };

class FakeProcess implements SandboxProcess {
  readonly pid = 1;
  readonly stdin = new PassThrough();
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  readonly channel = undefined;
  readonly #end = Promise.withResolvers<SandboxExit>();
  readonly exit = this.#end.promise;
  end(exit: SandboxExit = EXITED): void {
    this.stdout.end();
    this.stderr.end();
    this.#end.resolve(exit);
  }
  async kill(): Promise<void> {
    this.end({ ...EXITED, kind: "killed" });
  }
}

class FakeDriver extends EventEmitter implements Sandbox {
  readonly started: FakeProcess[] = [];
  closed = false;
  readonly name: string;
  readonly level: Sandbox["level"];
  posture: Posture;
  looks = 0;
  constructor(name: string, level: Sandbox["level"], posture: Posture = "strong") {
    super();
    this.name = name;
    this.level = level;
    this.posture = posture;
  }
  async state() {
    this.looks += 1;
    return { posture: this.posture, layers: [], reason: `${this.name} lacks a part`, fingerprint: "f" };
  }
  async start(_: SandboxSpec, options?: { readonly signal?: AbortSignal }): Promise<SandboxProcess> {
    const process = new FakeProcess();
    this.started.push(process);
    options?.signal?.addEventListener("abort", () => void process.kill());
    this.emit("started");
    return process;
  }
  async close(): Promise<void> {
    this.closed = true;
  }
}

type Ran = { readonly driver: string; readonly set: string };
function selfTest(failing: readonly string[] = []): SelfTest & { readonly ran: Ran[] } {
  const ran: Ran[] = [];
  return {
    ran,
    run: async (driver, set): Promise<SelfTestReport> => {
      ran.push({ driver: driver.name, set });
      const passed = !failing.includes(driver.name);
      const verdict = {
        payload: "shadow",
        tries: "to read",
        verdict: "escaped",
        expected: false,
        detail: "read it",
      } as const;
      const level: IsolationLevel = driver.level;
      const verdicts = passed ? [] : [verdict];
      return { driver: driver.name, level, state: await driver.state(), passed, set, verdicts, tookMs: 1, atMs: 7 };
    },
  };
}

const facade = (drivers: readonly Sandbox[], options: Partial<Parameters<typeof createSandboxes>[0]> = {}) =>
  createSandboxes({ drivers, selfTest: selfTest(), posture: "strong", concurrency: 2, clock, ...options });

test("the weakest driver that gives the level is taken, and is tested once", async () => {
  const [vm, process, container] = [
    new FakeDriver("v", "vm"),
    new FakeDriver("p", "process"),
    new FakeDriver("c", "container"),
  ];
  const tests = selfTest();
  const sandboxes = facade([vm, process, container], { selfTest: tests });
  await Promise.all([sandboxes.start(spec()), sandboxes.start(spec())]);
  expect(tests.ran).toEqual([{ driver: "p", set: "quick" }]);
  process.started[0]!.end();
  await sandboxes.start(spec("container"));
  expect([vm, process, container].map(({ started }) => started.length)).toEqual([0, 2, 1]);
});

test("a driver that failed its test is passed over, and a refusal names every driver with its lack", async () => {
  const drivers = [
    new FakeDriver("weak", "process"),
    new FakeDriver("failed", "container"),
    new FakeDriver("absent", "container", "none"),
    new FakeDriver("reduced", "vm", "reduced"),
  ];
  const tests = selfTest(["failed"]);
  await expect(facade(drivers, { selfTest: tests }).start(spec("container"))).rejects.toMatchObject({
    code: "isolation_unavailable",
    data: {
      level: "container",
      drivers: [
        { name: "weak", reason: "it gives the level process only" },
        { name: "failed", reason: "it failed its self-test: shadow escaped (read it)" },
        { name: "absent", reason: "absent lacks a part" },
        { name: "reduced", reason: expect.stringMatching(/posture is reduced.*asks for strong.*reduced lacks a part/) },
      ],
    },
  });
  expect(drivers.flatMap(({ started }) => started)).toEqual([]);
  expect(tests.ran.map(({ driver }) => driver)).toEqual(["failed", "reduced"]);
  await expect(facade([]).start(spec())).rejects.toMatchObject({ message: expect.stringMatching(/no driver/) });
});

test("a weaker posture is used where it is accepted", async () => {
  const driver = new FakeDriver("r", "process", "reduced");
  await facade([driver], { posture: "reduced" }).start(spec());
  expect(driver.started).toHaveLength(1);
});

test("a test that cannot be made leaves its driver unused, and is tried again", async () => {
  const driver = new FakeDriver("p", "process");
  let failures = 1;
  const working = selfTest();
  const tests: SelfTest = {
    run: (sandbox, set) => (failures-- > 0 ? Promise.reject(new Error("no room")) : working.run(sandbox, set)),
  };
  const sandboxes = facade([driver], { selfTest: tests });
  await expect(sandboxes.start(spec())).rejects.toMatchObject({ message: expect.stringMatching(/no room/) });
  await sandboxes.start(spec());
  expect(driver.started).toHaveLength(1);
});

test("a test without a verdict leaves its driver unused for a while, and is then made anew; one that something got out of is final", async () => {
  const time = { nowMs: 7 };
  const driver = new FakeDriver("p", "process");
  const reports: Pick<SelfTestReport["verdicts"][number], "verdict">[] = [];
  const working = selfTest();
  const tests: SelfTest = {
    run: async (sandbox, set) => {
      const report = await working.run(sandbox, set);
      const [next] = reports.splice(0, 1);
      if (next === undefined) return report;
      const verdict = { payload: "forkbomb", tries: "…", expected: false, detail: "too slow", ...next };
      return { ...report, passed: false, verdicts: [verdict], atMs: time.nowMs };
    },
  };
  const sandboxes = facade([driver], {
    selfTest: tests,
    clock: { nowMs: () => time.nowMs, after: () => () => {} },
  });
  const refused = (why: RegExp) =>
    expect(sandboxes.start(spec())).rejects.toMatchObject({
      code: "isolation_unavailable",
      message: expect.stringMatching(why) as string,
    });
  reports.push({ verdict: "no_verdict" }, { verdict: "no_verdict" });
  await refused(/no verdict, as on a machine that is too busy: forkbomb no_verdict \(too slow\)\. Nothing got out/);
  time.nowMs += 29_999;
  await refused(/no verdict/);
  expect(working.ran).toHaveLength(1);
  time.nowMs += 1;
  await Promise.all([refused(/no verdict/), refused(/no verdict/)]);
  expect(working.ran).toHaveLength(2);
  time.nowMs += 30_000;
  await sandboxes.start(spec());
  expect(driver.started).toHaveLength(1);
  reports.push({ verdict: "escaped" });
  await sandboxes.report("full");
  time.nowMs += 30_000;
  await refused(/failed its self-test: forkbomb escaped/);
  expect(working.ran).toHaveLength(4);
});

test("a driver that cannot run here is looked at again after a while by whoever needs it, and by nobody whom another serves", async () => {
  const time = { nowMs: 7 };
  const [absent, container] = [new FakeDriver("p", "process", "none"), new FakeDriver("c", "container")];
  const options = { clock: { nowMs: () => time.nowMs, after: () => () => {} }, concurrency: 9 };
  const alone = facade([absent], options);
  const refused = () => expect(alone.ready("process")).rejects.toMatchObject({ code: "isolation_unavailable" });
  await refused();
  time.nowMs += 29_999;
  await refused();
  expect(absent.looks).toBe(1);
  time.nowMs += 1;
  await Promise.all([refused(), refused()]);
  expect(absent.looks).toBe(2);
  absent.posture = "strong";
  await refused();
  time.nowMs += 30_000;
  await alone.start(spec());
  expect(absent.started).toHaveLength(1);

  absent.posture = "none";
  const both = facade([absent, container], options);
  await both.start(spec());
  absent.looks = 0;
  time.nowMs += 30_000;
  await both.start(spec());
  expect([absent.looks, container.started.length]).toEqual([0, 2]);
  absent.posture = "strong";
  expect((await both.report()).map(({ passed }) => passed)).toEqual([true, true]);
  await both.start(spec());
  expect(absent.started).toHaveLength(2);
});

test("the rest wait for their turn, in order; one that gives up leaves the line", async () => {
  const driver = new FakeDriver("p", "process");
  const sandboxes = facade([driver], { concurrency: 1 });
  await sandboxes.start(spec());
  const givesUp = new AbortController();
  const second = sandboxes.start(spec(), { signal: givesUp.signal });
  const third = sandboxes.start(spec());
  givesUp.abort();
  await expect(second).rejects.toMatchObject({ code: "cancelled" });
  expect(driver.started).toHaveLength(1);
  driver.started[0]!.end();
  await third;
  expect(driver.started).toHaveLength(2);
  const fourth = sandboxes.start(spec());
  await sandboxes.close();
  await expect(fourth).rejects.toMatchObject({ code: "cancelled" });
  expect(driver.closed).toBe(true);
});

test("a start that fails gives its place to the next", async () => {
  const driver = new FakeDriver("p", "process");
  const sandboxes = facade([driver], { concurrency: 1 });
  const start = driver.start.bind(driver);
  driver.start = () => Promise.reject(new Error("broken"));
  await expect(sandboxes.start(spec())).rejects.toThrow("broken");
  driver.start = start;
  await sandboxes.start(spec());
  expect(driver.started).toHaveLength(1);
});

test("run hands over the input and gathers what is said; an aborted signal kills", async () => {
  const driver = new FakeDriver("p", "process");
  const sandboxes = facade([driver]);
  driver.once("started", () => {
    const process = driver.started[0]!;
    process.stderr.write("oh");
    process.stdin.on("data", (chunk: Buffer) => process.stdout.write(`got ${String(chunk)}`));
    process.stdin.on("end", () => process.end());
  });
  const signal = new AbortController().signal;
  expect(await sandboxes.run(spec(), { input: "in", signal })).toEqual({
    exit: EXITED,
    stdout: "got in",
    stderr: "oh",
  });
  driver.once("started", () => {
    const process = driver.started[1]!;
    process.stdin.on("data", (chunk: Buffer) => process.stdout.write(chunk.toString("hex")));
    process.stdin.on("end", () => process.end());
  });
  expect(await sandboxes.run(spec(), { input: Uint8Array.of(0, 255, 10), signal })).toMatchObject({ stdout: "00ff0a" });
  const abort = new AbortController();
  driver.once("started", () => abort.abort());
  const finished = await sandboxes.run(spec(), { signal: abort.signal });
  expect(finished.exit.kind).toBe("killed");
});

test("what is said is heard as it comes, in whole characters, before the end", async () => {
  const driver = new FakeDriver("p", "process");
  const heard: string[] = [];
  const sign = Buffer.from("é");
  driver.once("started", () => driver.started[0]!.stdout.write(Buffer.concat([Buffer.from("a"), sign.subarray(0, 1)])));
  const finished = facade([driver]).run(spec(), {
    signal: new AbortController().signal,
    onOutput: (text) => {
      heard.push(text);
      const process = driver.started[0]!;
      if (text === "a") process.stdout.write(sign.subarray(1));
      else if (text === "é") process.stderr.write("oh");
      else process.end();
    },
  });
  expect(await finished).toMatchObject({ stdout: "aé", stderr: "oh" });
  expect(heard).toEqual(["a", "é", "oh"]);
});

test("a full report tests anew, and its verdict holds from then on", async () => {
  const driver = new FakeDriver("p", "process");
  const failing: string[] = [];
  const tests = selfTest(failing);
  const sandboxes = facade([driver, new FakeDriver("none", "vm", "none")], { selfTest: tests });
  expect((await sandboxes.report()).map(({ passed }) => passed)).toEqual([true, false]);
  failing.push("p");
  expect((await sandboxes.report("full"))[0]).toMatchObject({ passed: false, set: "full" });
  await expect(sandboxes.start(spec())).rejects.toMatchObject({ code: "isolation_unavailable" });
  expect(tests.ran.map(({ set }) => set)).toEqual(["quick", "full"]);
});

// What a program's word about being idle means for its place in memory. The programs run here and the test speaks for
// them, as for programs in another process; the clock's one long timer fires when the test says so.
import { afterEach, expect, it } from "vitest";
import { fakeTools } from "../../test/system.ts";
import { COMPUTE_BESIDE_WAITS_MS_MAX } from "../abi/limits.ts";
import type { ProcessId } from "../abi/ids.ts";
import { createNativeHost } from "../drivers/program-native/host.ts";
import { systemClock } from "../drivers/system/clock.ts";
import type { Clock } from "../ports/clock.ts";
import type { ProgramHost } from "../ports/program.ts";
import { makeSys } from "../sdk/sys.ts";
import { eventually, gate, type Gate, type Scene, scene, turns } from "./scene.fake.ts";

const open: Scene[] = [];
afterEach(() => open.splice(0).forEach((one) => one.close()));

type Hand = {
  readonly system: Scene;
  readonly pid: ProcessId;
  /** What the kernel asked, oldest first; opening one answers it. */
  readonly questions: readonly Gate[];
  /** How often the program was started. */
  readonly starts: () => number;
  /** Lets the time pass after which nobody is asked any longer. */
  readonly passTime: () => void;
  /** Lets the program go on from its work. */
  readonly work: Gate;
};

/** A process that asks a human, looks once, and then works beside its wait until the test lets it go on to a second look. */
async function worker(): Promise<Hand> {
  const questions: Gate[] = [];
  const work = gate();
  const timers = new Set<() => void>();
  let starts = 0;
  const native = createNativeHost({
    native: new Map([
      [
        "worker",
        async (start) => {
          const sys = makeSys(start.issue);
          const asking = sys.human.ask({ question: "Well?" });
          await sys.tool.call({ tool: "t.look", args: {} });
          await work.passed;
          await sys.tool.call({ tool: "t.look", args: {} });
          return (await asking).answer;
        },
      ],
    ]),
  });
  const programs: ProgramHost = {
    start: (start) => {
      starts += 1;
      const run = native.start(start);
      const idle = (): Promise<void> => {
        const question = gate();
        questions.push(question);
        return question.passed;
      };
      return { result: run.result, dispose: () => run.dispose(), idle };
    },
    close: () => native.close(),
  };
  const clock: Clock = {
    nowMs: () => systemClock.nowMs(),
    after: (ms, fire) => {
      if (ms !== COMPUTE_BESIDE_WAITS_MS_MAX) return systemClock.after(ms, fire);
      timers.add(fire);
      return () => void timers.delete(fire);
    },
  };
  const tools = fakeTools({ "t.look": { manifest: { effect: "read" } } });
  const agents = { worker: { run: async () => null, manifest: { tools: ["t.look"] } } };
  const system = await scene({ agents, tools, limits: { parkAfterMs: 0 }, parts: { programs, clock } });
  open.push(system);
  const pid = await system.start("worker");
  await eventually("the first look", () => tools.performed.length === 1 || undefined);
  await eventually("a question", () => questions.length > 0 || undefined);
  await turns();
  return { system, pid, questions, starts: () => starts, passTime: () => timers.forEach((fire) => fire()), work };
}

const left = (system: Scene): Promise<boolean> =>
  eventually("it left memory", () => system.load().inMemory === 0 || undefined);

async function answeredAtLast({ system, pid, work }: Hand): Promise<void> {
  work.open();
  const { request } = await system.asked(pid);
  await system.operate("human.decide", { request, decision: { verdict: "answered", answer: "yes" } }, "ann");
  expect(await system.exit(pid)).toEqual({ how: "completed", result: "yes" });
  expect(system.troubles).toEqual([]);
}

it("a program that does not say that it is idle stays in memory, and is asked once", async () => {
  const { system, questions, starts, pid } = await worker();
  await turns(200);
  expect([questions.length, starts(), system.load().inMemory, await system.state(pid)]).toEqual([1, 1, 1, "running"]);
});

it("it leaves when it says so, and is asked anew after each outcome", async () => {
  const hand = await worker();
  const { system, pid, questions, work } = hand;
  work.open();
  await eventually("the second question", () => questions.length === 2 || undefined);
  // The answer to the first comes too late: it was given before the second look.
  questions[0]?.open();
  await turns(200);
  expect(system.load().inMemory).toBe(1);
  questions[1]?.open();
  await left(system);
  expect([await system.state(pid), hand.starts()]).toEqual(["waiting", 1]);
  await answeredAtLast(hand);
});

it("one that never says so leaves memory after the time that this may take, and comes back when its wait is over", async () => {
  const hand = await worker();
  hand.passTime();
  await left(hand.system);
  expect(await hand.system.state(hand.pid)).toBe("waiting");
  await answeredAtLast(hand);
  expect(hand.starts()).toBe(2);
});

it("one that says so although it works loses that work and nothing else", async () => {
  const hand = await worker();
  hand.questions[0]?.open();
  await left(hand.system);
  await answeredAtLast(hand);
  expect(hand.starts()).toBe(2);
});

it("a stop does not wait for its word", async () => {
  const hand = await worker();
  await hand.system.operate("process.signal", { pid: hand.pid, signal: "stop", reason: "" }, "test");
  await left(hand.system);
  expect(await hand.system.state(hand.pid)).toBe("stopped");
  await hand.system.operate("process.signal", { pid: hand.pid, signal: "cont", reason: "" }, "test");
  await answeredAtLast(hand);
});

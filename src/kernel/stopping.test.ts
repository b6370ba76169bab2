// What a stop does to the calls under way: those that are being performed end and are recorded, the others are not begun.
import { describe, expect, it } from "vitest";
import { done, fakeModel, fakeTools, say, type TestOptions } from "../../test/system.ts";
import type { ProcessId } from "../abi/ids.ts";
import { callerOf, eventually, gate, listener, type Scene, scenes, turns } from "./scene.fake.ts";

const boot = scenes();

const signal = (system: Scene, pid: ProcessId, sent: "stop" | "cont" | "kill"): Promise<unknown> =>
  system.operate("process.signal", { pid, signal: sent, reason: "" }, "test");

const completed = async (system: Scene, pid: ProcessId): Promise<number> =>
  (await system.kinds(pid)).filter((kind) => kind === "call.completed").length;

const asks: TestOptions["agents"] = {
  asker: {
    run: async (sys) =>
      (await sys.model.generate({ messages: [{ role: "user", content: "?" }] })).content.map((part) =>
        part.type === "text" ? part.text : "",
      ),
  },
};

describe("a stop", () => {
  it("lets a model answer and records that, so that the program goes on from there and does not ask again", async () => {
    const asked = gate();
    const answered = gate();
    const models = fakeModel(async () => (asked.open(), await answered.passed, say("forty-two")));
    const system = await boot({ agents: asks, models });
    const pid = await system.start("asker");
    await asked.passed;
    await signal(system, pid, "stop");
    await turns();
    expect([await system.state(pid), await completed(system, pid)]).toEqual(["stopped", 0]);
    answered.open();
    await eventually("the answer in the journal", async () => (await completed(system, pid)) === 1 || undefined);
    await eventually("it left memory", () => system.load().inMemory === 0 || undefined);
    expect(await system.state(pid)).toBe("stopped");
    await signal(system, pid, "cont");
    expect(await system.exit(pid)).toEqual({ how: "completed", result: ["forty-two"] });
    expect(models.asked).toHaveLength(1);
    expect(await system.operate("journal.verify", { pid }, "test")).toMatchObject({ identical: true });
  });

  it("that is taken back while a model answers asks it once", async () => {
    const asked = gate();
    const answered = gate();
    const models = fakeModel(async () => (asked.open(), await answered.passed, say("forty-two")));
    const system = await boot({ agents: asks, models });
    const pid = await system.start("asker");
    await asked.passed;
    await signal(system, pid, "stop");
    await turns();
    await signal(system, pid, "cont");
    await turns();
    answered.open();
    expect(await system.exit(pid)).toEqual({ how: "completed", result: ["forty-two"] });
    expect(models.asked).toHaveLength(1);
  });

  it("begins no call that has not had its turn", async () => {
    const paying = gate();
    const paid = gate();
    const tools = fakeTools({
      "t.pay": {
        manifest: { effect: "write", concurrency: 1 },
        run: async ({ n }) => (paying.open(), await paid.passed, done(`paid ${n as number}`)),
      },
    });
    const system = await boot({
      tools,
      agents: {
        payer: {
          manifest: { tools: ["t.pay"] },
          run: async (sys) => {
            const bills = [1, 2, 3].map((n) => sys.tool.call({ tool: "t.pay", args: { n } }));
            return (await Promise.all(bills)).map(({ text }) => text);
          },
        },
      },
    });
    const pid = await system.start("payer");
    await paying.passed;
    await signal(system, pid, "stop");
    paid.open();
    await eventually("the payment in the journal", async () => (await completed(system, pid)) === 1 || undefined);
    await eventually("it left memory", () => system.load().inMemory === 0 || undefined);
    await turns();
    expect([tools.performed.length, await system.state(pid)]).toEqual([1, "stopped"]);
    await signal(system, pid, "cont");
    expect(await system.exit(pid)).toEqual({ how: "completed", result: ["paid 1", "paid 2", "paid 3"] });
    expect(tools.performed.map(({ args }) => args["n"])).toEqual([1, 2, 3]);
  });

  it("does not repeat an effect whose outcome it cannot learn; that is found out when the process goes on", async () => {
    const paying = gate();
    const lost = gate();
    let calls = 0;
    const tools = fakeTools({
      "t.pay": {
        manifest: { effect: "write", idempotency: "key" },
        run: async () => {
          calls += 1;
          if (calls > 1) return done("paid");
          paying.open();
          await lost.passed;
          return { kind: "unknown", reason: "The line was cut." };
        },
      },
    });
    const system = await boot({
      tools,
      agents: {
        payer: callerOf("t.pay"),
      },
    });
    const pid = await system.start("payer");
    await paying.passed;
    await signal(system, pid, "stop");
    await turns();
    lost.open();
    await eventually("it left memory", () => system.load().inMemory === 0 || undefined);
    expect([calls, await completed(system, pid)]).toEqual([1, 0]);
    await signal(system, pid, "cont");
    expect(await system.exit(pid)).toEqual({ how: "completed", result: "paid" });
    expect(calls).toBe(2);
  });

  it("takes a process that only waits out of memory at once, and a kill one that is being stopped", async () => {
    const asked = gate();
    const models = fakeModel(async () => (asked.open(), await new Promise<never>(() => {})));
    const system = await boot({
      models,
      agents: { ...asks, listener },
    });
    const [asker, listening] = [await system.start("asker"), await system.start("listener")];
    await asked.passed;
    await signal(system, listening, "stop");
    await signal(system, asker, "stop");
    await eventually("only the asker in memory", () => system.load().inMemory === 1 || undefined);
    await signal(system, asker, "kill");
    expect(await system.exit(asker)).toMatchObject({ how: "killed" });
    expect(system.load().inMemory).toBe(0);
    expect(system.troubles).toEqual([]);
  });
});

describe("a wait that is decided", () => {
  it("is over when the decision is made, though the approved call is still under way", async () => {
    const wiping = gate();
    const wiped = gate();
    const tools = fakeTools({
      "t.wipe": { manifest: { effect: "destroy" }, run: async () => (wiping.open(), await wiped.passed, done("gone")) },
    });
    const system = await boot({
      tools,
      agents: {
        wiper: callerOf("t.wipe"),
      },
    });
    const pid = await system.start("wiper");
    const { request } = await system.asked(pid);
    const waits = async (): Promise<readonly object[]> =>
      (await system.operate("process.show", { pid }, "test")).process.waits;
    expect(await waits()).toEqual([{ on: "human", call: 0, request }]);
    await system.operate("human.decide", { request, decision: { verdict: "approved" } }, "ann");
    await wiping.passed;
    expect([await waits(), await system.state(pid)]).toEqual([[], "running"]);
    wiped.open();
    expect(await system.exit(pid)).toEqual({ how: "completed", result: "gone" });
  });
});

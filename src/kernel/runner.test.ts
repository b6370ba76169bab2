// Which processes are in memory: room, parking, stopping, and a store that fails.
import { describe, expect, it } from "vitest";
import { SimulatedClock } from "../../test/simulation/clock.ts";
import { done, fakeTools } from "../../test/system.ts";
import { OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Store } from "../ports/store.ts";
import {
  callerOf,
  eventually,
  gate,
  holds,
  listener,
  pass,
  replaced,
  type Scene,
  type SceneOptions,
  scenes,
  slowed,
  turns,
} from "./scene.fake.ts";

const boot = scenes();

const waiting = (system: Scene, count: number): Promise<boolean> =>
  eventually(`${count} processes that wait`, async () =>
    (await system.disk.processes({ limit: 1000, states: ["waiting"] })).length === count ? true : undefined,
  );

const full = (): OsError => new OsError("store_failed", "The disk is full.", { data: { reason: "full" } });

describe("room in memory", () => {
  it("runs more processes than it has room for, each to its end", async () => {
    const system = await boot({ agents: { listener }, limits: { processesInMemory: 3, parkAfterMs: 60_000 } });
    const pids = await Promise.all(Array.from({ length: 20 }, (_, n) => system.start("listener", n)));
    await waiting(system, 20);
    expect(system.load().inMemory).toBeLessThanOrEqual(3);
    await Promise.all(pids.map((pid, n) => system.operate("message.send", { pid, body: n }, "test")));
    const exits = await Promise.all(pids.map((pid) => system.exit(pid)));
    expect(exits).toEqual(pids.map((_, n) => ({ how: "completed", result: n })));
    expect(system.troubles).toEqual([]);
  });

  it("does not make room with a process that its own timer has set going", async () => {
    const performing = gate();
    const performed = gate();
    const tools = fakeTools({
      "t.pay": {
        manifest: { effect: "write" },
        run: async () => (performing.open(), await performed.passed, done("paid")),
      },
    });
    const system = await boot({
      tools,
      limits: { processesInMemory: 1, parkAfterMs: 60_000 },
      agents: {
        listener,
        payer: {
          manifest: { tools: ["t.pay"] },
          run: async (sys) => {
            await sys.clock.sleep({ ms: 20 });
            return (await sys.tool.call({ tool: "t.pay", args: {} })).text;
          },
        },
      },
    });
    const payer = await system.start("payer");
    await performing.passed;
    const second = await system.start("listener");
    await turns();
    performed.open();
    expect(await system.exit(payer)).toEqual({ how: "completed", result: "paid" });
    await system.operate("message.send", { pid: second, body: "hello" }, "test");
    expect(await system.exit(second)).toEqual({ how: "completed", result: "hello" });
    expect(tools.performed).toHaveLength(1);
  });

  it("loses no message that comes while a process goes to disk or comes back", async () => {
    const system = await boot({
      limits: { processesInMemory: 1, parkAfterMs: 0 },
      agents: {
        counter: {
          run: async (sys) => {
            const seen: unknown[] = [];
            while (seen.length < 30) seen.push((await sys.message.receive({})).message?.body);
            return seen as never;
          },
        },
      },
    });
    const [one, two] = [await system.start("counter"), await system.start("counter")];
    for (let n = 0; n < 30; n += 1) {
      const sends = [one, two].map((pid) => system.operate("message.send", { pid, body: n }, "test"));
      if (n % 3 > 0) await Promise.all(sends);
      if (n % 3 > 1) await turns(n);
    }
    const numbers = Array.from({ length: 30 }, (_, n) => n);
    expect([await system.exit(one), await system.exit(two)]).toEqual(
      [one, two].map(() => ({ how: "completed", result: numbers })),
    );
    expect(system.troubles).toEqual([]);
  });

  it("reads a process anew only when what it wrote is on disk", async () => {
    const held: (() => void)[] = [];
    let hold = false;
    // The row that says that it waits is long on its way.
    const store = (disk: Store): Store =>
      slowed(disk, ({ journals }) =>
        hold && journals.length === 0 ? new Promise<void>((resolve) => held.push(resolve)) : undefined,
      );
    const system = await boot({ store, agents: { listener }, limits: { parkAfterMs: 0 } });
    hold = true;
    const pid = await system.start("listener");
    await eventually("the row on its way", () => (held.length > 0 ? true : undefined));
    await eventually("it left memory", () => (system.load().inMemory === 0 ? true : undefined));
    hold = false;
    const sent = system.operate("message.send", { pid, body: "hello" }, "test");
    await turns();
    held.forEach((go) => go());
    await sent;
    expect(await system.exit(pid)).toEqual({ how: "completed", result: "hello" });
  });
});

describe("stop and cont", () => {
  it("stops a waiting process and lets it go on, in memory and parked", async () => {
    for (const parkAfterMs of [0, 60_000]) {
      const system = await boot({ agents: { listener }, limits: { parkAfterMs } });
      const pid = await system.start("listener");
      await waiting(system, 1);
      await system.operate("process.signal", { pid, signal: "stop", reason: "" }, "test");
      expect(await system.operate("process.signal", { pid, signal: "stop", reason: "" }, "test")).toEqual({
        pids: [],
        calls: [],
      });
      await system.operate("message.send", { pid, body: "meanwhile" }, "test");
      await turns();
      expect(await system.state(pid)).toBe("stopped");
      await system.operate("process.signal", { pid, signal: "cont", reason: "" }, "test");
      expect(await system.exit(pid)).toEqual({ how: "completed", result: "meanwhile" });
    }
  });

  it("goes on after stop and cont while an effect was under way, and performs it once", async () => {
    const performed = gate();
    const tools = fakeTools({
      "t.pay": { manifest: { effect: "write" }, run: async () => (await performed.passed, done("paid")) },
    });
    const system = await boot({
      tools,
      agents: {
        payer: {
          manifest: { tools: ["t.pay"] },
          run: async (sys) => [
            (await sys.tool.call({ tool: "t.pay", args: {} })).text,
            (await sys.clock.now({})).ms > 0,
          ],
        },
      },
    });
    const pid = await system.start("payer");
    await eventually("the payment under way", () => (tools.performed.length === 1 ? true : undefined));
    await system.operate("process.signal", { pid, signal: "stop", reason: "" }, "test");
    await system.operate("process.signal", { pid, signal: "cont", reason: "" }, "test");
    await turns();
    performed.open();
    expect(await system.exit(pid)).toEqual({ how: "completed", result: ["paid", true] });
    expect(tools.performed).toHaveLength(1);
  });

  it("stops at the moment of the intent without making the outcome unknown", async () => {
    const intending = gate();
    const intended = gate();
    const store = (disk: Store): Store =>
      slowed(disk, (batch) => (holds(batch, "call.intended") ? (intending.open(), intended.passed) : undefined));
    const tools = fakeTools({ "t.pay": { manifest: { effect: "write" }, run: () => done("paid") } });
    const system = await boot({
      store,
      tools,
      agents: {
        payer: callerOf("t.pay"),
      },
    });
    const pid = await system.start("payer");
    await intending.passed;
    // Its own event comes after the intent, so it is durable only when the intent is.
    const stopped = system.operate("process.signal", { pid, signal: "stop", reason: "" }, "test");
    await turns();
    intended.open();
    await stopped;
    await turns();
    await system.operate("process.signal", { pid, signal: "cont", reason: "" }, "test");
    expect(await system.exit(pid)).toEqual({ how: "completed", result: "paid" });
    expect(tools.performed).toHaveLength(1);
    expect((await system.operate("human.list", {}, "test")).requests).toEqual([]);
  });

  it("does not hear the end of a program that was stopped", async () => {
    const ending = gate();
    const tools = fakeTools({ "t.pay": { manifest: { effect: "write" }, run: () => new Promise(() => {}) } });
    const system = await boot({
      tools,
      agents: {
        runner: {
          manifest: { tools: ["t.pay"] },
          run: async (sys) => {
            void sys.tool.call({ tool: "t.pay", args: {} });
            await ending.passed;
            return "over";
          },
        },
      },
    });
    const pid = await system.start("runner");
    await eventually("the payment under way", () => (tools.performed.length === 1 ? true : undefined));
    await system.operate("process.signal", { pid, signal: "stop", reason: "" }, "test");
    ending.open();
    await turns();
    expect(await system.state(pid)).toBe("stopped");
  });
});

describe("a program beside whose waits other calls go on", () => {
  it("is brought back after a crash, though its row said for a moment that it only waits", async () => {
    const first = gate();
    const second = gate();
    let calls = 0;
    const tools = fakeTools({
      "t.look": {
        manifest: { effect: "read" },
        run: async () => ((calls += 1) === 1 ? done("first") : (second.open(), await new Promise<never>(() => {}))),
      },
    });
    const agents: SceneOptions["agents"] = {
      worker: {
        manifest: { tools: ["t.look"] },
        run: async (sys, task) => {
          const asking = sys.human.ask({ question: "Well?" });
          const one = await sys.tool.call({ tool: "t.look", args: {} });
          // As a program in another process does: it thinks for a while before it goes on.
          if (task === "slow") await first.passed;
          const two = await sys.tool.call({ tool: "t.look", args: {} });
          return [one.text, two.text, (await asking).answer];
        },
      },
    };
    const before = await boot({ agents, tools });
    const pid = await before.start("worker", "slow");
    await waiting(before, 1);
    first.open();
    await second.passed;
    await turns();
    const medium = await before.crash();
    const again = fakeTools({ "t.look": { manifest: { effect: "read" }, run: () => done("again") } });
    const after = await boot({ agents, tools: again, medium });
    await eventually("the second look", () => (again.performed.length === 1 ? true : undefined));
    const { request } = await after.asked(pid);
    await after.operate("human.decide", { request, decision: { verdict: "answered", answer: "yes" } }, "ann");
    expect(await after.exit(pid)).toEqual({ how: "completed", result: ["first", "again", "yes"] });
  });

  it("is brought back after a crash right behind a message that it had not been told of", async () => {
    let late: (() => void) | undefined;
    const store = (disk: Store): Store =>
      replaced(disk, {
        append: async (batch) => {
          await disk.append(batch);
          // On disk, but its sender has not heard so: the receiver goes idle before it is told.
          if (holds(batch, "message.delivered")) await new Promise<void>((resolve) => (late = resolve));
        },
      });
    const looked = gate();
    const tools = fakeTools({
      "t.look": { manifest: { effect: "read" }, run: async () => (await looked.passed, done("seen")) },
    });
    const agents: SceneOptions["agents"] = {
      worker: {
        manifest: { tools: ["t.look"] },
        run: async (sys) => {
          const message = sys.message.receive({});
          const asking = sys.human.ask({ question: "Well?" });
          await sys.tool.call({ tool: "t.look", args: {} });
          return Promise.race([message.then((taken) => taken.message?.body ?? null), asking.then(() => null)]);
        },
      },
    };
    const before = await boot({ agents, tools, store });
    const pid = await before.start("worker");
    await before.asked(pid);
    await turns();
    const sent = before.operate("message.send", { pid, body: "hello" }, "test");
    await eventually("the message on disk", () => (late === undefined ? undefined : true));
    looked.open();
    await turns(200);
    const medium = await before.crash();
    const after = await boot({ agents, tools, medium });
    expect(await after.exit(pid)).toEqual({ how: "completed", result: "hello" });
    void sent.catch(() => {});
  });
});

describe("timers", () => {
  it("wakes parked sleepers in time, also when the earliest wait has gone", async () => {
    const clock = new SimulatedClock();
    const system = await boot({
      limits: { processesInMemory: 1, parkAfterMs: 0 },
      parts: { clock },
      agents: { sleeper: { run: async (sys, ms) => (await sys.clock.sleep({ ms: ms as number }), ms) } },
    });
    const [first, second, third] = (await Promise.all(
      [30_000, 60_000, 120_000].map((ms) => system.start("sleeper", ms)),
    )) as [ProcessId, ProcessId, ProcessId];
    await waiting(system, 3);
    await system.operate("process.signal", { pid: first, signal: "kill", reason: "" }, "test");
    await pass(clock, 60_000);
    expect(await system.exit(second)).toEqual({ how: "completed", result: 60_000 });
    expect(await system.state(third)).toBe("waiting");
    await pass(clock, 60_000);
    expect(await system.exit(third)).toEqual({ how: "completed", result: 120_000 });
  });

  it("leaves a stopped sleeper alone, and lets it end when it goes on after its time", async () => {
    const clock = new SimulatedClock();
    const system = await boot({
      limits: { parkAfterMs: 0 },
      parts: { clock },
      agents: { sleeper: { run: async (sys) => (await sys.clock.sleep({ ms: 30 }), "awake") } },
    });
    const pid = await system.start("sleeper");
    const other = await system.start("sleeper");
    await waiting(system, 2);
    await system.operate("process.signal", { pid, signal: "stop", reason: "" }, "test");
    await pass(clock, 30);
    expect(await system.exit(other)).toEqual({ how: "completed", result: "awake" });
    expect(await system.state(pid)).toBe("stopped");
    await system.operate("process.signal", { pid, signal: "cont", reason: "" }, "test");
    expect(await system.exit(pid)).toEqual({ how: "completed", result: "awake" });
  });
});

describe("a store that fails", () => {
  it("halts everything, says so, and goes on when it works again: nothing acknowledged is lost, nothing done twice", async () => {
    let broken = false;
    const store = (disk: Store): Store =>
      replaced(disk, { append: (batch) => (broken ? Promise.reject(full()) : disk.append(batch)) });
    const tools = fakeTools({
      "t.pay": {
        manifest: { effect: "write", idempotency: "none" },
        run: (args) => done(`paid ${args["n"] as number}`),
      },
    });
    const seen: string[] = [];
    const system = await boot({
      store,
      tools,
      agents: {
        payer: {
          manifest: { tools: ["t.pay"] },
          run: async (sys) => {
            const bills: string[] = [];
            for (let n = 0; n < 3; n += 1) {
              await sys.message.receive({});
              bills.push((await sys.tool.call({ tool: "t.pay", args: { n } })).text);
              seen.push(bills.join());
            }
            return bills;
          },
        },
      },
    });
    const pid = await system.start("payer");
    const send = (): Promise<unknown> => system.operate("message.send", { pid, body: "go" }, "test");
    await send();
    await eventually("the first payment", () => (seen.length === 1 ? true : undefined));
    broken = true;
    await expect(send()).rejects.toMatchObject({ code: "store_failed" });
    expect(system.troubles).toHaveLength(1);
    expect(system.load()).toEqual({ inMemory: 0, queued: 0 });
    broken = false;
    await send();
    await send();
    expect(await system.exit(pid)).toEqual({ how: "completed", result: ["paid 0", "paid 1", "paid 2"] });
    expect(tools.performed).toHaveLength(3);
  });

  it("recovers also from a failure to read while a process is brought in", async () => {
    let broken = false;
    const store = (disk: Store): Store =>
      replaced(disk, { lastEvent: (pid) => (broken ? Promise.reject(full()) : disk.lastEvent(pid)) });
    const system = await boot({ store, agents: { listener }, limits: { parkAfterMs: 0 } });
    const pid = await system.start("listener");
    await waiting(system, 1);
    await eventually("it left memory", () => (system.load().inMemory === 0 ? true : undefined));
    await turns();
    broken = true;
    await expect(system.operate("message.send", { pid, body: "lost" }, "test")).rejects.toMatchObject({
      code: "store_failed",
    });
    broken = false;
    await system.operate("message.send", { pid, body: "kept" }, "test");
    expect(await system.exit(pid)).toEqual({ how: "completed", result: "kept" });
  });

  it("can be closed at any moment of a start", async () => {
    for (let count = 0; count < 12; count += 1) {
      const system = await boot({ agents: { listener } });
      const started = system.start("listener");
      for (let turn = 0; turn < count; turn += 1) await Promise.resolve();
      system.close();
      const pid = await started;
      await turns(5);
      expect(system.load().inMemory).toBe(0);
      const medium = await system.crash();
      const again = await boot({ agents: { listener }, medium });
      await again.operate("message.send", { pid, body: "hello" }, "test");
      expect(await again.exit(pid)).toEqual({ how: "completed", result: "hello" });
    }
  });
});

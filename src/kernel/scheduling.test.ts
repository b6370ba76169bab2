// What the scheduler's accounts and queues mean for processes: classes, bounds on trees, budgets, locks, times, and why they wait.
import { afterEach, describe, expect, it } from "vitest";
import { SimulatedClock } from "../../test/simulation/clock.ts";
import { done, fakeModel, fakeTools, say, type TestAgent, testScheduler } from "../../test/system.ts";
import { OsError } from "../abi/errors.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Json } from "../abi/json.ts";
import {
  callerOf,
  eventually,
  gate,
  listener,
  pass,
  scene,
  type Scene,
  type SceneOptions,
  turns,
} from "./scene.fake.ts";

const open: Scene[] = [];
afterEach(() => open.splice(0).forEach((one) => one.close()));

async function boot(options: SceneOptions): Promise<Scene> {
  const system = await scene(options);
  open.push(system);
  return system;
}

const codeOf = (error: unknown): string => (error as { code: string }).code;
const show = (system: Scene, pid: ProcessId) => system.operate("process.show", { pid }, "test");

describe("where a process stands", () => {
  const parent: TestAgent = {
    manifest: { class: "standard", agents: ["listener", "urgent"] },
    run: async (sys) => {
      const pids: Json[] = [];
      for (const agent of ["listener", "urgent"]) pids.push((await sys.process.spawn({ agent, task: null })).pid);
      pids.push((await sys.process.spawn({ agent: "listener", task: null, class: "batch" })).pid);
      await sys.message.receive({});
      return pids;
    },
  };
  const agents = { parent, listener, urgent: { ...listener, manifest: { class: "critical" as const } } };

  it("is never above its parent, and its tenant and weight are the root's", async () => {
    const system = await boot({ agents });
    const { pid } = await system.operate(
      "process.spawn",
      { agent: "parent", task: null, tenant: "acme", weight: 3 },
      "test",
    );
    const children = await eventually("three children", async () => {
      const found = (await show(system, pid)).children;
      return found.length === 3 ? found : undefined;
    });
    expect(new Set(children.map(({ class: name, tenant, weight }) => `${name} ${tenant} ${weight}`))).toEqual(
      new Set(["standard acme 3", "batch acme 3"]),
    );
    expect(children.filter(({ class: name }) => name === "standard")).toHaveLength(2);
  });

  it("changes with nice: descendants above it follow, the weight is its tree's, and both are events", async () => {
    const system = await boot({ agents });
    const pid = await system.start("parent");
    const children = await eventually("three children", async () => {
      const found = (await show(system, pid)).children;
      return found.length === 3 ? found : undefined;
    });
    const { pids } = await system.operate("process.nice", { pid, class: "batch" }, "ann");
    expect(pids).toHaveLength(3);
    expect((await show(system, pid)).children.map(({ class: name }) => name)).toEqual(["batch", "batch", "batch"]);
    const weighed = await system.operate("process.nice", { pid, weight: 5, class: "interactive" }, "ann");
    expect(weighed.pids).toHaveLength(4);
    expect((await show(system, pid)).process).toMatchObject({ class: "interactive", weight: 5 });
    expect((await system.journal(pid)).findLast(({ header }) => header.kind === "process.reclassed")?.header).toEqual({
      kind: "process.reclassed",
      class: "interactive",
      weight: 5,
      by: "ann",
    });
    await expect(
      system.operate("process.nice", { pid: children[0]?.pid ?? pid, weight: 2 }, "ann"),
    ).rejects.toMatchObject({ code: "invalid_argument", message: expect.stringContaining(pid) });
  });
});

describe("bounds on a tree", () => {
  const spawner = (tree: NonNullable<TestAgent["manifest"]>["tree"]): TestAgent => ({
    manifest: { agents: ["listener", "spawner", "brief"], tree },
    run: async (sys, task) => {
      const { agent, count } = task as { agent: string; count: number };
      const outcomes: string[] = [];
      for (let at = 0; at < count; at += 1)
        outcomes.push(
          await sys.process.spawn({ agent, task: { agent: "listener", count: 1 } }).then(
            async ({ pid }) => {
              if (agent === "brief") await sys.process.wait({ pid });
              return "started";
            },
            (error: unknown) => `${codeOf(error)} ${JSON.stringify((error as { data: Json }).data)}`,
          ),
        );
      return outcomes;
    },
  });
  const outcomes = async (
    tree: Parameters<typeof spawner>[0],
    task: { agent: string; count: number },
  ): Promise<Json | undefined> => {
    const system = await boot({ agents: { spawner: spawner(tree), listener, brief: { run: async () => null } } });
    const exit = await system.exit(await system.start("spawner", task));
    return exit?.how === "completed" ? exit.result : undefined;
  };

  it("counts living children, and refuses one more before anything happens", async () => {
    expect(await outcomes({ breadth: 2 }, { agent: "listener", count: 3 })).toEqual([
      "started",
      "started",
      'limit_exceeded {"limit":"tree_breadth","max":2}',
    ]);
    expect(await outcomes({ breadth: 1 }, { agent: "brief", count: 3 })).toEqual(["started", "started", "started"]);
  });

  it("counts all descendants over its lifetime", async () => {
    expect(await outcomes({ total: 2 }, { agent: "brief", count: 3 })).toEqual([
      "started",
      "started",
      'limit_exceeded {"limit":"tree_total","max":2}',
    ]);
  });

  it("let a tree grow at a bounded pace, and say so of a spawn that waits", async () => {
    const grower: TestAgent = {
      manifest: { agents: ["listener"] },
      run: async (sys) => {
        for (let at = 0; at < 3; at += 1) await sys.process.spawn({ agent: "listener", task: null });
        return "grown";
      },
    };
    const system = await boot({ agents: { grower, listener }, limits: { spawnsPerMinute: 60 } });
    const pid = await system.start("grower");
    const wait = await eventually("a spawn that waits", async () => (await show(system, pid)).waiting[0]);
    expect(wait).toMatchObject({
      on: "turn",
      what: `spawn:${pid}`,
      reason: expect.stringContaining("limit of requests"),
    });
    expect((await show(system, pid)).children).toHaveLength(1);
  });

  it("are still what they were after a restart", async () => {
    const agents = {
      one: {
        manifest: { agents: ["brief"], tree: { total: 2 } },
        run: async (sys) => {
          const counts: string[] = [];
          for (let at = 0; at < 3; at += 1) {
            counts.push(await sys.process.spawn({ agent: "brief", task: at }).then(() => "started", codeOf));
            await sys.message.receive({});
          }
          return counts;
        },
      } satisfies TestAgent,
      brief: { run: async () => null },
    };
    const before = await boot({ agents });
    const pid = await before.start("one");
    const go = (system: Scene) => system.operate("message.send", { pid, body: "go" }, "test");
    await go(before);
    await eventually("a second child", async () =>
      (await show(before, pid)).children.length === 2 ? true : undefined,
    );
    const after = await boot({ agents, medium: await before.crash() });
    await go(after);
    await go(after);
    expect(await after.exit(pid)).toEqual({ how: "completed", result: ["started", "started", "limit_exceeded"] });
  });
});

describe("a budget", () => {
  const caller: TestAgent = {
    manifest: { tools: ["t.look"] },
    run: async (sys, count) => {
      const outcomes: string[] = [];
      for (let at = 0; at < (count as number); at += 1)
        outcomes.push(await sys.tool.call({ tool: "t.look", args: {} }).then(() => "ok", codeOf));
      return outcomes;
    },
  };
  const tools = () => fakeTools({ "t.look": { manifest: { effect: "read" }, run: () => done("seen") } });

  it("that is exhausted can be raised by a human, and the call that waited is made", async () => {
    const system = await boot({ agents: { caller }, tools: tools() });
    const { pid } = await system.operate(
      "process.spawn",
      { agent: "caller", task: 3, budget: { calls: 1, whenExhausted: "ask" } },
      "test",
    );
    const first = await system.asked(pid);
    expect(first).toMatchObject({ kind: "budget", rule: "budget.calls", question: expect.stringContaining(pid) });
    await system.operate(
      "human.decide",
      { request: first.request, decision: { verdict: "raised", budget: { calls: 2 } } },
      "ann",
    );
    const second = await eventually("another request", async () => {
      const [item] = (await system.operate("human.list", { pid }, "test")).requests;
      return item?.request === first.request ? undefined : item;
    });
    await system.operate("human.decide", { request: second.request, decision: { verdict: "rejected" } }, "ann");
    expect(await system.exit(pid)).toEqual({ how: "completed", result: ["ok", "ok", "denied"] });
    expect((await show(system, pid)).process).toMatchObject({ budget: { calls: 2 }, spent: { calls: 2 } });
  });

  it("can be changed while the process lives, and what is left is shown", async () => {
    const passed = gate();
    const system = await boot({
      agents: { caller },
      tools: fakeTools({
        "t.look": { manifest: { effect: "read" }, run: async () => (await passed.passed, done("seen")) },
      }),
    });
    const { pid } = await system.operate("process.spawn", { agent: "caller", task: 2, budget: { calls: 1 } }, "test");
    await eventually("a reservation", async () =>
      (await show(system, pid)).process.reserved.calls === 1 ? true : undefined,
    );
    expect((await show(system, pid)).left).toEqual({ calls: 0 });
    expect(await system.operate("process.limit", { pid, budget: { calls: 2 } }, "ann")).toEqual({
      budget: { calls: 2 },
    });
    expect((await show(system, pid)).left).toEqual({ calls: 1 });
    passed.open();
    expect(await system.exit(pid)).toEqual({ how: "completed", result: ["ok", "ok"] });
  });

  it("of a child is carved from its parent's, and what the child leaves comes back", async () => {
    const parent: TestAgent = {
      manifest: { agents: ["caller"], tools: ["t.look"] },
      run: async (sys) => {
        const { pid } = await sys.process.spawn({ agent: "caller", task: 1, budget: { calls: 2 } });
        const refused = await sys.process.spawn({ agent: "caller", task: 1, budget: { calls: 2 } }).catch(codeOf);
        await sys.process.wait({ pid });
        const again = await sys.process.spawn({ agent: "caller", task: 2, budget: { calls: 2 } });
        const { exit } = await sys.process.wait({ pid: again.pid });
        const own = await sys.tool.call({ tool: "t.look", args: {} }).then(() => "ok", codeOf);
        return [refused, exit?.how === "completed" ? exit.result : null, own];
      },
    };
    const system = await boot({ agents: { parent, caller }, tools: tools() });
    const { pid } = await system.operate(
      "process.spawn",
      { agent: "parent", task: null, budget: { calls: 3 } },
      "test",
    );
    expect(await system.exit(pid)).toEqual({
      how: "completed",
      result: ["budget_exhausted", ["ok", "ok"], "budget_exhausted"],
    });
    expect((await show(system, pid)).tree.spent.calls).toBe(3);
  });

  it("bounds what a model may put out", async () => {
    const models = fakeModel(() => say("yes"));
    const asker: TestAgent = {
      run: async (sys) => {
        await sys.model.generate({ messages: [{ role: "user", content: "?" }] });
        return sys.model.generate({ messages: [{ role: "user", content: "?" }] }).then(() => "ok", codeOf);
      },
    };
    const system = await boot({ agents: { asker }, models });
    const { pid } = await system.operate(
      "process.spawn",
      { agent: "asker", task: null, budget: { tokens: 25 } },
      "test",
    );
    // Ten tokens go in: fifteen are left for the first answer, of which the model uses five; nothing for a second.
    expect(await system.exit(pid)).toEqual({ how: "completed", result: "budget_exhausted" });
    expect(models.asked.map(({ settings }) => settings.maxOutputTokens)).toEqual([15]);
  });

  it("of time is over when it is, however much of the others is left", async () => {
    const late: TestAgent = {
      manifest: { tools: ["t.look"] },
      run: async (sys) => {
        await sys.clock.sleep({ ms: 80 });
        return sys.tool.call({ tool: "t.look", args: {} }).then(() => "ok", codeOf);
      },
    };
    const clock = new SimulatedClock();
    const system = await boot({ agents: { late }, tools: tools(), parts: { clock } });
    const budget = { calls: 9, wallMs: 40 };
    const { pid } = await system.operate("process.spawn", { agent: "late", task: null, budget }, "test");
    await eventually("its sleep", async () => (await system.state(pid)) === "waiting" || undefined);
    await pass(clock, 80);
    expect(await system.exit(pid)).toEqual({ how: "completed", result: "budget_exhausted" });
  });

  it("does not charge a call that was refused", async () => {
    const system = await boot({ agents: { caller }, tools: tools() });
    const { pid } = await system.operate("process.spawn", { agent: "caller", task: 4, budget: { calls: 2 } }, "test");
    expect(await system.exit(pid)).toMatchObject({ how: "completed" });
    expect((await show(system, pid)).process.spent.calls).toBe(2);
  });
});

describe("time", () => {
  it("begins a process when its start has come, and not before, over a restart as well", async () => {
    const agents = { brief: { run: async () => "begun" } };
    const clock = new SimulatedClock();
    const before = await boot({ agents, parts: { clock } });
    const startMs = clock.nowMs() + 150;
    const { pid } = await before.operate("process.spawn", { agent: "brief", task: null, startMs }, "test");
    const waits = { state: "waiting", waits: [{ on: "time", untilMs: startMs }] };
    await turns();
    expect((await show(before, pid)).process).toMatchObject(waits);
    const medium = await before.crash();
    clock.forget();
    const after = await boot({ agents, medium, parts: { clock } });
    await pass(clock, 149);
    await turns();
    expect((await show(after, pid)).process).toMatchObject(waits);
    await pass(clock, 1);
    expect(await after.exit(pid)).toEqual({ how: "completed", result: "begun" });
  });

  it("ends a process and its children at its deadline, whether they run or wait", async () => {
    const parent: TestAgent = {
      manifest: { agents: ["listener"] },
      run: async (sys) => {
        const { pid } = await sys.process.spawn({ agent: "listener", task: null });
        await sys.process.wait({ pid });
        return null;
      },
    };
    const clock = new SimulatedClock();
    const system = await boot({ agents: { parent, listener }, parts: { clock } });
    const deadlineMs = clock.nowMs() + 120;
    const { pid } = await system.operate("process.spawn", { agent: "parent", task: null, deadlineMs }, "test");
    await eventually("its child", async () => (await show(system, pid)).children.length === 1 || undefined);
    await pass(clock, 120);
    expect(await system.exit(pid)).toMatchObject({ how: "failed", error: { code: "deadline_exceeded" } });
    expect((await show(system, pid)).children).toMatchObject([{ state: "exited", deadlineMs }]);
  });

  it("refuses a start after the deadline, and a call that cannot be done in time", async () => {
    const slow: TestAgent = {
      manifest: { tools: ["t.slow"] },
      run: async (sys) => {
        await sys.tool.call({ tool: "t.slow", args: {} });
        return sys.tool.call({ tool: "t.slow", args: {} }).then(() => "ok", codeOf);
      },
    };
    const performed: number[] = [];
    const clock = new SimulatedClock();
    const system = await boot({
      agents: { slow },
      parts: { clock },
      tools: fakeTools({
        "t.slow": {
          manifest: { effect: "read" },
          run: async () => {
            performed.push(clock.nowMs());
            await pass(clock, 200);
            return done("ok");
          },
        },
      }),
    });
    await expect(
      system.operate("process.spawn", { agent: "slow", task: null, deadlineMs: clock.nowMs() - 1 }, "test"),
    ).rejects.toMatchObject({ code: "deadline_exceeded" });
    const { pid } = await system.operate(
      "process.spawn",
      { agent: "slow", task: null, deadlineMs: clock.nowMs() + 330 },
      "test",
    );
    expect(await system.exit(pid)).toEqual({ how: "completed", result: "deadline_exceeded" });
    expect(performed).toHaveLength(1);
  });
});

describe("locks", () => {
  const holder: TestAgent = {
    run: async (sys, key) => {
      await sys.lock.acquire({ key: key as string });
      await sys.message.receive({});
      return (await sys.lock.release({ key: key as string })).released;
    },
  };
  const go = (system: Scene, pid: ProcessId) => system.operate("message.send", { pid, body: "go" }, "test");

  it("are held across a restart, passed on when they are given back, and given back by an exit", async () => {
    const before = await boot({ agents: { holder } });
    const first = await before.start("holder", "order:1");
    await eventually("the lock", async () => ((await show(before, first)).tree.locks.length === 1 ? true : undefined));
    const after = await boot({ agents: { holder }, medium: await before.crash() });
    const second = await after.start("holder", "order:1");
    const third = await after.start("holder", "order:1");
    const wait = await eventually("the wait", async () => (await show(after, second)).waiting[0]);
    expect(wait).toMatchObject({ on: "lock", what: "order:1", reason: expect.stringContaining(first) });
    await go(after, first);
    expect(await after.exit(first)).toEqual({ how: "completed", result: true });
    await eventually("the second's lock", async () =>
      (await show(after, second)).tree.locks.length === 1 ? true : undefined,
    );
    await after.operate("process.signal", { pid: second, signal: "kill" }, "test");
    await go(after, third);
    expect(await after.exit(third)).toEqual({ how: "completed", result: true });
  });

  it("that wait for one another in a circle lose one call, with deadlock", async () => {
    const both: TestAgent = {
      run: async (sys, task) => {
        const [mine, other] = task as [string, string];
        await sys.lock.acquire({ key: mine });
        await sys.message.receive({});
        return sys.lock.acquire({ key: other }).then(() => "both", codeOf);
      },
    };
    const system = await boot({ agents: { both } });
    const one = await system.start("both", ["a", "b"]);
    const other = await system.start("both", ["b", "a"]);
    await eventually("both locks", async () => {
      const held = await Promise.all([one, other].map(async (pid) => (await show(system, pid)).tree.locks.length));
      return held.every((count) => count === 1) ? true : undefined;
    });
    await go(system, one);
    await go(system, other);
    const ends = await Promise.all([system.exit(one), system.exit(other)]);
    expect(ends.map((exit) => (exit?.how === "completed" ? exit.result : exit))).toEqual(
      expect.arrayContaining(["both", "deadlock"]),
    );
  });

  it("that a parent holds while it waits for the child that wants them are a circle, too", async () => {
    const child: TestAgent = {
      run: async (sys) => sys.lock.acquire({ key: "till" }).then(() => "got it", codeOf),
    };
    const parent: TestAgent = {
      manifest: { agents: ["child"] },
      run: async (sys) => {
        await sys.lock.acquire({ key: "till" });
        const { pid } = await sys.process.spawn({ agent: "child", task: null });
        const { exit } = await sys.process.wait({ pid });
        return exit?.how === "completed" ? exit.result : null;
      },
    };
    const system = await boot({ agents: { parent, child } });
    expect(await system.exit(await system.start("parent"))).toEqual({ how: "completed", result: "deadlock" });
  });

  it("of a tool keep its calls on one thing apart, and let others be", async () => {
    const under = new Map<string, number>();
    const most = new Map<string, number>();
    const system = await boot({
      tools: fakeTools({
        "t.act": {
          manifest: { effect: "read", exclusive: "order:{id}" },
          run: async (args) => {
            const id = JSON.stringify(args["id"]);
            const now = (under.get(id) ?? 0) + 1;
            under.set(id, now);
            most.set(id, Math.max(most.get(id) ?? 0, now));
            most.set(
              "all",
              Math.max(
                most.get("all") ?? 0,
                [...under.values()].reduce((sum, count) => sum + count, 0),
              ),
            );
            await turns(5);
            under.set(id, now - 1);
            return done("ok");
          },
        },
      }),
      agents: {
        actor: {
          manifest: { tools: ["t.act"] },
          run: async (sys) => {
            const ids = [1, 1, 2, 2, 1];
            await Promise.all(ids.map((id) => sys.tool.call({ tool: "t.act", args: { id } })));
            return null;
          },
        },
      },
    });
    const pids = [await system.start("actor"), await system.start("actor")];
    for (const pid of pids) expect(await system.exit(pid)).toMatchObject({ how: "completed" });
    expect([most.get("1"), most.get("2"), most.get("all")]).toEqual([1, 1, 2]);
  });
});

describe("waiting for a turn", () => {
  const slow = (passed: Promise<void>) =>
    fakeTools({
      "t.one": { manifest: { effect: "read", concurrency: 1 }, run: async () => (await passed, done("ok")) },
    });
  const caller: TestAgent = callerOf("t.one");

  it("is explained, and costs no room in memory when others need it", async () => {
    const passed = gate();
    const system = await boot({
      agents: { caller, listener },
      tools: slow(passed.passed),
      limits: { processesInMemory: 2 },
    });
    const pids: ProcessId[] = [];
    for (let at = 0; at < 6; at += 1) pids.push(await system.start("caller"));
    const last = pids.at(-1) as ProcessId;
    const wait = await eventually("the last in line", async () =>
      (await show(system, last)).waiting.find(({ on }) => on === "turn"),
    );
    expect(wait).toMatchObject({
      what: "tool:t.one",
      position: 4,
      reason: expect.stringContaining("1 of 1 slots are in use"),
    });
    expect(wait.ahead[0]).toMatchObject({ agent: "caller", class: "standard" });
    expect((await show(system, last)).process.waits).toContainEqual({ on: "turn", call: 0, resource: "tool:t.one" });
    expect(system.load().inMemory).toBeLessThanOrEqual(2);
    passed.open();
    for (const pid of pids) expect(await system.exit(pid)).toEqual({ how: "completed", result: "ok" });
  });

  it("leaves the slots free that are kept for a more urgent class", async () => {
    const passed = gate();
    const tools = fakeTools({
      "t.one": { manifest: { effect: "read", concurrency: 2 }, run: async () => (await passed.passed, done("ok")) },
    });
    const reserved = { "tool:t.one": { interactive: 1 } };
    const system = await boot({ agents: { caller }, tools, limits: { reserved } });
    const first = await system.start("caller");
    const second = await system.start("caller");
    const wait = await eventually("the second's wait", async () => (await show(system, second)).waiting[0]);
    expect(wait).toMatchObject({ on: "turn", reason: expect.stringContaining("kept for a more urgent class") });
    const urgent = await system.operate("process.spawn", { agent: "caller", task: null, class: "interactive" }, "test");
    await eventually("both slots", () => (tools.performed.length === 2 ? true : undefined));
    passed.open();
    for (const pid of [first, second, urgent.pid]) expect(await system.exit(pid)).toMatchObject({ how: "completed" });
  });

  it("survives a restart", async () => {
    const before = await boot({ agents: { caller }, tools: slow(new Promise(() => {})) });
    const pids = [await before.start("caller"), await before.start("caller"), await before.start("caller")];
    await eventually("two in line", async () =>
      (await show(before, pids[2] as ProcessId)).waiting.length > 0 ? true : undefined,
    );
    const after = await boot({ agents: { caller }, tools: slow(Promise.resolve()), medium: await before.crash() });
    for (const pid of pids) expect(await after.exit(pid)).toEqual({ how: "completed", result: "ok" });
  });
});

describe("a provider that is too busy", () => {
  it("is asked again when it said, and the program hears nothing of it", async () => {
    let refusals = 0;
    const models = fakeModel(() => {
      refusals += 1;
      if (refusals <= 2) throw busy();
      return say("at last");
    });
    const system = await boot({
      models,
      agents: {
        asker: {
          run: async (sys) => {
            const { content } = await sys.model.generate({ messages: [{ role: "user", content: "?" }] });
            return content as unknown as Json;
          },
        },
      },
    });
    const { pid } = await system.operate("process.spawn", { agent: "asker", task: null, budget: { calls: 1 } }, "test");
    expect(await system.exit(pid)).toEqual({ how: "completed", result: [{ type: "text", text: "at last" }] });
    expect(models.asked).toHaveLength(3);
    expect((await show(system, pid)).process.spent.calls).toBe(1);
  });
});

function busy(): Error {
  return new OsError("model_failed", "Too many requests.", {
    data: { model: "fake/model", status: 429, retryAfterMs: 20 },
    retryable: true,
  });
}

describe("a turn that is given by age", () => {
  it("is told with the outcome of the call that had it, and of no other", async () => {
    const holding = gate();
    const hold = gate();
    const tools = fakeTools({
      "t.slot": {
        manifest: { effect: "read", concurrency: 1 },
        run: async ({ who }) => {
          if (who === "holder") await (holding.open(), hold.passed);
          return done("ok");
        },
      },
    });
    const caller: TestAgent = {
      manifest: { tools: ["t.slot"] },
      run: async (sys, task) => (await sys.tool.call({ tool: "t.slot", args: { who: task } })).text,
    };
    const system = await boot({ tools, agents: { caller }, parts: { scheduler: testScheduler({}, { agingMs: 1 }) } });
    const begin = async (task: string, name: "standard" | "batch" | "interactive"): Promise<ProcessId> =>
      (await system.operate("process.spawn", { agent: "caller", task, class: name }, "test")).pid;
    const queued = (pid: ProcessId): Promise<unknown> =>
      eventually("its wait", async () => (await show(system, pid)).waiting.find(({ on }) => on === "turn"));
    // The mean time of service is short, so that what waits behind the holder is due.
    await system.exit(await begin("first", "standard"));
    const holder = await begin("holder", "standard");
    await holding.passed;
    const aged = await begin("aged", "batch");
    await queued(aged);
    const urgent = await begin("urgent", "interactive");
    await queued(urgent);
    const fromMs = Date.now();
    await eventually("that it is due", () => Date.now() - fromMs >= 20 || undefined);
    hold.open();
    for (const pid of [holder, aged, urgent]) await system.exit(pid);
    const agedMs = async (pid: ProcessId): Promise<unknown> =>
      (await system.journal(pid)).flatMap(({ header }) => (header.kind === "call.completed" ? header.agedMs : []))[0];
    expect(await agedMs(aged)).toBeGreaterThanOrEqual(20);
    expect([await agedMs(holder), await agedMs(urgent)]).toEqual([undefined, undefined]);
  });
});

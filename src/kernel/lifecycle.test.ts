// How processes come to be and how they end, where several things happen at once.
import { describe, expect, it } from "vitest";
import { done, fakeModel, fakeTools, say } from "../../test/system.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { Store } from "../ports/store.ts";
import {
  eventually,
  gate,
  listener,
  parentOf,
  replaced,
  type Scene,
  type SceneOptions,
  scenes,
  turns,
} from "./scene.fake.ts";

const boot = scenes();

/** Pids of all processes but one. */
const others = (system: Scene, pid: ProcessId): Promise<readonly { pid: ProcessId; state: string }[]> =>
  system.disk.processes({ limit: 100 }).then((all) => all.filter((one) => one.pid !== pid));

describe("spawn by key", () => {
  it("gives one process to two requests with the same key that come at once", async () => {
    const system = await boot({ agents: { listener } });
    const ask = () => system.operate("process.spawn", { agent: "listener", task: "x", key: "k" }, "test");
    const [one, two, three] = await Promise.all([ask(), ask(), ask()]);
    expect([two.pid, three.pid]).toEqual([one.pid, one.pid]);
    expect(system.troubles).toEqual([]);
    expect(await ask()).toEqual(one);
  });

  it("refuses the key for another task, also when both come at once", async () => {
    const system = await boot({ agents: { listener } });
    const ask = (task: string) => system.operate("process.spawn", { agent: "listener", task, key: "k" }, "test");
    const answers = await Promise.allSettled([ask("x"), ask("y")]);
    expect(answers.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(answers.find(({ status }) => status === "rejected")).toMatchObject({ reason: { code: "conflict" } });
    expect(system.troubles).toEqual([]);
  });

  it("takes nothing of a spawn that fails: unknown agent, unknown tool", async () => {
    const system = await boot({ agents: { listener, armed: { ...listener, manifest: { tools: ["t.gone"] } } } });
    const ask = (agent: string) => system.operate("process.spawn", { agent, task: null, key: agent }, "test");
    await expect(ask("nobody")).rejects.toMatchObject({ code: "not_found" });
    await expect(ask("armed")).rejects.toMatchObject({ code: "not_found" });
    expect((await system.operate("process.list", {}, "test")).processes).toEqual([]);
  });
});

describe("limits at birth", () => {
  it("lets a tree be sixteen deep and no deeper", async () => {
    const system = await boot({
      agents: {
        digger: {
          manifest: { agents: ["digger"] },
          run: async (sys) => {
            try {
              const { pid } = await sys.process.spawn({ agent: "digger", task: null });
              const { exit } = await sys.process.wait({ pid });
              return exit?.how === "completed" ? 1 + Number(exit.result) : "broken";
            } catch (error) {
              return (error as { code: string }).code === "limit_exceeded" ? 0 : "broken";
            }
          },
        },
      },
    });
    expect(await system.exit(await system.start("digger"))).toEqual({ how: "completed", result: 16 });
  });

  it("gives a process the tightest of all budgets", async () => {
    const system = await boot({
      agents: { listener: { ...listener, manifest: { budget: { calls: 5, tokens: 900 } } } },
      limits: { budget: { calls: 9, tokens: 700 } },
    });
    const { pid } = await system.operate(
      "process.spawn",
      { agent: "listener", task: null, budget: { calls: 7 } },
      "test",
    );
    expect((await system.operate("process.show", { pid }, "test")).process.budget).toEqual({ calls: 5, tokens: 700 });
  });
});

describe("waiting for processes", () => {
  it("wakes whoever waits for a process further down than a child", async () => {
    const system = await boot({
      limits: { parkAfterMs: 0 },
      agents: {
        grandchild: listener,
        child: {
          manifest: { agents: ["grandchild"] },
          run: async (sys, parent) => {
            const { pid } = await sys.process.spawn({ agent: "grandchild", task: null });
            await sys.message.send({ pid: parent as ProcessId, body: pid });
            return (await sys.message.receive({})).message?.body ?? null;
          },
        },
        top: {
          manifest: { agents: ["child"] },
          run: async (sys, self) => {
            await sys.process.spawn({ agent: "child", task: (await sys.message.receive({})).message?.body ?? self });
            const pid = (await sys.message.receive({})).message?.body as ProcessId;
            return (await sys.process.wait({ pid })).exit?.how ?? null;
          },
        },
      },
    });
    const pid = await system.start("top");
    await system.operate("message.send", { pid, body: pid }, "test");
    const lowest = await eventually("the grandchild waiting, and the top for it", async () => {
      const all = await others(system, pid);
      const top = await system.disk.process(pid);
      return all.length === 2 &&
        all.every(({ state }) => state === "waiting") &&
        top?.waits[0]?.on === "process" &&
        top.state === "waiting"
        ? top.waits[0].pid
        : undefined;
    });
    await system.operate("message.send", { pid: lowest, body: "go" }, "test");
    expect(await system.exit(pid)).toEqual({ how: "completed", result: "completed" });
  });

  it("answers several waits of one parent, whatever the order in which the children end", async () => {
    const system = await boot({
      agents: {
        listener,
        parent: {
          manifest: { agents: ["listener"] },
          run: async (sys) => {
            const children = await Promise.all([1, 2, 3].map((task) => sys.process.spawn({ agent: "listener", task })));
            const waits = children.map(({ pid }) => sys.process.wait({ pid }));
            for (const [at, { pid }] of [...children.entries()].reverse()) await sys.message.send({ pid, body: at });
            return (await Promise.all(waits)).map(({ exit }) => (exit?.how === "completed" ? exit.result : null));
          },
        },
      },
    });
    expect(await system.exit(await system.start("parent"))).toEqual({ how: "completed", result: [0, 1, 2] });
  });
});

describe("the end of a tree", () => {
  const family: SceneOptions["agents"] = {
    leaf: listener,
    branch: parentOf("leaf", 2),
    root: parentOf("branch", 2),
  };
  const grown = (system: Scene): Promise<boolean> =>
    eventually("seven processes that wait", async () =>
      (await system.disk.processes({ limit: 100, states: ["waiting"] })).length === 7 ? true : undefined,
    );

  for (const parkAfterMs of [0, 60_000]) {
    it(`takes all descendants along, ${parkAfterMs === 0 ? "parked" : "in memory"}`, async () => {
      const system = await boot({ agents: family, limits: { parkAfterMs } });
      const pid = await system.start("root");
      await grown(system);
      const { pids } = await system.operate("process.signal", { pid, signal: "kill", reason: "enough" }, "test");
      expect(pids).toHaveLength(7);
      const rows = await system.disk.processes({ limit: 100 });
      expect(rows.map(({ state }) => state)).toEqual(Array.from({ length: 7 }, () => "exited"));
      expect(system.troubles).toEqual([]);
    });
  }

  it("takes the children of a parent that ends by itself", async () => {
    const system = await boot({ agents: family });
    const pid = await system.start("root");
    await grown(system);
    await system.operate("message.send", { pid, body: "over" }, "test");
    expect(await system.exit(pid)).toEqual({ how: "completed", result: "over" });
    for (const child of await others(system, pid))
      expect(await system.disk.process(child.pid)).toMatchObject({ state: "exited", exit: { how: "killed", by: pid } });
  });

  it("leaves no child behind that was spawned while the tree was being ended", async () => {
    const looking = gate();
    const looked = gate();
    const spawn = gate();
    const watched: { pid?: ProcessId | undefined } = {};
    const store = (disk: Store): Store =>
      replaced(disk, {
        processes: async (query) => {
          const found = await disk.processes(query);
          if (watched.pid === undefined || query.root === undefined) return found;
          looking.open();
          await looked.passed;
          return found;
        },
      });
    const tools = fakeTools({ "t.slow": { manifest: { effect: "read" }, run: () => done("never asked") } });
    let resolving = 0;
    const resolve: typeof tools.resolve = async (patterns) => {
      if (patterns.length > 0) await ((resolving += 1), spawn.passed);
      return tools.resolve(patterns);
    };
    const system = await boot({
      store,
      tools: { ...tools, resolve },
      agents: {
        leaf: { ...listener, manifest: { tools: ["t.slow"] } },
        branch: parentOf("leaf", 1),
        root: parentOf("branch", 1),
      },
    });
    const pid = await system.start("root");
    await eventually("the branch at its spawn", () => (resolving === 1 ? true : undefined));
    const [branch] = await others(system, pid);
    // The killer has read the branch's children (none) and has not gone on when the branch spawns one.
    watched.pid = branch?.pid;
    const killed = system.operate("process.signal", { pid, signal: "kill", reason: "" }, "test");
    await looking.passed;
    spawn.open();
    await turns();
    looked.open();
    await killed;
    await turns();
    const left = (await system.disk.processes({ limit: 100 })).filter(({ state }) => state !== "exited");
    expect(left).toEqual([]);
  });

  it("writes nothing into a journal after its exit: a wait whose first look was under way", async () => {
    const looking = gate();
    const looked = gate();
    let watched: ProcessId | undefined;
    let looks = 0;
    const store = (disk: Store): Store =>
      replaced(disk, {
        process: async (pid) => {
          const row = await disk.process(pid);
          if (pid === watched && (looks += 1) === 1) {
            looking.open();
            await looked.passed;
          }
          return row;
        },
      });
    const system = await boot({
      store,
      agents: {
        listener,
        parent: {
          manifest: { agents: ["listener"] },
          run: async (sys) => {
            const { pid } = await sys.process.spawn({ agent: "listener", task: null });
            watched = pid;
            await sys.process.wait({ pid });
            return null;
          },
        },
      },
    });
    const pid = await system.start("parent");
    await looking.passed;
    const killed = system.operate("process.signal", { pid, signal: "kill", reason: "" }, "test");
    await turns();
    looked.open();
    await killed;
    await turns();
    expect((await system.kinds(pid)).at(-1)).toBe("process.exited");
    expect(await system.disk.process(pid)).toMatchObject({ state: "exited", waits: [] });
  });

  it("does not disturb the receiver of a message whose sender is killed while it sends", async () => {
    const pinning = gate();
    const pinned = gate();
    let receiver: ProcessId | undefined;
    const store = (disk: Store): Store =>
      replaced(disk, {
        lastEvent: async (pid) => {
          const last = await disk.lastEvent(pid);
          if (pid === receiver) {
            pinning.open();
            await pinned.passed;
          }
          return last;
        },
      });
    const system = await boot({
      store,
      limits: { parkAfterMs: 0 },
      agents: {
        listener,
        sender: {
          run: async (sys, pid) => (await sys.message.send({ pid: pid as ProcessId, body: "late" }), null),
        },
        root: {
          manifest: { agents: ["listener", "sender"] },
          run: async (sys) => {
            const { pid } = await sys.process.spawn({ agent: "listener", task: null });
            await sys.message.receive({});
            await sys.process.spawn({ agent: "sender", task: pid });
            return (await sys.process.wait({ pid })).exit?.how ?? null;
          },
        },
      },
    });
    const pid = await system.start("root");
    const [one] = await eventually("the listener parked", async () => {
      const all = await system.disk.processes({ limit: 100, states: ["waiting"] });
      return all.length === 2 && system.load().inMemory === 0 ? all.filter((row) => row.pid !== pid) : undefined;
    });
    receiver = one?.pid;
    await system.operate("message.send", { pid, body: "go" }, "test");
    await pinning.passed;
    const sender = (await system.disk.processes({ limit: 1 }))[0]?.pid;
    if (sender === undefined || receiver === undefined) throw new Error("The scene is not set.");
    await system.operate("process.signal", { pid: sender, signal: "kill", reason: "" }, "test");
    receiver = undefined;
    const send = system.operate("message.send", { pid: one?.pid as ProcessId, body: "in time" }, "test");
    pinned.open();
    await send;
    expect(await system.exit(pid)).toEqual({ how: "completed", result: "completed" });
    expect(await system.exit(one?.pid as ProcessId)).toEqual({ how: "completed", result: "in time" });
    expect(system.troubles).toEqual([]);
  });

  it("names the calls that were dispatched and not answered, though the program calls on while its tree is ended", async () => {
    const looking = gate();
    const looked = gate();
    let hold = false;
    const store = (disk: Store): Store =>
      replaced(disk, {
        processes: async (query) => {
          if (hold && query.parent !== undefined) {
            looking.open();
            await looked.passed;
          }
          return disk.processes(query);
        },
      });
    const more = gate();
    const tools = fakeTools({ "t.pay": { manifest: { effect: "write" }, run: () => new Promise(() => {}) } });
    const system = await boot({
      store,
      tools,
      agents: {
        payer: {
          manifest: { tools: ["t.pay"] },
          run: async (sys) => {
            const paying = sys.tool.call({ tool: "t.pay", args: {} });
            await more.passed;
            await sys.clock.now({});
            return (await paying).text;
          },
        },
      },
    });
    const pid = await system.start("payer");
    await eventually("the payment under way", () => (tools.performed.length === 1 ? true : undefined));
    hold = true;
    const killed = system.operate("process.signal", { pid, signal: "kill", reason: "" }, "test");
    await looking.passed;
    more.open();
    await turns();
    looked.open();
    await killed;
    expect((await system.journal(pid)).at(-1)?.header).toMatchObject({ kind: "process.exited", open: [0] });
  });

  it("can be tried again when the store could not be read while a tree was being ended", async () => {
    let broken = false;
    const store = (disk: Store): Store =>
      replaced(disk, {
        processes: async (query) => {
          if (broken && query.parent !== undefined) {
            const { OsError } = await import("../abi/errors.ts");
            throw new OsError("store_failed", "The disk is on fire.", { data: { reason: "io" } });
          }
          return disk.processes(query);
        },
      });
    const system = await boot({ store, agents: { listener } });
    const pid = await system.start("listener");
    await eventually("it waits", async () => ((await system.state(pid)) === "waiting" ? true : undefined));
    broken = true;
    await expect(system.operate("process.signal", { pid, signal: "kill", reason: "" }, "test")).rejects.toMatchObject({
      code: "store_failed",
    });
    broken = false;
    const { pids } = await system.operate("process.signal", { pid, signal: "kill", reason: "" }, "test");
    expect(pids).toEqual([pid]);
  });
});

describe("a kill", () => {
  const holds = { manifest: { tools: ["t.hold", "t.look"] } };
  const agents: SceneOptions["agents"] = {
    hog: { ...holds, run: async (sys) => (await sys.tool.call({ tool: "t.hold", args: {} })).text },
    counter: {
      ...holds,
      run: async (sys) => {
        for (let n = 0; n < 3; n += 1) await sys.tool.call({ tool: "t.look", args: { n } });
        return (await sys.message.receive({})).message?.body ?? null;
      },
    },
  };

  it("right after a crash says what was used up, although nothing was replayed", async () => {
    const hold = gate();
    const tools = fakeTools({
      "t.hold": { manifest: { effect: "read" }, run: async () => (await hold.passed, done("held")) },
      "t.look": { manifest: { effect: "read" }, run: async () => done("seen") },
    });
    const before = await boot({ agents, tools });
    await before.start("hog");
    const pid = await before.start("counter");
    await eventually(
      "three calls",
      async () => (await before.kinds(pid)).filter((kind) => kind === "call.completed")[2],
    );
    const medium = await before.crash();
    // There is room for one, and the hog came first.
    const after = await boot({ agents, tools, medium, limits: { processesInMemory: 1 } });
    await after.operate("process.signal", { pid, signal: "kill", reason: "" }, "test");
    const { process } = await after.operate("process.show", { pid }, "test");
    expect(process).toMatchObject({ state: "exited", spent: { calls: 3 } });
    hold.open();
  });

  it("names the calls of models and tools that it ends, and says which may have happened", async () => {
    const paying = gate();
    const looking = gate();
    const never = gate();
    const tools = fakeTools({
      "t.pay": { manifest: { effect: "write" }, run: async () => (paying.open(), await never.passed, done("paid")) },
      "t.look": { manifest: { effect: "read" }, run: async () => (looking.open(), await never.passed, done("seen")) },
    });
    const asking = gate();
    const models = fakeModel(async () => (asking.open(), await never.passed, say("well")));
    const system = await boot({
      tools,
      models,
      agents: {
        boss: {
          manifest: { tools: ["t.pay", "t.look"], agents: ["asker"] },
          run: async (sys) => {
            await sys.process.spawn({ agent: "asker", task: null });
            await Promise.all([
              sys.tool.call({ tool: "t.look", args: { at: 1 } }),
              sys.tool.call({ tool: "t.pay", args: { sum: 2 } }),
              sys.message.receive({}),
            ]);
            return null;
          },
        },
        asker: { run: async (sys) => (await sys.model.generate({ messages: [{ role: "user", content: "?" }] })).model },
      },
    });
    const pid = await system.start("boss");
    await Promise.all([paying.passed, looking.passed, asking.passed]);
    const { pids, calls } = await system.operate("process.signal", { pid, signal: "kill", reason: "" }, "test");
    const child = pids.find((each) => each !== pid);
    expect(calls).toEqual([
      { pid, call: 1, effect: "read", what: 't.look {"at":1}', uncertain: false },
      { pid, call: 2, effect: "write", what: 't.pay {"sum":2}', uncertain: true },
      {
        pid: child,
        call: 0,
        effect: "read",
        what: expect.stringMatching(/^model\.generate/) as string,
        uncertain: false,
      },
    ]);
    const exited = (await system.journal(pid)).at(-1)?.header;
    expect(exited).toMatchObject({ kind: "process.exited", open: [2] });
  });
});

// Goal: what a process did is taken back, the last first, once, by calls that go down the one road; what cannot be is named.
// Method: a shop of functions that keep what stands; the real kernel on a store in memory.
import { afterEach, expect, test } from "vitest";
import { done, fakeTools, noWorkspaces, type TestProgram, type TestTool } from "../../test/system.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { JsonObject } from "../abi/json.ts";
import { createNativeHost } from "../drivers/program-native/host.ts";
import type { Differences } from "../abi/reports.ts";
import type { ProgramStart } from "../ports/program.ts";
import type { Workspaces } from "../ports/workspace.ts";
import { makeSys, type Sys } from "../sdk/sys.ts";
import { undo, type UndoTask } from "../sdk/undo.ts";
import { callerOf, eventually, scene as kernelScene, type Scene } from "./scene.fake.ts";

const NOTHING: Differences = { changes: [], more: 0, leftOut: [] };

const opened: Scene[] = [];
afterEach(() => opened.splice(0).forEach((system) => system.close()));

type Shop = { readonly stands: Map<string, unknown>; readonly log: string[] };

/** Orders that can be made and taken back, letters that cannot be called back, and a program that works on files. */
function shopTools({ stands, log }: Shop, unmake: Partial<TestTool> = {}): Record<string, TestTool> {
  return {
    "shop.make": {
      manifest: { effect: "write", undo: "unmake" },
      run: (args, key) => {
        stands.set(key, args["what"]);
        return { kind: "done", content: { text: "made", data: { id: `order of ${key}` } } };
      },
    },
    "shop.unmake": {
      manifest: { effect: "write" },
      run: ({ key, result }) => {
        log.push(`unmake ${String(stands.get(key as string))} (${JSON.stringify((result as JsonObject)["data"])})`);
        stands.delete(key as string);
        return done("unmade");
      },
      ...unmake,
    },
    "shop.letter": { manifest: { effect: "send" }, run: () => done("sent") },
    "shop.look": { manifest: { effect: "read" }, run: () => done("seen") },
    "box.shell": { manifest: { effect: "write" }, run: () => done("ran"), keeps: true },
  };
}

async function scene(unmake?: Partial<TestTool>): Promise<{ system: Scene; shop: Shop; pid: ProcessId }> {
  const shop: Shop = { stands: new Map(), log: [] };
  const run: TestProgram = async (sys) => {
    for (const what of ["first", "second"]) await sys.tool.call({ tool: "shop.make", args: { what } });
    await sys.tool.call({ tool: "shop.look", args: {} });
    await sys.tool.call({ tool: "shop.letter", args: {} });
    await sys.tool.call({ tool: "box.shell", args: {} });
    return null;
  };
  const programs = createNativeHost({
    native: new Map([
      ["buyer", (start) => run(makeSys(start.issue), start.task)],
      ["undo", (start) => undo(makeSys(start.issue), start.task as UndoTask)],
    ]),
  });
  const tools = ["shop.make", "shop.look", "shop.letter", "box.shell"];
  const system = await kernelScene({
    agents: { buyer: { manifest: { tools }, run } },
    tools: fakeTools(shopTools(shop, unmake)),
    parts: { programs },
  });
  opened.push(system);
  const pid = await system.start("buyer");
  await system.exit(pid);
  return { system, shop, pid };
}

const exitOf = async (system: Scene, pid: ProcessId | null): Promise<unknown> =>
  pid === null ? null : system.exit(pid);

test("the last is taken back first, with the key, the arguments and the result of the call; what has no undo is named", async () => {
  const { system, shop, pid } = await scene();
  const { plan, pid: by } = await system.operate("process.undo", { pid }, "ann");
  expect(plan.map(({ call, how }) => [call, how])).toEqual([
    [4, "workspace"],
    [3, "none"],
    [1, "undo"],
    [0, "undo"],
  ]);
  const undone = [1, 0].map((call) => ({ pid, call }));
  expect(await exitOf(system, by)).toMatchObject({ how: "completed", result: { undone, failed: null } });
  expect(shop.log).toEqual([`unmake second ({"id":"order of ${pid}.1"})`, `unmake first ({"id":"order of ${pid}.0"})`]);
  const { events } = await system.operate("journal.read", { pid, from: 0, limit: 1000 }, "ann");
  expect(
    events.flatMap(({ header }) => (header["kind"] === "call.undone" ? [[header["call"], header["by"]]] : [])),
  ).toEqual([
    [1, by],
    [0, by],
  ]);
  expect(await system.operate("journal.verify", { pid }, "ann")).toMatchObject({ identical: true });
});

test("nothing is taken back twice, and `to` bounds how far it goes", async () => {
  const { system, shop, pid } = await scene();
  const one = await system.operate("process.undo", { pid, to: 1 }, "ann");
  await exitOf(system, one.pid);
  expect(shop.log).toHaveLength(1);
  const two = await system.operate("process.undo", { pid }, "ann");
  expect(two.plan.map(({ call, how }) => [call, how])).toContainEqual([1, "undone"]);
  await exitOf(system, two.pid);
  expect(shop.log).toHaveLength(2);
  expect(await system.operate("process.undo", { pid }, "ann")).toMatchObject({ pid: null });
});

test("a dry run does nothing", async () => {
  const { system, shop, pid } = await scene();
  expect(await system.operate("process.undo", { pid, dryRun: true }, "ann")).toMatchObject({ pid: null });
  expect(shop.log).toEqual([]);
});

test("after a step that failed nothing earlier is taken back, and it can be tried again", async () => {
  let shut = true;
  const shopIsShut = (): ReturnType<NonNullable<TestTool["run"]>> =>
    shut ? { kind: "failed", content: { text: "the shop is shut" } } : done("unmade");
  const { system, pid } = await scene({ run: shopIsShut });
  const one = await system.operate("process.undo", { pid }, "ann");
  expect(await exitOf(system, one.pid)).toMatchObject({
    how: "completed",
    result: {
      undone: [],
      failed: { call: 1, error: "tool_failed" },
      text: expect.stringContaining("the shop is shut"),
    },
  });
  shut = false;
  const two = await system.operate("process.undo", { pid }, "ann");
  expect(await exitOf(system, two.pid)).toMatchObject({ result: { undone: [{ call: 1 }, { call: 0 }] } });
});

test("an undo that destroys asks a human like any other call", async () => {
  const { system, shop, pid } = await scene({ manifest: { effect: "destroy" } });
  const { pid: by } = await system.operate("process.undo", { pid, to: 1 }, "ann");
  const { request } = await system.asked(by as ProcessId);
  expect(shop.log).toEqual([]);
  await system.operate("human.decide", { request, decision: { verdict: "approved" } }, "ann");
  await exitOf(system, by);
  expect(shop.log).toHaveLength(1);
});

test("a process that goes on is not undone, and an agent cannot pass a call off as an undo", async () => {
  const { system, pid } = await scene();
  const spawned = await system.operate(
    "process.spawn",
    { agent: "buyer", task: null, startMs: Date.now() + 1e9 },
    "ann",
  );
  await expect(system.operate("process.undo", { pid: spawned.pid }, "ann")).rejects.toMatchObject({ code: "conflict" });

  const cheat = await kernelScene({
    tools: fakeTools({ "shop.make": { manifest: { effect: "write" } } }),
    agents: {
      cheat: {
        manifest: { tools: ["shop.make"] },
        run: async (sys) => (await sys.tool.call({ tool: "shop.make", args: {}, undoes: { pid, call: 0 } })).text,
      },
    },
  });
  opened.push(cheat);
  expect(await exitOf(cheat, await cheat.start("cheat"))).toMatchObject({ how: "failed", error: { code: "denied" } });
});

test("what those did that it started is taken back with it, in the order of time; so is what they did since a call", async () => {
  const shop: Shop = { stands: new Map(), log: [] };
  const make = (sys: Sys, what: string) => sys.tool.call({ tool: "shop.make", args: { what } });
  const programs: Record<string, TestProgram> = {
    parent: async (sys) => {
      await make(sys, "parent's first");
      const { pid } = await sys.process.spawn({ agent: "child", task: null });
      await make(sys, "parent's second");
      await sys.message.send({ pid, body: "go on" });
      await sys.process.wait({ pid });
      await make(sys, "parent's third");
      return null;
    },
    child: async (sys) => {
      await sys.message.receive({});
      await make(sys, "child's");
      return null;
    },
  };
  const system = await kernelScene({
    agents: {
      parent: { manifest: { tools: ["shop.make"], agents: ["child"] } },
      child: { manifest: { tools: ["shop.make"] } },
    },
    tools: fakeTools(shopTools(shop)),
    parts: {
      programs: createNativeHost({
        native: new Map([
          ...Object.entries(programs).map(
            ([name, run]) => [name, (start: ProgramStart) => run(makeSys(start.issue), start.task)] as const,
          ),
          ["undo", (start: ProgramStart) => undo(makeSys(start.issue), start.task as UndoTask)] as const,
        ]),
      }),
    },
  });
  opened.push(system);
  const pid = await system.start("parent");
  await system.exit(pid);
  const { children } = await system.operate("process.show", { pid }, "ann");
  const child = children[0]?.pid;
  const since = await system.operate("process.undo", { pid, to: 2, dryRun: true }, "ann");
  expect(since.plan.map((step) => [step.pid, step.call])).toEqual([
    [pid, 5],
    [child, 1],
    [pid, 2],
  ]);
  const { pid: by } = await system.operate("process.undo", { pid }, "ann");
  expect(await exitOf(system, by)).toMatchObject({
    result: { text: expect.stringContaining(`#1 of ${child}`) as string },
  });
  expect(shop.log.map((line) => line.replace(/ \(.*/, ""))).toEqual([
    "unmake parent's third",
    "unmake child's",
    "unmake parent's second",
    "unmake parent's first",
  ]);
  expect(await system.operate("process.undo", { pid: child as ProcessId }, "ann")).toMatchObject({
    plan: [{ call: 1, how: "undone" }],
    pid: null,
  });
});

test("nothing is taken back while one that it started goes on", async () => {
  const system = await kernelScene({
    agents: {
      parent: {
        manifest: { agents: ["child"] },
        run: async (sys) => {
          await sys.process.spawn({ agent: "child", task: null });
          return (await sys.message.receive({})).message?.body ?? null;
        },
      },
      child: { run: async (sys) => (await sys.message.receive({})).message?.body ?? null },
    },
  });
  opened.push(system);
  const pid = await system.start("parent");
  await eventually("the wait", async () => ((await system.state(pid)) === "waiting" ? true : undefined));
  await system.operate("process.signal", { pid, signal: "stop" }, "ann");
  const child = (await system.operate("process.show", { pid }, "ann")).children[0]?.pid;
  await expect(system.operate("process.undo", { pid }, "ann")).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringMatching(`${child}, which ${pid} has started, goes on`) as string,
  });
});

test("a call that was begun again after a crash puts the workspace back first: what it then does is not taken back by that", async () => {
  const tools = fakeTools({ "box.shell": { manifest: { effect: "write" }, run: () => done("ran") } });
  const call: typeof tools.call = async (invocation, options) => {
    const { notes, call: before, process } = invocation;
    // As after a death between the keeping and its event.
    await notes({ kind: "workspace.changed", what: "rollback", before, by: process.pid });
    return tools.call(invocation, options);
  };
  const system = await kernelScene({ agents: { worker: callerOf("box.shell") }, tools: { ...tools, call } });
  opened.push(system);
  const pid = await system.start("worker");
  await system.exit(pid);
  const { plan } = await system.operate("process.undo", { pid, dryRun: true }, "ann");
  expect(plan).toMatchObject([{ call: 0, how: "workspace" }]);
});

test("a change of the workspace is taken back when that is put back, until it is put forward again; a commit makes it stay", async () => {
  const { system, pid } = await scene();
  const journal: Workspaces = {
    ...noWorkspaces,
    diff: async () => NOTHING,
    commit: async () => NOTHING,
    rollback: async () => NOTHING,
    snapshots: async () => [4],
  };
  const again = await kernelScene({ agents: {}, medium: await system.crash(), parts: { workspaces: journal } });
  opened.push(again);
  const how = async (): Promise<string | undefined> =>
    (await again.operate("process.undo", { pid, dryRun: true }, "ann")).plan.find(({ call }) => call === 4)?.how;
  const seen = [await how()];
  for (const to of [4, 5, undefined]) {
    await again.operate("workspace.rollback", { pid, ...(to !== undefined && { to }) }, "ann");
    seen.push(await how());
  }
  for (let times = 0; times < 2; times += 1) {
    await again.operate("workspace.rollback", { pid, to: "replaced" }, "ann");
    seen.push(await how());
  }
  await again.operate("workspace.rollback", { pid, to: 5 }, "ann");
  await again.operate("workspace.commit", { pid }, "ann");
  await again.operate("workspace.rollback", { pid }, "ann");
  expect([...seen, await how()]).toEqual([
    "workspace",
    "undone",
    "workspace",
    "undone",
    "workspace",
    "undone",
    "workspace",
  ]);
});

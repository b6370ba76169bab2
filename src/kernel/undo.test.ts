// Goal: what a process did is taken back, the last first, once, by calls that go down the one road; what cannot be is named.
// Method: a shop of functions that keep what stands; the real kernel on a store in memory.
import { afterEach, expect, test } from "vitest";
import { done, fakeTools, type TestProgram, type TestTool } from "../../test/system.ts";
import type { ProcessId } from "../abi/ids.ts";
import type { JsonObject } from "../abi/json.ts";
import { createNativeHost } from "../drivers/program-native/host.ts";
import { makeSys } from "../sdk/sys.ts";
import { undo, type UndoTask } from "../sdk/undo.ts";
import { scene as kernelScene, type Scene } from "./scene.fake.ts";

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
  expect(await exitOf(system, by)).toMatchObject({ how: "completed", result: { undone: [1, 0], failed: null } });
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
  expect(await exitOf(system, two.pid)).toMatchObject({ result: { undone: [1, 0] } });
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

// Goal: what is being taken back is not taken back a second time beside it, nor after somebody broke that off and its outcome is not known.
// Method: an undo that asks a human, or whose tool does not answer; a second one is asked for meanwhile, and after the first has been killed.
import { afterEach, expect, test } from "vitest";
import { done, fakeTools, noWorkspaces, type TestProgram, type TestTool } from "../../test/system.ts";
import type { ProcessId } from "../abi/ids.ts";
import { createNativeHost } from "../drivers/program-native/host.ts";
import { makeSys } from "../sdk/sys.ts";
import { undo, type UndoTask } from "../sdk/undo.ts";
import { callerOf, eventually, gate, scene as kernelScene, type Scene } from "./scene.fake.ts";

const opened: Scene[] = [];
afterEach(() => opened.splice(0).forEach((system) => system.close()));

async function scene(unmake: Partial<TestTool>): Promise<{ system: Scene; pid: ProcessId }> {
  const run: TestProgram = async (sys) => {
    await sys.tool.call({ tool: "shop.make", args: {} });
    return null;
  };
  const system = await kernelScene({
    agents: { buyer: { manifest: { tools: ["shop.make"] }, run } },
    tools: fakeTools({
      "shop.make": { manifest: { effect: "write", undo: "unmake" } },
      "shop.unmake": { manifest: { effect: "write" }, ...unmake },
    }),
    parts: {
      programs: createNativeHost({
        native: new Map([
          ["buyer", (start) => run(makeSys(start.issue), start.task)],
          ["undo", (start) => undo(makeSys(start.issue), start.task as UndoTask)],
        ]),
      }),
    },
  });
  opened.push(system);
  const pid = await system.start("buyer");
  await system.exit(pid);
  return { system, pid };
}

test("while a step waits for its yes nothing is taken back beside it; once it was, it was", async () => {
  let unmade = 0;
  const { system, pid } = await scene({ manifest: { effect: "destroy" }, run: () => (unmade++, done("unmade")) });
  const { pid: by } = await system.operate("process.undo", { pid }, "ann");
  const { request } = await system.asked(by as ProcessId);
  await expect(system.operate("process.undo", { pid }, "bob")).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringContaining(`already, by process ${by}`) as string,
  });
  expect((await system.operate("process.undo", { pid, dryRun: true }, "bob")).plan).toMatchObject([{ how: "undo" }]);
  await system.operate("human.decide", { request, decision: { verdict: "approved" } }, "ann");
  await system.exit(by as ProcessId);
  expect((await system.operate("process.undo", { pid }, "bob")).plan).toMatchObject([{ how: "undone" }]);
  expect(unmade).toBe(1);
});

test("two at once: one of them does it", async () => {
  let unmade = 0;
  const { system, pid } = await scene({ run: () => (unmade++, done("unmade")) });
  const both = await Promise.allSettled(["ann", "bob"].map((by) => system.operate("process.undo", { pid }, by)));
  for (const each of both)
    if (each.status === "fulfilled" && each.value.pid !== null) await system.exit(each.value.pid);
  expect(unmade).toBe(1);
});

test("one that was killed while its tool was at work leaves it unknown; one that had done nothing is done again", async () => {
  const [reached, never] = [gate(), gate()];
  const { system, pid } = await scene({ run: async () => (reached.open(), await never.passed, done("unmade")) });
  const { pid: by } = await system.operate("process.undo", { pid }, "ann");
  await reached.passed;
  await system.operate("process.signal", { pid: by as ProcessId, signal: "kill" }, "ann");
  never.open();
  await system.exit(by as ProcessId);
  expect(await system.operate("process.undo", { pid }, "ann")).toMatchObject({ plan: [{ how: "unknown" }], pid: null });

  const asked = await scene({ manifest: { effect: "destroy" } });
  const first = await asked.system.operate("process.undo", { pid: asked.pid }, "ann");
  await asked.system.asked(first.pid as ProcessId);
  await asked.system.operate("process.signal", { pid: first.pid as ProcessId, signal: "kill" }, "ann");
  expect((await asked.system.operate("process.undo", { pid: asked.pid }, "ann")).plan).toMatchObject([{ how: "undo" }]);
});

test("what is not known is taken back by the word of an operator", async () => {
  let [fails, unmade] = [true, 0];
  const { system, pid } = await scene({
    run: () => (fails ? { kind: "unknown", reason: "the line went dead" } : (unmade++, done("unmade"))),
  });
  const { pid: by } = await system.operate("process.undo", { pid }, "ann");
  const { request } = await system.asked(by as ProcessId);
  await system.operate("human.decide", { request, decision: { verdict: "settled", outcome: "failed" } }, "ann");
  await system.exit(by as ProcessId);
  fails = false;
  expect(await system.operate("process.undo", { pid }, "ann")).toMatchObject({ plan: [{ how: "unknown" }], pid: null });
  const { pid: again } = await system.operate("process.undo", { pid, unsure: true }, "ann");
  await system.exit(again as ProcessId);
  expect(unmade).toBe(1);
});

test("a process that was stopped in the middle of a call is let finish it first", async () => {
  const [reached, over] = [gate(), gate()];
  const system = await kernelScene({
    agents: { worker: callerOf("shop.make") },
    tools: fakeTools({
      "shop.make": {
        manifest: { effect: "write", undo: "unmake" },
        run: async () => (reached.open(), await over.passed, done("made")),
      },
      "shop.unmake": { manifest: { effect: "write" } },
    }),
    parts: { workspaces: { ...noWorkspaces, rollback: async () => ({ changes: [], more: 0, leftOut: [] }) } },
  });
  opened.push(system);
  const pid = await system.start("worker");
  await reached.passed;
  await system.operate("process.signal", { pid, signal: "stop" }, "ann");
  const refusal = { code: "conflict", message: expect.stringContaining("call #0 was under way") as string };
  await expect(system.operate("process.undo", { pid }, "ann")).rejects.toMatchObject(refusal);
  await expect(system.operate("workspace.rollback", { pid }, "ann")).rejects.toMatchObject(refusal);
  over.open();
  await eventually("the outcome", async () => (await system.kinds(pid)).includes("call.completed") || undefined);
  expect((await system.operate("process.undo", { pid, dryRun: true }, "ann")).plan).toMatchObject([{ how: "undo" }]);
  await system.operate("workspace.rollback", { pid }, "ann");
});

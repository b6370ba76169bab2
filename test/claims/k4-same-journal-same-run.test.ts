// K4: the same journal, the same run. Re-running a program on its journal issues the same syscalls with the same bytes,
// asks no model and performs no effect; the first difference stops it with `replay_divergence`, naming both sides.
//
// Method: a Markdown agent talks to a model and tools, in parallel too, and is verified. Unplugged (a journal that cannot
// be read back), the same boot asks the model again.
import { afterEach, describe, expect, it } from "vitest";
import type { ProcessId } from "../../src/abi/ids.ts";
import type { ModelAnswer, ModelRequest } from "../../src/ports/model.ts";
import { bootTest, done, fakeModel, fakeTools, say, type TestOptions } from "../system.ts";
import { type Medium, temporaryMedium, withParts } from "./temporary.ts";

const mediums: Medium[] = [];
afterEach(() => mediums.splice(0).forEach((medium) => medium.dispose()));

/** Three turns: two tools at once, one tool, a closing word. */
function script({ messages }: ModelRequest): Partial<ModelAnswer> {
  const turn = messages.filter(({ role }) => role === "assistant").length;
  const call = (id: string, tool: string): ModelAnswer["content"][number] => ({
    type: "tool-call",
    id,
    name: tool,
    input: { turn },
  });
  if (turn === 0) return { content: [call("a", "shop.look"), call("b", "shop.pay")], finishReason: "tool-calls" };
  if (turn === 1) return { content: [call("c", "shop.look")], finishReason: "tool-calls" };
  return say("all done");
}

const world = () => ({
  models: fakeModel(script),
  tools: fakeTools({
    "shop.look": {
      manifest: { effect: "read" },
      run: async () => (await new Promise((resolve) => setTimeout(resolve, 5)), done("seen")),
    },
    "shop.pay": { manifest: { effect: "write" }, run: () => done("paid") },
  }),
});

const agents: TestOptions["agents"] = {
  clerk: { instructions: "Serve the customer.", manifest: { tools: ["shop.*"] } },
  fickle: { run: async (sys) => (await sys.random.bytes({ size: Number(process.env["K4_SIZE"] ?? 8) }), "x") },
};

async function ran(medium: Medium, agent: string): Promise<ProcessId> {
  const store = await medium.open();
  const system = await bootTest({ store, agents, ...world() });
  const { pid } = await system.operate("process.spawn", { agent, task: "hello" }, "test");
  const { exit } = await system.operate("process.wait", { pid }, "test");
  expect(exit?.how).toBe("completed");
  system.close();
  await store.close();
  return pid;
}

function fresh(): Medium {
  const medium = temporaryMedium();
  mediums.push(medium);
  return medium;
}

describe("K4 the same journal, the same run", () => {
  it("verifies a finished run as identical, asking nobody and doing nothing", async () => {
    const medium = fresh();
    const pid = await ran(medium, "clerk");
    const store = await medium.open();
    const { models, tools } = world();
    const system = await bootTest({ store, agents, models, tools });
    const before = (await store.report()).events;
    const report = await system.operate("journal.verify", { pid }, "test");
    expect(report).toMatchObject({ identical: true, difference: null, calls: 6, chain: { intact: true } });
    expect([models.asked.length, tools.performed.length]).toEqual([0, 0]);
    expect((await store.report()).events).toBe(before);
    system.close();
    await store.close();
  });

  it("names the first difference, both sides", async () => {
    const medium = fresh();
    const pid = await ran(medium, "fickle");
    const store = await medium.open();
    const system = await bootTest({ store, agents, ...world() });
    process.env["K4_SIZE"] = "9";
    const { identical, difference } = await system
      .operate("journal.verify", { pid }, "test")
      .finally(() => delete process.env["K4_SIZE"]);
    expect({ identical, difference }).toEqual({
      identical: false,
      difference: { call: 0, field: "args", recorded: '{"size":8}', issued: '{"size":9}' },
    });
    system.close();
    await store.close();
  });

  it("finds an event that was changed on disk", async () => {
    const medium = fresh();
    const pid = await ran(medium, "clerk");
    const store = await medium.open();
    const events: typeof store.events = async (...args) =>
      (await store.events(...args)).map((event) =>
        event.seq === 3 ? { ...event, header: event.header.replace(/"atMs":\d/, '"atMs":9') } : event,
      );
    const system = await bootTest({ store: withParts(store, { events }), agents, ...world() });
    const report = await system.operate("journal.verify", { pid }, "test");
    expect(report).toMatchObject({ identical: false, chain: { intact: false, brokenAt: 3 } });
    system.close();
    await store.close();
  });

  it("breaks when the recall is unplugged: the model is asked again, the effect performed again", async () => {
    const medium = fresh();
    const pid = await ran(medium, "clerk");
    const store = await medium.open();
    const [row] = await store.processes({ limit: 1 });
    if (row === undefined) throw new Error("The process is not there.");
    await store.append({ journals: [], processes: [{ ...row, state: "ready", exit: null }] });
    const { models, tools } = world();
    const forgetful = withParts(store, {
      events: async (asked, from) => (from === 0 ? store.events(asked, 0, 1) : []),
    });
    const system = await bootTest({ store: forgetful, agents, models, tools });
    await system.operate("process.wait", { pid, timeoutMs: 50_000 }, "test");
    expect(models.asked.length).toBeGreaterThan(0);
    expect(tools.performed.length).toBeGreaterThan(0);
    system.close();
    await store.close();
  });
});

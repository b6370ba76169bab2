// Goal: half a character (a lone surrogate) in what a program or a model says stops nothing, and what is approved, recorded, shown and
// performed is one text. Method: a kernel whose agent, model and tool say such halves.
import { afterEach, expect, it } from "vitest";
import { done, fakeModel, fakeTools } from "../../test/system.ts";
import type { Json } from "../abi/json.ts";
import { type Scene, scene, type SceneOptions } from "./scene.fake.ts";

const open: Scene[] = [];
afterEach(() => open.splice(0).forEach((one) => one.close()));

const HALF = JSON.parse(String.raw`{"name":"a\ud800","\udc00":["\ud83d\ude00"]}`) as { readonly [name: string]: Json };
const WHOLE = { name: "a\ufffd", "\ufffd": ["\u{1f600}"] };

const agents: SceneOptions["agents"] = {
  caller: {
    manifest: { tools: ["t.act"] },
    run: async (sys, args) => (await sys.tool.call({ tool: "t.act", args: args as never })).text,
  },
  talker: {
    run: async (sys) => {
      const { context } = await sys.model.generate({ messages: [{ role: "user", content: "\ud800?" }] });
      await sys.model.generate({ after: context, messages: [{ role: "user", content: "go on" }] });
      return null;
    },
  },
};

const isReplayed = async (system: Scene, pid: Parameters<Scene["exit"]>[0]): Promise<boolean> =>
  (await system.operate<"journal.verify">("journal.verify", { pid }, "test")).identical;

it("a call is asked for, approved, recorded and performed with one text", async () => {
  const tools = fakeTools({
    "t.act": { manifest: { effect: "destroy", summary: "Drop {name}" }, run: () => done("gone: \ud800") },
  });
  const system = await scene({ agents, tools });
  open.push(system);
  const pid = await system.start("caller", HALF);
  const { request, question, args } = await system.asked(pid);
  expect([question, args]).toEqual(["Drop a\ufffd", WHOLE]);
  await system.operate("human.decide", { request, decision: { verdict: "approved" } }, "ann");
  expect(await system.exit(pid)).toMatchObject({ how: "completed", result: "gone: \ud800" });
  expect(tools.performed).toMatchObject([{ args: WHOLE }]);
  const recorded = (await system.journal(pid)).flatMap(({ payloads }) => payloads["args"] ?? []);
  expect(recorded).toEqual([{ tool: "t.act", args: WHOLE }]);
  expect(await isReplayed(system, pid)).toBe(true);
});

it("no turn sends a model what it cannot be sent", async () => {
  const models = fakeModel(() => ({
    content: [
      { type: "text", text: "yes\ud800" },
      { type: "tool-call", id: "1", name: "t.act", input: HALF },
    ],
  }));
  const system = await scene({ agents, models });
  open.push(system);
  const pid = await system.start("talker");
  expect(await system.exit(pid)).toMatchObject({ how: "completed" });
  expect(models.asked[1]?.messages).toEqual([
    { role: "user", content: "\ufffd?" },
    {
      role: "assistant",
      content: [
        { type: "text", text: "yes\ufffd" },
        { type: "tool-call", id: "1", name: "t.act", input: WHOLE },
      ],
    },
    { role: "user", content: "go on" },
  ]);
  expect(await isReplayed(system, pid)).toBe(true);
});

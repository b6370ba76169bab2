// Effects, approvals and settlements, cut off at every point where it could matter.
import { afterEach, describe, expect, it } from "vitest";
import { done, fakeTools, type TestTool, testScheduler } from "../../test/system.ts";
import { OsError } from "../abi/errors.ts";
import type { Json } from "../abi/json.ts";
import { PAYLOAD_BYTES_MAX } from "../abi/limits.ts";
import type { Decision } from "../abi/requests.ts";
import type { ToolOutcome } from "../ports/tools.ts";
import { eventually, type Scene, scene, type SceneOptions, turns } from "./scene.fake.ts";

const open: Scene[] = [];
afterEach(() => open.splice(0).forEach((one) => one.close()));

const agents: SceneOptions["agents"] = {
  /** Answers with what its one call gave: the text, or the error's code. */
  caller: {
    manifest: { tools: ["t.act"] },
    run: async (sys, args) =>
      sys.tool.call({ tool: "t.act", args: (args ?? {}) as never }).then(
        ({ text }) => text,
        (error: { code: string; message: string }) => ({ code: error.code }),
      ),
  },
  thrice: {
    manifest: { tools: ["t.act"], budget: { calls: 2 } },
    run: async (sys) => {
      const ends: string[] = [];
      for (let n = 0; n < 3; n += 1)
        ends.push(
          await sys.tool.call({ tool: "t.act", args: { n } }).then(
            ({ text }) => text,
            (error: { code: string }) => error.code,
          ),
        );
      return ends;
    },
  },
};

type Booted = Scene & { readonly performed: readonly unknown[] };

async function boot(tool: TestTool, more: Partial<SceneOptions> = {}): Promise<Booted> {
  const tools = fakeTools({ "t.act": tool });
  const booted = await scene({ agents, tools, ...more });
  open.push(booted);
  return Object.assign(booted, { performed: tools.performed });
}

const result = async (system: Scene, pid: Parameters<Scene["exit"]>[0]): Promise<Json> => {
  const exit = await system.exit(pid);
  return exit?.how === "completed" ? exit.result : exit;
};

const decide = async (
  system: Scene,
  pid: Parameters<Scene["asked"]>[0],
  decision: Decision,
  by = "ann",
): Promise<void> => {
  const { request } = await system.asked(pid);
  await system.operate("human.decide", { request, decision }, by);
};

const destroys: TestTool = { manifest: { effect: "destroy", summary: "Drop {name}" }, run: () => done("dropped") };

describe("an approval", () => {
  it("lets the call through once, and is named in its intent", async () => {
    const system = await boot(destroys);
    const pid = await system.start("caller", { name: "orders" });
    const { request, question, effect } = await system.asked(pid);
    expect([question, effect, system.performed.length]).toEqual(["Drop orders", "destroy", 0]);
    await decide(system, pid, { verdict: "approved" });
    expect(await result(system, pid)).toBe("dropped");
    const intents = (await system.journal(pid)).filter(({ header }) => header.kind === "call.intended");
    expect(intents.map(({ header }) => header)).toMatchObject([{ approval: request, key: `${pid}.0` }]);
  });

  it("that is refused is the call's outcome, with the human's words", async () => {
    const system = await boot(destroys);
    const pid = await system.start("caller");
    await decide(system, pid, { verdict: "rejected", note: "never" });
    expect([await result(system, pid), system.performed.length]).toEqual([{ code: "denied" }, 0]);
    const completed = (await system.journal(pid)).find(({ header }) => header.kind === "call.completed");
    expect(completed?.payloads).toMatchObject({
      error: { message: "ann said no: never", data: { rule: "human", reason: "never" } },
    });
  });

  for (const [where, parkAfterMs] of [
    ["in memory", 60_000],
    ["on disk", 0],
  ] as const) {
    it(`is decided once, whoever decides at the same time, the process being ${where}`, async () => {
      const system = await boot(destroys, { limits: { parkAfterMs } });
      const pid = await system.start("caller");
      const { request } = await system.asked(pid);
      await turns();
      const verdicts = ["approved", "rejected", "approved"] as const;
      const ends = await Promise.allSettled(
        verdicts.map((verdict, n) => system.operate("human.decide", { request, decision: { verdict } }, `h${n}`)),
      );
      expect(ends.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      const late = ends.flatMap((end) => (end.status === "rejected" ? [end.reason as unknown] : []));
      for (const told of late)
        expect(told).toMatchObject({ code: "conflict", message: expect.stringContaining("h0 was first") });
      expect(await result(system, pid)).toBe("dropped");
      expect(system.troubles).toEqual([]);
    });
  }

  it("is kept while the process is stopped, and gone when it was killed", async () => {
    const system = await boot(destroys);
    const [stopped, killed] = [await system.start("caller"), await system.start("caller")];
    const { request } = await system.asked(killed);
    await system.asked(stopped);
    await system.operate("process.signal", { pid: stopped, signal: "stop", reason: "" }, "test");
    await decide(system, stopped, { verdict: "approved" });
    await turns();
    expect([await system.state(stopped), system.performed.length]).toEqual(["stopped", 0]);
    await system.operate("process.signal", { pid: stopped, signal: "cont", reason: "" }, "test");
    expect(await result(system, stopped)).toBe("dropped");
    await system.operate("process.signal", { pid: killed, signal: "kill", reason: "" }, "test");
    await expect(
      system.operate("human.decide", { request, decision: { verdict: "approved" } }, "ann"),
    ).rejects.toMatchObject({ code: "conflict" });
    expect(system.performed).toHaveLength(1);
  });

  it("takes only the verdicts that fit", async () => {
    const system = await boot(destroys);
    const pid = await system.start("caller");
    for (const decision of [
      { verdict: "answered", answer: 1 },
      { verdict: "settled", outcome: "done" },
    ] as const)
      await expect(decide(system, pid, decision)).rejects.toMatchObject({ code: "invalid_argument" });
  });

  it("that was given before a crash is used after it", async () => {
    const before = await boot(destroys, { parts: { scheduler: testScheduler({ take: () => new Promise(() => {}) }) } });
    const pid = await before.start("caller");
    await decide(before, pid, { verdict: "approved" });
    await turns();
    const after = await boot(destroys, { medium: await before.crash() });
    expect([await result(after, pid), after.performed.length]).toEqual(["dropped", 1]);
    expect((await after.kinds(pid)).filter((kind) => kind === "request.opened")).toHaveLength(1);
  });
});

describe("an effect whose outcome is not known", () => {
  const lost: ToolOutcome = { kind: "unknown", reason: "The line broke." };

  it("is repeated under its key where that is harmless, three times, then asked about", async () => {
    const system = await boot({ manifest: { effect: "write", idempotency: "key" }, run: () => lost });
    const pid = await system.start("caller");
    const { kind, reason } = await system.asked(pid);
    expect([kind, reason, system.performed.length]).toEqual(["settlement", "The line broke.", 4]);
    await decide(system, pid, { verdict: "settled", outcome: "failed", note: "no idea" });
    expect(await result(system, pid)).toEqual({ code: "outcome_unknown" });
  });

  it("is never repeated by the system where it could do harm, also after several crashes", async () => {
    let system = await boot({ manifest: { effect: "write" }, run: () => new Promise(() => {}) });
    const pid = await system.start("caller");
    await eventually("the dispatch", () => (system.performed.length === 1 ? true : undefined));
    for (let crash = 0; crash < 3; crash += 1) {
      system = await boot(
        { manifest: { effect: "write" }, run: () => done("again") },
        { medium: await system.crash() },
      );
      const { kind } = await system.asked(pid);
      await turns();
      expect([kind, system.performed.length]).toEqual(["settlement", 0]);
    }
    await decide(system, pid, { verdict: "settled", outcome: "done", result: { text: "it was" } });
    expect(await result(system, pid)).toBe("it was");
    expect((await system.kinds(pid)).filter((kind) => kind === "request.opened")).toHaveLength(1);
  });

  it("that a human sends off again and that is lost again is a new question", async () => {
    const lose: TestTool = { manifest: { effect: "write" }, run: () => new Promise(() => {}) };
    const first = await boot(lose);
    const pid = await first.start("caller");
    await eventually("the dispatch", () => (first.performed.length === 1 ? true : undefined));
    const second = await boot(lose, { medium: await first.crash() });
    const { request } = await second.asked(pid);
    await decide(second, pid, { verdict: "settled", outcome: "not_done" });
    await eventually("the second dispatch", () => (second.performed.length === 1 ? true : undefined));
    const third = await boot(destroys, { medium: await second.crash() });
    const again = await third.asked(pid);
    expect(again.request).not.toBe(request);
    await decide(third, pid, { verdict: "settled", outcome: "done" });
    expect([await result(third, pid), third.performed.length]).toEqual(["(settled by ann: it was done)", 0]);
  });

  it("stays unknown when its reconcile cannot be asked: that is no outcome", async () => {
    const system = await boot({
      manifest: { effect: "write", reconcile: "find" },
      run: () => lost,
      reconcile: async () => {
        throw new OsError("tool_unavailable", "The bank is closed.", { data: { tool: "t.find" } });
      },
    });
    const pid = await system.start("caller");
    expect(await system.asked(pid)).toMatchObject({ kind: "settlement" });
    expect(system.performed).toHaveLength(1);
  });

  it("is performed again when reconcile says that it was not done, but not for ever", async () => {
    const system = await boot({
      manifest: { effect: "write", reconcile: "find" },
      run: () => lost,
      reconcile: async () => ({ status: "not_done" }),
    });
    const pid = await system.start("caller");
    expect(await system.asked(pid)).toMatchObject({ kind: "settlement" });
    expect(system.performed).toHaveLength(4);
  });

  it("of a tool that only reads is an error that may be tried again, and no question", async () => {
    const system = await boot({ manifest: { effect: "read" }, run: () => lost });
    const pid = await system.start("caller");
    expect(await result(system, pid)).toEqual({ code: "tool_unavailable" });
    expect((await system.journal(pid)).find(({ header }) => header.kind === "call.completed")?.payloads).toMatchObject({
      error: { retryable: true },
    });
  });
});

describe("what is too large", () => {
  it("is refused on the way in, before anything is dispatched", async () => {
    const system = await boot({ manifest: { effect: "read" } });
    const pid = await system.start("caller", { text: "x".repeat(PAYLOAD_BYTES_MAX) });
    expect([await result(system, pid), system.performed.length]).toEqual([{ code: "limit_exceeded" }, 0]);
    // What was refused for its size is not recorded either; the run can still be held to it.
    const completed = (await system.journal(pid)).find(({ header }) => header.kind === "call.completed");
    expect(completed?.payloads["args"]).toEqual({
      omitted: { bytes: PAYLOAD_BYTES_MAX + 35, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    expect(await system.operate("journal.verify", { pid }, "test")).toMatchObject({ identical: true });
  });

  it("is refused on the way out; the journal says that it was dispatched, and why there is no result", async () => {
    const system = await boot({ manifest: { effect: "write" }, run: () => done("x".repeat(PAYLOAD_BYTES_MAX)) });
    const pid = await system.start("caller");
    expect(await result(system, pid)).toEqual({ code: "limit_exceeded" });
    expect(await system.kinds(pid)).toEqual(["process.created", "call.intended", "call.completed", "process.exited"]);
    expect(system.performed).toHaveLength(1);
  });
});

describe("a budget", () => {
  it("is not larger after a crash", async () => {
    const tool: TestTool = { manifest: { effect: "read" }, run: ({ n }) => done(JSON.stringify(n)) };
    let asked = 0;
    const take = () => ((asked += 1) > 1 ? new Promise<never>(() => {}) : { release: () => {} });
    const before = await boot(tool, { parts: { scheduler: testScheduler({ take }) } });
    const pid = await before.start("thrice");
    await eventually("the second call at the scheduler", () => (asked === 2 ? true : undefined));
    const after = await boot(tool, { medium: await before.crash() });
    expect([await result(after, pid), after.performed.length]).toEqual([["0", "1", "budget_exhausted"], 1]);
  });
});

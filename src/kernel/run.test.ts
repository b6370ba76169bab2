// What a program sees, and in which order: live and when it runs again.
import { describe, expect, it } from "vitest";
import { done, fakeTools, type TestProgram } from "../../test/system.ts";
import { CALLS_IN_FLIGHT_MAX } from "../abi/limits.ts";
import type { Json } from "../abi/json.ts";
import { eventually, gate, type Scene, scenes, type SceneOptions, turns } from "./scene.fake.ts";

const boot = scenes();

/** Lets a program run to its end, and verifies it. */
async function ranAndVerified(
  run: TestProgram,
  more: Partial<SceneOptions> = {},
): Promise<{ result: Json; system: Scene }> {
  const system = await boot({ ...more, agents: { agent: { run, manifest: { tools: ["t.*"] } }, ...more.agents } });
  const pid = await system.start("agent");
  const exit = await system.exit(pid);
  expect(await system.operate("journal.verify", { pid }, "test")).toMatchObject({ identical: true, difference: null });
  expect(system.troubles).toEqual([]);
  if (exit?.how !== "completed") throw new Error(`It ended otherwise: ${JSON.stringify(exit)}`);
  return { result: exit.result, system };
}

describe("the order of outcomes", () => {
  it("is the order of their events, one in a turn, live and again", async () => {
    const gates = [gate(), gate(), gate()];
    const tools = fakeTools({
      "t.wait": {
        manifest: { effect: "read" },
        run: async ({ n }) => (await gates[n as number]?.passed, done(JSON.stringify(n))),
      },
    });
    let runs = 0;
    const { result } = await ranAndVerified(
      async (sys) => {
        runs += 1;
        const seen: string[] = [];
        const calls = [0, 1, 2].map(async (n) => {
          const { text } = await sys.tool.call({ tool: "t.wait", args: { n } });
          seen.push(text);
          // What follows an outcome at once belongs to its turn.
          await Promise.resolve();
          seen.push(`after ${text}`);
        });
        for (const n of [2, 0, 1]) {
          if (runs === 1) gates[n]?.open();
          await sys.clock.now({});
        }
        await Promise.all(calls);
        return seen;
      },
      { tools },
    );
    expect(result).toHaveLength(6);
    for (let at = 0; at < 6; at += 2) expect((result as string[])[at + 1]).toBe(`after ${(result as string[])[at]}`);
    expect(tools.performed).toHaveLength(3);
  });

  it("decides a race the same way when the program runs again after a crash", async () => {
    const never = gate();
    const quick = { manifest: { effect: "read" as const }, run: () => done("quick") };
    const slow = { manifest: { effect: "read" as const }, run: async () => (await never.passed, done("slow")) };
    const agents: SceneOptions["agents"] = {
      racer: {
        manifest: { tools: ["t.*"] },
        run: async (sys) => {
          const winner = await Promise.race(
            ["t.one", "t.two"].map(async (tool) => (await sys.tool.call({ tool, args: {} })).text),
          );
          await sys.message.receive({});
          return winner;
        },
      },
    };
    const before = await boot({ agents, tools: fakeTools({ "t.one": slow, "t.two": quick }) });
    const pid = await before.start("racer");
    await eventually("the race is over", async () => (await before.kinds(pid)).includes("call.waiting") || undefined);
    const medium = await before.crash();
    // This time the other one is quicker; the race has been run all the same.
    const after = await boot({ agents, medium, tools: fakeTools({ "t.one": quick, "t.two": slow }) });
    await after.operate("message.send", { pid, body: "go" }, "test");
    expect(await after.exit(pid)).toEqual({ how: "completed", result: "quick" });
    expect(await after.operate("journal.verify", { pid }, "test")).toMatchObject({ identical: true });
  });
});

describe("a program's end", () => {
  it("may leave calls behind that it did not wait for", async () => {
    const tools = fakeTools({ "t.slow": { manifest: { effect: "read" }, run: () => new Promise(() => {}) } });
    const { result } = await ranAndVerified(
      async (sys) => {
        void sys.tool.call({ tool: "t.slow", args: {} });
        void sys.random.bytes({ size: 4 });
        await sys.clock.now({});
        void sys.clock.now({});
        void sys.human.ask({ question: "Anybody?" });
        return "gone";
      },
      { tools },
    );
    expect(result).toBe("gone");
  });

  it("withdraws what was asked for it", async () => {
    const asked = gate();
    const { system } = await ranAndVerified(async (sys) => {
      void sys.human.ask({ question: "Anybody?" });
      await sys.clock.sleep({ ms: 5 });
      asked.open();
      return null;
    });
    expect((await system.operate("human.list", {}, "test")).requests).toEqual([]);
  });

  it("is a failure that names what was thrown, if it throws at once", async () => {
    const system = await boot({
      agents: {
        agent: {
          run: () => {
            throw new TypeError("no such thing");
          },
        },
      },
    });
    const pid = await system.start("agent");
    expect(await system.exit(pid)).toMatchObject({
      how: "failed",
      error: { code: "program_failed", message: "no such thing" },
    });
    expect(await system.operate("journal.verify", { pid }, "test")).toMatchObject({ identical: true });
  });

  it("hears nothing of the calls of a program that has been disposed of", async () => {
    const cont = gate();
    let late: Promise<Json> | undefined;
    const system = await boot({
      agents: {
        agent: {
          run: async (sys) => {
            await cont.passed;
            late = sys.clock.now({});
            return late;
          },
        },
      },
    });
    const pid = await system.start("agent");
    await turns();
    await system.operate("process.signal", { pid, signal: "kill", reason: "" }, "test");
    cont.open();
    await turns();
    const settled = await Promise.race([
      late?.then(
        () => "settled",
        () => "settled",
      ),
      turns().then(() => "open"),
    ]);
    expect([settled, await system.kinds(pid)]).toEqual(["open", ["process.created", "process.exited"]]);
  });
});

describe("more calls than may be under way", () => {
  it("are refused, in the journal, and so again when the program runs again", async () => {
    const { result, system } = await ranAndVerified(async (sys) => {
      const calls = Array.from({ length: CALLS_IN_FLIGHT_MAX + 10 }, () => sys.random.bytes({ size: 1 }));
      const ends = await Promise.allSettled(calls);
      return ends.filter((end) => end.status === "rejected").map(({ reason }) => (reason as { code: string }).code);
    });
    expect(result).toEqual(Array.from({ length: 10 }, () => "limit_exceeded"));
    const { processes } = await system.operate("process.list", {}, "test");
    expect(processes[0]?.events).toBe(CALLS_IN_FLIGHT_MAX + 12);
  });
});

describe("arguments", () => {
  it("that do not fit are refused in the journal, with what was passed", async () => {
    const { result } = await ranAndVerified(async (sys) => {
      const codes: string[] = [];
      for (const args of [{}, { size: 0 }, { size: 1.5 }, { size: 1, more: true }])
        codes.push(
          await sys.random.bytes(args as never).then(
            () => "taken",
            (error: { code: string }) => error.code,
          ),
        );
      return codes;
    });
    expect(result).toEqual(Array.from({ length: 4 }, () => "invalid_argument"));
  });
});

// Whether a module agent is busy, as the host tells and as the kernel acts on it: real children, and a kernel that parks early.
//
// What the children compute they compute in one step without coming back to their event loop, or on another thread; that
// is what the kernel cannot see by itself.
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { agentManifestSchema } from "../../abi/agents.ts";
import type { Agent } from "../../abi/agents.ts";
import type { ProcessId } from "../../abi/ids.ts";
import type { Json } from "../../abi/json.ts";
import type { AgentSource, ProgramHost, ProgramRun } from "../../ports/program.ts";
import { eventually, type Scene, scene } from "../../kernel/scene.fake.ts";
import { createModuleHost } from "./host.ts";

const modules = createModuleHost({ projectFolder: join(import.meta.dirname, "fixtures"), maxProcesses: 4 });
const open: Scene[] = [];
afterEach(() => open.splice(0).forEach((one) => one.close()));
afterAll(() => modules.close());

const AGENT: Agent = {
  manifest: agentManifestSchema.parse({ name: "behaviours", description: "…" }),
  program: { kind: "module", file: "behaviours.ts" },
  hash: "hash of behaviours",
};
const agents: AgentSource = { find: async () => AGENT, list: async () => ({ agents: [AGENT], invalid: [] }) };

/** A kernel for module agents that parks at once, and how many children it has started. */
async function boot(programs: ProgramHost = modules): Promise<{ system: Scene; starts: () => number }> {
  let starts = 0;
  const counted: ProgramHost = {
    start: (start) => ((starts += 1), programs.start(start)),
    close: () => programs.close(),
  };
  const system = await scene({ agents: {}, limits: { parkAfterMs: 100 }, parts: { programs: counted, agents } });
  open.push(system);
  return { system, starts: () => starts };
}

const calls = async (system: Scene, pid: ProcessId): Promise<number> =>
  (await system.journal(pid)).filter(({ header }) => header.kind === "call.completed").length;

const answer = async (system: Scene, pid: ProcessId): Promise<Json> => {
  const { request } = await system.asked(pid);
  await system.operate("human.decide", { request, decision: { verdict: "answered", answer: "yes" } }, "ann");
  const exit = await system.exit(pid);
  return exit?.how === "completed" ? exit.result : JSON.stringify(exit);
};

test.each(["computes", "hashes"])(
  "an agent that %s while a call waits keeps its child, and leaves memory afterwards",
  async (how) => {
    const { system, starts } = await boot();
    const pid = await system.start("behaviours", { do: how, ms: 1_000 });
    await eventually("the call before the work", async () => (await calls(system, pid)) === 1 || undefined);
    await eventually("the call behind the work", async () => {
      expect(system.load().inMemory).toBe(1);
      return (await calls(system, pid)) === 2 || undefined;
    });
    await eventually("it left memory", () => system.load().inMemory === 0 || undefined);
    expect([starts(), await system.state(pid)]).toEqual([1, "waiting"]);
    // It is brought back by the answer alone, and does its work again.
    expect(await answer(system, pid)).toBe("yes");
    expect([starts(), system.troubles]).toEqual([2, []]);
  },
);

test("an agent that only waits says so and leaves memory", async () => {
  const { system, starts } = await boot();
  const pid = await system.start("behaviours", { do: "computes", ms: 0 });
  await eventually(
    "it left memory",
    async () => ((await system.state(pid)) === "waiting" && system.load().inMemory === 0) || undefined,
  );
  expect(starts()).toBe(1);
});

test("an agent that never comes back from its work is busy, and can be ended", async () => {
  const asked: Promise<void>[] = [];
  const { system } = await boot({
    start: (start) => watched(modules.start(start), asked),
    close: () => modules.close(),
  });
  const pid = await system.start("behaviours", { do: "computes", ms: 60_000 });
  await eventually("the kernel's question", () => asked.length > 0 || undefined);
  expect(await Promise.race([asked.at(-1), new Promise((resolve) => setTimeout(resolve, 300, "no answer"))])).toBe(
    "no answer",
  );
  expect([system.load().inMemory, await system.state(pid)]).toEqual([1, "running"]);
  await system.operate("process.signal", { pid, signal: "kill", reason: "" }, "test");
  expect(system.load().inMemory).toBe(0);
});

/** A run whose word that it is idle the test hears too. */
function watched(run: ProgramRun, asked: Promise<void>[]): ProgramRun {
  return {
    result: run.result,
    dispose: () => run.dispose(),
    idle: () => {
      const said = run.idle?.() ?? Promise.reject(new Error("a module agent has a word of its own"));
      asked.push(said);
      return said;
    },
  };
}

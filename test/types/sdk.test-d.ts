// The types that agent authors meet: checked by `tsc`, run by nobody. A line under @ts-expect-error must not compile.
import { expectTypeOf, test } from "vitest";
import { agent, defineConfig, loop, withLock } from "../../src/sdk/author.ts";
import type {
  AgentModule,
  AgentManifest,
  ConfigInput,
  Exit,
  GenerateOutput,
  Json,
  JsonObject,
  LoopResult,
  ProcessId,
  Sys,
  ToolContent,
} from "../../src/sdk/author.ts";
import type { ProcessCall } from "../../src/abi/syscalls.ts";

declare const sys: Sys;
declare const pid: ProcessId;

test("sys has every call of a process, by noun and verb, and no other", () => {
  type Names = { [Noun in keyof Sys]: `${Noun}.${Extract<keyof Sys[Noun], string>}` }[keyof Sys];
  expectTypeOf<Names>().toEqualTypeOf<ProcessCall>();
  // Operators list processes, agents do not.
  expectTypeOf<Sys["process"]>().not.toHaveProperty("list");
});

test("calls take what the table says and answer with what it says", () => {
  expectTypeOf(sys.tool.call({ tool: "shop.find", args: { id: 7 } })).toEqualTypeOf<Promise<ToolContent>>();
  expectTypeOf(sys.model.generate({ messages: [{ role: "user", content: "Hello" }] })).toEqualTypeOf<
    Promise<GenerateOutput>
  >();
  expectTypeOf(sys.process.spawn({ agent: "helper", task: { of: 2 } })).resolves.toEqualTypeOf<{ pid: ProcessId }>();
  expectTypeOf(sys.process.wait({ pid })).resolves.toEqualTypeOf<{ exit: Exit | null }>();
  expectTypeOf(sys.clock.sleep({ ms: 5 })).resolves.toEqualTypeOf<{ ms: number }>();
  expectTypeOf(sys.human.ask({ question: "May I?", options: ["yes", "no"] })).resolves.toEqualTypeOf<{
    answer: Json;
    by: string;
  }>();
});

test("what has a default may be left out, arguments included where all have", () => {
  expectTypeOf(sys.clock.now()).toEqualTypeOf(sys.clock.now({}));
  void sys.message.receive();
  void sys.message.receive({ topic: "end", timeoutMs: 5 });
  void sys.message.send({ pid, body: "Hello" });
  void sys.process.signal({ pid, signal: "kill" });
  // @ts-expect-error a sleep needs to know how long
  void sys.clock.sleep();
});

test("a child is given less than its parent has, and locks are taken by key", () => {
  void sys.process.spawn({ agent: "helper", task: "t", class: "batch", budget: { costUsd: 0.5 }, deadlineMs: 1 });
  // @ts-expect-error there is no such class
  void sys.process.spawn({ agent: "helper", task: "t", class: "urgent" });
  expectTypeOf(sys.lock.acquire({ key: "order:17", leaseMs: 60_000 })).resolves.toEqualTypeOf<{ untilMs: number }>();
  expectTypeOf(sys.lock.release({ key: "order:17" })).resolves.toEqualTypeOf<{ released: boolean }>();
  expectTypeOf(withLock(sys, "order:17", async () => 7)).toEqualTypeOf<Promise<number>>();
  void withLock(sys, { key: "order:17", leaseMs: 60_000 }, async () => undefined);
  // @ts-expect-error the work is a promise: a lock is not held for what happens at once
  void withLock(sys, "order:17", () => 7);
});

test("wrong arguments do not compile", () => {
  expectTypeOf(sys.tool.call).parameter(0).not.toBeAny();
  // @ts-expect-error the tool is missing
  void sys.tool.call({ args: {} });
  // @ts-expect-error arguments are an object
  void sys.tool.call({ tool: "shop.find", args: 42 });
  // @ts-expect-error there is no such key
  void sys.clock.sleep({ ms: 5, minutes: 1 });
  // @ts-expect-error a pid is not just any text
  void sys.process.wait({ pid: "p_000000000000" });
  // @ts-expect-error there is no such role
  void sys.model.generate({ messages: [{ role: "robot", content: "" }] });
  // @ts-expect-error there is no such signal
  void sys.process.signal({ pid, signal: "hup" });
});

test("an agent: what must be declared, and what run may give", () => {
  const made = agent({
    name: "research",
    description: "Finds things out.",
    tools: ["web.*"],
    run: async (given, task) => {
      expectTypeOf(given).toEqualTypeOf<Sys>();
      expectTypeOf(task).toEqualTypeOf<Json>();
      return { done: true };
    },
  });
  expectTypeOf(made).toEqualTypeOf<AgentModule>();
  expectTypeOf(made.manifest).toEqualTypeOf<AgentManifest>();
  agent({ name: "quiet", description: "Gives nothing.", run: async () => {} });
  // @ts-expect-error a description is needed
  agent({ name: "a", run: async () => {} });
  // @ts-expect-error there is no such key
  agent({ name: "a", description: "b", modle: "x/y", run: async () => {} });
  // @ts-expect-error a Map is not JSON
  agent({ name: "a", description: "b", run: async () => new Map([["a", 1]]) });
});

test("the loop takes a whole manifest or some of it, and its result is JSON", () => {
  const manifest = {} as AgentManifest;
  expectTypeOf(loop(sys, { manifest, instructions: "Be brief.", task: "Go." })).toEqualTypeOf<Promise<LoopResult>>();
  void loop(sys, { manifest: { turns: 5 }, instructions: "", task: { order: 7 } });
  expectTypeOf<LoopResult>().toExtend<JsonObject>();
  // @ts-expect-error the task is missing
  void loop(sys, { manifest, instructions: "" });
});

test("a configuration", () => {
  expectTypeOf(defineConfig({ defaultModel: "openai/gpt" })).toEqualTypeOf<ConfigInput>();
  // @ts-expect-error there is no such key
  defineConfig({ defaultModle: "openai/gpt" });
  // @ts-expect-error a source needs its type
  defineConfig({ tools: { shop: { command: "node" } } });
});
